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

_DISTANCE_METRES = 1.0
_ROOT_HEIGHT_METRES = -0.15  # the head's middle is about that much above the root joint
_FOCAL = 2.8  # focal length over the image's side: a head fills most of the picture
_SIDE_PIXELS = 512


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
        return round_trip_views(rest)
    frames = spread_frames(tracking, n_frames)
    return tracked_views(avatar, tracking, frames).and_also(round_trip_views(rest, tracking))


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


def round_trip_views(head: HeadParams, like: TrackingResult | None = None) -> BakingViews:
    """The views of ROUND_TRIP_DEG on one head [1], which keeps its shape and expression and is only turned.

    like: a tracking file whose camera and distance are taken; their share is GAP_SHARE then, and OWN_SHARE without.
    """
    n = len(ROUND_TRIP_DEG)
    zero = head.translation.new_zeros
    turns = torch.deg2rad(head.rotation.new_tensor(ROUND_TRIP_DEG))
    about_y = torch.stack([zero(n), torch.pi + turns[:, 0], zero(n)], 1)  # pi: towards the camera
    about_x = torch.stack([turns[:, 1], zero(n), zero(n)], 1)
    facing = rotation_vector(rotation_matrix(about_x) @ rotation_matrix(about_y))
    if like is None:
        side = float(_SIDE_PIXELS)
        focal = _FOCAL * side
        intrinsics = head.rotation.new_tensor([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
        camera = Camera(
            intrinsics.repeat(n, 1, 1),
            torch.eye(3, 4).to(intrinsics).repeat(n, 1, 1),
            (_SIDE_PIXELS, _SIDE_PIXELS),
        )
        place = head.translation.new_tensor([0.0, _ROOT_HEIGHT_METRES, _DISTANCE_METRES])
    else:
        camera = like.camera_for([0] * n, like.image_size).to(head.rotation.device)
        place = head.translation.new_tensor(np.median(like.translation, 0))
    params = HeadParams(**{name: value.expand(n, -1) for name, value in vars(head).items()})
    params = params.replace(rotation=facing, translation=place.expand(n, 3))
    return BakingViews(params, camera, head.rotation.new_full((n,), OWN_SHARE if like is None else GAP_SHARE))
