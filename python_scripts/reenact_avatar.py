"""Move an avatar by other people's motion: writes what is drawn, who drives it, and both side by side.

A tracking file is enough to drive, and a video that was not tracked yet is annotated and tracked first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nha.core.config import parse_settings
from nha.core.system import run_script

if TYPE_CHECKING:
    from nha.reenactment.settings import ReenactmentSettings


def main() -> None:
    """Parse the settings, track the driving videos if necessary, write the videos and print their paths."""
    from nha.reenactment.run import reenact_avatar
    from nha.reenactment.settings import ReenactmentSettings

    settings = parse_settings(ReenactmentSettings, description=__doc__)
    if not settings.driving_tracking_results:
        settings = track_videos(settings)
    for files in reenact_avatar(settings):
        print(f"prediction:   {files.prediction}")
        print(f"driving:      {files.driving}")
        print(f"side by side: {files.side_by_side}")


def track_videos(settings: ReenactmentSettings) -> ReenactmentSettings:
    """Annotate and track the driving videos with the target's head model, at the target's size.

    Datasets and tracking files lie in the output folder; what an earlier run has finished there is not done again.
    """
    from nha.avatar.checkpoint import read_checkpoint
    from nha.data.tracking_file import read_tracking
    from nha.preprocess.options import SMALLEST_SCALE_PX, PreprocessOptions
    from nha.preprocess.pipeline import build_dataset
    from nha.reenactment.files import driving_people
    from nha.tracking.settings import TrackingSettings
    from nha.tracking.tracker import track_dataset

    people = driving_people(settings)
    head = settings.head or read_checkpoint(settings.target_ckpt).hyper_parameters.get("head") or "auto"
    scale = max(SMALLEST_SCALE_PX, *read_tracking(settings.target_tracking_results).image_size)
    tracked = []
    for person in people:
        work = person.files.prediction.parent / f"{person.name}_tracked"
        dataset = PreprocessOptions(
            video=person.video,
            out_path=work / "dataset",
            estimators=settings.driving_estimators,
            scale=scale,
            max_frames=settings.max_frames,
            device=settings.device,
        )
        build_dataset(dataset)
        tracked.append(
            track_dataset(
                TrackingSettings(
                    data_path=dataset.out_path,
                    output_path=work / "tracking",
                    head=str(head),
                    device=settings.device,
                )
            ).path
        )
    return dataclasses.replace(settings, driving_tracking_results=tracked)


if __name__ == "__main__":
    run_script(main)
