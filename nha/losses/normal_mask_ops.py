"""The mask of the normal term as kernel launches; the kernels are in `normal_mask_triton.py`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nha.core.launches import register_launches
from nha.losses.screen_ops import even_pixels

OUTSIDE_PART = 0.1  # a pixel whose interpolated hard label is below this counts as outside the part
TRUSTED = 0.5
NORMAL_PRESENT = 0.004  # files store unknown normals as 127 or 128, at most this far from 0


def absent_normals(target: Tensor) -> Tensor:
    """1 where normals [N, 3, H, W] are unknown, else 0: float32 [N, 1, H, W]."""
    absent = target.new_empty(len(target), 1, *target.shape[2:])
    torch.ops.nha.absent_normals(even_pixels(target), absent)
    return absent


def masked_normals(
    normals: Tensor,
    target: Tensor,
    absent: Tensor,
    parsing: Tensor,
    alpha: Tensor,
    labels: Tensor,
    trust: Tensor,
    face_labels: Sequence[int],
    excluded: Sequence[int],
    eye_regions: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The mask of the normal term, and the images that it blurs.

    Args:
        normals, target: [N, 3, H, W] rendered and estimated normals.
        absent: [N, 1, H, W], 1 at and near unknown estimated normals.
        parsing: [N, H, W] labels of `Parsing`.
        alpha: [N, 1, H, W].
        labels: [N, P, H, W] hard labels.
        trust: [N] in 0..1.
        face_labels: values of `parsing` in the mask, below 31.
        excluded: channels of `labels` that are excluded.
        eye_regions: two channels of `labels` that are excluded in frames without trust.

    Returns:
        bool [N, 1, H, W], and [N, 7, H, W]: both normals times the mask, and the mask.
    """
    n, _, height, width = normals.shape
    mask = torch.empty(n, 1, height, width, dtype=torch.bool, device=normals.device)
    stacked = normals.new_empty(n, 7, height, width)
    torch.ops.nha.masked_normals(
        even_pixels(normals),
        even_pixels(target),
        absent,
        parsing.contiguous(),
        even_pixels(alpha),
        even_pixels(labels),
        trust.contiguous(),
        sum(1 << int(label) for label in face_labels),
        list(excluded),
        list(eye_regions),
        mask,
        stacked,
    )
    return mask, stacked


# --- the operations -----------------------------------------------------------------------------------------------


def _absent_twin(target: Tensor, absent: Tensor) -> None:
    absent.copy_(~(target.abs() > NORMAL_PRESENT).any(1, keepdim=True))


def _masked_normals_twin(
    normals: Tensor,
    target: Tensor,
    absent: Tensor,
    parsing: Tensor,
    alpha: Tensor,
    labels: Tensor,
    trust: Tensor,
    face_labels: int,
    excluded: list[int],
    eye_regions: list[int],
    mask: Tensor,
    stacked: Tensor,
) -> None:
    wanted = (torch.full_like(parsing, face_labels, dtype=torch.long) >> parsing.long().clamp_max(31)) & 1
    outside = (labels < OUTSIDE_PART).unbind(1)
    mask.copy_(
        (absent < 0.5)
        & (wanted != 0)[:, None]
        & (alpha > 0.5)
        & _all(outside, excluded)
        & ((trust > TRUSTED)[:, None, None, None] | _all(outside, eye_regions))
    )
    stacked.copy_(torch.cat([normals * mask, target * mask, mask], 1))


def _all(images: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
    """Where all chosen images [N, H, W] are set: [N, 1, H, W]."""
    return torch.stack([images[i] for i in chosen], 1).all(1, keepdim=True)


register_launches(
    "nha.losses.normal_mask_triton",
    {
        "absent_normals(Tensor target, Tensor(a!) absent) -> ()": _absent_twin,
        "masked_normals(Tensor normals, Tensor target, Tensor absent, Tensor parsing, Tensor alpha, Tensor labels, "
        "Tensor trust, int face_labels, int[] excluded, int[] eye_regions, Tensor(a!) mask, Tensor(b!) stacked) "
        "-> ()": _masked_normals_twin,
    },
)
