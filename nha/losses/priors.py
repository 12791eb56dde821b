"""Regularisers of the learned corrections. `docs/method.md`, section 4.

They penalise the *corrections*, not their sum with the tracked values, so the result stays close to the tracking.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.launches import uses_fused_kernels
from nha.losses.inputs import LossInputs
from nha.losses.prior_ops import MOST_TABLES, fused_row_prior
from nha.losses.shapes import expect_shape


def shape_prior(shape_correction: Tensor) -> Tensor:
    """Half the sum of squares of the learned shape [1, n_shape], a scalar."""
    if _fuses(shape_correction):
        return fused_row_prior(constant((0,), shape_correction, torch.long), shape_correction)
    return shape_correction.square().sum() / 2


def frame_prior(frame_ids: Tensor, *corrections: Tensor) -> Tensor:
    """Half the sum of squares of the batch's rows of the learned tables.

    Args:
        frame_ids: [N] long; a repeated frame counts once.
        corrections: tables [n_frames, C], for instance neck, jaw and eyes.

    Returns:
        A scalar, the sum over frames.
    """
    expect_shape("frame_ids", frame_ids, None)
    if _fuses(*corrections):
        return fused_row_prior(frame_ids, *corrections)
    # a frame that occurs k times has 1/k of its square in each of its rows: no list of unique ids, which would make
    # the host wait for the device
    occurrences = (frame_ids[:, None] == frame_ids).sum(1, keepdim=True)
    rows = torch.cat(corrections, 1).index_select(0, frame_ids)
    return (rows.square() / occurrences).sum() / 2


def _fuses(*tables: Tensor) -> bool:
    """Whether the kernels compute the prior of these tables."""
    is_float32 = all(table.dtype == torch.float32 for table in tables)
    return uses_fused_kernels(tables[0].device) and is_float32 and len(tables) <= MOST_TABLES


def shape_term(inputs: LossInputs) -> Tensor:
    """The prior on the learned shape."""
    return shape_prior(inputs.corrections["shape"])


def expression_term(inputs: LossInputs) -> Tensor:
    """The prior on the expression corrections of the batch's frames."""
    return frame_prior(inputs.batch.frame_id, inputs.corrections["expr"])


def pose_term(inputs: LossInputs) -> Tensor:
    """The prior on the neck, jaw and eye corrections of the batch's frames."""
    tables = (inputs.corrections[name] for name in ("neck", "jaw", "eyes"))
    return frame_prior(inputs.batch.frame_id, *tables)
