"""From where an avatar is looked at while its texture is baked."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams
from nha.data.tracking_file import TrackingResult
from nha.export.poses import frame_params, neutral_params

# (yaw, pitch) in degrees of a round trip about the head: they see what the tracked frames do not.
ROUND_TRIP_DEG = (
    (0, 0), (40, 0), (-40, 0), (80, 0), (-80, 0), (130, 0), (-130, 0), (180, 0), (0, 40), (0, -40), (0, 75),
)  # fmt: skip
# How much a view counts: of the frame that is baked, of other tracked frames beside it, and of the round trip.
# Views that count less than 1 fill gaps only.
OWN_SHARE, BESIDE_SHARE, GAP_SHARE = 1.0, 0.05, 0.02

# The round trip's picture where no tracking file says another.
_SIDE_PIXELS = 512
_FOCAL = 2.8  # focal length over the picture's side
_MARGIN = 1.15  # half the picture over the head's radius


@dataclass(frozen=True)
class BakingViews:
    """V posed heads, each with its camera: params and camera hold V; share: [V] how much each view counts."""

    params: HeadParams
    camera: Camera
    share: Tensor

    def __len__(self) -> int:
        return len(self.share)

    def and_also(self, other: BakingViews) -> BakingViews:
        """The views of both, those of `other` after ours; both cameras have one image size."""
        if self.camera.image_size != other.camera.image_size:
            raise ValueError("views of different image sizes cannot be joined")
        mine, theirs = vars(self.params), vars(other.params)
        params = HeadParams(**{name: torch.cat([mine[name], theirs[name]]) for name in mine})
        camera = Camera(
            torch.cat([self.camera.intrinsics, other.camera.intrinsics]),
            torch.cat([self.camera.extrinsics, other.camera.extrinsics]),
            self.camera.image_size,
        )
        return BakingViews(params, camera, torch.cat([self.share, other.share]))


def spread_frames(tracking: TrackingResult, n: int) -> list[int]:
    """At most n frame ids, evenly spread over the turns of the head from left to right."""
    order = np.argsort(tracking.rotation[:, 1] % (2 * math.pi), kind="stable")
    picked = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return sorted(tracking.frame[order[picked]].tolist())


def views_of(avatar: NeuralHeadAvatar, tracking: TrackingResult | None, n_frames: int) -> BakingViews:
    """At most n tracked frames, then a round trip about the person that fills the gaps; without frames that alone."""
    rest = neutral_params(avatar, tracking)
    if tracking is None or n_frames == 0:
        return round_trip_views(avatar, rest)
    frames = spread_frames(tracking, n_frames)
    return tracked_views(avatar, tracking, frames).and_also(round_trip_views(avatar, rest, tracking))


def own_view_first(
    avatar: NeuralHeadAvatar, tracking: TrackingResult, frame_id: int, views: BakingViews
) -> BakingViews:
    """The frame itself, then `views` (of `views_of`), which only fill what it does not show."""
    beside = dataclasses.replace(views, share=views.share.clamp_max(BESIDE_SHARE))
    return tracked_views(avatar, tracking, [frame_id]).and_also(beside)


def tracked_views(avatar: NeuralHeadAvatar, tracking: TrackingResult, frame_ids: list[int]) -> BakingViews:
    """The views of tracked frames, with the avatar's corrections, at the size of the tracked pictures."""
    params = frame_params(avatar, tracking, frame_ids)
    camera = tracking.camera_for(frame_ids, tracking.image_size).to(params.rotation.device)
    return BakingViews(params, camera, params.rotation.new_full((len(frame_ids),), OWN_SHARE))


def round_trip_views(
    avatar: NeuralHeadAvatar, rest: HeadParams, like: TrackingResult | None = None
) -> BakingViews:
    """The views of ROUND_TRIP_DEG on the head at rest [1], which is turned in the middle of the picture and fills it.

    like: a tracking file whose focal length and picture size are taken; their share is GAP_SHARE then, and OWN_SHARE
    without.
    """
    n, on_device = len(ROUND_TRIP_DEG), rest.rotation.new_tensor
    turns = torch.deg2rad(on_device(ROUND_TRIP_DEG))
    zero = torch.zeros_like(turns[:, 0])
    about_y = rotation_matrix(torch.stack([zero, torch.pi + turns[:, 0], zero], 1))  # pi: towards the camera
    rotation = rotation_matrix(torch.stack([turns[:, 1], zero, zero], 1)) @ about_y

    size = (_SIDE_PIXELS, _SIDE_PIXELS) if like is None else like.image_size
    focal = _FOCAL * _SIDE_PIXELS if like is None else float(like.intrinsics_for(size)[0, 0])
    vertices = avatar.surface(rest).vertices[0]
    middle = (vertices.amin(0) + vertices.amax(0)) / 2
    radius = float((vertices - middle).norm(dim=1).max())
    distance = _MARGIN * radius * focal / (min(size) / 2)

    intrinsics = on_device([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    camera = Camera(intrinsics.repeat(n, 1, 1), torch.eye(3, 4).to(intrinsics).repeat(n, 1, 1), size)
    params = HeadParams(**{name: value.expand(n, -1) for name, value in vars(rest).items()})
    params = params.replace(
        rotation=rotation_vector(rotation), translation=on_device([0.0, 0.0, distance]) - rotation @ middle
    )
    return BakingViews(params, camera, on_device(OWN_SHARE if like is None else GAP_SHARE).expand(n))
