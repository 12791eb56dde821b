"""The motion of a driving person as head parameters of an avatar.

The avatar keeps its own shape and moves as the driving person has moved since the calibration; the distances between
landmarks (lids, lips, brows) are corrected afterwards, see `nha.reenactment.distances`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.avatar.drive import LANDMARK_PAIRS
from nha.core.types import Camera, HeadParams
from nha.head.model import HeadModel
from nha.reenactment.distances import LIDS, LandmarkDistances, opening_for
from nha.reenactment.transfer import transfer_as_seen

_LIP_PAIRS = ((61, 67), (62, 66), (63, 65), (51, 57))
_LIPS = [LANDMARK_PAIRS.index(pair) for pair in _LIP_PAIRS]


class Retarget:
    """Moves one avatar as a driving person moves."""

    def __init__(self, head: HeadModel, neutral: HeadParams, camera: Camera) -> None:
        """Prepare the correction of distances.

        Args:
            head: the avatar's head model, which is also that of the fit.
            neutral: [1], the avatar's neutral pose, with the avatar's corrections.
            camera: [1], the camera that sees the avatar.
        """
        self._neutral, self._device = neutral, neutral.expr.device
        self._camera_rotation = camera.extrinsics[0, :, :3]
        self._distances = LandmarkDistances(head, neutral)
        self._person: HeadParams | None = None

    @torch.no_grad()
    def __call__(self, driving: HeadParams, person: HeadParams) -> HeadParams:
        """The avatar's parameters [1].

        Args:
            driving: [1], of the driving person, who is seen by a camera at the origin.
            person: [1], the same person at rest. The last one is remembered.
        """
        if person is not self._person:
            self._person, self._rest_distances = person, self._distances.of(person.to(self._device))[0]
        driving, rest = driving.to(self._device), person.to(self._device)
        world_axes = torch.eye(3).to(self._camera_rotation)
        moved = transfer_as_seen(self._neutral, self._camera_rotation, driving, rest, world_axes)
        theirs, own = self._distances.of(_both(driving, moved))
        # a mouth that hung open during the calibration is known to be closed at its smallest distance
        theirs[_LIPS] = theirs[_LIPS].clamp_min(0)
        self._rest_distances[_LIPS] = torch.minimum(self._rest_distances, theirs)[_LIPS]
        return self._distances.corrected(moved, (self._wanted(theirs) - own)[None])

    def _wanted(self, now: Tensor) -> Tensor:
        """The avatar's distances [pairs] for the driving person's: lids by their ratio, the others by their change."""
        wanted = (self._distances.own + now - self._rest_distances).clamp_min(0)
        wanted[LIDS] = opening_for(now[LIDS], self._rest_distances[LIDS], self._distances.own[LIDS])
        return wanted


def _both(first: HeadParams, second: HeadParams) -> HeadParams:
    """Two sets of parameters [1] as one [2]."""
    return HeadParams(
        **{name: torch.cat([value, getattr(second, name)]) for name, value in vars(first).items()}
    )
