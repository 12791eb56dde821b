"""Finding a frame in which a tracked person looks neutral."""

from __future__ import annotations

import numpy as np
import torch

from nha.core.rotations import rotation_matrix
from nha.data.tracking_file import TrackingResult
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles

# What costs as much as an expression of the video's median strength: the jaw open, the face turned away, the gaze
# turned away by so many degrees.
_JAW_DEG, _FACE_DEG, _GAZE_DEG = 5.0, 15.0, 20.0


def neutral_frame(tracking: TrackingResult) -> int:
    """The id of the frame with the weakest expression, the mouth shut, the face and the eyes to the camera.

    The first one where several are equally good.
    """
    strength = np.linalg.norm(tracking.expr, axis=1)
    strength = strength / max(float(np.median(strength)), 1e-6)
    params = tracking.params_for(tracking.frame)
    jaw_deg = torch.rad2deg(jaw_angles(params.jaw)[:, 0]).abs().numpy()
    gaze_deg = torch.rad2deg(eyes_angles(params.eyes)).abs().amax(1).numpy()
    cost = strength + jaw_deg / _JAW_DEG + _from_camera_deg(tracking) / _FACE_DEG + gaze_deg / _GAZE_DEG
    return int(tracking.frame[np.argmin(cost)])


def _from_camera_deg(tracking: TrackingResult) -> np.ndarray:
    """How far each frame's face is turned from the camera: [F] degrees."""
    params = tracking.params_for(tracking.frame)
    ahead = params.rotation.new_tensor([0.0, 0.0, 1.0])  # a head looks along +z
    looks = rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck)) @ ahead
    in_camera = looks @ torch.from_numpy(tracking.RT[:, :3])
    return torch.rad2deg(torch.arccos((-in_camera[:, 2]).clamp(-1, 1))).numpy()
