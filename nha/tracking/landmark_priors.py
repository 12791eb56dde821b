"""Priors of the landmark stages: those of the energy, and those of landmark offsets, focal length and size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nha.head.model import HeadModel
from nha.tracking.energy import (
    FRAME_PRIORS,
    JOINTS,
    SHARED_PRIORS,
    Prior,
    RestPose,
    relative_weight,
    smoothness_residual,
)
from nha.tracking.head_rig import POSE_WIDTHS
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.landmark_offsets import OffsetSigmas, affine_precision, contact_precision
from nha.tracking.landmark_unknowns import UnknownVectors
from nha.tracking.least_squares import Quadratic
from nha.tracking.settings import EnergyWeights
from nha.tracking.state import Unknowns, start_unknowns

# Prior of the focal length in units of the longer side, on its logarithm: landmarks alone can hardly separate it
# from the distance. The photometric stages have none; they start from this focal length and take small steps.
USUAL_FOCAL = 2.5
_LOG_FOCAL_SIGMA = 1 / 1.5
_FIXED_LOG_FOCAL_SIGMA = 1e-5
# Standard deviation of the whole head's scale, as a fraction, in the fit to outlines. One camera does not show the size
# of a head: without this prior it would shrink until its landmark offsets, whose prior is in metres, cost little. The
# prior is not on a single distance: the distance between the eyes alone differs far more between people.
_SIZE_SIGMA = 0.01
# Standard deviation (radians, metres) of a pose that stays where it is.
_HELD_SIGMA = 1e-5


class LandmarkPriors:
    """The priors of one head model as quadratics of own and shared vectors."""

    def __init__(
        self, head: HeadModel, model: LandmarkModel, vectors: UnknownVectors, weights: EnergyWeights
    ) -> None:
        self.model, self.vectors, self.weights = model, vectors, weights
        # The point at which priors are linearised. Rotation and translation have none: any value would do.
        rest = start_unknowns(head, 1, 0).to("cpu")
        self.rest = rest.replace(rotation=0 * rest.rotation, translation=0 * rest.translation)

    def at_rest(self, neck_sigma_rad: float | None = None) -> Quadratic:
        """The energy's priors of each frame's own unknowns, linearised at rest; the neck's may have another sigma."""
        at, priors = self.vectors.own(self.rest)[0], FRAME_PRIORS
        if neck_sigma_rad is not None:
            sigma = math.sqrt(2) * neck_sigma_rad
            priors = [replace(p, landmark_sigma=sigma) if p.name == "pos_neck" else p for p in priors]
        return Quadratic(
            self._precision(priors, lambda own: self.vectors.with_own(self.rest, own[None]), at), at
        )

    def smooth(self, line: Unknowns) -> Quadratic:
        """The energy's smoothness term, with the neighbours fixed where they are.

        Its weight is the same in all frames. A frame without two close neighbours has its own value for `line`: it is
        held there, so that the noise of its landmarks does not move it alone.
        """
        own = self.vectors.own(line)

        # the residual is linear: its derivative is the same everywhere, and for every line
        def residual(own: Tensor) -> Tensor:
            return smoothness_residual(
                self.vectors.with_own(self.rest, own[None]), self.rest, by_landmark_sigma=True
            )

        gram = _gram(residual, own[0])
        return Quadratic(relative_weight(self.weights, "smooth") * gram, own)

    def held_pose(self, own: Tensor) -> Quadratic:
        """A prior that keeps rotation, translation and neck of each frame."""
        held = torch.zeros(sum(self.vectors.widths), dtype=own.dtype)
        held[self.vectors.n_expr : self.vectors.n_expr + sum(POSE_WIDTHS[:3])] = _HELD_SIGMA**-2
        return Quadratic(held.diag(), own)

    def shared(
        self, shared: Tensor, sigmas: OffsetSigmas, fixed_focal: bool, shape_sigma: float | None = None
    ) -> Quadratic:
        """The energy's prior of the shape, and those of the landmark offsets and the focal length."""
        priors = SHARED_PRIORS
        if shape_sigma is not None:
            priors = [replace(p, landmark_sigma=shape_sigma) if p.name == "shape_reg" else p for p in priors]
        precision = self._precision(
            priors, lambda shared: self.rest.replace(shape=shared[: self.vectors.n_shape]), shared
        )
        others, mean = torch.zeros_like(shared), torch.zeros_like(shared)
        others[self.vectors.n_shape : -1] = (1 / sigmas.by_landmark().repeat_interleave(3)).square()
        others[-1] = (_FIXED_LOG_FOCAL_SIGMA if fixed_focal else _LOG_FOCAL_SIGMA) ** -2
        mean[-1] = shared[-1] if fixed_focal else math.log(USUAL_FOCAL)
        precision = precision + others.diag()
        if shape_sigma is not None:
            by_shape = self.model.relative_size_by_shape()[: self.vectors.n_shape] / _SIZE_SIGMA
            precision[: self.vectors.n_shape, : self.vectors.n_shape] += torch.outer(by_shape, by_shape)
        offsets = slice(self.vectors.n_shape, -1)
        precision[offsets, offsets] += contact_precision().to(precision)
        precision[offsets, offsets] += affine_precision(self.model.resting_points()).to(precision)
        return Quadratic(precision, mean)

    def _precision(
        self, priors: Sequence[Prior], unknowns_of: Callable[[Tensor], Unknowns], at: Tensor
    ) -> Tensor:
        """Sum over priors of w / w0 * J^T J / sigma², J the residual's derivative by the vector `at` [P]: [P, P]."""
        rest = {name: getattr(self.rest, name)[0].to(at) for name in JOINTS}
        precision = at.new_zeros(len(at), len(at))
        for prior in priors:
            if prior.landmark_sigma is not None:
                strength = relative_weight(self.weights, prior.name) / prior.landmark_sigma**2
                residual = functools.partial(_residual_of, prior, unknowns_of, rest)
                precision += strength * _gram(residual, at)
        return precision


def _residual_of(
    prior: Prior, unknowns_of: Callable[[Tensor], Unknowns], rest: RestPose, vector: Tensor
) -> Tensor:
    return prior.residual(unknowns_of(vector), rest)


def _gram(residual: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """J^T J, J the derivative of a residual (flattened) by its argument [P], at a point: [P, P]."""
    jacobian = torch.autograd.functional.jacobian(lambda x: residual(x).flatten(), at, vectorize=True)
    return jacobian.mT @ jacobian
