"""An avatar and the tracking file of its video: finding it, and whether they belong together."""

from __future__ import annotations

from pathlib import Path

from nha.avatar.checkpoint import AvatarCheckpoint
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.head.model import HeadModel


def own_tracking(checkpoint: AvatarCheckpoint, named: str | Path | None) -> TrackingResult | None:
    """The tracking of an avatar's video: the file that the user names, else that of its training, where it still is.

    Raises UserError for a file that cannot be read.
    """
    if named is not None:
        return read_tracking(named)
    trained_on = checkpoint.hyper_parameters.get("tracking_results_path")
    if trained_on is None or not Path(trained_on).exists():
        get_logger(__name__).info(
            "no tracking file: the head has the template's shape, not the person's; name it with --tracking"
        )
        return None
    get_logger(__name__).info("tracking file: %s, as in training", trained_on)
    return read_tracking(trained_on)


def check_same_head(tracking: TrackingResult, head: HeadModel) -> None:
    """Raise UserError where a tracking file is of another head model than the avatar."""
    sizes = len(tracking.shape), tracking.expr.shape[1]
    if sizes != (head.n_shape, head.n_expr):
        raise UserError(
            f"the tracking file is of another head model ({sizes[0]} shape and {sizes[1]} expression coefficients, "
            f"not {head.n_shape} and {head.n_expr}); name that of the avatar's video with --tracking"
        )
