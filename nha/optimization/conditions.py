"""Statistics of the conditions in the training frames. `docs/method.md`, section 5."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.drive import raw_drive
from nha.avatar.still_torso import facing_camera
from nha.core.types import Camera, FrameBatch, HeadParams
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles


@torch.no_grad()
def measure_condition_ranges(avatar: NeuralHeadAvatar, batches: Iterable[FrameBatch]) -> None:
    """Set the avatar's condition ranges to those of the training frames, with the learned corrections."""
    seen: dict[str, list[torch.Tensor]] = {"expr": [], "pose": [], "mouth": []}
    for batch in batches:
        batch = batch.to(avatar.device)
        surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
        p = surface.params
        seen["expr"].append(p.expr)
        joints = (neck_angles(p.neck), jaw_angles(p.jaw), eyes_angles(p.eyes))
        seen["pose"].append(torch.cat([p.rotation, *joints], 1))
        seen["mouth"].append(avatar.mouth_features(surface))
    for name, values in seen.items():
        avatar.condition_ranges.set_range(name, torch.cat(values))


@torch.no_grad()
def measure_drive(avatar: BlendAvatar, tracked: HeadParams, camera: Camera) -> None:
    """Set the statistics of the avatar's drive vector to those of the training frames as tracked.

    A still torso faces the camera of the first frame.

    Args:
        avatar: the avatar.
        tracked: the tracked parameters of the N training frames.
        camera: their N cameras.
    """
    camera = camera.to(avatar.device)
    if avatar.settings.blend_still_torso:
        avatar.torso_rotation.copy_(facing_camera(camera)[0])
    params = avatar.corrected(tracked.to(avatar.device), None)
    avatar.drive.measure(raw_drive(avatar.head, params, camera))
