"""Distances between landmarks of a driven face, corrected through its expression. `docs/method.md`, section 6.

Expression coefficients are added in a transfer. With another face, the same coefficients close lids and lips too far or
not far enough. The distances between landmarks (lids, lips, brows; those of the blend model's drive vector) are
therefore corrected afterwards. They are measured along one axis of the head and have a sign: lids that pass through
each other are not open.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.avatar.drive import LANDMARK_PAIRS
from nha.core.conventions import EYE_CLOSURE_PAIRS
from nha.core.types import HeadParams
from nha.head.model import HeadModel

LIDS = [LANDMARK_PAIRS.index(pair) for pair in EYE_CLOSURE_PAIRS]
_DISTANCE_SIGMA_METRES = 1e-3  # a correction of one coefficient by 1 is as likely as an error of this size
_LARGEST_CORRECTION = 1.0  # of a coefficient, in one step
_MIN_OPENING_METRES = 1e-4
_LID_STEPS = 2  # the first one leaves the share of the error that the coefficients' size costs


class LandmarkDistances:
    """The distances of one face, and the change of its expression that corrects them.

    Attributes:
        own: [P] metres, the distances of the neutral pose.
    """

    def __init__(self, head: HeadModel, neutral: HeadParams) -> None:
        """Compute the derivatives of the distances.

        Args:
            head: the face's head model.
            neutral: [1], its neutral pose, with its corrections.
        """
        self._head, self._neutral = head, neutral
        self._pairs = torch.tensor(LANDMARK_PAIRS, device=neutral.expr.device)
        between = self._differences(head.neutral_params(1).to(neutral.expr.device))[0]  # [P, 3]
        largest = between[:, :2].abs().argmax(1, keepdim=True)  # x of the mouth's width, y of all others
        self._axes = torch.zeros_like(between).scatter(1, largest, between.gather(1, largest).sign())
        self.own = self.of(neutral)[0]
        self._coefficients_by_distances = self._inverse()  # [E, P]

    def of(self, params: HeadParams) -> Tensor:
        """The signed distances [N, P] in metres between landmarks of N heads, along axes of the head."""
        return (self._differences(params) * self._axes).sum(-1)

    def corrected(self, params: HeadParams, missing: Tensor) -> HeadParams:
        """Heads [N] whose distances are changed by about `missing` [N, P] metres."""
        change = missing @ self._coefficients_by_distances.T
        return params.replace(expr=params.expr + change.clamp(-_LARGEST_CORRECTION, _LARGEST_CORRECTION))

    def with_lids_of(
        self, params: HeadParams, driving: HeadParams, driving_neutral: HeadParams
    ) -> HeadParams:
        """Heads [N] whose lids close by the same share of their own opening as those of the driving person.

        Lids that cross are taken as closed. Other distances stay as they are.

        Args:
            params: [N], of this face.
            driving: [N], of the driving person, with the same head model.
            driving_neutral: [1].
        """
        wanted = opening_for(self.of(driving)[:, LIDS], self.of(driving_neutral)[:, LIDS], self.own[LIDS])
        missing = params.expr.new_zeros(len(params), len(LANDMARK_PAIRS))
        for _ in range(_LID_STEPS):
            missing[:, LIDS] = wanted - self.of(params)[:, LIDS]
            params = self.corrected(params, missing)
        return params

    def _differences(self, params: HeadParams) -> Tensor:
        """The vectors [N, P, 3] in metres between landmarks of N heads that are not turned."""
        zero, neck = torch.zeros_like(params.rotation), self._neutral.neck.expand(len(params), -1)
        upright = params.replace(rotation=zero, translation=zero, neck=neck)
        points = self._head.plain_landmarks(upright, self._pairs.reshape(-1)).unflatten(1, (-1, 2))
        return points[:, :, 0] - points[:, :, 1]

    def _inverse(self) -> Tensor:
        """The smallest change of the coefficients for a change of the distances, at rest: [E, P]."""

        def distances(expr: Tensor) -> Tensor:
            return self.of(self._neutral.replace(expr=expr[None]))[0]

        with torch.enable_grad():
            jacobian = torch.autograd.functional.jacobian(distances, self._neutral.expr[0].detach())
        gram = jacobian @ jacobian.T
        regular = gram + _DISTANCE_SIGMA_METRES**2 * torch.eye(len(gram)).to(gram)
        return jacobian.T @ torch.linalg.inv(regular)


def opening_for(theirs: Tensor, their_neutral: Tensor, own_neutral: Tensor) -> Tensor:
    """The opening of the own lids for that of another person.

    Below the neutral opening it is the same share of it, so that closed is closed for both; above, the same change.

    Args:
        theirs: [..., 4] metres.
        their_neutral, own_neutral: metres, of the neutral faces.

    Returns:
        [..., 4] metres, at least 0.
    """
    their_neutral = their_neutral.clamp_min(_MIN_OPENING_METRES)
    closing = own_neutral.clamp_min(0) * (theirs / their_neutral).clamp(0, 1)
    return closing + (theirs - their_neutral).clamp_min(0)
