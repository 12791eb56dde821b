"""Track the head in every frame of a dataset folder: writes tracked_flame_params.npz and a video."""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script
from nha.tracking.settings import TrackingSettings
from nha.tracking.tracker import track_dataset


def main() -> None:
    """Parse the settings, track, say where the result is."""
    settings = parse_settings(TrackingSettings, description=__doc__)
    print(f"tracking: {track_dataset(settings).path}")


def run() -> None:
    """The installed command."""
    run_script(main)


if __name__ == "__main__":
    run()
