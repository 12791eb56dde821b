"""The objective: the loss terms of a rendered batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nha.avatar.base import HeadAvatar
from nha.core.mesh import unique_edges
from nha.core.types import FrameBatch, Rendering
from nha.losses.contact import feature_edges
from nha.losses.inputs import LossInputs, MeshTables, PerceptualDistance
from nha.losses.part_weights import part_weights, read_part_weights
from nha.losses.surface import edges_touching_part, edges_without_part
from nha.losses.table import LossTable
from nha.losses.terms import Term, evaluate_terms
from nha.optimization.stages import Stage


def render_batch(avatar: HeadAvatar, stage: Stage, batch: FrameBatch, **options: Any) -> Rendering:
    """The rendering of annotated frames with everything that the terms of a stage read.

    Args:
        avatar: the avatar.
        stage: its terms determine the G-buffer channels and whether colours are computed.
        batch: N annotated frames.
        options: further arguments of `HeadAvatar.render`.
    """
    return avatar.render(
        batch.tracked,
        batch.camera,
        frame_ids=batch.frame_id,
        channels=stage.channels,
        paint=stage.paints,
        **options,
    )


class Objective(nn.Module):
    """Evaluates loss terms (`docs/method.md`, section 4) with the constants of a head model."""

    def __init__(
        self, avatar: HeadAvatar, part_weights_file: Path, perceptual: PerceptualDistance | None
    ) -> None:
        """Compute the constants.

        Args:
            avatar: the avatar whose head model is used.
            part_weights_file: JSON file of the weights of body parts in the Laplacian term.
            perceptual: (rgb01, target rgb01, alpha) -> scalar; None where no stage has the perceptual term.
        """
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
        rest = head.template[head.kept_vertices]
        tables["feature_edges"], tables["feature_edge_length"] = feature_edges(
            tables["laplacian_edges"], rest, head.landmarks(rest[None])[0]
        )
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.perceptual = perceptual

    def forward(
        self,
        terms: Iterable[Term],
        avatar: HeadAvatar,
        rendering: Rendering,
        batch: FrameBatch,
        partner: Tensor | None = None,
    ) -> LossTable:
        """The unweighted terms of one batch, with the segmentations' IoU as metrics.

        Args:
            terms: see `nha.losses.terms`.
            avatar: its corrections are regularised.
            rendering: rendering of the batch, with the channels of the terms.
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
            mesh=MeshTables(**{field.name: getattr(self, field.name) for field in fields(MeshTables)}),
            partner=partner,
            perceptual=self.perceptual,
        )
        return evaluate_terms(terms, inputs)
