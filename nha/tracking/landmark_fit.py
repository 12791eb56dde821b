"""Fitting the head to landmarks alone: pose, expression, identity and focal length by least squares.

Landmarks need some two hundred vertices of the head and no picture, so that second-order steps on all frames
at once cost less than one drawn frame. This gives the batched mode its start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.head.model import HeadModel
from nha.tracking.landmark_model import POSE_WIDTHS, LandmarkModel
from nha.tracking.least_squares import Linearised, Quadratic, minimise_each, minimise_jointly
from nha.tracking.state import Unknowns

# Residuals beyond this many expected errors pull with constant force (Huber), and their weights are found
# anew this many times.
_HUBER = 3.0
_REWEIGHTINGS = 3
_LEAST_DEPTH_METRES = 1e-2


@dataclass(frozen=True)
class LandmarkPriors:
    """One over the standard deviations of the raw unknowns around rest, and around the frames' neighbours.

    The focal length has a wide prior in its logarithm: a few landmarks cannot tell it from the distance. The
    shape's prior is narrower than its space's: what a detector means by a landmark differs from the head
    model's, the same way in every frame, and shape must not explain that.
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
class DetectedLandmarks:
    """landmarks_px: [N, 70, 2]; confidence: [N, 70], 0 = unknown; sigma_px: the expected error."""

    landmarks_px: Tensor
    confidence: Tensor
    image_size: tuple[int, int]
    sigma_px: float

    def rows(self, index) -> DetectedLandmarks:
        """Those of some frames."""
        return DetectedLandmarks(
            self.landmarks_px[index], self.confidence[index], self.image_size, self.sigma_px
        )

    @property
    def from_centre_px(self) -> Tensor:
        """Positions relative to the picture's centre, float64, 0 where unknown: [N, 70, 2]."""
        height, width = self.image_size
        relative = self.landmarks_px.double() - torch.tensor([width / 2, height / 2]).to(self.landmarks_px)
        return torch.where(self.confidence[..., None] > 0, relative, 0.0)


class _Reprojection:
    """Weighted landmark distances as residuals of own = (expr, pose) [N, P], shared = (shape, log f) [S]."""

    def __init__(self, model: LandmarkModel, n_shape: int, n_expr: int, detected: DetectedLandmarks) -> None:
        self.model, self.n_shape, self.n_expr = model, n_shape, n_expr
        self.n_all = model.directions.shape[-1]
        device = model.directions.device
        self.shape_columns = torch.arange(n_shape, device=device)
        self.expr_columns = model.n_shape + torch.arange(n_expr, device=device)
        self.columns = torch.cat([self.shape_columns, self.expr_columns])
        self.target = detected.from_centre_px
        self.longer_side = max(detected.image_size)
        self.sigma_px = detected.sigma_px
        self.confidence = detected.confidence.double()
        self.weight = self.confidence.sqrt() / self.sigma_px  # [N, 70]

    def _coefficients(self, own: Tensor, shared: Tensor) -> Tensor:
        used = torch.cat([shared[:-1].expand(len(own), -1), own[:, : self.n_expr]], 1)
        return own.new_zeros(len(own), self.n_all).index_copy(1, self.columns, used).float()

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
            by_shared = torch.cat([by_coefficients[..., : self.n_shape], by_focal], 2)
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
        own, shared = self._own(start), self._shared(start)
        observed = self._observed(detected)
        priors = [self._rest_prior(own)]
        if neighbours is not None:
            priors.append(self._neighbour_prior(self._own(neighbours)))
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own = minimise_each(observed, priors, own, shared, n_steps)
        return self._unpack(start, own, shared)

    @torch.no_grad()
    @_one_thread()
    def fit_together(
        self, start: Unknowns, detected: DetectedLandmarks, *, fixed_focal: bool, n_steps: int = 8
    ) -> Unknowns:
        """Fit frames together with the shape and, unless it is fixed, the focal length that they share."""
        own, shared = self._own(start), self._shared(start)
        observed = self._observed(detected)
        shared_prior = self._shared_prior(shared, fixed_focal)
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own, shared = minimise_jointly(
                observed, [self._rest_prior(own)], shared_prior, own, shared, n_steps
            )
        return self._unpack(start, own, shared)

    @torch.no_grad()
    def errors_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """Distance of every landmark to the detected one, NaN where none was detected: [N, 70] pixels."""
        observed = self._observed(detected)
        projected = observed.projected(self._own(unknowns), self._shared(unknowns))
        distance = torch.linalg.vector_norm(projected - observed.target, dim=-1)
        return torch.where(detected.confidence > 0, distance, torch.nan).float()

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

    def _shared_prior(self, shared: Tensor, fixed_focal: bool) -> Quadratic:
        p = self.priors
        one_over_sigma, mean = torch.full_like(shared, p.shape), torch.zeros_like(shared)
        one_over_sigma[-1] = 1e5 if fixed_focal else p.log_focal
        mean[-1] = shared[-1] if fixed_focal else torch.tensor(p.usual_focal).log()
        return Quadratic(one_over_sigma.square().diag(), mean)

    # --- unknowns <-> vectors -----------------------------------------------------------------------------

    def _own(self, u: Unknowns) -> Tensor:
        parts = (u.expr[:, : self.n_expr], u.rotation, u.translation, u.neck, u.jaw, u.eyes)
        return torch.cat(parts, 1).double()

    def _shared(self, u: Unknowns) -> Tensor:
        return torch.cat([u.shape[: self.n_shape], u.focal_and_centre[:1].log()]).double()

    def _unpack(self, u: Unknowns, own: Tensor, shared: Tensor) -> Unknowns:
        own, shared = own.float(), shared.float()
        expr, rotation, translation, neck, jaw, eyes = own.split(self.widths, 1)
        return u.replace(
            expr=torch.cat([expr, u.expr[:, self.n_expr :]], 1),
            rotation=rotation,
            translation=translation,
            neck=neck,
            jaw=jaw,
            eyes=eyes,
            shape=torch.cat([shared[:-1], u.shape[self.n_shape :]]),
            focal_and_centre=torch.cat([shared[-1:].exp(), u.focal_and_centre[1:]]),
        )
