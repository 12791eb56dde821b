"""Animates an avatar with the motion of driving people and writes the videos. `docs/method.md`, section 6."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.avatar.arkit_motion import is_arkit_table, read_arkit_csv
from nha.avatar.image_renderer import render_rgba
from nha.core.device import pick_device
from nha.core.finite import TRAIN_AGAIN, require_finite
from nha.core.output_folder import own_files, own_folder, require_own, require_own_file
from nha.core.progress import progress
from nha.core.system import exclusive_use, require_writable
from nha.data.sound import add_sound, has_sound
from nha.data.tracking_file import read_tracking
from nha.data.video_io import VideoWriter, video_info
from nha.reenactment.background import Background
from nha.reenactment.driving_images import driving_images
from nha.reenactment.files import DrivingPerson, ReenactmentFiles, driving_people
from nha.reenactment.motion_report import motion_slopes, write_motion
from nha.reenactment.settings import ReenactmentSettings
from nha.reenactment.tracked_people import (
    NeutralFrame,
    TrackedPerson,
    open_driving_person,
    open_person,
    read_driving_tracking,
)
from nha.reenactment.transfer import Motion, transferred_motion
from nha.render.rasterize import raster_backend
from nha.visualization.layout import side_by_side

CAPTIONS = ("driving", "reenacted")
DEFAULT_FRAME_RATE = 25.0


def reenact_avatar(settings: ReenactmentSettings) -> list[ReenactmentFiles]:
    """Render the target avatar with the motion of each driving person.

    A video appears in the output folder when all of its frames are written, or not at all.

    Args:
        settings: every driving person must have a tracking file.

    Returns:
        The written videos of each driving person.

    Raises:
        UserError: for files that are missing or do not fit each other, and for neutral frames that were not tracked.
    """
    people = driving_people(settings)
    target_tracking = read_tracking(settings.target_tracking_results)
    trackings = [read_driving_tracking(person, settings.target_ckpt, settings.head) for person in people]
    target_neutral = NeutralFrame(settings.neutral_target_frame, "neutral_target_frame", "target")
    neutrals = [NeutralFrame(one.neutral_frame, "neutral_driving_frame", one.name) for one in people]
    for neutral, tracking in zip((target_neutral, *neutrals), (target_tracking, *trackings), strict=True):
        neutral.check(tracking)
    for person in people:
        _require_own_output(person)
    device = pick_device(settings.device)
    target = open_person(settings.target_ckpt, target_tracking, target_neutral, settings.head, device)
    with raster_backend(settings.raster_backend), ExitStack() as held:
        for person in people:
            _hold_output(person, held)
        for person, tracking, neutral in zip(people, trackings, neutrals, strict=True):
            driving = open_driving_person(person, tracking, neutral, target, settings.head, device)
            _write_videos(target, driving, person, settings, device)
    return [person.files for person in people]


def _require_own_output(person: DrivingPerson) -> None:
    """Raise UserError where the videos would replace files from elsewhere."""
    if person.files.are_in_own_folder:
        require_own(person.files.folder)
    else:
        for path in (*person.files, person.files.motion):
            require_own_file(path)
        require_writable(person.files.folder)


def _hold_output(person: DrivingPerson, held: ExitStack) -> None:
    """Lock the folder of a person's videos and record what is written there until `held` is closed."""
    if person.files.are_in_own_folder:
        held.enter_context(own_folder(person.files.folder))
    else:
        held.enter_context(exclusive_use(person.files.folder))
        held.enter_context(own_files(*person.files, person.files.motion))


def _write_videos(
    target: TrackedPerson,
    driving: TrackedPerson,
    person: DrivingPerson,
    settings: ReenactmentSettings,
    device: torch.device,
) -> None:
    """Write the three videos of one driving person, and how far mouth and eyelids open in them."""
    frame_rate, has_video = settings.frame_rate, person.video is not None
    if frame_rate is None:
        frame_rate = float(video_info(person.video).fps) if has_video else recorded_frame_rate(person)
    frame_ids = video_frame_ids(driving.tracking.frame.tolist(), fill_gaps=has_video)
    frame_ids = frame_ids[: settings.max_frames or None]
    background = Background(settings.background, frame_rate)
    unique_ids = list(dict.fromkeys(frame_ids))
    motion = _motion(target, driving, unique_ids, settings, device)
    frames = _render_frames(target, driving, person, frame_ids, motion, settings, device)
    with ExitStack() as stack:
        videos = [stack.enter_context(VideoWriter(path, frame_rate)) for path in person.files]
        shown = progress(frames, f"reenacting {person.name}", len(frame_ids))
        for number, (rendered, driving_image) in enumerate(shown):
            prediction = background.compose(rendered, number)
            both = side_by_side([_scale_to_height(driving_image, len(prediction)), prediction], CAPTIONS)
            for video, image in zip(videos, (prediction, driving_image, both), strict=True):
                video.write(image)
    if has_video and settings.sound and has_sound(person.video):
        start_s = frame_ids[0] / float(video_info(person.video).fps)
        for path in person.files:
            add_sound(path, person.video, start_s)
    write_motion(person, motion_slopes(target, driving, motion, unique_ids))


def recorded_frame_rate(person: DrivingPerson) -> float:
    """The frame rate of a motion without a video: by its time codes, where it has some."""
    recorded = read_arkit_csv(person.tracking).frame_rate if is_arkit_table(person.tracking) else None
    return recorded or DEFAULT_FRAME_RATE


def video_frame_ids(tracked: list[int], fill_gaps: bool) -> list[int]:
    """Frame ids of a video in its order.

    Args:
        tracked: ids of the tracked frames.
        fill_gaps: sort the ids and repeat the previous frame where one was not tracked, so that the video stays
            synchronous with the sound.
    """
    if not fill_gaps:
        return tracked
    filled: list[int] = []
    for frame_id in sorted(tracked):
        if filled:
            filled += [filled[-1]] * (frame_id - filled[-1] - 1)
        filled.append(frame_id)
    return filled


def _motion(
    target: TrackedPerson,
    driving: TrackedPerson,
    frame_ids: list[int],
    settings: ReenactmentSettings,
    device: torch.device,
) -> Motion:
    """The poses of the target in N driving frames."""
    return transferred_motion(
        target.actor,
        driving.actor,
        driving.tracking.params_for(frame_ids).to(device),
        torch.tensor(frame_ids, device=device),
        keep_pose=settings.keep_pose,
        place=settings.camera,
        smooth=settings.smooth,
    )


@torch.no_grad()
def _render_frames(
    target: TrackedPerson,
    driving: TrackedPerson,
    person: DrivingPerson,
    frame_ids: list[int],
    motion: Motion,
    settings: ReenactmentSettings,
    device: torch.device,
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """For each frame the rendered target [4, H, W] and the image of the driving person uint8 [H, W, 3].

    `motion` has one pose for each id in the order in which it occurs first.
    """
    row_of = {frame_id: row for row, frame_id in enumerate(dict.fromkeys(frame_ids))}
    avatar = target.actor.avatar
    images_of = driving_images(driving, person.video, avatar.head, device)
    camera_source = target if settings.camera == "target" else driving
    for start in range(0, len(frame_ids), settings.batch_size):
        ids = frame_ids[start : start + settings.batch_size]
        poses = motion[torch.tensor([row_of[i] for i in ids], device=device)]
        camera = camera_source.camera(ids).to(device)
        rgba = render_rgba(avatar, poses.params, camera, corrected=True, offset_neck=poses.offset_neck)
        frames = dict(zip((f"frame {i}" for i in ids), rgba, strict=True))
        require_finite(frames, "the rendered image", TRAIN_AGAIN)
        yield from zip(rgba, images_of(ids), strict=True)


def _scale_to_height(image: np.ndarray, height: int) -> np.ndarray:
    if len(image) == height:
        return image
    width = max(1, round(image.shape[1] * height / len(image)))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
