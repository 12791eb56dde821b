"""Fitting the head to landmarks alone: pose, expression, identity and focal length by least squares.

Landmarks need some two hundred vertices of the head and no image, so that second-order steps on all frames at once
cost less than one rendered frame. The batched mode starts from this fit. Its energy is that of `energy.py`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
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
from nha.tracking.head_rig import POSE_WIDTHS, HeadRig
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.landmark_offsets import OffsetSigmas, contact_precision
from nha.tracking.least_squares import (
    Observations,
    Quadratic,
    Stacked,
    minimise_each,
    minimise_jointly,
    shared_variances,
)
from nha.tracking.reprojection import DetectedLandmarks, Reprojection
from nha.tracking.settings import EnergyWeights, OutlineSettings
from nha.tracking.state import Unknowns, start_unknowns
from nha.tracking.surface_points import SurfaceDistances, SurfaceTargets

# Prior of the focal length in units of the longer side, on its logarithm: landmarks alone can hardly separate it
# from the distance. The photometric stages have none; they start from this focal length and take small steps.
USUAL_FOCAL = 2.5
_LOG_FOCAL_SIGMA = 1 / 1.5
_FIXED_LOG_FOCAL_SIGMA = 1e-5
# How many times Huber's weights are found anew.
_REWEIGHTINGS = 3
# Rounds of the joint fit: landmark weights and the offsets' standard deviations are found anew in each.
_JOINT_ROUNDS = 4
# Standard deviation of the distance between the outer eye corners, as a fraction, in the fit to outlines. One camera
# does not show the size of a head: without this prior it would shrink until its landmark offsets, whose prior is in
# metres, are cheap.
_SIZE_SIGMA = 0.01


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: on matrices of a hundred rows, more threads are slower, a hundredfold at worst."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class LandmarkFit:
    """The landmark-only least-squares problem of one head model."""

    def __init__(
        self,
        head: HeadModel,
        n_shape: int,
        n_expr: int,
        weights: EnergyWeights | None = None,
        outline: OutlineSettings | None = None,
    ) -> None:
        self.rig = HeadRig(head)
        self.model = LandmarkModel(self.rig, head)
        self.n_shape, self.n_expr = min(n_shape, head.n_shape), min(n_expr, head.n_expr)
        self.weights, self.outline = weights or EnergyWeights(), outline or OutlineSettings()
        self.neck_sigma_rad = math.radians(self.outline.outline_neck_deg)  # outlines show the neck's angle
        self.offset_sigmas = OffsetSigmas()
        self.widths = (self.n_expr, *POSE_WIDTHS)
        # The point at which priors are linearised. Rotation and translation have none: any value would do.
        rest = start_unknowns(head, 1, 0).to("cpu")
        self.rest = rest.replace(rotation=0 * rest.rotation, translation=0 * rest.translation)

    @torch.no_grad()
    @one_thread()
    def fit_frames(
        self,
        start: Unknowns,
        detected: DetectedLandmarks,
        *,
        neighbours: Unknowns | None = None,
        targets: SurfaceTargets | None = None,
        n_steps: int = 8,
    ) -> Unknowns:
        """Fit each frame's own unknowns; shape and focal length stay.

        Args:
            start: unknowns of N frames.
            detected: their landmarks.
            neighbours: the unknowns on the line between each frame's neighbours, from `timeline.neighbour_mean`.
            targets: where points of the surface should be in the image; None: only landmarks count.
            n_steps: Levenberg-Marquardt steps for each setting of Huber's weights.
        """
        own, shared = self._own(start), self._shared(start, detected)
        observed = self._observed(detected, targets)
        priors = [self._rest_prior() if targets is None else self._rest_prior(self.neck_sigma_rad)]
        if neighbours is not None:
            priors.append(self._smoothness_prior(neighbours))
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own = minimise_each(observed, priors, own, shared, n_steps)
        return self._unknowns(start, own, shared)

    @torch.no_grad()
    @one_thread()
    def fit_together(
        self, start: Unknowns, detected: DetectedLandmarks, *, fixed_focal: bool, n_steps: int = 8
    ) -> tuple[Unknowns, DetectedLandmarks]:
        """Fit frames together with what they share: shape, offsets and, unless it is fixed, focal length.

        Returns:
            The unknowns, and the same landmarks with the offsets that were found. If the detector defines its
            landmarks as the head model does, the evidence shrinks the offsets' sigmas to almost nothing.
        """
        own, shared = self._own(start), self._shared(start, detected)
        observed, own_priors, sigmas = self._observed(detected), [self._rest_prior()], OffsetSigmas()
        prior = self._shared_prior(shared, sigmas, fixed_focal)
        for round_number in range(_JOINT_ROUNDS):
            if round_number > 0:
                variances = shared_variances(observed, own_priors, prior, own, shared)
                sigmas = sigmas.updated(self._offsets(shared), self._offsets(variances))
                prior = self._shared_prior(shared, sigmas, fixed_focal)
            observed.reweight(own, shared)
            own, shared = minimise_jointly(observed, own_priors, prior, own, shared, n_steps)
        self.offset_sigmas = sigmas
        return self._unknowns(start, own, shared), replace(detected, offsets=self._offsets(shared).float())

    @torch.no_grad()
    @one_thread()
    def refine_together(
        self,
        start: Unknowns,
        detected: DetectedLandmarks,
        targets: SurfaceTargets,
        *,
        fixed_focal: bool,
        n_steps: int = 4,
    ) -> tuple[Unknowns, DetectedLandmarks]:
        """Continue `fit_together` with points of the surface that have a place in the image."""
        own, shared = self._own(start), self._shared(start, detected)
        observed, own_priors = self._observed(detected, targets), [self._rest_prior(self.neck_sigma_rad)]
        prior = self._shared_prior(shared, self.offset_sigmas, fixed_focal, self.outline.outline_shape_sigma)
        observed.reweight(own, shared)
        own, shared = minimise_jointly(observed, own_priors, prior, own, shared, n_steps)
        variances = shared_variances(observed, own_priors, prior, own, shared)
        self.offset_sigmas = self.offset_sigmas.updated(self._offsets(shared), self._offsets(variances))
        return self._unknowns(start, own, shared), replace(detected, offsets=self._offsets(shared).float())

    @torch.no_grad()
    def errors_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """Distance of every landmark to the detected one, NaN where none was detected: [N, 70] pixels."""
        own, shared = self._own(unknowns), self._shared(unknowns, detected)
        distance = torch.linalg.vector_norm(self._reprojection(detected).distances_px(own, shared), dim=-1)
        return torch.where(detected.confidence > 0, distance, torch.nan).float()

    @torch.no_grad()
    def offset_shift_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """How far the offsets move each landmark in the image: [N, 70, 2] pixels."""
        own, bare = self._own(unknowns), replace(detected, offsets=torch.zeros_like(detected.offsets))
        observed = self._reprojection(detected)
        return (
            observed.projected(own, self._shared(unknowns, detected))
            - observed.projected(own, self._shared(unknowns, bare))
        ).float()

    def _reprojection(self, detected: DetectedLandmarks) -> Reprojection:
        return Reprojection(self.model, self.n_shape, self.n_expr, detected, self.weights)

    def _observed(self, detected: DetectedLandmarks, targets: SurfaceTargets | None = None) -> Observations:
        landmarks = self._reprojection(detected)
        if targets is None:
            return landmarks
        longer_side = max(detected.image_size)
        surface = SurfaceDistances(self.rig, self.n_shape, self.n_expr, targets, longer_side)
        return Stacked([landmarks, surface])

    # --- priors -------------------------------------------------------------------------------------------

    def _rest_prior(self, neck_sigma_rad: float | None = None) -> Quadratic:
        """The energy's priors of each frame's own unknowns, linearised at rest; the neck's may have another sigma."""
        at, priors = self._own(self.rest)[0], FRAME_PRIORS
        if neck_sigma_rad is not None:
            sigma = math.sqrt(2) * neck_sigma_rad
            priors = [replace(p, landmark_sigma=sigma) if p.name == "pos_neck" else p for p in priors]
        return Quadratic(self._precision(priors, lambda own: self._with_own(self.rest, own[None]), at), at)

    def _smoothness_prior(self, line: Unknowns) -> Quadratic:
        """The energy's smoothness term, with the neighbours fixed where they are.

        Its weight is the same in all frames. A frame without two close neighbours has its own value for `line`: it is
        held there, so that the noise of its landmarks does not move it alone.
        """
        own = self._own(line)

        # the residual is linear: its derivative is the same everywhere, and for every line
        def residual(own: Tensor) -> Tensor:
            return smoothness_residual(
                self._with_own(self.rest, own[None]), self.rest, by_landmark_sigma=True
            )

        gram = _gram(residual, own[0])
        return Quadratic(relative_weight(self.weights, "smooth") * gram, own)

    def _shared_prior(
        self, shared: Tensor, sigmas: OffsetSigmas, fixed_focal: bool, shape_sigma: float | None = None
    ) -> Quadratic:
        """The energy's prior of the shape, and those of the landmark offsets and the focal length."""
        priors = SHARED_PRIORS
        if shape_sigma is not None:
            priors = [replace(p, landmark_sigma=shape_sigma) if p.name == "shape_reg" else p for p in priors]
        precision = self._precision(
            priors, lambda shared: self.rest.replace(shape=shared[: self.n_shape]), shared
        )
        others, mean = torch.zeros_like(shared), torch.zeros_like(shared)
        others[self.n_shape : -1] = (1 / sigmas.by_landmark().repeat_interleave(3)).square()
        others[-1] = (_FIXED_LOG_FOCAL_SIGMA if fixed_focal else _LOG_FOCAL_SIGMA) ** -2
        mean[-1] = shared[-1] if fixed_focal else math.log(USUAL_FOCAL)
        precision = precision + others.diag()
        if shape_sigma is not None:
            by_shape = self.model.relative_eye_distance_by_shape()[: self.n_shape] / _SIZE_SIGMA
            precision[: self.n_shape, : self.n_shape] += torch.outer(by_shape, by_shape)
        offsets = slice(self.n_shape, -1)
        precision[offsets, offsets] += contact_precision().to(precision)
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

    # --- unknowns <-> vectors -----------------------------------------------------------------------------

    def _own(self, u: Unknowns) -> Tensor:
        """[N, P] float64: expression, rotation, translation, neck, jaw, eyes."""
        parts = (u.expr[:, : self.n_expr], u.rotation, u.translation, u.neck, u.jaw, u.eyes)
        return torch.cat(parts, 1).double()

    def _shared(self, u: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """[S] float64: shape, landmark offsets, logarithm of the focal length."""
        parts = (u.shape[: self.n_shape], detected.offsets.flatten(), u.focal_and_centre[:1].log())
        return torch.cat(parts).double()

    def _offsets(self, shared: Tensor) -> Tensor:
        """The landmark offsets' part of a shared vector: [70, 3]."""
        return shared[self.n_shape : -1].view(N_LANDMARKS, 3)

    def _with_own(self, u: Unknowns, own: Tensor) -> Unknowns:
        """Unknowns like `u` with the frames' own ones from a vector [N, P]."""
        expr, rotation, translation, neck, jaw, eyes = own.split(self.widths, 1)
        unused = u.expr[:, self.n_expr :].to(expr).expand(len(expr), -1)
        expr = torch.cat([expr, unused], 1)
        return u.replace(expr=expr, rotation=rotation, translation=translation, neck=neck, jaw=jaw, eyes=eyes)

    def _unknowns(self, u: Unknowns, own: Tensor, shared: Tensor) -> Unknowns:
        """Unknowns like `u` with what was found."""
        shared = shared.float()
        return self._with_own(u, own.float()).replace(
            shape=torch.cat([shared[: self.n_shape], u.shape[self.n_shape :]]),
            focal_and_centre=torch.cat([shared[-1:].exp(), u.focal_and_centre[1:]]),
        )


def _residual_of(
    prior: Prior, unknowns_of: Callable[[Tensor], Unknowns], rest: RestPose, vector: Tensor
) -> Tensor:
    return prior.residual(unknowns_of(vector), rest)


def _gram(residual: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """J^T J, J the derivative of a residual (flattened) by its argument [P], at a point: [P, P]."""
    jacobian = torch.autograd.functional.jacobian(lambda x: residual(x).flatten(), at, vectorize=True)
    return jacobian.mT @ jacobian
