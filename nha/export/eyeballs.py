"""Eyeballs behind their lids, for programs that draw the nearest surface.

Our renderer shows a lid even where the eyeball intersects it (`nha.render.gbuffer.visible_surface`), and training
relies on that: lids of a trained avatar may lie some millimetres inside the eyeball. In a file for other programs, each
eyeball is moved back along the head's z axis until the lids are in front of it. From the front this changes nothing.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.types import HeadParams
from nha.export.face_shapes import FaceShapes
from nha.export.joints import invert_skinning, posed_joints
from nha.export.rig import Rig

_SIDES = ("left", "right")
_BLINKS, _TRACKED_FRAMES = (0.0, 0.5, 1.0), 20  # poses that are tried
_CLEARANCE_M = 0.0003  # between eyeball and lids
_LARGEST_SHIFT_M = 0.008  # beyond it the eyes would lie too deep; rather a lid is intersected
_FRONT = -0.2  # surface behind this fraction of the radius belongs to the socket or to the back of the head


def eyeball_shifts(avatar: HeadAvatar, neutral: HeadParams, tracked: HeadParams) -> tuple[float, float]:
    """How far the left and the right eyeball must move back in metres so that the lids are in front.

    Args:
        avatar: the avatar.
        neutral: [1], the person in neutral pose, in which a blink is tried.
        tracked: [N] tracked frames, some of which are tried.
    """
    shapes = FaceShapes(avatar, neutral)
    blinks = [shapes.params(eyeBlinkLeft=x, eyeBlinkRight=x) for x in _BLINKS]
    some = tracked[:: -(-len(tracked) // _TRACKED_FRAMES)]
    poses = {name: torch.cat([getattr(p, name) for p in (*blinks, some)]) for name in vars(some)}
    left, right = (_shift(avatar, HeadParams(**poses), side) for side in _SIDES)
    return left, right


def move_eyeballs_back(avatar: HeadAvatar, rig: Rig, shifts: tuple[float, float]) -> Rig:
    """The rig with its eyeballs moved back by the shifts of the left and the right one in metres."""
    back = rig.rest.new_zeros(len(rig.rest))
    for side, shift in zip(_SIDES, shifts, strict=True):
        back = back + shift * _eyeball(avatar, side).to(back)
    return dataclasses.replace(rig, rest=rig.rest - back[:, None] * back.new_tensor([0.0, 0.0, 1.0]))


def _eyeball(avatar: HeadAvatar, side: str) -> Tensor:
    """Which vertices [V] are the eyeball's."""
    return avatar.head.hard_labels[:, avatar.head.part(f"{side}_eyeball")] > 0


def _shift(avatar: HeadAvatar, poses: HeadParams, side: str) -> float:
    needed, eyeball = 0.0, _eyeball(avatar, side)
    eyeballs = torch.stack([_eyeball(avatar, name) for name in _SIDES]).any(0)
    for i in range(len(poses)):
        params = poses[i : i + 1]
        vertices = avatar.surface(params).vertices
        rest = invert_skinning(avatar.head, posed_joints(avatar.head, params), vertices)[0]
        centre, radius = _sphere(rest[eyeball])
        offset = rest[~eyeballs] - centre
        across = offset[:, :2].norm(dim=1)
        front = (radius**2 - across**2).clamp_min(0).sqrt()
        covering = (across < radius) & (offset[:, 2] > _FRONT * radius)
        if covering.any():
            needed = max(needed, float((front - offset[:, 2])[covering].max()) + _CLEARANCE_M)
    return min(needed, _LARGEST_SHIFT_M)


def _sphere(points: Tensor) -> tuple[Tensor, Tensor]:
    """Centre [3] and radius of the sphere that fits points [P, 3] best."""
    design = torch.cat([2 * points, torch.ones_like(points[:, :1])], 1)
    solution = torch.linalg.lstsq(design, points.square().sum(1, keepdim=True)).solution[:, 0]
    centre = solution[:3]
    return centre, (solution[3] + centre.square().sum()).sqrt()
