"""The poses from which an avatar is moved: the neutral pose, and the frames of a video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.neutral_frame import neutral_frame
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult
from nha.export.poses import frame_params, neutral_params
from nha.export.views import orbit_views
from nha.head.model import HeadModel
from nha.reenactment.distances import LandmarkDistances
from nha.reenactment.transfer import transfer_as_seen


@dataclass(frozen=True)
class BasePoses:
    """Poses of an avatar, with its corrections.

    Attributes:
        neutral: [1], the neutral pose, facing the camera.
        camera: [1], the tracker's, or one that shows the whole head from the front.
        frame_ids: F ids of the frames that can be played, ascending.
        frames: [F], their poses; None without frames.
    """

    neutral: HeadParams
    camera: Camera
    frame_ids: tuple[int, ...]
    frames: HeadParams | None

    def at(self, frame_id: int | None) -> HeadParams:
        """The pose [1] of a frame; None is the neutral pose. Raises UserError for a frame that was not tracked."""
        if frame_id is None:
            return self.neutral
        if not self.frame_ids:
            raise UserError(f"frame {frame_id} needs a tracking file; name it with --tracking")
        if frame_id not in self.frame_ids:
            raise UserError(
                f"the tracking file has no frame {frame_id}, only {some_of(list(self.frame_ids))}"
            )
        row = self.frame_ids.index(frame_id)
        return self.frames[row : row + 1]


def base_poses(
    avatar: HeadAvatar, tracking: TrackingResult | None, driving: TrackingResult | None = None
) -> BasePoses:
    """The base poses of an avatar.

    Args:
        avatar: the avatar.
        tracking: the tracking of its video.
        driving: the tracking of another person, whose frames are played instead.
    """
    neutral = neutral_params(avatar, tracking)
    front = orbit_views(avatar, neutral, tracking)
    neutral, camera = front.params[:1], front.camera[:1]
    if tracking is not None:
        camera = tracking.camera_for([0], tracking.image_size).to(neutral.rotation.device)
        neutral = _move_before(camera, neutral)
    played = driving or tracking
    frame_ids = () if played is None else tuple(sorted(played.frame.tolist()))
    frames = None
    if driving is not None:
        moved = driven_frames(neutral, camera.extrinsics[0, :, :3], driving, avatar.head)
        frames = avatar.settled(moved)
    elif tracking is not None:
        frames = frame_params(avatar, tracking, frame_ids)
    return BasePoses(neutral, camera, frame_ids, frames)


def _move_before(camera: Camera, params: HeadParams) -> HeadParams:
    """Transform heads [1] from the frame of a camera at the origin that looks along +z to that of `camera` [1]."""
    rotation, shift = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    turned = rotation_vector(rotation @ rotation_matrix(params.rotation))
    return params.replace(rotation=turned, translation=(params.translation - shift) @ rotation.T)


def driven_frames(
    neutral: HeadParams, camera_rotation: Tensor, driving: TrackingResult, head: HeadModel
) -> HeadParams:
    """The poses of a head that is moved by another person's video. `docs/method.md`, section 6.

    Args:
        neutral: [1], the head's neutral pose.
        camera_rotation: [3, 3], the rotation in the extrinsics of the camera that sees the head.
        driving: the other person's tracking.
        head: the head model of both.

    Returns:
        F poses, in the ascending order of the driving frames.
    """
    params = driving.params_for(sorted(driving.frame.tolist())).to(neutral.expr.device)
    start = driving.params_for([neutral_frame(driving, head)]).to(neutral.expr.device)
    driving_rotation = torch.from_numpy(driving.RT[:, :3]).to(camera_rotation)
    moved = transfer_as_seen(neutral, camera_rotation, params, start, driving_rotation)
    return LandmarkDistances(head, neutral).with_lids_of(moved, params, start)
