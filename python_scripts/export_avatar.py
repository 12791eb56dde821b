"""Write an avatar as files for other programs: OBJ, PLY, GLB (skinned, with morph targets), head parameters.

Everything is in metres with +y up; at rest the root joint is at the origin and the head looks along +z. Tracked frames
stand where the tracker has seen them, before a camera at the origin that looks along +z. Textures contain the light of
the video. What the files cannot express is measured with --report.
"""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script


def main() -> None:
    """Parse the settings, write the files, print where they are and what they cost."""
    from nha.export.run import export_avatar
    from nha.export.settings import ExportSettings

    written, summary = export_avatar(parse_settings(ExportSettings, description=__doc__))
    for path in written:
        print(path)
    for part, rows in summary.get("report", {}).items():
        for name, scores in rows.items():
            print(f"{part}, {name}: " + ", ".join(f"{key} {value:g}" for key, value in scores.items()))


if __name__ == "__main__":
    run_script(main)
