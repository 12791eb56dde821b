"""First camera and head poses from 2D-3D landmark pairs, with OpenCV."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.rotations import rotation_vector
from nha.tracking.frames import MIN_CONFIDENCE, MIN_LANDMARKS

# Focal lengths in units of the longer side that a portrait can have; beyond, an estimate has run away.
FOCAL_RANGE = (0.7, 8.0)
_N_FOCALS = 25
# OpenCV looks along +z with x right and y down; we look along +z with x left and y up.
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
    """rotation: [N, 3] axis-angle in radians; translation: [N, 3] metres; error_px: [N] root mean square.

    Frames with too few landmarks hold NaN.
    """

    rotation: Tensor
    translation: Tensor
    error_px: Tensor


def calibrate(
    landmarks: Tensor, landmarks_px: Tensor, confidence: Tensor, image_size: tuple[int, int]
) -> float:
    """Focal length, in units of the longer side, from landmarks of one or more frames. Method, section 7.

    OpenCV's calibration with a free focal length, fixed aspect, centred principal point and no distortion.
    Where it fails or runs away, the focal length with the least reprojection error out of a fixed range.
    landmarks: [L, 3] of the resting head, metres; landmarks_px: [N, L, 2]; confidence: [N, L].
    """
    longer = max(image_size)
    views = [
        (landmarks[seen].double().numpy().astype(np.float32), pixels[seen].numpy().astype(np.float32))
        for pixels, seen in zip(landmarks_px, confidence > MIN_CONFIDENCE, strict=True)
        if int(seen.sum()) >= MIN_LANDMARKS
    ]
    guess = _intrinsics(2.0, image_size)
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
    return float(candidates[int(np.nanargmin(errors))])


def rigid_poses(
    landmarks: Tensor, landmarks_px: Tensor, confidence: Tensor, focal: float, image_size: tuple[int, int]
) -> RigidPoses:
    """Pose of the rigid head in each frame, robust to single wrong landmarks.

    landmarks: [L, 3] of the resting head (rotation and translation zero), metres, or [N, L, 3];
    landmarks_px: [N, L, 2]; confidence: [N, L]; focal in units of the longer side; image_size: (H, W).
    """
    n = len(landmarks_px)
    intrinsics = _intrinsics(focal, image_size)
    rotation = np.full((n, 3, 3), np.nan)
    translation, error = np.full((n, 3), np.nan), np.full(n, np.nan)
    points = landmarks.double().numpy()
    points = np.broadcast_to(points, (n, *points.shape[-2:]))
    for row in range(n):
        seen = (confidence[row] > MIN_CONFIDENCE).numpy()
        if seen.sum() >= MIN_LANDMARKS:
            pose = _pose(points[row][seen], landmarks_px[row].double().numpy()[seen], intrinsics)
            if pose is not None:
                rotation[row], translation[row], error[row] = pose
    vectors = torch.full((n, 3), math.nan)
    known = torch.from_numpy(np.isfinite(error))
    vectors[known] = facing_branch(rotation_vector(torch.from_numpy(rotation)[known])).float()
    return RigidPoses(vectors, torch.from_numpy(translation).float(), torch.from_numpy(error).float())


def facing_branch(rotation: Tensor) -> Tensor:
    """Of the two axis-angle vectors of a rotation the one whose axis points up: [N, 3] to [N, 3].

    Heads face the camera near (0, pi, 0), where the vector of least length flips its sign from one side to
    the other; differences between frames (smoothness, reenactment) need one branch.
    """
    angle = torch.linalg.vector_norm(rotation, dim=-1, keepdim=True)
    turned = rotation * (1 - 2 * math.pi / angle.clamp_min(1e-6))
    return torch.where((rotation[..., 1:2] < 0) & (angle > math.pi / 2), turned, rotation)


def _intrinsics(focal: float, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    focal_px = focal * max(image_size)
    return np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])


def _pose(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray):
    """Rotation [3, 3], translation [3] in our axes and error in pixels; None where OpenCV finds none."""
    found, vector, shift = cv2.solvePnP(points, pixels, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found or not np.isfinite(vector).all() or shift[2, 0] <= 0:
        return None
    inliers = np.ones(len(points), bool)
    for _ in range(2):  # fit, drop what is far off, fit again
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
