"""The terms of the tracking energy, each a pure function that returns an unweighted scalar.

Method, section 7. N frames; landmarks are 68 iBUG points, then two iris points in the mesh's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix
from nha.tracking.state import Unknowns


@dataclass(frozen=True)
class EnergyWeights:
    """Weights of the terms; the names are the published settings'."""

    w_lmk: float = 5.0
    w_eyes_lmk: float = 2.0
    w_eyes_sym: float = 10.0
    w_photo: float = 30.0
    w_expr_reg: float = 1e-3
    w_shape_reg: float = 1e-3
    w_tex_reg: float = 1e-3
    w_pos_neck: float = 1e-2
    w_pos_jaw: float = 1e-4
    w_pos_eyes: float = 1e-4
    w_pos_trans: float = 10.0
    w_smooth: float = 0.0


def landmark_distance(
    landmarks_px: Tensor, target_px: Tensor, confidence: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """L1 distance in units in which the image is 2 x 2, times confidence, over the count of all points.

    landmarks_px, target_px: [N, L, 2] pixels; confidence: [N, L]. Points of confidence 0 still count in
    the mean, but their target may hold anything.
    """
    height, width = image_size
    target_px = torch.where(confidence[..., None] > 0, target_px, landmarks_px.detach())
    half_size = landmarks_px.new_tensor([width / 2, height / 2])
    distance = ((landmarks_px - target_px).abs() / half_size).sum(-1)
    return (distance * confidence).sum() / confidence.numel()


def squared_sum(coefficients: Tensor) -> Tensor:
    """Sum of squares of shared coefficients [K]: prior of shape and texture."""
    return coefficients.square().sum()


def squared_per_frame(coefficients: Tensor) -> Tensor:
    """Sum of squares over components, mean over the frames of [N, K]: prior of the expression."""
    return coefficients.square().sum(1).mean()


def eye_asymmetry(eyes: Tensor) -> Tensor:
    """Both eyes look the same way: |right - left|² of the raw parameters [N, 6], mean over frames."""
    return (eyes[:, 3:] - eyes[:, :3]).square().sum(1).mean()


def rotation_deviation(parameters: Tensor, neutral: Tensor) -> Tensor:
    """Squared Frobenius norm of R(neutral) - R(parameters), summed over joints, mean over frames.

    The rotations are those of the *raw* parameters, not of the angles behind the joint limits: published.
    parameters: [N, 3 J]; neutral: [3 J].
    """
    now = rotation_matrix(parameters.unflatten(1, (-1, 3)))
    rest = rotation_matrix(neutral.unflatten(0, (-1, 3)))
    return (rest - now).square().sum((1, 2, 3)).mean()


def translation_step(translation: Tensor, previous: Tensor | None) -> Tensor:
    """How far the head moves, squared metres.

    translation: [N, 3]; previous: [3] or [N, 3], mean over frames; None compares the frames of the batch
    with their mean, summed: the published first frame and its keyframes.
    """
    if previous is None:
        return (translation - translation.mean(0, keepdim=True)).square().sum()
    return (translation - previous).square().sum(1).mean()


def pose_terms(
    unknowns: Unknowns, neutral: Mapping[str, Tensor], previous: Tensor | None, weights: EnergyWeights
) -> Tensor:
    """The published `E_pos`: deviations of neck, jaw and eyes from rest and of the position, weights inside.

    neutral: "neck" [3], "jaw" [3] and "eyes" [6], the raw parameters at rest.
    """
    return (
        weights.w_pos_neck * rotation_deviation(unknowns.neck, neutral["neck"])
        + weights.w_pos_jaw * rotation_deviation(unknowns.jaw, neutral["jaw"])
        + weights.w_pos_eyes * rotation_deviation(unknowns.eyes, neutral["eyes"])
        + weights.w_pos_trans * translation_step(unknowns.translation, previous)
    )


def geometric_terms(
    unknowns: Unknowns,
    landmarks_px: Tensor,
    target_px: Tensor,
    confidence: Tensor,
    image_size: tuple[int, int],
    neutral: Mapping[str, Tensor],
    previous: Tensor | None,
    weights: EnergyWeights,
) -> dict[str, Tensor]:
    """Every term but the photometric one, unweighted (but `pos`, whose weights are inside).

    landmarks_px: [N, 70, 2] projected; target_px: [N, 70, 2] detected; confidence: [N, 70];
    previous: see `translation_step`. Keys: lmk, eyes_lmk, expr_reg, shape_reg, tex_reg, eyes_sym, pos.
    """
    face, iris = slice(0, 68), slice(68, 70)
    return {
        "lmk": landmark_distance(landmarks_px[:, face], target_px[:, face], confidence[:, face], image_size),
        "eyes_lmk": landmark_distance(
            landmarks_px[:, iris], target_px[:, iris], confidence[:, iris], image_size
        ),
        "expr_reg": squared_per_frame(unknowns.expr),
        "shape_reg": squared_sum(unknowns.shape),
        "tex_reg": squared_sum(unknowns.texture),
        "eyes_sym": eye_asymmetry(unknowns.eyes),
        "pos": pose_terms(unknowns, neutral, previous, weights),
    }


def weighted_sum(terms: Mapping[str, Tensor], weights: EnergyWeights) -> Tensor:
    """The energy: each term times the weight `w_<name>`; `pos` carries its weights itself."""
    return sum(
        term * (1.0 if name == "pos" else getattr(weights, f"w_{name}")) for name, term in terms.items()
    )


# What counts as one unit of roughness: metres, radians or raw parameters.
_SMOOTHNESS_UNITS = {
    "rotation": 0.02,
    "translation": 0.004,
    "expr": 0.5,
    "jaw": 0.2,
    "neck": 0.1,
    "eyes": 0.5,
}


def neighbour_deviation(
    unknowns: Unknowns, before: Unknowns, after: Unknowns, part: Tensor, closeness: Tensor
) -> Tensor:
    """How far frames lie from the straight line between their neighbours in time: squared, mean over frames.

    unknowns: N frames in time's order; before, after: the one frame on either side of them; part: [N] where
    in time the frame lies between its neighbours, 0..1; closeness: [N] weight of each frame. Each kind of
    unknown is measured in its own unit (see `_SMOOTHNESS_UNITS`). Ours; only the batched mode has it.
    """
    total = unknowns.rotation.new_zeros(len(unknowns))
    for name, unit in _SMOOTHNESS_UNITS.items():
        values = torch.cat([getattr(before, name), getattr(unknowns, name), getattr(after, name)])
        line = values[:-2] * (1 - part[:, None]) + values[2:] * part[:, None]
        total = total + ((values[1:-1] - line) / unit).square().sum(1)
    return (total * closeness).mean()
