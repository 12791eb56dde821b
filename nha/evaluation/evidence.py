"""What the verdict on an avatar is based on: its scores, and what dataset and tracking say about the video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nha.core.constants import constant
from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, Segmentation
from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.core.rotations import rotation_matrix
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_labels, read_transforms
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.evaluation.scores import FrameScores
from nha.head.joint_limits import neck_angles
from nha.preprocess.dataset_info import read_info

_NASION, _CHIN = 27, 8
_NOT_HEAD = (Segmentation.BACKGROUND, Segmentation.CLOTHES)
_LARGEST_SIDE_PX = 10**6
_MOST_MASKS = 20  # frames whose masks are read for the size of the head


@dataclass(frozen=True)
class Evidence:
    """Figures of one avatar and of the video that it was trained on.

    Attributes:
        scores: of every evaluated frame.
        yaw_deg: [T] how far each training frame's head is turned; positive shows its right side, 0 faces the camera.
        pitch_deg: [T] how far it looks down.
        mouth_opening: [T] gap between the lips in distances from nasion to chin.
        eye_opening: [T] gap between the lids in widths of the eye.
        head_height_px: height of the head in the video's own pixels, without clothes; median over frames.
        without_face, covered, untracked: ids of frames without a face, with something before the face, and of those
            whose landmarks the tracking rejected.
    """

    scores: Sequence[FrameScores]
    yaw_deg: np.ndarray
    pitch_deg: np.ndarray
    mouth_opening: np.ndarray
    eye_opening: np.ndarray
    head_height_px: float
    without_face: Sequence[int] = ()
    covered: Sequence[int] = ()
    untracked: Sequence[int] = ()


def collect_evidence(dataset: Path, tracking: Path, scores: Path) -> Evidence:
    """Read the evidence from the files of the steps.

    Args:
        dataset: dataset folder.
        tracking: folder of the tracking.
        scores: `scores.json` of an evaluation on all frames.

    Raises:
        UserError: a file is missing or cannot be read.
    """
    folder, tracked, scored = DatasetFolder.open(dataset), read_tracking(tracking), read_scores(scores)
    trained = [frame.frame_id for frame in scored if frame.part == "train"]
    yaw_deg, pitch_deg = head_directions_deg(tracked, trained)
    openings = np.array([_openings(folder, frame_id) for frame_id in trained]).reshape(-1, 2)
    info = read_info(dataset)
    return Evidence(
        scores=scored,
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
        mouth_opening=openings[:, 0],
        eye_opening=openings[:, 1],
        head_height_px=_head_height_px(folder, trained),
        without_face=tuple(info.frames_without_face or ()) if info else (),
        covered=tuple(info.frames_covered or ()) if info else (),
        untracked=_rejected_frames(Path(tracking)),
    )


def read_scores(path: Path) -> list[FrameScores]:
    """The scores of every frame in a file of `scores.write_scores`; undefined values are NaN."""
    try:
        frames = read_json(path)["frames"]
        return [
            FrameScores(
                int(frame["frame"]),
                str(frame["part"]),
                {
                    name: float("nan") if value is None else float(value)
                    for name, value in frame.items()
                    if name not in ("frame", "part")
                },
            )
            for frame in frames
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{path}' holds no scores ({error}); remove it and evaluate the avatar again"
        ) from None


def head_directions_deg(tracking: TrackingResult, frame_ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """How far heads are turned away from the camera and look down.

    Args:
        tracking: the tracking.
        frame_ids: F tracked frames.

    Returns:
        Yaw [F] in degrees, positive where the face points to the right of the image, so that the head's right side is
        seen; and pitch [F], positive where it points down.
    """
    params = tracking.params_for(list(frame_ids))
    forward = constant((0.0, 0.0, 1.0), params.rotation)  # a head faces +z
    facing = rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck)) @ forward
    left, up, ahead = (facing @ torch.from_numpy(tracking.RT[:, :3])).unbind(1)  # in camera coordinates
    yaw = torch.rad2deg(torch.atan2(-left, -ahead)).numpy()
    pitch = torch.rad2deg(torch.asin(-up.clamp(-1, 1))).numpy()
    return yaw, pitch


def _openings(folder: DatasetFolder, frame_id: int) -> tuple[float, float]:
    """Gap of the lips in face heights, and of the lids in eye widths."""
    points = read_keypoints(folder.paths(frame_id).keypoints).landmarks_px

    def gap(pairs: Sequence[tuple[int, int]]) -> float:
        return float(np.mean([np.linalg.norm(points[a] - points[b]) for a, b in pairs]))

    face = max(float(np.linalg.norm(points[_NASION] - points[_CHIN])), 1e-6)
    eye = max(gap(((36, 39), (42, 45))), 1e-6)
    return gap(INNER_LIP_PAIRS) / face, gap(EYE_CLOSURE_PAIRS) / eye


def _head_height_px(folder: DatasetFolder, frame_ids: Sequence[int]) -> float:
    """Median height of the head mask in pixels of the video; NaN without frames."""
    places = np.unique(np.linspace(0, max(len(frame_ids) - 1, 0), _MOST_MASKS).astype(int))
    heights = []
    for frame_id in np.array(frame_ids, int)[places[: len(frame_ids)]].tolist():
        rows = ~np.isin(read_labels(folder.paths(frame_id).segmentation), _NOT_HEAD).all(1)
        if rows.any():
            heights.append(np.ptp(np.flatnonzero(rows)) + 1)
    if not heights:
        return float("nan")
    transforms = read_transforms(folder.transforms) if folder.transforms.is_file() else {}
    sides = [transforms.get(name, 1) for name in ("crop_h", "h_out")]
    if not all(type(side) in (int, float) and 0 < side < _LARGEST_SIDE_PX for side in sides):
        raise UserError(
            f"'{folder.transforms}' holds sizes that no frame has; make it again with `nha preprocess`"
        )
    return float(np.median(heights)) * sides[0] / sides[1]


def _rejected_frames(tracking: Path) -> tuple[int, ...]:
    """Frames whose landmarks the tracking rejected, from its report; none where there is no report."""
    report = (tracking if tracking.is_dir() else tracking.parent) / "tracking_report.json"
    try:
        return tuple(int(i) for i in read_json(report)["outlier_frames"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()
