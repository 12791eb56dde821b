"""The photometric stages: Adam on the energy of a batch of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.images import gaussian_blur
from nha.render.camera import project
from nha.render.interpolate import CoveredPixels
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.energy import JOINTS, geometric_terms, smoothness, translation_step, weighted_sum
from nha.tracking.frames import Observation
from nha.tracking.photometric import (
    TrackerMesh,
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    visible_pixels,
)
from nha.tracking.stages import Stage, blur_sigma_at
from nha.tracking.state import PER_FRAME, SHARED, UNKNOWNS, Unknowns


@dataclass(frozen=True)
class TemporalContext:
    """The frames around a batch in time; which of them are needed depends on the stage's `motion`.

    Attributes:
        previous: translation [3] of the frame before, None in a batch of spread frames.
        before, after: [1, ...] unknowns of the frames on either side.
        position: [N] where in time a frame lies between its neighbours, 0.5 = in the middle.
        closeness: [N] weight of each frame's smoothness term, 0 where it has no two neighbours close in time.
    """

    previous: Tensor | None = None
    before: Unknowns | None = None
    after: Unknowns | None = None
    position: Tensor | None = None
    closeness: Tensor | None = None


class PhotometricFit:
    """Fits batches of frames of one head model with one albedo space.

    Attributes:
        mesh: the head model's mesh.
        albedo: the albedo space.
        active_columns: how many coefficients of shape and expression are fitted; the others keep their values.
        rest: the raw parameters of neck, jaw and eyes at rest.
    """

    def __init__(
        self,
        mesh: TrackerMesh,
        albedo: AlbedoSpace,
        n_shape: int,
        n_expr: int,
        on_energies: Callable[[str, Mapping[str, Tensor]], None] = lambda stage_name, terms: None,
    ) -> None:
        """`on_energies` is called with a stage's name and its unweighted terms whenever visibility was found."""
        self.mesh, self.albedo, self.on_energies = mesh, albedo, on_energies
        self.active_columns = {"shape": n_shape, "expr": n_expr}
        rest = mesh.head.neutral_params(1)
        self.rest = {name: getattr(rest, name)[0] for name in JOINTS}

    def with_albedo(self, albedo: AlbedoSpace) -> PhotometricFit:
        """The same with another albedo space of as many coefficients."""
        columns = self.active_columns
        return PhotometricFit(self.mesh, albedo, columns["shape"], columns["expr"], self.on_energies)

    def minimise(
        self, stage: Stage, observation: Observation, start: Unknowns, context: TemporalContext
    ) -> Unknowns:
        """Minimise the stage's energy.

        Args:
            stage: what is fitted, and how.
            observation: images and landmarks of N frames.
            start: their unknowns.
            context: the frames around them.

        Returns:
            The fitted unknowns, always finite: gradients that are not are set to 0, and a frame that still ends
            with such a value keeps its start.
        """
        leaves = {name: getattr(start, name).detach().clone() for name in UNKNOWNS}
        for name in stage.moving:
            leaves[name].requires_grad_()
        unknowns = Unknowns(**leaves)
        optimiser = torch.optim.Adam(
            [{"params": [leaves[name]], "lr": rate} for name, rate in stage.moving.items()]
        )
        for step in range(stage.n_steps):
            sigma_px = blur_sigma_at(step, stage.blur_steps, stage.blur_sigma)
            compared = _compared_images(stage, observation, sigma_px)
            visible = None
            for sub_step in range(stage.sub_steps):
                optimiser.zero_grad(set_to_none=True)
                terms, visible = self.terms(stage, observation, compared, unknowns, context, visible)
                if sub_step == 0:
                    self.on_energies(stage.name, {name: term.detach() for name, term in terms.items()})
                weighted_sum(terms, stage.weights).backward()
                self._restrict_gradients(stage, leaves)
                optimiser.step()
        return _finite_or_start(Unknowns(**{name: leaf.detach() for name, leaf in leaves.items()}), start)

    def terms(
        self,
        stage: Stage,
        observation: Observation,
        compared: Tensor,
        unknowns: Unknowns,
        context: TemporalContext,
        visible: CoveredPixels | None = None,
    ) -> tuple[dict[str, Tensor], CoveredPixels | None]:
        """The unweighted terms of the energy, and the visibility that was used.

        Args:
            stage: which terms are needed.
            observation: images and landmarks of N frames.
            compared: the images that colours are sampled from, see `_compared_images`.
            unknowns: of the N frames.
            context: the frames around them.
            visible: visibility from an earlier step; None: it is found.
        """
        size = observation.image_size
        vertices = self.mesh.head(unknowns.head_params())
        landmarks_px = project(self.mesh.head.landmarks(vertices), unknowns.camera(size))[..., :2]
        terms = geometric_terms(
            unknowns, landmarks_px, observation.landmarks_px, observation.confidence, size, self.rest
        )
        if stage.motion != "neighbours":
            terms["pos_trans"] = translation_step(unknowns.translation, context.previous)
        elif context.closeness is not None:
            terms["smooth"] = smoothness(
                unknowns, context.before, context.after, context.position, context.closeness
            )
        if stage.weights.w_photo > 0:
            if visible is None:
                visible = visible_pixels(vertices, self.mesh, unknowns, size, stage.sampling_scale)
            terms["photo"] = self._photometric_term(stage, compared, vertices, unknowns, visible, size)
        return terms, visible

    def _photometric_term(
        self,
        stage: Stage,
        compared: Tensor,
        vertices: Tensor,
        unknowns: Unknowns,
        visible: CoveredPixels,
        size: tuple[int, int],
    ) -> Tensor:
        colours = surface_colours(vertices, self.mesh, visible, unknowns, self.albedo, stage.appearance)
        positions = screen_positions(vertices, self.mesh, visible, unknowns, size)
        sampled = sample_images(compared, visible, positions)
        # detached: the mask decides which pixels count, and must give no gradient to the pose
        weight = sampled[:, 3].detach() if sampled.shape[1] > 3 else None
        return photometric_distance(colours, sampled[:, :3], weight)

    def _restrict_gradients(self, stage: Stage, leaves: Mapping[str, Tensor]) -> None:
        """Set to 0 gradients that are not finite and those of coefficients that do not move."""
        for name in stage.moving:
            gradient = leaves[name].grad
            if gradient is None:
                continue
            gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            if name in self.active_columns:
                gradient[..., self.active_columns[name] :] = 0
            if name == "focal_and_centre" and stage.centred:
                gradient[1:] = 0


def _compared_images(stage: Stage, observation: Observation, sigma_px: float) -> Tensor:
    """The images that colours are sampled from: blurred, with the face masks as a fourth channel if used."""
    blurred = gaussian_blur(observation.images, sigma_px)
    masked = stage.face_only and observation.face_masks is not None
    return torch.cat([blurred, observation.face_masks], 1) if masked else blurred


def _finite_or_start(found: Unknowns, start: Unknowns) -> Unknowns:
    if not all(bool(torch.isfinite(getattr(found, name)).all()) for name in SHARED):
        return start
    finite = found.is_finite()[:, None]
    return found.replace(
        **{name: torch.where(finite, getattr(found, name), getattr(start, name)) for name in PER_FRAME}
    )
