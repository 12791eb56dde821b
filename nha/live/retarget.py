"""The motion of a driving person as head parameters of an avatar.

The avatar keeps its own shape and moves as the driving person has moved since the calibration. Expression coefficients
are added; with another face, the same coefficients close lids and lips too far or not far enough. The distances between
landmarks (lids, lips, brows; those of the blend model's drive vector) are therefore corrected afterwards. They are
measured along one axis of the head and have a sign: lips that pass through each other are not open.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.avatar.drive import LANDMARK_PAIRS
from nha.core.types import Camera, HeadParams
from nha.head.model import HeadModel
from nha.reenactment.transfer import transfer_as_seen

_LID_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))
_LIP_PAIRS = ((61, 67), (62, 66), (63, 65), (51, 57))
_LIDS = [LANDMARK_PAIRS.index(pair) for pair in _LID_PAIRS]
_LIPS = [LANDMARK_PAIRS.index(pair) for pair in _LIP_PAIRS]
_DISTANCE_SIGMA_METRES = 1e-3  # a correction of one coefficient by 1 is as likely as an error of this size
_LARGEST_CORRECTION = 1.0  # of a coefficient
_MIN_DISTANCE_METRES = 1e-4


class Retarget:
    """Moves one avatar as a driving person moves."""

    def __init__(self, head: HeadModel, neutral: HeadParams, camera: Camera) -> None:
        """Prepare the correction of distances.

        Args:
            head: the avatar's head model, which is also that of the fit.
            neutral: [1], the avatar's neutral pose, with the avatar's corrections.
            camera: [1], the camera that sees the avatar.
        """
        self._head, self._neutral = head, neutral
        self._camera_rotation = camera.extrinsics[0, :, :3]
        self._pairs = torch.tensor(LANDMARK_PAIRS, device=neutral.expr.device)
        between = self._differences(head.neutral_params(1).to(neutral.expr.device))[0]  # [pairs, 3]
        largest = between[:, :2].abs().argmax(1, keepdim=True)  # x of the mouth's width, y of all others
        self._axes = torch.zeros_like(between).scatter(1, largest, between.gather(1, largest).sign())
        self._device = neutral.expr.device
        self._person: HeadParams | None = None
        self._own_distances = self._distances(neutral)[0]
        self._coefficients_by_distances = self._inverse()  # [E, pairs]

    @torch.no_grad()
    def __call__(self, driving: HeadParams, person: HeadParams) -> HeadParams:
        """The avatar's parameters [1].

        Args:
            driving: [1], of the driving person, who is seen by a camera at the origin.
            person: [1], the same person at rest. The last one is remembered.
        """
        if person is not self._person:
            self._person, self._rest_distances = person, self._distances(person.to(self._device))[0]
        driving, rest = driving.to(self._device), person.to(self._device)
        world_axes = torch.eye(3).to(self._camera_rotation)
        moved = transfer_as_seen(self._neutral, self._camera_rotation, driving, rest, world_axes)
        theirs, own = self._distances(_both(driving, moved))
        # a mouth that hung open during the calibration is known to be closed at its smallest distance
        theirs[_LIPS] = theirs[_LIPS].clamp_min(0)
        self._rest_distances[_LIPS] = torch.minimum(self._rest_distances, theirs)[_LIPS]
        missing = self._wanted(theirs) - own
        correction = (self._coefficients_by_distances @ missing).clamp(
            -_LARGEST_CORRECTION, _LARGEST_CORRECTION
        )
        return moved.replace(expr=moved.expr + correction)

    def _wanted(self, now: Tensor) -> Tensor:
        """The avatar's distances [pairs] for the driving person's: lids by their ratio, the others by their change."""
        wanted = (self._own_distances + now - self._rest_distances).clamp_min(0)
        ratio = now[_LIDS] / self._rest_distances[_LIDS].clamp_min(_MIN_DISTANCE_METRES)
        wanted[_LIDS] = self._own_distances[_LIDS] * ratio
        return wanted

    def _distances(self, params: HeadParams) -> Tensor:
        """The signed distances [N, pairs] in metres between landmarks of N heads, along axes of the head."""
        return (self._differences(params) * self._axes).sum(-1)

    def _differences(self, params: HeadParams) -> Tensor:
        """The vectors [N, pairs, 3] in metres between landmarks of N heads that are not turned."""
        zero, neck = torch.zeros_like(params.rotation), self._neutral.neck.expand(len(params), -1)
        upright = params.replace(rotation=zero, translation=zero, neck=neck)
        points = self._head.plain_landmarks(upright, self._pairs.reshape(-1)).unflatten(1, (-1, 2))
        return points[:, :, 0] - points[:, :, 1]

    def _inverse(self) -> Tensor:
        """The smallest change of the coefficients for a change of the distances, at rest: [E, pairs]."""

        def distances(expr: Tensor) -> Tensor:
            return self._distances(self._neutral.replace(expr=expr[None]))[0]

        jacobian = torch.autograd.functional.jacobian(distances, self._neutral.expr[0].detach())
        gram = jacobian @ jacobian.T
        regular = gram + _DISTANCE_SIGMA_METRES**2 * torch.eye(len(gram)).to(gram)
        return jacobian.T @ torch.linalg.inv(regular)


def _both(first: HeadParams, second: HeadParams) -> HeadParams:
    """Two sets of parameters [1] as one [2]."""
    return HeadParams(
        **{name: torch.cat([value, getattr(second, name)]) for name, value in vars(first).items()}
    )
