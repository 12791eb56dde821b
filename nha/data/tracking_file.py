"""Tracking files: `tracked_flame_params.npz`, in the format of the published project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from nha.core.errors import UserError
from nha.core.file_kind import VIDEO_SUFFIXES
from nha.core.system import atomic_path
from nha.core.types import Camera, HeadParams
from nha.data.foreign_tracking import IMPORT, foreign_program, program_of_folder
from nha.data.messages import some_of
from nha.data.motion import incomplete_file, with_camera
from nha.data.origin import TrackingOrigin
from nha.data.tracking_arrays import as_float, as_whole, load_arrays

# The published code writes the first name; its README mentions the second.
TRACKING_FILE_NAMES = ("tracked_flame_params.npz", "tracked_params.npy")

LARGEST_FRAME_ID = 10**7  # tables of an avatar have a row for every id up to the largest
LARGEST_SIDE_PX = 1 << 16

_PER_FRAME = {"rotation": 3, "translation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": None}
_REQUIRED = (*_PER_FRAME, "shape", "K", "image_size")


_VIDEO = (
    "a video, not a tracking file; run `nha preprocess` and `nha track` on it, or drive with --driving_video"
)
_CHECKPOINT = "a checkpoint, not a tracking file; name tracked_flame_params.npz, or its folder"
_OTHER_KINDS = {
    **dict.fromkeys(VIDEO_SUFFIXES, _VIDEO),
    **dict.fromkeys((".ckpt", ".pth", ".pt"), _CHECKPOINT),
    ".csv": "a table of coefficients: it can drive an avatar (--driving_tracking_results), but holds no camera",
    ".frame": f"a file of metrical-tracker; {IMPORT}",
}


@dataclass(frozen=True)
class TrackingResult:
    """Head parameters, light and camera of F tracked frames of one video. `docs/method.md`, section 7.

    All float arrays are float32.

    Attributes:
        frame: int64 [F], frame ids.
        rotation: [F, 3], axis-angle in radians.
        translation: [F, 3], metres.
        neck_pose, jaw_pose: [F, 3], unbounded (before the joint limits).
        eyes_pose: [F, 6], unbounded, left then right eye.
        shape: [S], shape coefficients.
        expr: [F, E], expression coefficients.
        texture: [n_tex], coefficients of the albedo space.
        light: [F, 9, 3], spherical harmonics; 0 if not estimated.
        K: [3], (focal length / max(H, W), cx / W, cy / H), or [3, 3] in pixels of `image_size`; cy counts from
            the bottom edge.
        RT: [3, 4], x_camera = x_world @ RT[:, :3] + RT[:, 3].
        image_size: (height, width) of the tracked images in pixels.
        view: F names of the image files.
        n_processed: number of frames that the tracker had finished when it wrote the file.
        origin: the head model and the video, empty where the file does not record them.
    """

    frame: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    neck_pose: np.ndarray
    jaw_pose: np.ndarray
    eyes_pose: np.ndarray
    shape: np.ndarray
    expr: np.ndarray
    texture: np.ndarray
    light: np.ndarray
    K: np.ndarray
    RT: np.ndarray
    image_size: tuple[int, int]
    view: tuple[str, ...]
    n_processed: int
    origin: TrackingOrigin = field(default_factory=TrackingOrigin)

    def __len__(self) -> int:
        return len(self.frame)

    def missing_frames(self, frame_ids: Iterable[int]) -> list[int]:
        """Those of `frame_ids` that have not been tracked."""
        tracked = set(self.frame.tolist())
        return [int(i) for i in frame_ids if int(i) not in tracked]

    def rows_of(self, frame_ids: Iterable[int]) -> np.ndarray:
        """Rows of frames, int64 [N]. Raises a UserError that lists frames that have not been tracked."""
        frame_ids = [int(i) for i in frame_ids]
        if missing := self.missing_frames(frame_ids):
            raise UserError(
                f"the tracking result has no frame {some_of(missing)}; track these frames, or leave them out"
            )
        rows = {frame_id: row for row, frame_id in enumerate(self.frame.tolist())}
        return np.array([rows[i] for i in frame_ids], np.int64)

    def params_for(self, frame_ids: Iterable[int]) -> HeadParams:
        """Tracked parameters of N frames, with `shape` repeated. Raises UserError as `rows_of` does."""
        rows = self.rows_of(frame_ids)
        return HeadParams(
            shape=torch.from_numpy(np.tile(self.shape, (len(rows), 1))),
            expr=torch.from_numpy(self.expr[rows]),
            rotation=torch.from_numpy(self.rotation[rows]),
            translation=torch.from_numpy(self.translation[rows]),
            neck=torch.from_numpy(self.neck_pose[rows]),
            jaw=torch.from_numpy(self.jaw_pose[rows]),
            eyes=torch.from_numpy(self.eyes_pose[rows]),
        )

    def intrinsics_for(self, image_size: tuple[int, int]) -> np.ndarray:
        """Intrinsics [3, 3] in pixels for images of another (height, width) than the tracked ones."""
        (height, width), (tracked_height, tracked_width) = image_size, self.image_size
        x_scale, y_scale = width / tracked_width, height / tracked_height
        if self.K.shape == (3, 3):
            return np.diag([x_scale, y_scale, 1.0]).astype(np.float32) @ self.K
        focal_px = float(self.K[0]) * max(self.image_size)
        return np.array(
            [
                [focal_px * x_scale, 0, self.K[1] * width],
                [0, focal_px * y_scale, self.K[2] * height],
                [0, 0, 1],
            ],
            np.float32,
        )

    def camera_for(self, frame_ids: Sequence[int], image_size: tuple[int, int]) -> Camera:
        """Camera of N frames for images of (height, width) `image_size`."""
        n = len(frame_ids)
        return Camera(
            intrinsics=torch.from_numpy(self.intrinsics_for(image_size)).repeat(n, 1, 1),
            extrinsics=torch.from_numpy(self.RT).repeat(n, 1, 1),
            image_size=(int(image_size[0]), int(image_size[1])),
        )

    def fits_image_size(self, image_size: tuple[int, int]) -> bool:
        """Whether images of (height, width) have the aspect ratio of the tracked ones, up to rounding."""
        (height, width), (tracked_height, tracked_width) = image_size, self.image_size
        exact_height = tracked_height * width / tracked_width
        exact_width = tracked_width * height / tracked_height
        return abs(height - exact_height) <= 1 or abs(width - exact_width) <= 1


def find_tracking_file(path: str | Path) -> Path:
    """Find a tracking file.

    Args:
        path: the file, or the folder that contains it under either of the published names.

    Raises:
        UserError: there is none.
    """
    path = Path(path)
    candidates = [path]
    if path.is_dir():
        candidates = [path / name for name in TRACKING_FILE_NAMES]
    elif path.name in TRACKING_FILE_NAMES:
        candidates += [path.with_name(name) for name in TRACKING_FILE_NAMES]
    for candidate in candidates:
        if candidate.is_file():
            if kind := _OTHER_KINDS.get(candidate.suffix.lower()):
                raise UserError(f"'{candidate}' is {kind}")
            return candidate
    if path.is_dir() and (program := program_of_folder(path)):
        raise UserError(f"'{path}' holds a tracking of {program}: {IMPORT}")
    raise UserError(f"there is no tracking file at '{path}'; make one with `nha track`")


def read_tracking(path: str | Path, camera_needed: bool = True) -> TrackingResult:
    """Read a tracking file. Nothing in it is executed.

    Args:
        path: see `find_tracking_file`.
        camera_needed: False accepts a file of motion only, for driving: it gets a camera in front of the head.

    Raises:
        UserError: the file is missing, not an npz archive of plain arrays, lacks a key, or holds arrays whose shapes
            do not fit or whose values are not finite (key and frames are named).
    """
    path = find_tracking_file(path)
    arrays = load_arrays(path)
    if missing := [key for key in _REQUIRED if key not in arrays]:
        if camera_needed or foreign_program(arrays):
            raise incomplete_file(path, arrays, missing)
        arrays = with_camera(arrays, path)

    try:
        result = _from_arrays(arrays)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise UserError(
            f"'{path}' holds a key of a wrong type or shape ({error}); run `nha track` again"
        ) from None
    _check(result, path)
    return result


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> TrackingResult:
    n_frames = len(arrays["rotation"]) if arrays["rotation"].ndim else 0
    frame = as_whole(arrays.get("frame", np.arange(n_frames)))
    return TrackingResult(
        frame=frame,
        **{key: as_float(arrays[key]) for key in _PER_FRAME},
        shape=as_float(arrays["shape"]).reshape(-1),
        texture=as_float(arrays.get("texture", np.zeros(0))).reshape(-1),
        light=as_float(arrays.get("light", np.zeros((n_frames, 9, 3)))),
        K=_squeeze_intrinsics(as_float(arrays["K"])),
        RT=as_float(arrays.get("RT", np.eye(3, 4))).reshape(-1, 4),
        image_size=tuple(as_whole(arrays["image_size"]).tolist()),
        view=tuple(str(name) for name in arrays.get("view", frame.astype(str)).reshape(-1)),
        n_processed=int(as_whole(arrays.get("n_processed", np.array(n_frames)))[0]),
        origin=TrackingOrigin.from_arrays(arrays),
    )


def write_tracking(path: str | Path, result: TrackingResult) -> None:
    """Write a tracking file, atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            **{key: np.asarray(getattr(result, key), np.float32) for key in _PER_FRAME},
            **{
                key: np.asarray(getattr(result, key), np.float32)
                for key in ("shape", "texture", "light", "K", "RT")
            },
            frame=np.asarray(result.frame, np.int64),
            view=np.asarray(result.view, np.str_),
            n_processed=np.asarray(result.n_processed, np.int64),
            image_size=np.asarray(result.image_size, np.int64),
            **result.origin.as_arrays(),
        )


def _squeeze_intrinsics(intrinsics: np.ndarray) -> np.ndarray:
    return intrinsics.reshape(3, 3) if intrinsics.size == 9 else intrinsics.reshape(-1)


def _check(result: TrackingResult, path: Path) -> None:
    n = len(result)
    expected = {
        **{key: (n, width) for key, width in _PER_FRAME.items()},
        "light": (n, 9, 3),
        "RT": (3, 4),
        "K": (3, 3) if result.K.size == 9 else (3,),
    }
    for key, shape in expected.items():
        found = getattr(result, key).shape
        if len(found) != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, found, strict=True)
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise UserError(f"'{path}': {key} must be [{wanted}] for {n} frames, but is {list(found)}")
    if n == 0 or len(set(result.frame.tolist())) != n:
        raise UserError(f"'{path}' must hold at least one frame, and each only once; track the video again")
    if not 0 <= result.frame.min() <= result.frame.max() <= LARGEST_FRAME_ID:
        raise UserError(
            f"'{path}': frame ids must be 0 to {LARGEST_FRAME_ID}, but are {result.frame.min()} to {result.frame.max()}"
        )
    if not 0 <= result.n_processed <= n or len(result.view) != n:
        raise UserError(
            f"'{path}': n_processed is {result.n_processed}, and view has {len(result.view)} names, for {n} frames; "
            "track the video again"
        )
    if (
        len(result.image_size) != 2
        or not 1 <= min(result.image_size) <= max(result.image_size) <= LARGEST_SIDE_PX
    ):
        raise UserError(f"'{path}': image_size must be (height, width), but is {result.image_size}")

    for key in (*_PER_FRAME, "light"):
        bad = ~np.isfinite(getattr(result, key).reshape(n, -1)).all(1)
        if bad.any():
            frames = some_of(result.frame[bad].tolist())
            raise UserError(
                f"'{path}': {key} is not a finite number in frame {frames}; track the video again"
            )
    for key in ("shape", "texture", "K", "RT"):
        if not np.isfinite(getattr(result, key)).all():
            raise UserError(f"'{path}': {key} holds values that are not finite; track the video again")
    focal = np.diag(result.K)[:2] if result.K.size == 9 else result.K[:1]
    if not (focal > 0).all():
        raise UserError(
            f"'{path}': the focal length in K must be positive, but is {focal.tolist()}; track the video again"
        )
