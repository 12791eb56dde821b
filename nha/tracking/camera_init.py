"""Initial camera and head poses from 2D-3D landmark pairs, with OpenCV."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.rotations import rotation_vector
from nha.tracking.frames import MIN_CONFIDENCE, MIN_LANDMARKS

# Plausible focal lengths of portraits, in units of the longer side; estimates outside have diverged.
FOCAL_RANGE = (0.7, 8.0)
_START_FOCAL = 2.0  # of the calibration, in the same units
_N_FOCALS = 25
# OpenCV's camera has x right, y down and z forward; ours has x left, y up and z forward.
_HALF_TURN = np.diag([-1.0, -1.0, 1.0])
_CALIBRATION_FLAGS = (
    cv2.CALIB_USE_INTRINSIC_GUESS
    | cv2.CALIB_FIX_PRINCIPAL_POINT
    | cv2.CALIB_FIX_ASPECT_RATIO
    | cv2.CALIB_ZERO_TANGENT_DIST
    | cv2.CALIB_FIX_K1
    | cv2.CALIB_FIX_K2
    | cv2.CALIB_FIX_K3
)


@dataclass(frozen=True)
class RigidPoses:
    """Poses of N frames, NaN in frames with too few landmarks.

    Attributes:
        rotation: [N, 3] axis-angle in radians.
        translation: [N, 3] metres.
        error_px: [N] root mean square reprojection error.
    """

    rotation: Tensor
    translation: Tensor
    error_px: Tensor


def calibrate(
    landmarks: Tensor, landmarks_px: Tensor, confidence: Tensor, image_size: tuple[int, int]
) -> float:
    """Focal length, in units of the longer side, from landmarks of one or more frames.

    OpenCV's calibration with a free focal length, fixed aspect, centred principal point and no distortion
    (`docs/method.md`, section 7). Where it fails or diverges, the focal length with the smallest reprojection error
    out of a fixed range; the start value where no pose fits any frame.

    Args:
        landmarks: [L, 3] of the neutral head, metres.
        landmarks_px: [N, L, 2].
        confidence: [N, L] in 0..1.
        image_size: (height, width).
    """
    longer = max(image_size)
    views = [
        (landmarks[use].double().numpy().astype(np.float32), pixels[use].numpy().astype(np.float32))
        for pixels, use in zip(landmarks_px, confidence > MIN_CONFIDENCE, strict=True)
        if int(use.sum()) >= MIN_LANDMARKS
    ]
    guess = _intrinsics(_START_FOCAL, image_size)
    try:
        _, found, *_ = cv2.calibrateCamera(
            [points for points, _ in views],
            [pixels for _, pixels in views],
            (image_size[1], image_size[0]),
            guess.copy(),
            np.zeros(5),
            flags=_CALIBRATION_FLAGS,
        )
        focal = float(found[0, 0]) / longer
    except cv2.error:
        focal = math.nan
    if math.isfinite(focal) and FOCAL_RANGE[0] <= focal <= FOCAL_RANGE[1]:
        return focal
    candidates = np.geomspace(*FOCAL_RANGE, _N_FOCALS)
    errors = [
        float(rigid_poses(landmarks, landmarks_px, confidence, focal, image_size).error_px.nanmedian())
        for focal in candidates
    ]
    return _START_FOCAL if np.isnan(errors).all() else float(candidates[int(np.nanargmin(errors))])


def no_pose_error(frames: str, data_path: Path) -> UserError:
    """The error for frames of a dataset none of which has a pose; `frames` says which."""
    return UserError(
        f"no head pose fits the landmarks of {frames} of '{data_path}'; look at its dataset.mp4 and make them again "
        "with `nha preprocess`"
    )


def rigid_poses(
    landmarks: Tensor, landmarks_px: Tensor, confidence: Tensor, focal: float, image_size: tuple[int, int]
) -> RigidPoses:
    """Pose of the rigid head in each frame, robust to single wrong landmarks.

    Args:
        landmarks: [L, 3] or [N, L, 3] of the neutral head (rotation and translation zero), metres.
        landmarks_px: [N, L, 2].
        confidence: [N, L] in 0..1.
        focal: focal length in units of the longer side.
        image_size: (height, width).
    """
    n = len(landmarks_px)
    intrinsics = _intrinsics(focal, image_size)
    rotation = np.full((n, 3, 3), np.nan)
    translation, error = np.full((n, 3), np.nan), np.full(n, np.nan)
    points = landmarks.double().numpy()
    points = np.broadcast_to(points, (n, *points.shape[-2:]))
    for row in range(n):
        confident = (confidence[row] > MIN_CONFIDENCE).numpy()
        if confident.sum() >= MIN_LANDMARKS:
            pose = _pose(points[row][confident], landmarks_px[row].double().numpy()[confident], intrinsics)
            if pose is not None:
                rotation[row], translation[row], error[row] = pose
    vectors = torch.full((n, 3), math.nan)
    known = torch.from_numpy(np.isfinite(error))
    vectors[known] = facing_branch(rotation_vector(torch.from_numpy(rotation)[known])).float()
    return RigidPoses(vectors, torch.from_numpy(translation).float(), torch.from_numpy(error).float())


def facing_branch(rotation: Tensor) -> Tensor:
    """Of the two axis-angle vectors of a rotation, the one whose axis points up: [N, 3] to [N, 3] radians.

    Heads face the camera near (0, pi, 0), where the shorter of the two vectors changes its sign from one side to
    the other; differences between frames (smoothness, reenactment) need one branch.
    """
    angle = torch.linalg.vector_norm(rotation, dim=-1, keepdim=True)
    turned = rotation * (1 - 2 * math.pi / angle.clamp_min(1e-6))
    return torch.where((rotation[..., 1:2] < 0) & (angle > math.pi / 2), turned, rotation)


def _intrinsics(focal: float, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    focal_px = focal * max(image_size)
    return np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])


def _pose(
    points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Rotation [3, 3], translation [3] in our axes and error in pixels; None where OpenCV finds none."""
    try:
        found, vector, shift = cv2.solvePnP(points, pixels, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:  # landmarks that all lie in one place
        return None
    if not found or not np.isfinite(vector).all() or shift[2, 0] <= 0:
        return None
    inliers = np.ones(len(points), bool)
    for _ in range(2):  # fit, remove outliers, fit again
        vector, shift = cv2.solvePnPRefineLM(
            points[inliers], pixels[inliers], intrinsics, None, vector, shift
        )
        projected = cv2.projectPoints(points, vector, shift, intrinsics, None)[0][:, 0]
        distance = np.linalg.norm(projected - pixels, axis=1)
        keep = distance < 3 * np.median(distance) + 1e-3
        if keep.sum() < MIN_LANDMARKS:
            break
        inliers = keep
    if not (np.isfinite(vector).all() and np.isfinite(shift).all()) or shift[2, 0] <= 0:
        return None
    rotation = _HALF_TURN @ cv2.Rodrigues(vector)[0]
    return rotation, _HALF_TURN @ shift[:, 0], float(np.sqrt((distance[inliers] ** 2).mean()))
