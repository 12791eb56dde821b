"""From a batch to the table of its losses: draw once, compare with the annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from nha.avatar.avatar import DRAWN_PARTS, NeuralHeadAvatar
from nha.core.conventions import N_FACE_LANDMARKS, N_LANDMARKS
from nha.core.mesh import unique_edges
from nha.core.types import Camera, FrameBatch, GBuffer, HeadParams, Surface
from nha.data.cues import semantic_trust
from nha.head.joint_limits import neck_angles
from nha.losses.hole_filling import SegmentationPair, hole_filling_loss
from nha.losses.landmarks import eye_closure_loss, landmark_loss
from nha.losses.masks import foreground_mask
from nha.losses.normals import normal_loss, normal_mask
from nha.losses.part_weights import part_weights, read_part_weights
from nha.losses.photometric import photometric_loss, whiten_background
from nha.losses.priors import frame_prior, shape_prior
from nha.losses.semantics import ear_pair, eye_pair, hair_pair, mouth_pair
from nha.losses.silhouette import silhouette_pair
from nha.losses.surface import (
    edge_length_loss,
    edges_touching_part,
    edges_without_part,
    laplacian_loss,
    surface_consistency_loss,
)
from nha.losses.table import LossTable
from nha.render.camera import project

# rgb01 [N, 3, H, W], target rgb01 [N, 3, H, W], alpha [N, 1, H, W] -> scalar
PerceptualTerm = Callable[[Tensor, Tensor, Tensor], Tensor]

CHANNELS = ("normals", "screen_coords", "hard_labels", "soft_labels")


@dataclass(frozen=True)
class Drawn:
    """A batch as the avatar shows it.

    surface: the posed heads; gbuffer: their one rasterisation; rgb01: [N, 3, H, W] or None where the stage does
    not paint; partner: [N] another random frame of the batch for each; painted: bool [N, 1, H, W], None where
    all that is covered is painted.
    """

    surface: Surface
    gbuffer: GBuffer
    rgb01: Tensor | None
    partner: Tensor
    painted: Tensor | None = None


class Objective(nn.Module):
    """All loss terms of the method on one head model. Method, section 4.

    The tables that the surface terms need are made once, here.
    """

    def __init__(
        self, avatar: NeuralHeadAvatar, part_weights_file: Path, perceptual: PerceptualTerm | None
    ) -> None:
        """perceptual: (rgb01, target rgb01, alpha) -> scalar; None where no stage uses it."""
        super().__init__()
        head = avatar.head
        in_part = head.hard_labels > 0.5
        eyeballs = in_part[:, head.part("left_eyeball")] | in_part[:, head.part("right_eyeball")]
        weights = part_weights(
            read_part_weights(part_weights_file), head.hard_labels, head.part_names, unique_edges(head.faces)
        )
        tables = {
            "vertex_weight": weights,
            "laplacian_edges": edges_without_part(head.faces, eyeballs),
            "scalp_edges": edges_touching_part(head.faces, in_part[:, head.part("scalp")]),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.perceptual = perceptual

    def forward(
        self, names: Sequence[str], avatar: NeuralHeadAvatar, drawn: Drawn, batch: FrameBatch
    ) -> LossTable:
        """The named terms of one batch, unweighted, with the segmentations' IoU as metrics."""
        terms = self.terms(avatar, drawn, batch)
        losses = {name: terms.by_name(name)() for name in names}
        return LossTable(losses, terms.metrics)

    def terms(self, avatar: NeuralHeadAvatar, drawn: Drawn, batch: FrameBatch) -> BatchTerms:
        """The terms of one batch, computed when asked for."""
        return BatchTerms(self, avatar, drawn, batch)


class BatchTerms:
    """The terms of one batch; what several of them share is computed once, when first asked for."""

    def __init__(
        self, objective: Objective, avatar: NeuralHeadAvatar, drawn: Drawn, batch: FrameBatch
    ) -> None:
        self.objective, self.avatar, self.drawn, self.batch = objective, avatar, drawn, batch
        self.metrics: dict[str, Tensor] = {}

    def by_name(self, name: str) -> Callable[[], Tensor]:
        return getattr(self, f"_{name}")

    # --- shared quantities --------------------------------------------------------------------------------

    @cached_property
    def trust(self) -> Tensor:
        """[N], from the tracked pose alone: a constant."""
        tracked = self.batch.tracked
        return semantic_trust(tracked.rotation, neck_angles(tracked.neck)).detach()

    @cached_property
    def coords(self) -> Tensor:
        """[N, H, W, 2], x left and y up."""
        return self.drawn.gbuffer["screen_coords"].permute(0, 2, 3, 1)

    @cached_property
    def foreground(self) -> Tensor:
        return foreground_mask(self.batch.segmentation)

    @cached_property
    def target_rgb01(self) -> Tensor:
        return whiten_background(self.batch.rgb01, self.batch.segmentation)

    def hard(self, part: str) -> Tensor:
        """Interpolated hard label of a part: [N, 1, H, W]."""
        column = DRAWN_PARTS.index(part)
        return self.drawn.gbuffer["hard_labels"][:, column : column + 1]

    def soft(self, part: str) -> Tensor:
        column = DRAWN_PARTS.index(part)
        return self.drawn.gbuffer["soft_labels"][:, column : column + 1]

    def _fill(self, pair: SegmentationPair, metric: str, weight: Tensor | None = None) -> Tensor:
        self.metrics[metric] = pair.iou()
        return hole_filling_loss(pair, self.coords, weight)

    # --- segmentations ------------------------------------------------------------------------------------

    def _silh(self) -> Tensor:
        return self._fill(silhouette_pair(self.drawn.gbuffer.alpha, self.foreground), "iou")

    def _semantic_ear(self) -> Tensor:
        parts = ("left_ear", "right_ear")
        labels = [self.hard(part) for part in parts] + [self.soft(part) for part in parts]
        return self._fill(ear_pair(*labels, self.batch.parsing), "semantic_iou_ear")

    def _semantic_eye(self) -> Tensor:
        pair = eye_pair(self.hard("left_eyeball"), self.hard("right_eyeball"), self.batch.parsing)
        return self._fill(pair, "semantic_iou_eye", self.trust)

    def _semantic_mouth(self) -> Tensor:
        pair = mouth_pair(self.hard("mouth"), self.batch.parsing)
        return self._fill(pair, "semantic_iou_mouth", self.trust)

    def _semantic_hair(self) -> Tensor:
        labels = (self.hard("scalp"), self.hard("neck"), self.soft("scalp"), self.soft("neck"))
        pair = hair_pair(self.drawn.gbuffer.alpha, *labels, self.batch.parsing)
        return self._fill(pair, "semantic_iou_hair")

    # --- pictures -----------------------------------------------------------------------------------------

    def _norm(self) -> Tensor:
        excluded = torch.cat([self.hard(part) for part in ("mouth", "left_eyeball", "right_eyeball")], 1)
        eye_regions = torch.cat([self.hard(f"{side}_eye_region") for side in ("left", "right")], 1)
        target, alpha = self.batch.normals, self.drawn.gbuffer.alpha
        mask = normal_mask(target, self.batch.parsing, alpha, excluded, eye_regions, self.trust)
        return normal_loss(self.drawn.gbuffer["normals"], target, mask, self.coords)

    def _rgb(self) -> Tensor:
        mask = self.foreground & (self.drawn.gbuffer.alpha > 0.5)
        if self.drawn.painted is not None:
            mask = mask & self.drawn.painted
        return photometric_loss(self.drawn.rgb01, self.target_rgb01, mask, self.coords)

    def _perc(self) -> Tensor:
        return self.objective.perceptual(self.drawn.rgb01, self.target_rgb01, self.drawn.gbuffer.alpha)

    # --- points -------------------------------------------------------------------------------------------

    def _lmk(self) -> Tensor:
        world = self.avatar.head.landmarks(self.drawn.surface.vertices)[:, :N_FACE_LANDMARKS]
        pixels = project(world, self.batch.camera)[..., :2]
        target, confidence = self.batch.landmarks_px, self.batch.landmark_confidence
        return landmark_loss(pixels, target, confidence, self.batch.camera.image_size)

    def _eye_closed(self) -> Tensor:
        params = self.drawn.surface.params
        # a lid that is too low must be raised by the expression, not by turning or moving the head
        only_expr = params.detach().replace(expr=params.expr)
        ids = torch.arange(N_LANDMARKS, device=params.expr.device)[:N_FACE_LANDMARKS]
        world = self.avatar.head.plain_landmarks(only_expr, ids)
        pixels = project(world, self.batch.camera)[..., :2]
        height = self.batch.camera.image_size[0]
        return eye_closure_loss(pixels, self.batch.eye_height_px, self.trust, height)

    # --- surface and priors -------------------------------------------------------------------------------

    def _lap(self) -> Tensor:
        s = self.drawn.surface
        return laplacian_loss(
            s.vertices, s.plain_vertices, self.objective.laplacian_edges, self.objective.vertex_weight
        )

    def _edge(self) -> Tensor:
        return edge_length_loss(self.drawn.surface.vertices, self.objective.scalp_edges)

    def _surface_reg(self) -> Tensor:
        return surface_consistency_loss(self.drawn.surface.offsets, self.drawn.partner)

    def _shape_reg(self) -> Tensor:
        return shape_prior(self.avatar.frame_parameters.shape)

    def _expr_reg(self) -> Tensor:
        return frame_prior(self.batch.frame_id, self.avatar.frame_parameters.expr)

    def _pose_reg(self) -> Tensor:
        p = self.avatar.frame_parameters
        return frame_prior(self.batch.frame_id, p.neck, p.jaw, p.eyes)


def draw_batch(
    avatar: NeuralHeadAvatar,
    tracked: HeadParams,
    frame_ids: Tensor,
    camera: Camera,
    *,
    paints: bool,
    noise: HeadParams | None = None,
    partner: Tensor | None = None,
    pixel_scores: Tensor | None = None,
    pixels_per_image: int = 0,
    backend: str = "auto",
) -> Drawn:
    """Pose, rasterise once and, where asked, paint a batch.

    noise: added to a copy of the parameters from which the texture's condition is computed; partner: see
    `Drawn`, default the next frame of the batch; pixels_per_image: where above 0, only so many covered pixels of each
    frame are painted, those with the highest of the `pixel_scores` [N, H, W].
    """
    surface = avatar.surface(avatar.corrected(tracked, frame_ids))
    gbuffer = avatar.rasterize(surface, camera, CHANNELS, backend)
    rgb01 = painted = None
    if paints:
        features = avatar.mouth_features(surface, noise)
        if pixels_per_image:
            painted = highest_scores(pixel_scores, gbuffer.alpha > 0.5, pixels_per_image)
        rgb01 = avatar.paint(gbuffer, features, painted)
    if partner is None:
        partner = torch.arange(len(frame_ids), device=frame_ids.device).roll(-1)
    return Drawn(surface, gbuffer, rgb01, partner, painted)


def highest_scores(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """Mark the `count` pixels of each image that score highest (all, where there are fewer).

    scores: [N, H, W], above 0; among: bool [N, 1, H, W], the pixels to choose from. Returns bool [N, 1, H, W].
    """
    scores = torch.where(among[:, 0], scores.to(among.device), 0.0).flatten(1)
    best = scores.topk(min(count, scores.shape[1]), dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True).view_as(among) & among
