"""Moving one avatar by the motion of another person. Method, section 6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.over_time import continuous_rotations, smoothed_over_time
from nha.core.types import Camera, HeadParams

TRANSFERRED = ("expr", "translation", "rotation", "neck", "jaw", "eyes")
POSE = ("translation", "rotation", "neck")  # where the head is and how it is turned
FACE = ("expr", "jaw", "eyes")


@dataclass(frozen=True)
class Actor:
    """A person: what the tracker knows of the video, and the avatar, which one who only drives need not have.

    neutral: tracked parameters [1] of the frame with a neutral face; neutral_frame: that frame's id.
    """

    avatar: NeuralHeadAvatar | None
    neutral: HeadParams
    neutral_frame: int

    def corrected(self, tracked: HeadParams, frames: Tensor) -> HeadParams:
        """Tracked parameters [N] with the avatar's corrections, where there is one."""
        return tracked if self.avatar is None else self.avatar.corrected(tracked, frames)

    def corrected_neutral(self) -> HeadParams:
        frame = torch.tensor([self.neutral_frame], device=self.neutral.expr.device)
        return self.corrected(self.neutral, frame)


@dataclass(frozen=True)
class Motion:
    """N poses of the target avatar. params: corrected; offset_neck: [N, 3] what its offsets are conditioned on."""

    params: HeadParams
    offset_neck: Tensor

    def __getitem__(self, index) -> Motion:
        return Motion(self.params[index], self.offset_neck[index])


def transfer(
    target_neutral: HeadParams,
    driving: HeadParams,
    driving_neutral: HeadParams,
    names: tuple[str, ...] = TRANSFERRED,
) -> HeadParams:
    """Target's neutral plus the driving's change since its own neutral, before the joint limits.

    target_neutral, driving_neutral: [1], driving: [N]; names: the parameters that move, the others stay as in the
    target's neutral, the shape always. Returns [N].
    """
    n = len(driving)
    still = {name: value.expand(n, -1) for name, value in vars(target_neutral).items()}
    moved = {
        name: getattr(target_neutral, name) + getattr(driving, name) - getattr(driving_neutral, name)
        for name in names
    }
    return HeadParams(**{**still, **moved})


@torch.no_grad()
def transferred_motion(
    target: Actor,
    driving: Actor,
    driving_params: HeadParams,
    driving_frames: Tensor,
    *,
    keep_pose: bool = False,
    place: Literal["target", "driving"] = "target",
    smooth: float = 0.0,
) -> Motion:
    """The target's poses for N tracked driving frames; by default as published.

    driving_params: [N] as tracked; driving_frames: [N] their ids; keep_pose: only the face moves, the head stays as
    in the neutral frame; place: whose neutral frame says where the head stands; smooth: standard deviation, in frames,
    of a Gaussian mean over time. Published: the offsets follow the driving neck as tracked with the *target's*
    correction at that frame's id. That is done where the driving person has an avatar and the neck moves; else they
    follow the neck that is drawn.
    """
    corrected = driving.corrected(driving_params, driving_frames)
    neutral = driving.corrected_neutral()
    if smooth:
        rotation = continuous_rotations(corrected.rotation, neutral.rotation[0])
        corrected = corrected.replace(rotation=rotation)
    start = target.corrected_neutral()
    if place == "driving":
        start = start.replace(**{name: getattr(neutral, name) for name in POSE})
    params = transfer(start, corrected, neutral, FACE if keep_pose else TRANSFERRED)
    offset_neck = params.neck
    if driving.avatar is not None and not keep_pose:
        own = target.avatar.frame_parameters.for_frames(driving_frames, len(driving_params))
        offset_neck = driving_params.neck + own["neck"]
    if smooth:
        params = params.replace(
            **{
                name: smoothed_over_time(getattr(params, name), driving_frames, smooth)
                for name in TRANSFERRED
            }
        )
        offset_neck = smoothed_over_time(offset_neck, driving_frames, smooth)
    return Motion(params, offset_neck)


@torch.no_grad()
def draw_motion(avatar: NeuralHeadAvatar, motion: Motion, camera: Camera, backend: str = "auto") -> Tensor:
    """The pictures of N poses: [N, 4, H, W], rgb01 on white and alpha."""
    surface = avatar.surface(motion.params, offset_neck=motion.offset_neck)
    gbuffer = avatar.rasterize(surface, camera, backend=backend)
    rgb01 = avatar.paint(gbuffer, avatar.mouth_features(surface))
    return torch.cat([rgb01, gbuffer.alpha], 1)


def reenact(
    target: Actor,
    driving: Actor,
    driving_params: HeadParams,
    driving_frames: Tensor,
    camera: Camera,
    backend: str = "auto",
) -> Tensor:
    """The target's pictures, moved like N tracked driving frames, as published.

    driving_params: [N] as tracked; driving_frames: [N] their ids; camera: N times the target's.
    Returns [N, 4, H, W], rgb01 on white and alpha.
    """
    motion = transferred_motion(target, driving, driving_params, driving_frames)
    return draw_motion(target.avatar, motion, camera, backend)
