"""Running a stage: Adam on the energy of a batch of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.images import gaussian_blur
from nha.render.camera import project
from nha.render.interpolate import CoveredPixels
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.energy import geometric_terms, smoothness, translation_step, weighted_sum
from nha.tracking.mesh import TrackerMesh
from nha.tracking.photometric import (
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    visible_pixels,
)
from nha.tracking.stages import Stage, blur_sigma_at
from nha.tracking.state import PER_FRAME, UNKNOWNS, Unknowns


@dataclass(frozen=True)
class Observation:
    """What is seen of N frames.

    pictures: [N, 3, H, W], RGB in 0..1; face_masks: [N, 1, H, W] or None;
    landmarks_px: [N, 70, 2]; confidence: [N, 70].
    """

    pictures: Tensor
    face_masks: Tensor | None
    landmarks_px: Tensor
    confidence: Tensor

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return tuple(self.pictures.shape[2:])

    def to(self, device: torch.device) -> Observation:
        """A copy on `device`."""
        moved = (None if t is None else t.to(device) for t in vars(self).values())
        return Observation(*moved)


@dataclass(frozen=True)
class Surroundings:
    """The frames around a batch in time.

    previous: translation [3] of the frame before, None in a spread batch;
    before, after: [1, ...] unknowns of the frames on either side;
    closeness: [N] weight of each frame's smoothness term, 0 where it has no two neighbours close in time;
    part: [N] where the frame lies between its neighbours, 0.5 = in the middle.
    """

    previous: Tensor | None = None
    before: Unknowns | None = None
    after: Unknowns | None = None
    closeness: Tensor | None = None
    position: Tensor | None = None


class StageFitter:
    """Fits batches of frames of one head model with one albedo space."""

    def __init__(
        self,
        mesh: TrackerMesh,
        albedo: AlbedoSpace,
        n_shape: int,
        n_expr: int,
        on_energies: Callable[[str, Mapping[str, Tensor]], None] = lambda stage_name, terms: None,
    ) -> None:
        """`on_energies` is told the name and the unweighted terms of a stage whenever visibility was found."""
        self.mesh, self.albedo, self.on_energies = mesh, albedo, on_energies
        self.active_columns = {"shape": n_shape, "expr": n_expr}
        rest = mesh.head.neutral_params(1)
        self.rest = {"neck": rest.neck[0], "jaw": rest.jaw[0], "eyes": rest.eyes[0]}

    def with_albedo(self, albedo: AlbedoSpace) -> StageFitter:
        """The same with another albedo space of as many coefficients."""
        columns = self.active_columns
        return StageFitter(self.mesh, albedo, columns["shape"], columns["expr"], self.on_energies)

    def fit(self, stage: Stage, seen: Observation, start: Unknowns, around: Surroundings) -> Unknowns:
        """Minimise the stage's energy from `start`.

        Values that are not finite never come out: a gradient that is not a number is not followed, and a
        frame that still ends with such a value keeps its start.
        """
        leaves = {name: getattr(start, name).detach().clone() for name in UNKNOWNS}
        for name in stage.moving:
            leaves[name].requires_grad_()
        unknowns = Unknowns(**leaves)
        optimiser = torch.optim.Adam(
            [{"params": [leaves[name]], "lr": rate} for name, rate in stage.moving.items()]
        )
        for step in range(stage.n_steps):
            sigma = blur_sigma_at(step, stage.blur_steps, stage.blur_sigma)
            compared = self._compared_images(stage, seen, sigma)
            visible = None
            for sub_step in range(stage.sub_steps):
                optimiser.zero_grad(set_to_none=True)
                terms, visible = self.terms(stage, seen, compared, unknowns, around, visible)
                if sub_step == 0:
                    self.on_energies(stage.name, {name: term.detach() for name, term in terms.items()})
                weighted_sum(terms, stage.weights).backward()
                self._keep_usable_gradients(stage, leaves)
                optimiser.step()
        return _finite_or_start(Unknowns(**{name: leaf.detach() for name, leaf in leaves.items()}), start)

    def terms(
        self,
        stage: Stage,
        seen: Observation,
        compared: Tensor,
        unknowns: Unknowns,
        around: Surroundings,
        visible: CoveredPixels | None = None,
    ) -> tuple[dict[str, Tensor], CoveredPixels | None]:
        """The unweighted terms of the energy, and the visibility that was used.

        compared: see `_compared_images`; visible: from an earlier step, None to find it anew.
        """
        size = seen.image_size
        vertices = self.mesh.head(unknowns.head_params())
        landmarks_px = project(self.mesh.head.landmarks(vertices), unknowns.camera(size))[..., :2]
        terms = geometric_terms(
            unknowns,
            landmarks_px,
            seen.landmarks_px,
            seen.confidence,
            size,
            self.rest,
        )
        if stage.motion != "neighbours":
            terms["pos_trans"] = translation_step(unknowns.translation, around.previous)
        elif around.closeness is not None:
            terms["smooth"] = smoothness(
                unknowns, around.before, around.after, around.position, around.closeness
            )
        if stage.weights.w_photo > 0:
            if visible is None:
                visible = visible_pixels(vertices, self.mesh, unknowns, size, stage.sampling_scale)
            terms["photo"] = self._photometric(stage, compared, vertices, unknowns, visible, size)
        return terms, visible

    def _compared_images(self, stage: Stage, seen: Observation, sigma: float) -> Tensor:
        """What colours are sampled from: the blurred pictures and, as a fourth channel, the face masks."""
        blurred = gaussian_blur(seen.pictures, sigma)
        masked = stage.face_only and seen.face_masks is not None
        return torch.cat([blurred, seen.face_masks], 1) if masked else blurred

    def _photometric(
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
        # the mask says which pixels count; it must not pull them out of itself
        weight = sampled[:, 3].detach() if sampled.shape[1] > 3 else None
        return photometric_distance(colours, sampled[:, :3], weight)

    def _keep_usable_gradients(self, stage: Stage, leaves: Mapping[str, Tensor]) -> None:
        for name in stage.moving:
            gradient = leaves[name].grad
            if gradient is None:
                continue
            gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            if name in self.active_columns:
                gradient[..., self.active_columns[name] :] = 0
            if name == "focal_and_centre" and stage.centred:
                gradient[1:] = 0


def _finite_or_start(found: Unknowns, start: Unknowns) -> Unknowns:
    shared_is_finite = all(
        bool(torch.isfinite(getattr(found, name)).all()) for name in UNKNOWNS if name not in PER_FRAME
    )
    if not shared_is_finite:
        return start
    finite = found.is_finite()[:, None]
    return found.replace(
        **{name: torch.where(finite, getattr(found, name), getattr(start, name)) for name in PER_FRAME}
    )
