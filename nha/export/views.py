"""The views from which an avatar is rendered while its texture is baked."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams
from nha.data.tracking_file import TrackingResult
from nha.export.poses import frame_params, neutral_params

# (yaw, pitch) in degrees of an orbit around the head: its views show what the tracked frames do not.
ORBIT_DEG = (
    (0, 0), (40, 0), (-40, 0), (80, 0), (-80, 0), (130, 0), (-130, 0), (180, 0), (0, 40), (0, -40), (0, 75),
)  # fmt: skip
# Priority of the frame that is baked, of the other tracked frames beside it, and of the orbit. Views whose priority is
# below 1 only fill gaps.
OWN_PRIORITY, OTHER_FRAMES_PRIORITY, ORBIT_PRIORITY = 1.0, 0.05, 0.02

# The orbit's images where no tracking gives their size and focal length.
_SIDE_PIXELS = 512
_FOCAL = 2.8  # focal length over the image's side
_MARGIN = 1.15  # half the image over the head's radius


@dataclass(frozen=True)
class BakingViews:
    """V posed heads, each with its camera.

    Attributes:
        params: V sets of corrected parameters.
        camera: V cameras.
        priority: [V] in 0..1, the factor on a view's weights; see `ORBIT_PRIORITY`.
    """

    params: HeadParams
    camera: Camera
    priority: Tensor

    def __len__(self) -> int:
        return len(self.priority)

    def followed_by(self, other: BakingViews) -> BakingViews:
        """These views and then the others. Raises ValueError where the image sizes differ."""
        if self.camera.image_size != other.camera.image_size:
            raise ValueError("views of different image sizes cannot be joined")
        first, second = vars(self.params), vars(other.params)
        params = HeadParams(**{name: torch.cat([first[name], second[name]]) for name in first})
        camera = Camera(
            torch.cat([self.camera.intrinsics, other.camera.intrinsics]),
            torch.cat([self.camera.extrinsics, other.camera.extrinsics]),
            self.camera.image_size,
        )
        return BakingViews(params, camera, torch.cat([self.priority, other.priority]))


def select_frames_by_yaw(tracking: TrackingResult, n: int) -> list[int]:
    """At most n frame ids, evenly spread over the frames in the order of the head's yaw, ascending ids."""
    order = np.argsort(tracking.rotation[:, 1] % (2 * math.pi), kind="stable")
    picked = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return sorted(tracking.frame[order[picked]].tolist())


def baking_views(avatar: HeadAvatar, tracking: TrackingResult | None, n_frames: int) -> BakingViews:
    """At most n_frames tracked frames and an orbit that fills the gaps; without frames the orbit alone."""
    neutral = neutral_params(avatar, tracking)
    if tracking is None or n_frames == 0:
        return orbit_views(avatar, neutral)
    frames = select_frames_by_yaw(tracking, n_frames)
    return tracked_views(avatar, tracking, frames).followed_by(orbit_views(avatar, neutral, tracking))


def frame_views(
    avatar: HeadAvatar, tracking: TrackingResult, frame_id: int, views: BakingViews
) -> BakingViews:
    """The view of one tracked frame; `views` (of `baking_views`) only fill in what that frame does not show."""
    others = dataclasses.replace(views, priority=views.priority.clamp_max(OTHER_FRAMES_PRIORITY))
    return tracked_views(avatar, tracking, [frame_id]).followed_by(others)


def tracked_views(avatar: HeadAvatar, tracking: TrackingResult, frame_ids: list[int]) -> BakingViews:
    """The views of tracked frames, with the avatar's corrections, at the size of the tracked images."""
    params = frame_params(avatar, tracking, frame_ids)
    camera = tracking.camera_for(frame_ids, tracking.image_size).to(params.rotation.device)
    return BakingViews(params, camera, params.rotation.new_full((len(frame_ids),), OWN_PRIORITY))


def orbit_views(
    avatar: HeadAvatar, neutral: HeadParams, tracking: TrackingResult | None = None
) -> BakingViews:
    """The views of `ORBIT_DEG`: the head turns in the middle of the image and fills it; the first is from the front.

    Args:
        avatar: the avatar.
        neutral: [1] its neutral pose.
        tracking: gives focal length and image size; the views have ORBIT_PRIORITY then, without it OWN_PRIORITY.
    """
    n, on_device = len(ORBIT_DEG), neutral.rotation.new_tensor
    turns = torch.deg2rad(on_device(ORBIT_DEG))
    zero = torch.zeros_like(turns[:, 0])
    about_y = rotation_matrix(torch.stack([zero, torch.pi + turns[:, 0], zero], 1))  # pi: towards the camera
    rotation = rotation_matrix(torch.stack([turns[:, 1], zero, zero], 1)) @ about_y

    size = (_SIDE_PIXELS, _SIDE_PIXELS) if tracking is None else tracking.image_size
    focal_px = _FOCAL * _SIDE_PIXELS if tracking is None else float(tracking.intrinsics_for(size)[0, 0])
    vertices = avatar.surface(neutral).vertices[0]
    centre = (vertices.amin(0) + vertices.amax(0)) / 2
    radius = float((vertices - centre).norm(dim=1).max())
    distance = _MARGIN * radius * focal_px / (min(size) / 2)

    intrinsics = on_device([[focal_px, 0, size[1] / 2], [0, focal_px, size[0] / 2], [0, 0, 1]])
    camera = Camera(intrinsics.repeat(n, 1, 1), torch.eye(3, 4).to(intrinsics).repeat(n, 1, 1), size)
    params = HeadParams(**{name: value.expand(n, -1) for name, value in vars(neutral).items()})
    params = params.replace(
        rotation=rotation_vector(rotation), translation=on_device([0.0, 0.0, distance]) - rotation @ centre
    )
    priority = OWN_PRIORITY if tracking is None else ORBIT_PRIORITY
    return BakingViews(params, camera, on_device(priority).expand(n))
