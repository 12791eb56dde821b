"""Whether a tracking, a head model and an avatar belong together; a mismatch is an error, or is logged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nha.avatar.training_record import recorded_origin, recorded_shape
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.tracking_file import TrackingResult
from nha.head.identity import describe_head, same_head
from nha.head.model import HeadModel

SAME_SHAPE_WITHIN_M = 1e-5

_logger = get_logger(__name__)


def tracking_for_head(
    tracking: TrackingResult, head: Any, name: str | Path = "the tracking file"
) -> TrackingResult:
    """A tracking with as many coefficients as a head model has.

    Missing coefficients, as in files of trackers that fit fewer, are zero.

    Args:
        tracking: the tracking.
        head: a `HeadModel` or `HeadAssets`.
        name: the tracking's name in messages.

    Raises:
        UserError: the tracking was made with another head model.
    """
    known = same_head(tracking.origin.head, head.identity)
    if known is False:
        raise UserError(
            f"'{name}' was tracked with the head model {describe_head(tracking.origin.head)}, not with "
            f"{describe_head(head.identity)}: its coefficients mean other shapes there; choose that head model with "
            "--head, or track the video again"
        )
    if known is None:
        _logger.warning(
            "'%s' does not name the head model that it was tracked with (a file of an older version or of another "
            "program); it is taken as one of %s",
            name,
            describe_head(head.identity),
        )
    n_shape, n_expr = _sizes(head)
    return dataclasses.replace(
        tracking,
        origin=dataclasses.replace(tracking.origin, head=head.identity),  # checked, or said once
        shape=_padded(tracking.shape[None], n_shape, "shape", name)[0],
        expr=_padded(tracking.expr, n_expr, "expression", name),
    )


def tracking_for_avatar(
    tracking: TrackingResult,
    head: HeadModel,
    record: dict[str, Any],
    name: str | Path = "the tracking file",
) -> TrackingResult:
    """A tracking as `tracking_for_head` gives it, with the shape that the avatar was trained with.

    A differing shape means another person, or the same person tracked again; it is logged in millimetres.

    Args:
        tracking: the tracking of a video of the avatar's person.
        head: the avatar's head model.
        record: the avatar's `trained_on` (`nha.avatar.training_record`).
        name: the tracking's name in messages.
    """
    tracking = tracking_for_head(tracking, head, name)
    shape = recorded_shape(record)
    if shape is None:
        return tracking
    distances_m = shape_distances(head, tracking.shape, shape)
    if distances_m.max() <= SAME_SHAPE_WITHIN_M:
        return tracking
    same_video = recorded_origin(record).same_video(tracking.origin)
    reason = {
        True: "the same video tracked again, for example with another n_shape",
        False: "another video, of another person or tracked by itself",
        None: "another person, or another tracking of this one",
    }[same_video]
    _logger.warning(
        "'%s' has another head shape than the avatar was trained with, by %.1f mm on average and %.1f mm at most (%s); "
        "the avatar keeps its own shape",
        name,
        1000 * distances_m.mean(),
        1000 * distances_m.max(),
        reason,
    )
    return dataclasses.replace(tracking, shape=shape)


def shape_distances(head: HeadModel, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distances [V] in metres of the rendered vertices of two identities [S], in the rest pose with equal centres."""
    difference = torch.from_numpy(np.asarray(first - second, np.float32)).to(head.directions.device)
    directions = head.directions[head.kept_vertices][..., : head.n_shape]
    moved = directions @ difference
    return (moved - moved.mean(0)).norm(dim=-1).cpu().numpy()


def _sizes(head: Any) -> tuple[int, int]:
    if isinstance(head, HeadModel):
        return head.n_shape, head.n_expr
    return head.shape_directions.shape[2], head.expression_directions.shape[2]


def _padded(values: np.ndarray, size: int, what: str, name: str | Path) -> np.ndarray:
    """Coefficients [N, size]. Raises UserError for more than the head model has."""
    given = values.shape[1]
    if given > size:
        raise UserError(
            f"'{name}' has {given} {what} coefficients, the head model {size}; track the video with this head model"
        )
    if given < size:
        _logger.info("'%s' has %d of %d %s coefficients; the others are zero", name, given, size, what)
    return np.pad(values, ((0, 0), (0, size - given)))
