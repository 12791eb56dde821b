"""The poses of an avatar that are exported: the neutral pose and tracked frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nha.avatar.base import HeadAvatar
from nha.avatar.training_record import record_of, recorded_shape
from nha.core.errors import UserError
from nha.core.types import HeadParams, Surface
from nha.data.tracking_file import TrackingResult

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Pose:
    """A posed avatar.

    Attributes:
        name: stem of its files' names.
        frame_id: the tracked frame; None for the neutral pose.
        surface: [1], with the avatar's corrections.
    """

    name: str
    frame_id: int | None
    surface: Surface

    @property
    def params(self) -> HeadParams:
        return self.surface.params


def neutral_params(avatar: HeadAvatar, tracking: TrackingResult | None) -> HeadParams:
    """The person in neutral pose [1]: no expression, all angles 0, root joint at the origin, looking along +z.

    Without a tracking result the shape is the one that the checkpoint records, else the template's.
    """
    neutral = avatar.head.neutral_params(1)
    shape = recorded_shape(record_of(avatar)) if tracking is None else tracking.shape
    if shape is not None:
        neutral = neutral.replace(shape=torch.from_numpy(shape)[None].to(neutral.shape))
    return avatar.corrected(neutral, None)


def frame_params(avatar: HeadAvatar, tracking: TrackingResult, frame_ids: Sequence[int]) -> HeadParams:
    """Tracked frames [N] with the avatar's corrections. Raises UserError for frames that were not tracked."""
    device = avatar.device
    tracked = tracking.params_for(frame_ids).to(device)
    return avatar.corrected(tracked, torch.tensor(list(frame_ids), device=device))


@torch.no_grad()
def pose_avatar(avatar: HeadAvatar, tracking: TrackingResult | None, frame_id: int | None) -> Pose:
    """The avatar posed as in a tracked frame; None is the neutral pose. Raises UserError for an unknown frame."""
    if frame_id is None:
        return Pose(NEUTRAL, None, avatar.surface(neutral_params(avatar, tracking)))
    if tracking is None:
        raise UserError(f"frame {frame_id} needs a tracking file; name it with --tracking")
    params = frame_params(avatar, tracking, [frame_id])
    return Pose(f"frame_{frame_id:04d}", frame_id, avatar.surface(params))
