"""Fitting the head to landmarks alone: pose, expression, identity and focal length by least squares.

Landmarks need some two hundred vertices of the head and no image, so that second-order steps on all frames at once
cost less than one rendered frame. The batched mode starts from this fit. Its energy is that of `energy.py`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from nha.head.model import HeadModel
from nha.tracking.head_rig import HeadRig
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.landmark_offsets import OffsetSigmas
from nha.tracking.landmark_priors import LandmarkPriors
from nha.tracking.landmark_unknowns import UnknownVectors
from nha.tracking.least_squares import (
    Observations,
    Stacked,
    minimise_each,
    minimise_jointly,
    shared_variances,
)
from nha.tracking.reprojection import DetectedLandmarks, Reprojection
from nha.tracking.settings import EnergyWeights, OutlineSettings
from nha.tracking.state import Unknowns
from nha.tracking.surface_points import SurfaceDistances, SurfaceTargets

# How many times Huber's weights are found anew.
_REWEIGHTINGS = 3
# Rounds of the joint fit: landmark weights and the offsets' standard deviations are found anew in each.
_JOINT_ROUNDS = 4


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
        self.weights, self.outline = weights or EnergyWeights(), outline or OutlineSettings()
        self.vectors = UnknownVectors(head, n_shape, n_expr)
        self.priors = LandmarkPriors(head, self.model, self.vectors, self.weights)
        self.neck_sigma_rad = math.radians(self.outline.outline_neck_deg)  # outlines show the neck's angle
        self.offset_sigmas = OffsetSigmas()

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
        own, shared = self.vectors.own(start), self.vectors.shared(start, detected)
        observed = self._observed(detected, targets)
        priors = [self.priors.at_rest() if targets is None else self.priors.at_rest(self.neck_sigma_rad)]
        if neighbours is not None:
            priors.append(self.priors.smooth(neighbours))
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own = minimise_each(observed, priors, own, shared, n_steps)
        return self.vectors.unknowns(start, own, shared)

    @torch.no_grad()
    @one_thread()
    def fit_expressions(
        self,
        start: Unknowns,
        detected: DetectedLandmarks,
        *,
        neighbours: Unknowns,
        n_steps: int = 6,
    ) -> Unknowns:
        """Fit expression, jaw and eyes of each frame to distances between landmarks as well; the pose stays.

        Args: as in `fit_frames`.
        """
        own, shared = self.vectors.own(start), self.vectors.shared(start, detected)
        observed = self._reprojection(detected, with_pairs=True)
        priors = [self.priors.at_rest(), self.priors.smooth(neighbours), self.priors.held_pose(own)]
        for _ in range(_REWEIGHTINGS):
            observed.reweight(own, shared)
            own = minimise_each(observed, priors, own, shared, n_steps)
        return self.vectors.unknowns(start, own, shared)

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
        own, shared = self.vectors.own(start), self.vectors.shared(start, detected)
        observed, own_priors, sigmas = self._observed(detected), [self.priors.at_rest()], OffsetSigmas()
        prior = self.priors.shared(shared, sigmas, fixed_focal)
        for round_number in range(_JOINT_ROUNDS):
            if round_number > 0:
                variances = shared_variances(observed, own_priors, prior, own, shared)
                sigmas = sigmas.updated(self.vectors.offsets(shared), self.vectors.offsets(variances))
                prior = self.priors.shared(shared, sigmas, fixed_focal)
            observed.reweight(own, shared)
            own, shared = minimise_jointly(observed, own_priors, prior, own, shared, n_steps)
        self.offset_sigmas = sigmas
        return self.vectors.unknowns(start, own, shared), replace(
            detected, offsets=self.vectors.offsets(shared).float()
        )

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
        """Continue `fit_together` with points of the surface that have a place in the image.

        The offsets keep their standard deviations: what the shape cannot represent would otherwise enlarge them.
        """
        own, shared = self.vectors.own(start), self.vectors.shared(start, detected)
        observed, own_priors = self._observed(detected, targets), [self.priors.at_rest(self.neck_sigma_rad)]
        prior = self.priors.shared(shared, self.offset_sigmas, fixed_focal, self.outline.outline_shape_sigma)
        observed.reweight(own, shared)
        own, shared = minimise_jointly(observed, own_priors, prior, own, shared, n_steps)
        return self.vectors.unknowns(start, own, shared), replace(
            detected, offsets=self.vectors.offsets(shared).float()
        )

    @torch.no_grad()
    def errors_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """Distance of every landmark to the detected one, NaN where none was detected: [N, 70] pixels."""
        own, shared = self.vectors.own(unknowns), self.vectors.shared(unknowns, detected)
        distance = torch.linalg.vector_norm(self._reprojection(detected).distances_px(own, shared), dim=-1)
        return torch.where(detected.confidence > 0, distance, torch.nan).float()

    @torch.no_grad()
    def offset_shift_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """How far the offsets move each landmark in the image: [N, 70, 2] pixels."""
        own, bare = self.vectors.own(unknowns), replace(detected, offsets=torch.zeros_like(detected.offsets))
        observed = self._reprojection(detected)
        return (
            observed.projected(own, self.vectors.shared(unknowns, detected))
            - observed.projected(own, self.vectors.shared(unknowns, bare))
        ).float()

    def _reprojection(self, detected: DetectedLandmarks, *, with_pairs: bool = False) -> Reprojection:
        return Reprojection(
            self.model,
            self.vectors.n_shape,
            self.vectors.n_expr,
            detected,
            self.weights,
            with_pairs=with_pairs,
        )

    def _observed(self, detected: DetectedLandmarks, targets: SurfaceTargets | None = None) -> Observations:
        landmarks = self._reprojection(detected)
        if targets is None:
            return landmarks
        longer_side = max(detected.image_size)
        surface = SurfaceDistances(self.rig, self.vectors.n_shape, self.vectors.n_expr, targets, longer_side)
        return Stacked([landmarks, surface])
