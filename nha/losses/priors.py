"""Regularisers of the learned corrections. `docs/method.md`, section 4.

They penalise the *corrections*, not their sum with the tracked values, so the result stays close to the tracking.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_shape


def shape_prior(shape_correction: Tensor) -> Tensor:
    """Half the sum of squares of the learned shape [1, n_shape], a scalar."""
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
    # a frame that occurs k times has 1/k of its square in each of its rows: no list of unique ids, which would make
    # the host wait for the device
    occurrences = (frame_ids[:, None] == frame_ids).sum(1, keepdim=True)
    rows = torch.cat(corrections, 1).index_select(0, frame_ids)
    return (rows.square() / occurrences).sum() / 2


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
