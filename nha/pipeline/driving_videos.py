"""Driving videos of a reenactment: preprocessed and tracked before it."""

from __future__ import annotations

import dataclasses

from nha.avatar.checkpoint import read_checkpoint
from nha.core.output_folder import own_folder
from nha.data.tracking_file import read_tracking
from nha.preprocess.options import SMALLEST_SCALE_PX, PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.reenactment.files import driving_people
from nha.reenactment.settings import ReenactmentSettings
from nha.tracking.settings import TrackingSettings
from nha.tracking.tracker import track_dataset


def track_driving_videos(settings: ReenactmentSettings) -> ReenactmentSettings:
    """Preprocess and track the driving videos of a reenactment that has no driving tracking files.

    The target's head model and image size are used. Datasets and tracking files are written to the output folder;
    finished ones of an earlier run are used again.

    Returns:
        Settings with the tracking files; the given ones if they have tracking files already.
    """
    if settings.driving_tracking_results:
        return settings
    people = driving_people(settings)
    for person in people:
        if person.files.are_in_own_folder:
            with own_folder(person.files.folder):
                pass  # it belongs to this program from now on; the lock is taken again for the videos
    head = settings.head or read_checkpoint(settings.target_ckpt).hyper_parameters.get("head") or "auto"
    scale = max(SMALLEST_SCALE_PX, *read_tracking(settings.target_tracking_results).image_size)
    trackings = []
    for person in people:
        work = person.files.prediction.parent / f"{person.name}_tracked"
        options = PreprocessOptions.from_ini(
            video=person.video,
            out=work / "dataset",
            estimators=settings.driving_estimators,
            scale=scale,
            max_frames=settings.max_frames,
            device=settings.device,
            crop_to_head="false" if settings.camera == "driving" else "auto",
        )
        tracked = TrackingSettings.from_ini(
            dataset=build_dataset(options), out=work / "tracking", head=str(head), device=settings.device
        )
        trackings.append(track_dataset(tracked).path)
    return dataclasses.replace(settings, driving_tracking_results=trackings)
