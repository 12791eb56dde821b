"""Landmark distances as residuals of the least-squares stages, with their derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, N_LANDMARKS
from nha.tracking.energy import landmark_residuals, relative_landmark_weights
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.least_squares import Linearised
from nha.tracking.settings import EnergyWeights

# Residuals beyond this many standard deviations have a gradient of constant size (Huber's function).
HUBER = 3.0
MIN_DEPTH_METRES = 1e-2  # points behind the camera are projected as if they were this far in front of it
_BROW_PAIRS = ((18, 36), (19, 37), (20, 38), (21, 39), (22, 42), (23, 43), (24, 44), (25, 45))
# Landmarks whose distance shows an expression: lids, lips, corners of the mouth, brows and eyes.
DISTANCE_PAIRS = (*EYE_CLOSURE_PAIRS, *INNER_LIP_PAIRS, (48, 54), *_BROW_PAIRS)
_FEWEST_FOR_NOISE = 8  # frames
_MEDIAN_OF_NORMAL = 0.6745  # median absolute value of a standard normal variable


@dataclass(frozen=True)
class DetectedLandmarks:
    """The landmarks that a detector found in N frames, and how they differ from the head model's landmarks.

    Attributes:
        landmarks_px: [N, 70, 2].
        confidence: [N, 70] in 0..1, 0 = not detected.
        image_size: (height, width).
        sigma_px: standard deviation of a landmark's error.
        pair_sigma_px: standard deviation of the error of the distance of two landmarks, which is smaller: what moves
            landmarks together cancels. Infinite: distances do not count.
        offsets: [70, 3] metres in the resting head's axes, from the head model's landmark to the detector's, the
            same in every frame.
    """

    landmarks_px: Tensor
    confidence: Tensor
    image_size: tuple[int, int]
    sigma_px: float
    pair_sigma_px: float = math.inf
    offsets: Tensor = field(default_factory=lambda: torch.zeros(N_LANDMARKS, 3))

    def rows(self, index: list[int] | Tensor) -> DetectedLandmarks:
        """Those of some frames."""
        return replace(self, landmarks_px=self.landmarks_px[index], confidence=self.confidence[index])

    @property
    def from_centre_px(self) -> Tensor:
        """Positions relative to the image's centre, float64: [N, 70, 2]."""
        height, width = self.image_size
        return self.landmarks_px.double() - torch.tensor([width / 2, height / 2]).to(self.landmarks_px)


def distance_noise_px(landmarks_px: Tensor, closeness: Tensor) -> float:
    """Standard deviation of the noise of `DISTANCE_PAIRS`, from the second differences of frames next to each other.

    Args:
        landmarks_px: [F, 70, 2] in the order of time.
        closeness: [F], 1 where both neighbours are the next frames, see `Timeline.position_and_closeness`.

    Returns:
        Pixels per axis; 0 if there are too few such frames. Slow motion hardly counts: the second differences' median
        is taken.
    """
    first, second = torch.tensor(DISTANCE_PAIRS).T
    vectors = landmarks_px[:, first] - landmarks_px[:, second]
    bend = (vectors[2:] - 2 * vectors[1:-1] + vectors[:-2])[closeness[1:-1] >= 1]
    if len(bend) < _FEWEST_FOR_NOISE:
        return 0.0
    # the second difference of independent noise has 1 + 4 + 1 times its variance
    by_pair = bend.abs().movedim(1, 0).flatten(1).median(1).values / (_MEDIAN_OF_NORMAL * 6**0.5)
    return float(by_pair.median())


class Reprojection:
    """Weighted landmark distances as functions of own = (expr, pose) [N, P], shared = (shape, offsets, log f) [S].

    Implements `least_squares.Observations`. Residuals are those of `energy.landmark_residuals` in pixels, times
    the square root of (w / w0) * confidence * Huber's weight / sigma_px².
    """

    def __init__(
        self,
        model: LandmarkModel,
        n_shape: int,
        n_expr: int,
        detected: DetectedLandmarks,
        weights: EnergyWeights,
        *,
        with_pairs: bool = False,
    ) -> None:
        self.model, self.n_expr = model, n_expr
        offset_columns = torch.arange(model.n_shape + model.n_expr, model.n_coefficients)
        self.shared_columns = torch.cat([torch.arange(n_shape), offset_columns])
        self.expr_columns = model.n_shape + torch.arange(n_expr)
        self.columns = torch.cat([self.shared_columns, self.expr_columns])
        self.detected, self.target = detected, detected.from_centre_px
        self.sigma_px, self.longer_side = detected.sigma_px, max(detected.image_size)
        self.strength = detected.confidence.double() * relative_landmark_weights(weights)
        self.weight = self.strength.sqrt() / self.sigma_px  # [N, 70]
        self.pairs = torch.tensor(DISTANCE_PAIRS if with_pairs else (), dtype=torch.long).view(-1, 2)
        pair_strength = (self.strength[:, self.pairs[:, 0]] * self.strength[:, self.pairs[:, 1]]).sqrt()
        self.pair_strength = pair_strength
        self.pair_weight = pair_strength.sqrt() / detected.pair_sigma_px  # [N, pairs]

    def projected(self, own: Tensor, shared: Tensor) -> Tensor:
        """Landmarks in pixels from the image's centre: [N, 70, 2]."""
        points = self.model.points(self._coefficients(own, shared), own[:, self.n_expr :].float())
        return self._project(points.double(), shared)

    def distances_px(self, own: Tensor, shared: Tensor) -> Tensor:
        """Projected minus detected landmarks, 0 where nothing was detected: [N, 70, 2] pixels."""
        return self._distances_px(self.projected(own, shared))

    def reweight(self, own: Tensor, shared: Tensor) -> None:
        """Set Huber's weights for the distances at these unknowns."""
        distances = self.distances_px(own, shared)
        sigma_px, pair_sigma_px = self.sigma_px, self.detected.pair_sigma_px
        self.weight = (self.strength * _huber_weight(distances / sigma_px)).sqrt() / sigma_px
        pairs = _huber_weight(self._differences(distances) / pair_sigma_px)
        self.pair_weight = (self.pair_strength * pairs).sqrt() / pair_sigma_px

    def residuals(self, own: Tensor, shared: Tensor) -> Tensor:
        """[N, 2 * (70 + number of pairs)]."""
        return self._weighted(self.distances_px(own, shared)[..., None])[..., 0]

    def linearise(self, own: Tensor, shared: Tensor, *, with_shared: bool) -> Linearised:
        """Residuals with their derivatives by own and, if asked for, by shared unknowns."""
        columns = self.columns if with_shared else self.expr_columns
        # float32 is enough for derivatives; their products are summed in float64
        pose = own[:, self.n_expr :].float()
        at = self.model.linearised(self._coefficients(own, shared), pose, columns)
        points = at.points.double()
        projected = self._project(points, shared)
        focal_px = shared[-1].exp() * self.longer_side
        depth = points[..., 2:].clamp_min(MIN_DEPTH_METRES)

        def on_image(by: Tensor) -> Tensor:  # [N, 70, 3, K] -> weighted [N, R, K]
            moved = -(focal_px.float() * by[:, :, :2] + projected.float()[..., None] * by[:, :, 2:])
            return self._weighted(moved / depth.float()[..., None]).double()

        by_coefficients, by_shared = on_image(at.by_coefficients), None
        if with_shared:
            # d projected / d log f is the projection itself
            by_focal = self._weighted(projected[..., None])
            by_shared = torch.cat([by_coefficients[..., : len(self.shared_columns)], by_focal], 2)
        return Linearised(
            residual=self._weighted(self._distances_px(projected)[..., None])[..., 0],
            by_own=torch.cat([by_coefficients[..., -self.n_expr :], on_image(at.by_pose)], 2),
            by_shared=by_shared,
        )

    def _differences(self, values: Tensor) -> Tensor:
        """First minus second landmark's value of each pair: [N, 70, ...] to [N, pairs, ...]."""
        return values[:, self.pairs[:, 0]] - values[:, self.pairs[:, 1]]

    def _weighted(self, by_landmark: Tensor) -> Tensor:
        """Values [N, 70, 2, K] of all landmarks, then of all pairs, times their weights: [N, R, K]."""
        own = by_landmark * self.weight.to(by_landmark)[..., None, None]
        pairs = self._differences(by_landmark) * self.pair_weight.to(by_landmark)[..., None, None]
        return torch.cat([own, pairs], 1).flatten(1, 2)

    def _coefficients(self, own: Tensor, shared: Tensor) -> Tensor:
        used = torch.cat([shared[:-1].expand(len(own), -1), own[:, : self.n_expr]], 1)
        return own.new_zeros(len(own), self.model.n_coefficients).index_copy(1, self.columns, used).float()

    def _project(self, points: Tensor, shared: Tensor) -> Tensor:
        return project_from_centre(points, shared, self.longer_side)

    def _distances_px(self, projected: Tensor) -> Tensor:
        return landmark_residuals(projected, self.target, self.detected.confidence)


def _huber_weight(in_sigmas: Tensor) -> Tensor:
    """Weights [N, L] of Huber's function for distances [N, L, 2] in standard deviations."""
    return HUBER / torch.linalg.vector_norm(in_sigmas, dim=-1).clamp_min(HUBER)


def project_from_centre(points: Tensor, shared: Tensor, longer_side_px: int) -> Tensor:
    """Points [N, L, 3] (metres, world) in pixels from the image's centre, x right and y down: [N, L, 2].

    The last of the `shared` unknowns is the logarithm of the focal length in units of the longer side.
    """
    focal_px = shared[-1].exp() * longer_side_px
    return -focal_px * points[..., :2] / points[..., 2:].clamp_min(MIN_DEPTH_METRES)
