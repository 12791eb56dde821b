"""Prior of the landmark offsets: how a detector's landmarks differ from the head model's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, LANDMARK_GROUPS, N_LANDMARKS

_OFFSET_SIGMA_RANGE_METRES = (2e-4, 0.03)
# Closed lids and lips are closed for every detector: the landmarks of such a pair have the same offset, except along
# the line of contact, the head's x axis.
_ACROSS_CONTACT = torch.tensor([0.0, 1.0, 1.0])
_CONTACT_PAIRS = (*EYE_CLOSURE_PAIRS, *INNER_LIP_PAIRS)
_CONTACT_SIGMA_METRES = 3e-4
# What differs between two definitions of landmarks does not stretch or shift the inner face as a whole.
_AFFINE_SIGMA_METRES = 3e-4
_GROUPS = {
    "jaw": LANDMARK_GROUPS["jaw"],
    "brows": LANDMARK_GROUPS["right_brow"] + LANDMARK_GROUPS["left_brow"],
    "nose": LANDMARK_GROUPS["nose"],
    "eyes": LANDMARK_GROUPS["right_eye"] + LANDMARK_GROUPS["left_eye"],
    "mouth": LANDMARK_GROUPS["outer_mouth"] + LANDMARK_GROUPS["inner_mouth"],
    "irises": LANDMARK_GROUPS["iris"],
}
_INNER_FACE = [i for group in ("brows", "nose", "eyes", "mouth") for i in _GROUPS[group]]


@dataclass(frozen=True)
class OffsetSigmas:
    """Standard deviations, in metres, of `DetectedLandmarks.offsets`, by group of landmarks.

    Detectors define landmarks differently from the head model, in the same way in every frame and most of all on
    the jaw, where they follow an outline, on brows and on the nose, where they may lie anywhere along a curve.
    Neither shape nor pose may explain that. How large the offsets are depends on the detector and is learned from
    the keyframes, except for the irises, which the eyes' rotation explains.
    """

    jaw: float = 0.015
    brows: float = 0.004
    nose: float = 0.004
    eyes: float = 0.004
    mouth: float = 0.004
    irises: float = 0.001

    def by_landmark(self) -> Tensor:
        """The standard deviation of each landmark's offset: float64 [70] metres."""
        by_landmark = torch.empty(N_LANDMARKS).double()
        for group, landmarks in _GROUPS.items():
            by_landmark[list(landmarks)] = getattr(self, group)
        return by_landmark

    def updated(self, offsets: Tensor, variances: Tensor) -> OffsetSigmas:
        """One step of MacKay's fixed point towards the sigmas of highest evidence.

        Args:
            offsets: [70, 3] metres, found with these sigmas.
            variances: [70, 3] of their posterior.
        """
        determined = 1 - variances / self.by_landmark()[:, None].square()

        def sigma(group: tuple[int, ...]) -> float:
            count = determined[list(group)].sum().clamp_min(1e-3)
            return float(
                (offsets[list(group)].square().sum() / count).sqrt().clamp(*_OFFSET_SIGMA_RANGE_METRES)
            )

        learned = {group: sigma(landmarks) for group, landmarks in _GROUPS.items() if group != "irises"}
        return replace(self, **learned)


def contact_precision() -> Tensor:
    """Precision [210, 210] of the difference between the offsets of landmarks that meet when lids and lips close."""
    difference = torch.zeros(len(_CONTACT_PAIRS), N_LANDMARKS)
    for row, (upper, lower) in enumerate(_CONTACT_PAIRS):
        difference[row, upper], difference[row, lower] = 1 / _CONTACT_SIGMA_METRES, -1 / _CONTACT_SIGMA_METRES
    return torch.kron(difference.mT @ difference, torch.diag(_ACROSS_CONTACT))


def affine_precision(points: Tensor) -> Tensor:
    """Precision [210, 210] of the affine part of the inner face's offsets: shape and pose explain what it would.

    Args:
        points: [70, 3] metres, the landmarks of the resting head.
    """
    inner = points[_INNER_FACE].double()
    modes = torch.linalg.qr(torch.cat([inner - inner.mean(0), torch.ones_like(inner[:, :1])], 1))[0]
    embedded = torch.zeros(N_LANDMARKS, modes.shape[1]).double()
    embedded[_INNER_FACE] = modes
    strength = 1 / (len(inner) * _AFFINE_SIGMA_METRES**2)
    return torch.kron(strength * embedded @ embedded.mT, torch.eye(3).double())
