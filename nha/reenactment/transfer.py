"""Motion transfer from a driving person to an avatar. `docs/method.md`, section 6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.core.over_time import continuous_rotations, smoothed_over_time
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.reenactment.distances import LandmarkDistances

TRANSFERRED = ("expr", "translation", "rotation", "neck", "jaw", "eyes")
POSE = ("translation", "rotation", "neck")  # position and orientation of the head
FACE = ("expr", "jaw", "eyes")


@dataclass(frozen=True)
class Actor:
    """A person with a neutral frame: the target, whose avatar is animated, or the driving person.

    Attributes:
        avatar: the person's avatar; None for a driving person who is only tracked.
        neutral: tracked parameters [1] of the frame with a neutral expression.
        neutral_frame: that frame's id.
    """

    avatar: HeadAvatar | None
    neutral: HeadParams
    neutral_frame: int

    def corrected(self, tracked: HeadParams, frame_ids: Tensor) -> HeadParams:
        """Tracked parameters [N] with the learned corrections of the avatar, if there is one."""
        return tracked if self.avatar is None else self.avatar.corrected(tracked, frame_ids)

    def corrected_neutral(self) -> HeadParams:
        """Parameters [1] of the neutral frame with the learned corrections."""
        frame_id = torch.tensor([self.neutral_frame], device=self.neutral.expr.device)
        return self.corrected(self.neutral, frame_id)


@dataclass(frozen=True)
class Motion:
    """N poses of the target avatar.

    Attributes:
        params: parameters [N] with the learned corrections.
        offset_neck: [N, 3] neck parameters that condition the vertex offsets.
    """

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
    """Add the driving person's change since the neutral frame to the target's neutral parameters.

    The joint limits are applied later, to the sum.

    Args:
        target_neutral: [1].
        driving: [N].
        driving_neutral: [1].
        names: the parameters to transfer; the others, and always the shape, are those of `target_neutral`.

    Returns:
        Parameters [N] of the target.
    """
    n = len(driving)
    constant = {name: value.expand(n, -1) for name, value in vars(target_neutral).items()}
    moved = {
        name: getattr(target_neutral, name) + getattr(driving, name) - getattr(driving_neutral, name)
        for name in names
    }
    return HeadParams(**{**constant, **moved})


def transfer_as_seen(
    neutral: HeadParams,
    camera_rotation: Tensor,
    driving: HeadParams,
    driving_neutral: HeadParams,
    driving_rotation: Tensor,
) -> HeadParams:
    """Transfer of face, neck and head motion that does not depend on the world coordinates of the two videos.

    Face and neck change as in `transfer`. The whole head turns about its own axes and moves as seen from the camera.

    Args:
        neutral: [1], the target's neutral pose.
        camera_rotation: [3, 3], the rotation in the extrinsics of the camera that sees the target.
        driving: [N].
        driving_neutral: [1].
        driving_rotation: [3, 3], the rotation in the extrinsics of the driving person's camera.

    Returns:
        Parameters [N] of the target.
    """
    turn = rotation_matrix(driving_neutral.rotation).mT @ rotation_matrix(driving.rotation)
    world_from_driving = driving_rotation @ camera_rotation.T  # for row vectors
    shift = (driving.translation - driving_neutral.translation) @ world_from_driving
    return transfer(neutral, driving, driving_neutral, (*FACE, "neck")).replace(
        rotation=rotation_vector(rotation_matrix(neutral.rotation) @ turn),
        translation=neutral.translation + shift,
    )


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
    """Transfer the motion of N tracked driving frames to the target.

    With the default options, the motion of a published model is that of the published code. The lids of a blend model
    close by the same share of their own opening as the driving person's.

    In the published code, the offsets are conditioned on the tracked driving neck plus the *target's* correction of
    the frame with that id. This is done if the driving person has an avatar and the pose is transferred; otherwise
    the offsets are conditioned on the neck that is rendered.

    Args:
        target: the person whose avatar is animated.
        driving: the driving person.
        driving_params: [N] tracked parameters.
        driving_frames: [N] their frame ids.
        keep_pose: transfer only the face; the head stays as in the target's neutral frame.
        place: whether the target's or the driving person's neutral frame defines the head's initial position.
        smooth: standard deviation in frames of a Gaussian filter over time; 0 turns it off.
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
    if isinstance(target.avatar, BlendAvatar):
        distances = LandmarkDistances(target.avatar.head, start)
        params = distances.with_lids_of(params, corrected, neutral)
    offset_neck = params.neck
    if driving.avatar is not None and not keep_pose:
        corrections = target.avatar.frame_parameters.for_frames(driving_frames, len(driving_params))
        offset_neck = driving_params.neck + corrections["neck"]
    if smooth:
        params = params.replace(
            **{
                name: smoothed_over_time(getattr(params, name), driving_frames, smooth)
                for name in TRANSFERRED
            }
        )
        offset_neck = smoothed_over_time(offset_neck, driving_frames, smooth)
    if target.avatar.still_torso:
        driven_by_neck = driving.avatar is not None and driving.avatar.still_torso
        params = params if driven_by_neck else target.avatar.settled(params)
        offset_neck = params.neck
    return Motion(params, offset_neck)
