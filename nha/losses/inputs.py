"""The inputs of the loss terms: the rendering, the annotations, and tables of the head model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nha.core.types import FrameBatch, Rendering
from nha.data.cues import semantic_trust
from nha.head.joint_limits import neck_angles
from nha.head.model import HeadModel
from nha.losses.masks import foreground_mask, whiten_background

# rgb01 [N, 3, H, W], target rgb01 [N, 3, H, W], alpha [N, 1, H, W] -> scalar
PerceptualDistance = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MeshTables:
    """Constants of the head model's mesh for the surface terms.

    Attributes:
        vertex_weight: [V] weight of each vertex in the Laplacian term.
        laplacian_edges: [E, 2] vertex ids, the edges outside the eyeballs.
        scalp_edges: [E, 2] vertex ids, the edges that touch the scalp.
        feature_edges: [E, 2] vertex ids, the edges around lips and eyes.
        feature_edge_length: [E] their lengths in metres in the rest pose without offsets.
    """

    vertex_weight: Tensor
    laplacian_edges: Tensor
    scalp_edges: Tensor
    feature_edges: Tensor
    feature_edge_length: Tensor


@dataclass(frozen=True)
class LossInputs:
    """A rendered batch and what it is compared with. Shared quantities are cached properties.

    Attributes:
        batch: N annotated frames.
        rendering: the avatar's rendering of these frames, with the channels of the terms.
        head: the head model.
        corrections: the learned tables by name, one row for each frame id ("shape": [1, S]).
        mesh: constants of the mesh.
        partner: [N] long, another frame of the batch for each frame.
        perceptual: the perceptual distance; None where no term uses it.
    """

    batch: FrameBatch
    rendering: Rendering
    head: HeadModel
    corrections: Mapping[str, Tensor]
    mesh: MeshTables
    partner: Tensor
    perceptual: PerceptualDistance | None = None

    @cached_property
    def semantic_trust(self) -> Tensor:
        """[N] in 0..1, from the tracked pose, without gradient."""
        tracked = self.batch.tracked
        return semantic_trust(tracked.rotation, neck_angles(tracked.neck)).detach()

    @cached_property
    def screen_coords(self) -> Tensor:
        """[N, H, W, 2] in -1..1, x left and y up: the position of each pixel's surface point."""
        return self.rendering.gbuffer["screen_coords"].permute(0, 2, 3, 1)

    @cached_property
    def foreground(self) -> Tensor:
        """bool [N, 1, H, W], the person without the clothes."""
        return foreground_mask(self.batch.segmentation)

    @cached_property
    def target_rgb01(self) -> Tensor:
        """[N, 3, H, W] in 0..1, the target images with a white background."""
        return whiten_background(self.batch.rgb01, self.batch.segmentation)

    def hard(self, *parts: str) -> Tensor:
        """Interpolated hard labels of P parts, [N, P, H, W] in 0..1."""
        return self._labels("hard_labels", parts)

    def soft(self, *parts: str) -> Tensor:
        """Interpolated soft labels of P parts, [N, P, H, W] in 0..1."""
        return self._labels("soft_labels", parts)

    def _labels(self, channel: str, parts: tuple[str, ...]) -> Tensor:
        labels = [self.rendering.gbuffer.label(channel, part) for part in parts]
        return labels[0] if len(labels) == 1 else torch.cat(labels, 1)
