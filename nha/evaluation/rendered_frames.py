"""Renders the frames of a dataset with an avatar, beside the true images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.image_renderer import render_images
from nha.core.errors import UserError
from nha.core.finite import TRAIN_AGAIN, require_finite
from nha.core.progress import progress
from nha.core.types import FrameBatch, Rendering
from nha.data.frame_dataset import FrameDataset, FrameSplits
from nha.losses.masks import foreground_mask, whiten_background

PARTS = ("train", "held_out")


@dataclass(frozen=True)
class RenderedFrames:
    """N frames as rendered by an avatar, and the true images.

    Attributes:
        batch: the frames of the dataset.
        rendering: of the avatar, with the channel "normals".
        prediction: [N, 3, H, W] rgb01 on white, clipped to 0..1.
        target: [N, 3, H, W] rgb01; white instead of background and clothes.
        mask: bool [N, 1, H, W], the head mask (foreground of the segmentation, without clothes).
    """

    batch: FrameBatch
    rendering: Rendering
    prediction: Tensor
    target: Tensor
    mask: Tensor


def frames_of(data: FrameSplits, part: str) -> FrameDataset:
    """Return the frames of a part of the split, "train" or "held_out"."""
    return {"train": data.train, "held_out": data.val}[part]


@torch.no_grad()
def render_batch(
    avatar: HeadAvatar,
    batch: FrameBatch,
    *,
    channels: Sequence[str] = ("normals",),
    fitted: bool = True,
) -> RenderedFrames:
    """Render a batch with its tracked parameters and the learned corrections.

    Args:
        avatar: the avatar.
        batch: N frames.
        channels: further G-buffer channels of the rendering.
        fitted: add the corrections of these frames; without them only the tracking drives the avatar.
    """
    frame_ids = batch.frame_id if fitted else None
    rendering = render_images(avatar, batch.tracked, batch.camera, frame_ids=frame_ids, channels=channels)
    frames = dict(zip((f"frame {i}" for i in batch.frame_id.tolist()), rendering.rgba, strict=True))
    require_finite(frames, "the rendered image", TRAIN_AGAIN)
    return RenderedFrames(
        batch=batch,
        rendering=rendering,
        prediction=rendering.rgb01.clamp(0, 1),
        target=whiten_background(batch.rgb01, batch.segmentation),
        mask=foreground_mask(batch.segmentation),
    )


def render_frame(avatar: HeadAvatar, data: FrameSplits, part: str, frame_id: int) -> RenderedFrames:
    """Render one frame of a part."""
    frames = frames_of(data, part)
    batch = frames.batch([frames.frame_ids.index(frame_id)])
    return render_batch(avatar, batch.to(avatar.device))


def render_dataset(
    avatar: HeadAvatar,
    data: FrameSplits,
    parts: Sequence[str] = PARTS,
    *,
    batch_size: int = 4,
    label: str = "evaluating",
    channels: Sequence[str] = ("normals",),
    fitted: bool = True,
) -> Iterator[tuple[str, RenderedFrames]]:
    """Render all frames of some parts in their order, and show the progress.

    Args:
        avatar: the avatar.
        data: the dataset with its split.
        parts: names in `PARTS`.
        batch_size: frames rendered at the same time.
        label: text of the progress line.
        channels, fitted: as in `render_batch`.

    Yields:
        The name of the part and a rendered batch.

    Raises:
        UserError: if all parts are empty.
    """
    batches = [
        (part, range(start, min(start + batch_size, len(frames_of(data, part)))))
        for part in parts
        for start in range(0, len(frames_of(data, part)), batch_size)
    ]
    if not batches:
        raise UserError("this part of the split has no frames to evaluate; choose another with --split")
    device = avatar.device
    for part, indices in progress(batches, label, unit="batches"):
        batch = frames_of(data, part).batch(indices).to(device)
        yield part, render_batch(avatar, batch, channels=channels, fitted=fitted)
