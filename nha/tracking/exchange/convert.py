"""Import of a tracking of another program: of its possible readings, the one that fits the dataset's landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.output_folder import own_files
from nha.core.system import get_logger
from nha.core.types import HeadParams
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_rgb
from nha.data.messages import some_of
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import TRACKING_FILE_NAMES, TrackingResult, write_tracking
from nha.data.tracking_from_params import tracking_from_params
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.tracking.exchange.placement import ForeignTracking, Placement, head_params
from nha.tracking.exchange.readers import read_foreign

LARGEST_ERROR = 0.1
"""Median distance of the landmarks, as a fraction of the face's height, above which an import is refused."""

DOUBTFUL_ERROR = 0.05
"""The same, above which an import is a warning."""

_IMPOSSIBLE_JAW_RAD = 0.35  # no jaw rotates upwards by this angle
_N_CHECKED_FRAMES = 20
_INNER = torch.arange(17, N_FACE_LANDMARKS)  # without the jaw line, whose landmarks slide over the surface
_UNKNOWN_FOCAL = 2.5  # of files without a camera, in units of the longer side: usual for portraits
_UNKNOWN_SIZE = (512, 512)  # of files that do not name their image size, without a dataset

_logger = get_logger(__name__)


@dataclass(frozen=True)
class ImportResult:
    """An imported tracking.

    Attributes:
        path: the written file.
        program: the program that made the original.
        convention: the reading of its poses that was taken.
        error: median landmark distance as a fraction of the face's height; None without a dataset.
    """

    path: Path
    program: str
    convention: str
    error: float | None


def import_tracking(
    source: str | Path,
    out: str | Path,
    *,
    dataset: str | Path | None = None,
    head: str = "auto",
    cameras: Path | None = None,
    serial: str | None = None,
) -> ImportResult:
    """Convert a tracking of another program and check it against the landmarks of a dataset.

    Args:
        source: its file or folder, see `read_foreign`.
        out: folder to write `tracked_flame_params.npz` into.
        dataset: dataset of the same video. Without one, poses and camera are not checked, which is enough for driving.
        head: the head model that the file was made with.
        cameras, serial: calibration of the NeRSemble benchmark.

    Raises:
        UserError: the file is not supported, or does not fit the dataset.
    """
    out = Path(out)
    if (out / TRACKING_FILE_NAMES[0]).exists():
        raise UserError(f"'{out}' holds a tracking already; choose another --out")
    foreign = read_foreign(source, cameras, serial)
    assets = load_head(head)
    model = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    for note in foreign.notes:
        _logger.info("%s: %s", foreign.program, note)
    _check_coefficients(foreign, model)
    folder = None if dataset is None else DatasetFolder.open(dataset)
    if folder is None:
        _logger.info("no --dataset: poses and camera are not checked; use the file for driving only")
        placement, ids, error = _plausible_placement(foreign), foreign.ids, None
        size = foreign.image_size or _UNKNOWN_SIZE
    else:
        size = _image_size(foreign, folder)
        placement, ids, error = _best_reading(foreign, model, folder, size)
    params = head_params(foreign, placement, model)
    _log_limits(foreign, placement)
    rows = np.argsort(ids, kind="stable")
    origin = TrackingOrigin(assets.identity)
    if folder is not None:
        rows = rows[np.isin(ids[rows], folder.frame_ids())]
        origin = TrackingOrigin.of(folder, ids[rows].tolist(), assets.identity)
    result = _as_result(params, rows, ids, placement, size, origin)
    path = out / TRACKING_FILE_NAMES[0]
    with own_files(path):
        write_tracking(path, result)
    return ImportResult(path, foreign.program, placement.name, error)


def _best_reading(
    foreign: ForeignTracking, head: HeadModel, folder: DatasetFolder, size: tuple[int, int]
) -> tuple[Placement, np.ndarray, float]:
    """The placement and the frame ids with the smallest landmark error. Raises UserError where none fits."""
    readings = []
    for placement in foreign.placements:
        if placement.intrinsics is None:
            continue
        params = head_params(foreign, placement, head)
        for ids in _possible_ids(foreign.ids, folder.frame_ids()):
            error = _landmark_error(params, ids, placement, head, folder, size)
            if error is not None:
                readings.append((error, placement, ids))
    if not readings:
        raise UserError(
            f"the file of {foreign.program} has no camera, or no frame of '{folder.root}' with landmarks; leave out "
            "--dataset to use it for driving"
        )
    error, placement, ids = min(readings, key=lambda reading: reading[0])
    if error > LARGEST_ERROR:
        raise UserError(
            f"the file of {foreign.program} does not fit '{folder.root}': its landmarks are off by "
            f"{100 * error:.0f} % of the face's height (another video, another crop of it, or another head model; "
            "choose it with --head)"
        )
    log = _logger.warning if error > DOUBTFUL_ERROR else _logger.info
    log(
        "%s: landmarks differ by %.1f %% of the face's height (median); poses read as %s",
        foreign.program,
        100 * error,
        placement.name,
    )
    return placement, ids, error


def _plausible_placement(foreign: ForeignTracking) -> Placement:
    """The program's own placement; where most jaws would be rotated upwards, one with unbounded angles if any."""
    upwards = np.median(foreign.jaw[:, 0]) < -_IMPOSSIBLE_JAW_RAD
    if not upwards:
        return foreign.placements[0]
    return next((one for one in foreign.placements if one.unbounded), foreign.placements[0])


def _possible_ids(ids: np.ndarray, available: list[int]) -> list[np.ndarray]:
    """Readings of a file's frame numbers as ids of a dataset: as they are, from the dataset's first frame on."""
    shifted = ids - ids.min() + available[0]
    options = [ids, shifted]
    if len(available) == len(ids):
        by_order = np.empty_like(ids)
        by_order[np.argsort(ids, kind="stable")] = available
        options.append(by_order)
    different = {option.tobytes(): option for option in options}
    return [option for option in different.values() if np.isin(option, available).any()]


def _landmark_error(
    params: HeadParams,
    ids: np.ndarray,
    placement: Placement,
    head: HeadModel,
    folder: DatasetFolder,
    size: tuple[int, int],
) -> float | None:
    """Median distance of projected and annotated landmarks as a fraction of the face's height; None without any."""
    rows = [row for row, frame_id in enumerate(ids.tolist()) if folder.paths(frame_id).keypoints.is_file()]
    rows = [
        rows[i] for i in np.linspace(0, len(rows) - 1, min(_N_CHECKED_FRAMES, len(rows))).round().astype(int)
    ]
    found = []
    for row in rows:
        try:
            found.append((row, read_keypoints(folder.paths(int(ids[row])).keypoints)))
        except UserError:
            continue  # a frame without a face
    if not found:
        return None
    chosen = [row for row, _ in found]
    annotated = torch.from_numpy(np.stack([keypoints.landmarks_px for _, keypoints in found]))
    result = _as_result(params, np.array(chosen), ids, placement, size, TrackingOrigin())
    camera = result.camera_for(result.frame.tolist(), _dataset_size(folder))
    projected = project(head.plain_landmarks(params[chosen], _INNER), camera)
    if (projected[..., 2] <= 0).any():
        return float("inf")  # behind the camera
    distances = (projected[..., :2] - annotated[:, _INNER]).norm(dim=-1)
    heights = annotated[..., 1].amax(1) - annotated[..., 1].amin(1)
    return float((distances / heights[:, None]).median())


def _as_result(
    params: HeadParams,
    rows: np.ndarray,
    ids: np.ndarray,
    placement: Placement,
    size: tuple[int, int],
    origin: TrackingOrigin,
) -> TrackingResult:
    intrinsics = (
        np.array([_UNKNOWN_FOCAL, 0.5, 0.5]) if placement.intrinsics is None else placement.intrinsics
    )
    chosen = params[torch.from_numpy(np.ascontiguousarray(rows))]
    return tracking_from_params(chosen, ids[rows], intrinsics, size, "image_{:04d}.png", origin)


def _dataset_size(folder: DatasetFolder) -> tuple[int, int]:
    return tuple(read_rgb(folder.paths(folder.frame_ids()[0]).image).shape[:2])


def _image_size(foreign: ForeignTracking, folder: DatasetFolder) -> tuple[int, int]:
    """The size that the intrinsics refer to. Raises UserError where the dataset has another aspect ratio."""
    own = _dataset_size(folder)
    if foreign.image_size is None:
        return own
    (height, width), (tracked_height, tracked_width) = own, foreign.image_size
    if abs(height * tracked_width - width * tracked_height) > max(tracked_height, tracked_width):
        raise UserError(
            f"the file of {foreign.program} was made from images of {tracked_width} x {tracked_height} pixels, those "
            f"of '{folder.root}' have {width} x {height}: preprocess the same images, without --crop_to_head"
        )
    return foreign.image_size


def _check_coefficients(foreign: ForeignTracking, head: HeadModel) -> None:
    """Raise UserError for more coefficients than the head model has; log where there are fewer."""
    for what, given, size in (
        ("shape", len(foreign.shape), head.n_shape),
        ("expression", foreign.expr.shape[1], head.n_expr),
    ):
        if given > size:
            raise UserError(
                f"the file has {given} {what} coefficients, the head model {size}; choose its head model with --head"
            )
        if given < size:
            _logger.info(
                "%s: %d of %d %s coefficients; the others are zero", foreign.program, given, size, what
            )


def _log_limits(foreign: ForeignTracking, placement: Placement) -> None:
    """Say which frames have joint angles beyond the limits of this project, where they are clipped."""
    if placement.unbounded:
        return
    for name, angles, limits in (
        ("neck", foreign.neck, NECK_LIMITS_DEG),
        ("jaw", foreign.jaw, JAW_LIMITS_DEG),
        ("eyes", foreign.eyes, EYES_LIMITS_DEG),
    ):
        low, high = np.radians(limits).T
        beyond = np.maximum(angles - high, low - angles).max(1)
        if (clipped := foreign.ids[beyond > np.radians(2)]).size:
            _logger.info(
                "%s: angles of the %s are clipped to the joint limits, by up to %.0f degrees, in frame %s",
                foreign.program,
                name,
                np.degrees(beyond.max()),
                some_of(clipped.tolist()),
            )
