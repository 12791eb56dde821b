"""The avatar to export or to view, opened together with the tracking of its video."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from nha.avatar.base import HeadAvatar
from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.matching import tracking_for_avatar
from nha.avatar.open import avatar_from_checkpoint
from nha.avatar.training_record import record_of, recorded_file, recorded_shape
from nha.core.device import pick_device
from nha.core.system import get_logger
from nha.data.tracked_video import Tracking
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.head.load import load_head

_logger = get_logger(__name__)


@dataclass(frozen=True)
class AvatarSource:
    """An open avatar and where it comes from.

    Attributes:
        avatar: the avatar, in evaluation mode, without gradients.
        tracking: the tracking of its video; None where there is none.
        checkpoint: the file it was opened from; None for an avatar that was open already.
    """

    avatar: HeadAvatar
    tracking: TrackingResult | None
    checkpoint: Path | None


def open_source(
    avatar: HeadAvatar | str | Path,
    tracking: TrackingResult | Tracking | str | Path | None = None,
    head: str | Path | None = None,
    device: str = "auto",
) -> AvatarSource:
    """Open an avatar together with the tracking of its video.

    Args:
        avatar: the path of a checkpoint, ours or published, or an avatar that is open already.
        tracking: the tracking of its video, or the path of its file or folder. None takes the file that a checkpoint
            was trained with if it still exists, and no tracking for an open avatar.
        head: head model for a checkpoint; None takes the one that it was trained with.
        device: auto, cpu or cuda; an open avatar stays on its device.

    Returns:
        The avatar in evaluation mode, with its tracking.

    Raises:
        UserError: a file is missing or broken, or checkpoint, head model and tracking do not fit each other.
    """
    if isinstance(avatar, HeadAvatar):
        source = AvatarSource(avatar.eval(), as_tracking_result(tracking), None)
    else:
        checkpoint = read_checkpoint(avatar)
        if tracking is None:
            tracking = recorded_file(checkpoint.trained_on, checkpoint.hyper_parameters, "tracking", avatar)
            if tracking is not None:
                _logger.info("tracking file: %s, as in training", tracking)
        tracked = as_tracking_result(tracking)
        assets = load_head(head or checkpoint.hyper_parameters.get("head") or "auto")
        opened = avatar_from_checkpoint(checkpoint, assets, pick_device(device), path=avatar)
        source = AvatarSource(opened.requires_grad_(False), tracked, Path(avatar))
    if source.tracking is not None:
        name = "the tracking file" if isinstance(tracking, TrackingResult) else os.fspath(tracking)
        fitting = tracking_for_avatar(source.tracking, source.avatar.head, record_of(source.avatar), name)
        return dataclasses.replace(source, tracking=fitting)
    if recorded_shape(record_of(source.avatar)) is None:
        _logger.info(
            "no tracking file: the head has the template's shape, not the person's; name the file with --tracking"
        )
    else:
        _logger.info(
            "no tracking file: the person's shape is that of the checkpoint; name the file with --tracking for motion"
        )
    return source


def as_tracking_result(tracking: TrackingResult | Tracking | str | Path | None) -> TrackingResult | None:
    """A tracking as its arrays. Raises UserError for a file that cannot be read."""
    if isinstance(tracking, Tracking):
        return tracking.result
    return read_tracking(tracking) if isinstance(tracking, (str, Path)) else tracking
