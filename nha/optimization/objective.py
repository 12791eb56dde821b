"""The objective: all loss terms on one head model, evaluated on a rendered batch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.mesh import unique_edges
from nha.core.types import FrameBatch, Rendering
from nha.losses.inputs import LossInputs, MeshTables, PerceptualDistance
from nha.losses.part_weights import part_weights, read_part_weights
from nha.losses.surface import edges_touching_part, edges_without_part
from nha.losses.table import LossTable
from nha.losses.terms import Term, evaluate_terms


class Objective(nn.Module):
    """The loss terms of `docs/method.md`, section 4, with the constants that they need of a head model."""

    def __init__(
        self, avatar: NeuralHeadAvatar, part_weights_file: Path, perceptual: PerceptualDistance | None
    ) -> None:
        """perceptual: (rgb01, target rgb01, alpha) -> scalar; None where no stage has the perceptual term."""
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
        self,
        terms: Iterable[Term],
        avatar: NeuralHeadAvatar,
        rendering: Rendering,
        batch: FrameBatch,
        partner: Tensor | None = None,
    ) -> LossTable:
        """The unweighted terms of one batch, with the segmentations' IoU as metrics.

        Args:
            terms: see `nha.losses.terms`.
            avatar: whose corrections are regularised.
            rendering: of the batch, with the channels that the terms read.
            batch: N annotated frames.
            partner: [N] another frame of the batch for each frame; None takes the next one.
        """
        if partner is None:
            partner = torch.arange(len(batch), device=batch.frame_id.device).roll(-1)
        inputs = LossInputs(
            batch=batch,
            rendering=rendering,
            head=avatar.head,
            corrections=dict(avatar.frame_parameters.named_parameters()),
            mesh=MeshTables(self.vertex_weight, self.laplacian_edges, self.scalp_edges),
            partner=partner,
            perceptual=self.perceptual,
        )
        return evaluate_terms(terms, inputs)
