"""Fitting the head to landmarks alone: pose, expression, identity and focal length by least squares.

Landmarks need some two hundred vertices of the head and no picture, so that second-order steps on all frames
at once cost less than one drawn frame. This gives the batched mode its start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
from nha.head.model import HeadModel
from nha.tracking.landmark_model import POSE_WIDTHS, LandmarkModel
from nha.tracking.landmark_priors import LandmarkPriors, OffsetSigmas
from nha.tracking.least_squares import (
    Linearised,
    Quadratic,
    minimise_each,
    minimise_jointly,
    shared_variances,
)
from nha.tracking.state import Unknowns

# Residuals beyond this many expected errors pull with constant force (Huber), and their weights are found
# anew this many times.
_HUBER = 3.0
_REWEIGHTINGS = 3
_LEAST_DEPTH_METRES = 1e-2
# Rounds of the joint fit: landmark weights and the offsets' sigmas are found anew in each.
_JOINT_ROUNDS = 4


@dataclass(frozen=True)
class DetectedLandmarks:
    """Where a detector sees the landmarks of N frames, and how far that is from the head model's landmarks.

    landmarks_px: [N, 70, 2]; confidence: [N, 70], 0 = unknown; sigma_px: the expected error;
    offsets: [70, 3] metres in the resting head's axes, the same in every frame.
    """

    landmarks_px: Tensor
    confidence: Tensor
    image_size: tuple[int, int]
    sigma_px: float
    offsets: Tensor = field(default_factory=lambda: torch.zeros(N_LANDMARKS, 3))

    def rows(self, index) -> DetectedLandmarks:
        """Those of some frames."""
        return replace(self, landmarks_px=self.landmarks_px[index], confidence=self.confidence[index])

    @property
    def from_centre_px(self) -> Tensor:
        """Positions relative to the picture's centre, float64, 0 where unknown: [N, 70, 2]."""
        height, width = self.image_size
        relative = self.landmarks_px.double() - torch.tensor([width / 2, height / 2]).to(self.landmarks_px)
        return torch.where(self.confidence[..., None] > 0, relative, 0.0)


class _Reprojection:
    """Weighted landmark distances as residuals of own = (expr, pose) [N, P], shared = (shape, offsets, log f) [S]."""

    def __init__(self, model: LandmarkModel, n_shape: int, n_expr: int, detected: DetectedLandmarks) -> None:
        self.model, self.n_expr = model, n_expr
        offset_columns = torch.arange(model.n_shape + model.n_expr, model.n_coefficients)
        self.shared_columns = torch.cat([torch.arange(n_shape), offset_columns])
        self.expr_columns = model.n_shape + torch.arange(n_expr)
        self.columns = torch.cat([self.shared_columns, self.expr_columns])
        self.target = detected.from_centre_px
        self.longer_side = max(detected.image_size)
        self.sigma_px = detected.sigma_px
        self.confidence = detected.confidence.double()
        self.weight = self.confidence.sqrt() / self.sigma_px  # [N, 70]

    def _coefficients(self, own: Tensor, shared: Tensor) -> Tensor:
        used = torch.cat([shared[:-1].expand(len(own), -1), own[:, : self.n_expr]], 1)
        return own.new_zeros(len(own), self.model.n_coefficients).index_copy(1, self.columns, used).float()

    def projected(self, own: Tensor, shared: Tensor) -> Tensor:
        """Landmarks in pixels from the picture's centre: [N, 70, 2]."""
        points = self.model.points(self._coefficients(own, shared), own[:, self.n_expr :].float())
        return self._project(points.double(), shared)

    def _project(self, points: Tensor, shared: Tensor) -> Tensor:
        focal_px = shared[-1].exp() * self.longer_side
        return -focal_px * points[..., :2] / points[..., 2:].clamp_min(_LEAST_DEPTH_METRES)

    def reweight(self, own: Tensor, shared: Tensor) -> None:
        """Lower the weights of landmarks that lie far off (Huber)."""
        distance = torch.linalg.vector_norm(self.projected(own, shared) - self.target, dim=-1)
        huber = _HUBER / (distance / self.sigma_px).clamp_min(_HUBER)
        self.weight = (self.confidence * huber).sqrt() / self.sigma_px

    def residuals(self, own: Tensor, shared: Tensor) -> Tensor:
        return ((self.projected(own, shared) - self.target) * self.weight[..., None]).flatten(1)

    def linearise(self, own: Tensor, shared: Tensor, *, with_shared: bool) -> Linearised:
        columns = self.columns if with_shared else self.expr_columns
        # float32 is enough for derivatives; their products are summed in float64
        pose = own[:, self.n_expr :].float()
        at = self.model.linearised(self._coefficients(own, shared), pose, columns)
        points = at.points.double()
        projected = self._project(points, shared)
        focal_px = shared[-1].exp() * self.longer_side
        depth = points[..., 2:].clamp_min(_LEAST_DEPTH_METRES)

        def screen(by: Tensor) -> Tensor:  # [N, 70, 3, K] -> weighted [N, 140, K]
            moved = -(focal_px.float() * by[:, :, :2] + projected.float()[..., None] * by[:, :, 2:])
            return (moved * (self.weight[..., None] / depth).float()[..., None]).flatten(1, 2).double()

        by_coefficients, by_shared = screen(at.by_coefficients), None
        if with_shared:
            # d projected / d log f is the projection itself
            by_focal = (projected * self.weight[..., None]).flatten(1)[..., None]
            by_shared = torch.cat([by_coefficients[..., : len(self.shared_columns)], by_focal], 2)
        return Linearised(
            residual=((projected - self.target) * self.weight[..., None]).flatten(1),
            by_own=torch.cat([by_coefficients[..., -self.n_expr :], screen(at.by_pose)], 2),
            by_shared=by_shared,
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Threads cost more than they give on matrices of a hundred rows; a hundredfold on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class LandmarkFit:
    """The landmark-only least-squares problem of one head model."""

    def __init__(
        self, head: HeadModel, n_shape: int, n_expr: int, priors: LandmarkPriors | None = None
    ) -> None:
        self.model = LandmarkModel(head)
        self.n_shape, self.n_expr = min(n_shape, head.n_shape), min(n_expr, head.n_expr)
        self.priors = priors or LandmarkPriors()
        rest = head.neutral_params(1)
        self.rest = torch.cat([torch.zeros(self.n_expr + 9), rest.jaw[0].cpu(), rest.eyes[0].cpu()]).double()
        self.widths = (self.n_expr, *POSE_WIDTHS)

    @torch.no_grad()
    @_one_thread()
    def fit_frames(
        self,
        start: Unknowns,
        detected: DetectedLandmarks,
        *,
        neighbours: Unknowns | None = None,
        n_steps: int = 8,
    ) -> Unknowns:
        """Fit each frame's own unknowns; shape and focal length stay.

        neighbours: the unknowns towards which each frame is pulled (the mean of its neighbours in time).
        """
        own, shared = self._own(start), self._shared(start, detected)
        observed = self._observed(detected)
        priors = [self._rest_prior(own)]
        if neighbours is not None:
            priors.append(self._neighbour_prior(self._own(neighbours)))
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own = minimise_each(observed, priors, own, shared, n_steps)
        return self._unpack(start, own, shared)[0]

    @torch.no_grad()
    @_one_thread()
    def fit_together(
        self, start: Unknowns, detected: DetectedLandmarks, *, fixed_focal: bool, n_steps: int = 8
    ) -> tuple[Unknowns, DetectedLandmarks]:
        """Fit frames together with what they share: shape, offsets and, unless it is fixed, focal length.

        Returns the unknowns, and the same landmarks with the offsets that were found. An exact detector's
        landmarks have none: the evidence then shrinks their sigmas to next to nothing.
        """
        own, shared = self._own(start), self._shared(start, detected)
        observed, own_priors, sigmas = self._observed(detected), [self._rest_prior(own)], OffsetSigmas()
        prior = self._shared_prior(shared, sigmas, fixed_focal)
        for round_number in range(_JOINT_ROUNDS):
            if round_number > 0:
                variances = shared_variances(observed, own_priors, prior, own, shared)
                found = (v[self.n_shape : -1].view(N_LANDMARKS, 3) for v in (shared, variances))
                sigmas = sigmas.learned(*found)
                prior = self._shared_prior(shared, sigmas, fixed_focal)
            observed.reweight(own, shared)
            own, shared = minimise_jointly(observed, own_priors, prior, own, shared, n_steps)
        found, offsets = self._unpack(start, own, shared)
        return found, replace(detected, offsets=offsets)

    @torch.no_grad()
    def errors_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """Distance of every landmark to the detected one, NaN where none was detected: [N, 70] pixels."""
        observed = self._observed(detected)
        projected = observed.projected(self._own(unknowns), self._shared(unknowns, detected))
        distance = torch.linalg.vector_norm(projected - observed.target, dim=-1)
        return torch.where(detected.confidence > 0, distance, torch.nan).float()

    @torch.no_grad()
    def offset_shift_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """How far the offsets move each landmark in the picture: [N, 70, 2] pixels."""
        own, bare = self._own(unknowns), replace(detected, offsets=torch.zeros_like(detected.offsets))
        observed = self._observed(detected)
        return (
            observed.projected(own, self._shared(unknowns, detected))
            - observed.projected(own, self._shared(unknowns, bare))
        ).float()

    def _observed(self, detected: DetectedLandmarks) -> _Reprojection:
        return _Reprojection(self.model, self.n_shape, self.n_expr, detected)

    # --- priors -------------------------------------------------------------------------------------------

    def _by_group(self, *values: float) -> Tensor:
        groups = zip(self.widths, values, strict=True)
        return torch.cat([torch.full((width,), value).double() for width, value in groups])

    def _rest_prior(self, own: Tensor) -> Quadratic:
        p = self.priors
        precision = self._by_group(p.expr, 0.0, 0.0, p.neck, p.jaw, p.eyes).square().diag()
        both_eyes = torch.eye(3).double().repeat(2, 2) * p.eyes_symmetry**2
        both_eyes[:3, 3:] *= -1
        both_eyes[3:, :3] *= -1
        precision[-6:, -6:] += both_eyes
        return Quadratic(precision.to(own), self.rest.to(own))

    def _neighbour_prior(self, neighbours: Tensor) -> Quadratic:
        p = self.priors
        smooth = (p.smooth_expr, p.smooth_rotation, p.smooth_translation)
        smooth = self._by_group(*smooth, p.smooth_neck, p.smooth_jaw, p.smooth_eyes)
        return Quadratic(smooth.square().diag().to(neighbours), neighbours)

    def _shared_prior(self, shared: Tensor, sigmas: OffsetSigmas, fixed_focal: bool) -> Quadratic:
        p = self.priors
        one_over_sigma, mean = torch.full_like(shared, p.shape), torch.zeros_like(shared)
        one_over_sigma[self.n_shape : -1] = 1 / sigmas.by_landmark().repeat_interleave(3)
        one_over_sigma[-1] = 1e5 if fixed_focal else p.log_focal
        mean[-1] = shared[-1] if fixed_focal else torch.tensor(p.usual_focal).log()
        return Quadratic(one_over_sigma.square().diag(), mean)

    # --- unknowns <-> vectors -----------------------------------------------------------------------------

    def _own(self, u: Unknowns) -> Tensor:
        parts = (u.expr[:, : self.n_expr], u.rotation, u.translation, u.neck, u.jaw, u.eyes)
        return torch.cat(parts, 1).double()

    def _shared(self, u: Unknowns, detected: DetectedLandmarks) -> Tensor:
        parts = (u.shape[: self.n_shape], detected.offsets.flatten(), u.focal_and_centre[:1].log())
        return torch.cat(parts).double()

    def _unpack(self, u: Unknowns, own: Tensor, shared: Tensor) -> tuple[Unknowns, Tensor]:
        """Unknowns like `u` with what was found, and the landmarks' offsets [70, 3]."""
        own, shared = own.float(), shared.float()
        expr, rotation, translation, neck, jaw, eyes = own.split(self.widths, 1)
        found = u.replace(
            expr=torch.cat([expr, u.expr[:, self.n_expr :]], 1),
            rotation=rotation,
            translation=translation,
            neck=neck,
            jaw=jaw,
            eyes=eyes,
            shape=torch.cat([shared[: self.n_shape], u.shape[self.n_shape :]]),
            focal_and_centre=torch.cat([shared[-1:].exp(), u.focal_and_centre[1:]]),
        )
        return found, shared[self.n_shape : -1].view(N_LANDMARKS, 3)
