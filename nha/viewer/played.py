"""A head that plays the motion of another person's video."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.avatar.neutral_frame import neutral_frame
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.data.tracking_file import TrackingResult
from nha.reenactment.transfer import FACE, transfer


def driven_heads(rest: HeadParams, axes: Tensor, driving: TrackingResult) -> HeadParams:
    """A head at rest that moves like another person, one head for each of F frames in ascending order: [F].

    rest: [1], before a camera whose extrinsics have the rotation `axes` [3, 3]. Face and neck are moved as in a
    reenactment, by the change since the driving person's neutral frame (which is looked for). The whole head turns
    about its own axes and moves as seen from the camera: it does not matter how the two videos' worlds lie.
    """
    params = driving.params_for(sorted(driving.frame.tolist())).to(rest.expr.device)
    neutral = driving.params_for([neutral_frame(driving)]).to(rest.expr.device)
    turn = rotation_matrix(neutral.rotation).mT @ rotation_matrix(params.rotation)
    world_from_driving = torch.from_numpy(driving.RT[:, :3]).to(axes) @ axes.T  # for row vectors
    shift = (params.translation - neutral.translation) @ world_from_driving
    return transfer(rest, params, neutral, (*FACE, "neck")).replace(
        rotation=rotation_vector(rotation_matrix(rest.rotation) @ turn), translation=rest.translation + shift
    )
