"""Films of one avatar moved by another: the target's picture, the driving avatar's, and both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from nha.avatar.open import open_avatar
from nha.avatar.reenact import Actor, reenact
from nha.core.config import setting
from nha.core.errors import UserError
from nha.core.system import pick_device, require_writable
from nha.core.types import Camera
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.data.video_io import VideoWriter
from nha.visualization.colours import to_uint8
from nha.visualization.layout import side_by_side

CAPTIONS = ("driving", "reenacted")


@dataclass(frozen=True, kw_only=True)
class ReenactmentSettings:
    """Settings of `reenact_avatar.py`; the names of the published configuration and of its README."""

    target_ckpt: Path = setting(
        section="Whose face is shown",
        help="Checkpoint of the avatar that is moved.",
        aliases=("target_model",),
    )
    target_tracking_results: Path = setting(
        help="Tracking file of that avatar's video, or its folder.", aliases=("target_tracking_results_path",)
    )
    neutral_target_frame: int = setting(0, help="Id of a frame in which this person looks neutral.")

    driving_ckpt: Path = setting(
        section="Who moves it", help="Checkpoint of the avatar that drives.", aliases=("source_model",)
    )
    driving_tracking_results: Path = setting(
        help="Tracking file of the driving video, or its folder.",
        aliases=("source_tracking_results", "driving_tracking_results_path"),
    )
    neutral_driving_frame: int = setting(
        0, help="Id of a frame in which that person looks neutral.", aliases=("neutral_source_frame",)
    )

    outpath: Path = setting(
        section="Output",
        help="Folder for prediction.mp4, driving.mp4 and side_by_side.mp4; or an .mp4 for the side by side, "
        "with the other two beside it.",
        aliases=("out_path",),
    )
    frame_rate: float = setting(25.0, help="Frames per second.", aliases=("fps",))
    max_frames: int = setting(0, help="Use only that many driving frames; 0 is all of them.")
    batch_size: int = setting(4, help="Frames that are drawn at the same time.")
    head: str | None = setting(
        None, help="Head model of both avatars: flame, procedural or a folder; none takes each one's own."
    )
    device: str = setting("auto", help="auto, cpu or cuda.")
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )

    def check(self) -> None:
        """Raise UserError for a number out of its range."""
        if not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame_rate must lie in 0..1000, but is {self.frame_rate:g}")
        if self.batch_size < 1 or self.max_frames < 0:
            raise UserError("--batch_size must be at least 1, and --max_frames at least 0")


@dataclass(frozen=True)
class ReenactmentFiles:
    """The three films."""

    prediction: Path
    driving: Path
    side_by_side: Path

    @classmethod
    def at(cls, outpath: Path) -> ReenactmentFiles:
        """Their names in a folder, or, for a name that ends in .mp4, beside that file."""
        if outpath.suffix.lower() != ".mp4":
            return cls(outpath / "prediction.mp4", outpath / "driving.mp4", outpath / "side_by_side.mp4")
        return cls(
            outpath.with_name(f"{outpath.stem}_prediction.mp4"),
            outpath.with_name(f"{outpath.stem}_driving.mp4"),
            outpath,
        )


@dataclass(frozen=True)
class _Performance:
    """An actor, the tracking of its video, and its camera at the tracked size."""

    actor: Actor
    tracking: TrackingResult

    def camera(self, frame_ids: list[int]) -> Camera:
        return self.tracking.camera_for(frame_ids, self.tracking.image_size)


def write_reenactment(settings: ReenactmentSettings) -> ReenactmentFiles:
    """Draw the target avatar with the driving avatar's motion, from the target's camera. Method, section 6.

    The films appear when all frames are drawn, or not at all. Raises UserError for files that are missing or
    do not fit, and for neutral frames that were not tracked.
    """
    settings.check()
    files = ReenactmentFiles.at(settings.outpath)
    target_tracking = read_tracking(settings.target_tracking_results)
    driving_tracking = read_tracking(settings.driving_tracking_results)
    _check_neutral(target_tracking, settings.neutral_target_frame, "neutral_target_frame")
    _check_neutral(driving_tracking, settings.neutral_driving_frame, "neutral_driving_frame")
    require_writable(files.prediction.parent)
    device = pick_device(settings.device)
    target = _open(settings.target_ckpt, target_tracking, settings.neutral_target_frame, settings, device)
    driving = _open(settings.driving_ckpt, driving_tracking, settings.neutral_driving_frame, settings, device)
    _check_same_head(target.actor.avatar.head.name, driving.actor.avatar.head.name)

    frame_ids = driving_tracking.frame.tolist()[: settings.max_frames or None]
    pairs = _draw(target, driving, frame_ids, settings, device)
    with ExitStack() as stack:
        prediction, source, both = (
            stack.enter_context(VideoWriter(path, settings.frame_rate))
            for path in (files.prediction, files.driving, files.side_by_side)
        )
        for moved, mover in tqdm(pairs, total=len(frame_ids), desc="reenacting", unit="frame"):
            prediction.write(moved)
            source.write(mover)
            both.write(side_by_side([_to_height(mover, len(moved)), moved], CAPTIONS))
    return files


@torch.no_grad()
def _draw(
    target: _Performance,
    driving: _Performance,
    frame_ids: list[int],
    settings: ReenactmentSettings,
    device: torch.device,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Target's and driving avatar's picture of each frame, uint8 [H, W, 3]."""
    for start in range(0, len(frame_ids), settings.batch_size):
        ids = frame_ids[start : start + settings.batch_size]
        params = driving.tracking.params_for(ids).to(device)
        frames = torch.tensor(ids, device=device)
        moved = reenact(
            target.actor,
            driving.actor,
            params,
            frames,
            target.camera(ids).to(device),
            settings.raster_backend,
        )
        mover = driving.actor.avatar(params, driving.camera(ids).to(device), frames, settings.raster_backend)
        for i in range(len(ids)):
            yield to_uint8(moved[i]), to_uint8(mover[i])


def _open(
    checkpoint: Path,
    tracking: TrackingResult,
    neutral_frame: int,
    settings: ReenactmentSettings,
    device: torch.device,
) -> _Performance:
    avatar = open_avatar(checkpoint, settings.head, device)
    n_expr, tracked = avatar.head.n_expr, tracking.expr.shape[1]
    if tracked != n_expr or tracking.shape.shape[0] != avatar.head.n_shape:
        raise UserError(
            f"the tracking file of '{checkpoint}' is of another head model ({tracked} expression coefficients, not "
            f"{n_expr}); track the video with the head model of the avatar"
        )
    neutral = tracking.params_for([neutral_frame]).to(device)
    return _Performance(Actor(avatar, neutral, neutral_frame), tracking)


def _check_same_head(target: str, driving: str) -> None:
    if target != driving:
        raise UserError(
            f"the target avatar has the head model '{target}', the driving one '{driving}': their expressions mean "
            "different things; train both with the same --head"
        )


def _check_neutral(tracking: TrackingResult, frame: int, key: str) -> None:
    if tracking.missing_frames([frame]):
        raise UserError(
            f"--{key} {frame} was not tracked; choose one of the frames {some_of(tracking.frame.tolist())}"
        )


def _to_height(picture: np.ndarray, height: int) -> np.ndarray:
    if len(picture) == height:
        return picture
    width = max(1, round(picture.shape[1] * height / len(picture)))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
