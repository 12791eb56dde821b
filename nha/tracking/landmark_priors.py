"""What is known before landmarks are seen: how far unknowns, and a detector's landmarks, lie from the usual."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS

_JAW, _INNER, _IRIS = slice(0, 17), slice(17, 68), slice(68, 70)
_OFFSET_SIGMA_RANGE = (2e-4, 0.03)


@dataclass(frozen=True)
class LandmarkPriors:
    """One over the standard deviations of the raw unknowns around rest, and around the frames' neighbours.

    The focal length has a wide prior in its logarithm: a few landmarks cannot tell it from the distance.
    """

    expr: float = 1.0
    shape: float = 2.0
    neck: float = 20.0
    jaw: float = 1.5
    eyes: float = 3.0
    eyes_symmetry: float = 15.0
    log_focal: float = 1.5
    usual_focal: float = 2.5
    smooth_expr: float = 1.5
    smooth_rotation: float = 30.0
    smooth_translation: float = 150.0
    smooth_neck: float = 10.0
    smooth_jaw: float = 4.0
    smooth_eyes: float = 2.0


@dataclass(frozen=True)
class OffsetSigmas:
    """How far, in metres, what a detector means by a landmark lies from what the head model means.

    The same way in every frame, most of all on the jaw, where detectors follow an outline. Shape must not
    explain that, and pose even less. How large it is depends on the detector and is learned from the keyframes
    (but for the irises, which the eyes' rotation explains): see `LandmarkFit.fit_together`.
    """

    jaw: float = 0.015
    inner: float = 0.004
    iris: float = 0.001

    def by_landmark(self) -> Tensor:
        """[70]."""
        by_landmark = torch.empty(N_LANDMARKS).double()
        by_landmark[_JAW], by_landmark[_INNER], by_landmark[_IRIS] = self.jaw, self.inner, self.iris
        return by_landmark

    def learned(self, offsets: Tensor, variances: Tensor) -> OffsetSigmas:
        """The sigmas of highest evidence for what was found with these: MacKay's fixed point, one step.

        offsets: [70, 3] metres; variances: [70, 3] of their posterior.
        """
        determined = 1 - variances / self.by_landmark()[:, None].square()

        def sigma(rows: slice) -> float:
            count = determined[rows].sum().clamp_min(1e-3)
            return float((offsets[rows].square().sum() / count).sqrt().clamp(*_OFFSET_SIGMA_RANGE))

        return replace(self, jaw=sigma(_JAW), inner=sigma(_INNER))
