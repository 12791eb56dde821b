"""Move one avatar by the motion of another: writes what is drawn, what drives it, and both side by side."""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script


def main() -> None:
    """Parse the settings, draw the films, say where they are."""
    from nha.evaluation.reenactment import ReenactmentSettings, write_reenactment

    settings = parse_settings(ReenactmentSettings, description=__doc__)
    files = write_reenactment(settings)
    print(f"prediction:   {files.prediction}")
    print(f"driving:      {files.driving}")
    print(f"side by side: {files.side_by_side}")


if __name__ == "__main__":
    run_script(main)
