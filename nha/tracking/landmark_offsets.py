"""Prior of the landmark offsets: how a detector's landmarks differ from the head model's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, LANDMARK_GROUPS, N_LANDMARKS

_OFFSET_SIGMA_RANGE_METRES = (2e-4, 0.03)
# Closed lids and lips are closed for every detector: the landmarks of such a pair have the same offset.
_CONTACT_PAIRS = (*EYE_CLOSURE_PAIRS, *INNER_LIP_PAIRS)
_CONTACT_SIGMA_METRES = 3e-4
_JAW, _IRISES = list(LANDMARK_GROUPS["jaw"]), list(LANDMARK_GROUPS["iris"])
_INNER_FACE = [i for i in range(N_LANDMARKS) if i not in (*_JAW, *_IRISES)]


@dataclass(frozen=True)
class OffsetSigmas:
    """Standard deviations, in metres, of `DetectedLandmarks.offsets`, by group of landmarks.

    Detectors define landmarks differently from the head model, in the same way in every frame and most of all on
    the jaw, where they follow an outline. Neither shape nor pose may explain that. How large the offsets are
    depends on the detector and is learned from the keyframes (but for the irises, which the eyes' rotation
    explains).
    """

    jaw: float = 0.015
    inner_face: float = 0.004
    irises: float = 0.001

    def by_landmark(self) -> Tensor:
        """[70]."""
        by_landmark = torch.empty(N_LANDMARKS).double()
        by_landmark[_JAW], by_landmark[_INNER_FACE], by_landmark[_IRISES] = (
            self.jaw,
            self.inner_face,
            self.irises,
        )
        return by_landmark

    def updated(self, offsets: Tensor, variances: Tensor) -> OffsetSigmas:
        """One step of MacKay's fixed point towards the sigmas of highest evidence.

        Args:
            offsets: [70, 3] metres, found with these sigmas.
            variances: [70, 3] of their posterior.
        """
        determined = 1 - variances / self.by_landmark()[:, None].square()

        def sigma(group: list[int]) -> float:
            count = determined[group].sum().clamp_min(1e-3)
            return float((offsets[group].square().sum() / count).sqrt().clamp(*_OFFSET_SIGMA_RANGE_METRES))

        return replace(self, jaw=sigma(_JAW), inner_face=sigma(_INNER_FACE))


def contact_precision() -> Tensor:
    """Precision [210, 210] of the difference between the offsets of landmarks that meet when lids and lips close."""
    difference = torch.zeros(len(_CONTACT_PAIRS), N_LANDMARKS)
    for row, (upper, lower) in enumerate(_CONTACT_PAIRS):
        difference[row, upper], difference[row, lower] = 1 / _CONTACT_SIGMA_METRES, -1 / _CONTACT_SIGMA_METRES
    return torch.kron(difference.mT @ difference, torch.eye(3))
