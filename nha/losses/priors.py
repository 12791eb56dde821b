"""Regularisers of the learned corrections. Method, section 4.

They take the *corrections*, not corrected plus tracked values: the tracking is the guess to stay close to.
"""

from __future__ import annotations

from torch import Tensor

from nha.losses.shapes import expect_shape


def shape_prior(shape_correction: Tensor) -> Tensor:
    """Half the sum of squares of the learned shape [1, n_shape]: a scalar."""
    return shape_correction.square().sum() / 2


def frame_prior(frame_ids: Tensor, *corrections: Tensor) -> Tensor:
    """Half the sum of squares of the batch's rows of the learned tables, each frame counted once.

    frame_ids: [N] long, may repeat; corrections: tables [n_frames, C], for instance neck, jaw and eyes.
    Returns a scalar.
    """
    expect_shape("frame_ids", frame_ids, None)
    unique_ids = frame_ids.unique()
    return sum(table[unique_ids].square().sum() for table in corrections) / 2
