"""Moving one avatar by the motion of another. Method, section 6."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.types import Camera, HeadParams

TRANSFERRED = ("expr", "translation", "rotation", "neck", "jaw", "eyes")


@dataclass(frozen=True)
class Actor:
    """An avatar and what the tracker knows of its video.

    neutral: tracked parameters [1] of the frame with a neutral face; neutral_frame: that frame's id.
    """

    avatar: NeuralHeadAvatar
    neutral: HeadParams
    neutral_frame: int

    def corrected_neutral(self) -> HeadParams:
        frame = torch.tensor([self.neutral_frame], device=self.neutral.expr.device)
        return self.avatar.corrected(self.neutral, frame)


def transfer(target_neutral: HeadParams, driving: HeadParams, driving_neutral: HeadParams) -> HeadParams:
    """Target's neutral plus the driving's change since its own neutral, before the joint limits.

    target_neutral, driving_neutral: [1], driving: [N]. The shape stays the target's. Returns [N].
    """
    n = len(driving)
    moved = {
        name: getattr(target_neutral, name) + getattr(driving, name) - getattr(driving_neutral, name)
        for name in TRANSFERRED
    }
    return target_neutral.replace(shape=target_neutral.shape.expand(n, -1), **moved)


@torch.no_grad()
def reenact(
    target: Actor,
    driving: Actor,
    driving_params: HeadParams,
    driving_frames: Tensor,
    camera: Camera,
    backend: str = "auto",
) -> Tensor:
    """The target's pictures, moved like N tracked driving frames.

    driving_params: [N] as tracked; driving_frames: [N] their ids; camera: N times the target's.
    Returns [N, 4, H, W], rgb01 on white and alpha.
    """
    corrected = driving.avatar.corrected(driving_params, driving_frames)
    params = transfer(target.corrected_neutral(), corrected, driving.corrected_neutral())
    # Published: the offsets follow the driving neck as tracked, with the *target's* correction at that frame.
    own = target.avatar.frame_parameters.for_frames(driving_frames, len(driving_params))
    surface = target.avatar.surface(params, offset_neck=driving_params.neck + own["neck"])
    gbuffer = target.avatar.rasterize(surface, camera, backend=backend)
    rgb01 = target.avatar.paint(gbuffer, target.avatar.mouth_features(surface))
    return torch.cat([rgb01, gbuffer.alpha], 1)
