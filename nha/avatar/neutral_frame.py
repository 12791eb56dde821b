"""Selection of a frame in which a tracked person has a neutral expression."""

from __future__ import annotations

import numpy as np
import torch

from nha.core.constants import constant
from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.rotations import rotation_matrix
from nha.core.types import HeadParams
from nha.data.tracking_file import TrackingResult
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.landmark_openings import relative_openings
from nha.head.model import HeadModel

# Angles of jaw opening, head and gaze away from the camera; each costs as much as an expression of the video's median
# strength.
_JAW_DEG, _HEAD_DEG, _GAZE_DEG = 5.0, 15.0, 20.0
# Opening of the lips, and of the eyelids away from the video's median, as parts of the eye distance; they cost as much.
_LIPS, _LIDS = 0.02, 0.02


def neutral_frame(tracking: TrackingResult, head: HeadModel | None = None) -> int:
    """The id of the frame with a weak expression, a closed mouth, and head and gaze towards the camera.

    The cost of a frame is the sum of the norm of its expression coefficients, divided by the video's median, and of
    the three angles, each divided by its constant above; with the head model that was tracked, also of the openings of
    lips and eyelids, because lips can be open while the jaw is not. The first of equal frames is returned.
    """
    strength = np.linalg.norm(tracking.expr, axis=1)
    strength = strength / max(float(np.median(strength)), 1e-6)
    params = tracking.params_for(tracking.frame)
    jaw_deg = torch.rad2deg(jaw_angles(params.jaw)[:, 0]).abs().numpy()
    gaze_deg = torch.rad2deg(eyes_angles(params.eyes)).abs().amax(1).numpy()
    cost = strength + jaw_deg / _JAW_DEG + _angle_to_camera_deg(tracking) / _HEAD_DEG + gaze_deg / _GAZE_DEG
    if head is not None:
        opening = _openings(params, head)
        cost = cost + opening["lip"] / _LIPS + np.abs(opening["lid"] - np.median(opening["lid"])) / _LIDS
    return int(tracking.frame[np.argmin(cost)])


@torch.no_grad()
def _openings(params: HeadParams, head: HeadModel) -> dict[str, np.ndarray]:
    """The openings of F tracked heads, see `relative_openings`."""
    device = head.template.device
    points = head.plain_landmarks(params.to(device), torch.arange(N_FACE_LANDMARKS, device=device))
    return relative_openings(points)


def _angle_to_camera_deg(tracking: TrackingResult) -> np.ndarray:
    """Angle between each frame's facing direction and the direction to the camera: [F] degrees."""
    params = tracking.params_for(tracking.frame)
    forward = constant((0.0, 0.0, 1.0), params.rotation)  # a head faces +z
    facing = rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck)) @ forward
    facing_in_camera = facing @ torch.from_numpy(tracking.RT[:, :3])
    return torch.rad2deg(torch.arccos((-facing_in_camera[:, 2]).clamp(-1, 1))).numpy()
