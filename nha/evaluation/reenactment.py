"""Films of one avatar moved by other people: the target's picture, who drives, and both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from nha.avatar.open import open_avatar
from nha.avatar.reenact import Actor, draw_motion, transferred_motion
from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.system import get_logger, require_writable
from nha.core.types import Camera
from nha.data.messages import some_of
from nha.data.sound import add_sound, has_sound
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.data.video_io import VideoWriter, iterate_frames, video_info
from nha.evaluation.background import Background
from nha.evaluation.neutral import neutral_frame
from nha.evaluation.reenactment_settings import (
    DrivingPerson,
    ReenactmentFiles,
    ReenactmentSettings,
    driving_people,
)
from nha.render.shading import phong_picture
from nha.visualization.colours import to_uint8
from nha.visualization.layout import side_by_side

CAPTIONS = ("driving", "reenacted")
DEFAULT_FRAME_RATE = 25.0

_logger = get_logger(__name__)


@dataclass(frozen=True)
class Performance:
    """An actor, the tracking of its video, and its camera at the tracked size."""

    actor: Actor
    tracking: TrackingResult

    def camera(self, frame_ids: list[int]) -> Camera:
        return self.tracking.camera_for(frame_ids, self.tracking.image_size)


def write_reenactment(settings: ReenactmentSettings) -> list[ReenactmentFiles]:
    """Draw the target avatar with each driving person's motion. Method, section 6.

    Each film appears when all of its frames are drawn, or not at all. Raises UserError for files that are missing or
    do not fit, and for neutral frames that were not tracked.
    """
    people = driving_people(settings)
    target_tracking = read_tracking(settings.target_tracking_results)
    trackings = [_tracking_of(person) for person in people]
    target_neutral = _neutral(
        target_tracking, settings.neutral_target_frame, "neutral_target_frame", "target"
    )
    neutrals = [
        _neutral(tracking, person.neutral_frame, "neutral_driving_frame", person.name)
        for person, tracking in zip(people, trackings, strict=True)
    ]
    for person in people:
        require_writable(person.files.prediction.parent)
    device = pick_device(settings.device)
    target = _open(settings.target_ckpt, target_tracking, target_neutral, settings, device)
    for person, tracking, neutral in zip(people, trackings, neutrals, strict=True):
        driving = _open_driving(person, tracking, neutral, target, settings, device)
        _write_films(target, driving, person, settings, device)
    return [person.files for person in people]


def _write_films(
    target: Performance,
    driving: Performance,
    person: DrivingPerson,
    settings: ReenactmentSettings,
    device: torch.device,
) -> None:
    """The three films of one driving person."""
    frame_rate, has_video = settings.frame_rate, person.video is not None
    if frame_rate is None:
        frame_rate = float(video_info(person.video).fps) if has_video else DEFAULT_FRAME_RATE
    frame_ids = shown_frames(driving.tracking.frame.tolist(), without_gaps=has_video)
    frame_ids = frame_ids[: settings.max_frames or None]
    background = Background(settings.background, frame_rate)
    pairs = _draw(target, driving, person, frame_ids, settings, device)
    with ExitStack() as stack:
        films = [stack.enter_context(VideoWriter(path, frame_rate)) for path in person.files]
        bar = tqdm(pairs, total=len(frame_ids), desc=f"reenacting {person.name}", unit="frame")
        for number, (drawn, mover) in enumerate(bar):
            moved = background.behind(drawn, number)
            both = side_by_side([_to_height(mover, len(moved)), moved], CAPTIONS)
            for film, picture in zip(films, (moved, mover, both), strict=True):
                film.write(picture)
    if has_video and settings.sound and has_sound(person.video):
        start_s = frame_ids[0] / float(video_info(person.video).fps)
        for path in person.files:
            add_sound(path, person.video, start_s)


def shown_frames(tracked: list[int], without_gaps: bool) -> list[int]:
    """The driving frames of a film, in order; without gaps, as sound needs it, a missing one is its predecessor."""
    if not without_gaps:
        return tracked
    shown: list[int] = []
    for frame_id in sorted(tracked):
        if shown:
            shown += [shown[-1]] * (frame_id - shown[-1] - 1)
        shown.append(frame_id)
    return shown


@torch.no_grad()
def _draw(
    target: Performance,
    driving: Performance,
    person: DrivingPerson,
    frame_ids: list[int],
    settings: ReenactmentSettings,
    device: torch.device,
) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Of each frame the target's picture [4, H, W], and the picture of who drives, uint8 [H, W, 3]."""
    row_of = {frame_id: row for row, frame_id in enumerate(dict.fromkeys(frame_ids))}
    used = list(row_of)
    motion = transferred_motion(
        target.actor,
        driving.actor,
        driving.tracking.params_for(used).to(device),
        torch.tensor(used, device=device),
        keep_pose=settings.keep_pose,
        place=settings.camera,
        smooth=settings.smooth,
    )
    show_driving = _driving_pictures(target, driving, person, settings, device)
    whose = target if settings.camera == "target" else driving
    for start in range(0, len(frame_ids), settings.batch_size):
        ids = frame_ids[start : start + settings.batch_size]
        poses = motion[torch.tensor([row_of[i] for i in ids], device=device)]
        camera = whose.camera(ids).to(device)
        moved = draw_motion(target.actor.avatar, poses, camera, settings.raster_backend)
        yield from zip(moved, show_driving(ids), strict=True)


def _driving_pictures(
    target: Performance,
    driving: Performance,
    person: DrivingPerson,
    settings: ReenactmentSettings,
    device: torch.device,
) -> Callable[[list[int]], list[np.ndarray]]:
    """How the driving person is shown: its avatar where there is one, else the video's picture, else the tracked mesh.

    The function takes frame ids, in ascending order over all calls, and returns uint8 [H, W, 3] each.
    """
    avatar, backend = driving.actor.avatar, settings.raster_backend
    if avatar is None and person.video is not None:
        return _VideoPictures(person.video)
    head = target.actor.avatar.head

    def show(ids: list[int]) -> list[np.ndarray]:
        params = driving.tracking.params_for(ids).to(device)
        camera = driving.camera(ids).to(device)
        if avatar is not None:
            drawn = avatar(params, camera, torch.tensor(ids, device=device), backend)
        else:
            drawn = phong_picture(head(params), head.faces, camera, backend)
        return [to_uint8(picture) for picture in drawn]

    return show


class _VideoPictures:
    """Pictures of a video by frame id, asked for in ascending order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames = enumerate(iterate_frames(path))
        self._number, self._picture = -1, np.zeros((0, 0, 3), np.uint8)

    def __call__(self, ids: list[int]) -> list[np.ndarray]:
        return [self._at(frame_id) for frame_id in ids]

    def _at(self, frame_id: int) -> np.ndarray:
        while self._number < frame_id:
            newest = next(self._frames, None)
            if newest is None:
                raise UserError(
                    f"'{self._path}' has {self._number + 1} frames, but frame {frame_id} was tracked: is it the "
                    "video that the tracking file was made from?"
                )
            self._number, self._picture = newest
        return self._picture


def _tracking_of(person: DrivingPerson) -> TrackingResult:
    if person.tracking is None:
        raise UserError(f"'{person.video}' is not tracked yet; name --driving_tracking_results too")
    if person.video is not None:
        video_info(person.video)  # complains at once of a file that is no video
    return read_tracking(person.tracking)


def _open(
    checkpoint: Path,
    tracking: TrackingResult,
    neutral: int,
    settings: ReenactmentSettings,
    device: torch.device,
) -> Performance:
    avatar = open_avatar(checkpoint, settings.head, device)
    _check_sizes(tracking, avatar.head.n_shape, avatar.head.n_expr, f"of '{checkpoint}'")
    return Performance(Actor(avatar, tracking.params_for([neutral]).to(device), neutral), tracking)


def _open_driving(
    person: DrivingPerson,
    tracking: TrackingResult,
    neutral: int,
    target: Performance,
    settings: ReenactmentSettings,
    device: torch.device,
) -> Performance:
    """Who drives: with an avatar, which must have the target's head model, or as tracked."""
    head = target.actor.avatar.head
    if person.checkpoint is not None:
        driving = _open(person.checkpoint, tracking, neutral, settings, device)
        _check_same_head(head.name, driving.actor.avatar.head.name)
        return driving
    _check_sizes(tracking, head.n_shape, head.n_expr, f"'{person.tracking}'")
    return Performance(Actor(None, tracking.params_for([neutral]).to(device), neutral), tracking)


def _check_sizes(tracking: TrackingResult, n_shape: int, n_expr: int, which: str) -> None:
    tracked = tracking.expr.shape[1]
    if tracked != n_expr or tracking.shape.shape[0] != n_shape:
        raise UserError(
            f"the tracking file {which} is of another head model ({tracked} expression coefficients, not "
            f"{n_expr}); track the video with the head model of the avatar"
        )


def _check_same_head(target: str, driving: str) -> None:
    if target != driving:
        raise UserError(
            f"the target avatar has the head model '{target}', the driving one '{driving}': their expressions mean "
            "different things; train both with the same --head"
        )


def _neutral(tracking: TrackingResult, given: int | None, key: str, who: str) -> int:
    """The neutral frame that is given, checked, or the one that is found."""
    if given is None:
        found = neutral_frame(tracking)
        _logger.info("neutral frame of %s: %d (found; --%s names another)", who, found, key)
        return found
    if tracking.missing_frames([given]):
        raise UserError(
            f"--{key} {given} was not tracked; choose one of the frames {some_of(tracking.frame.tolist())}"
        )
    return given


def _to_height(picture: np.ndarray, height: int) -> np.ndarray:
    if len(picture) == height:
        return picture
    width = max(1, round(picture.shape[1] * height / len(picture)))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
