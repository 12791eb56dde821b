"""CPBD, a sharpness metric that needs no reference image: the share of edges that appear sharp.

Narvekar and Karam, "A no-reference image blur metric based on the cumulative probability of blur detection",
2011. An edge of width w appears blurred with the probability 1 - exp(-(w / w_jnb)^3.6), which is 63 % at the just
noticeable width w_jnb; CPBD is the share of edges with at most that probability. The probability increases with w, so
this is the share of edges that are not wider than w_jnb. The definition of an edge (`edges_of_rows`) is our own:
scores can be compared with each other, but not with those of other programs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK_PX = 64  # the contrast of an edge is that of its block
SMALLEST_EDGE_SHARE = 0.002  # edges per pixel; blocks with fewer are smooth and are left out
SMALLEST_EDGE = 20  # levels of 0..255
LOW_CONTRAST = 50  # levels; up to this contrast a wider edge is not noticed
JUST_NOTICEABLE_PX = {"low": 5, "high": 3}
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Edges:
    """E edges of an image: row, column: [E] the pixel where each begins; width_px: [E]."""

    row: np.ndarray
    column: np.ndarray
    width_px: np.ndarray


def cpbd(rgb01: Tensor) -> Tensor:
    """Sharpness of images. `docs/method.md`, section 8.

    Args:
        rgb01: [N, 3, H, W] in 0..1.

    Returns:
        [N], 0 (blurred) to 1 (sharp); NaN for an image without edges.

    Raises:
        ValueError: for another shape or range. Contrasts are compared with fixed thresholds, so an image in other
            units would have a plausible but wrong score.
    """
    if rgb01.ndim != 4 or rgb01.shape[1] != 3:
        raise ValueError(f"rgb01 must be [N, 3, H, W], got {list(rgb01.shape)}")
    lowest, highest = rgb01.min().item(), rgb01.max().item()
    if not (lowest >= 0 and highest <= 1):
        raise ValueError(f"rgb01 must lie in 0..1, but reaches from {lowest:g} to {highest:g}")
    luma = (255 * rgb01.detach().double().cpu() * torch.tensor(_LUMA)[:, None, None]).sum(1)
    # whole levels, as in a file: small fractional steps in flat rows would widen their edges
    return torch.tensor([_sharp_share(image) for image in luma.round().numpy()])


def _sharp_share(luma: np.ndarray) -> float:
    """CPBD of one image [H, W] of luma in 0..255, whole levels."""
    edges = edges_of_rows(luma)
    n_edges = n_sharp = 0
    for top in range(0, luma.shape[0], BLOCK_PX):
        for left in range(0, luma.shape[1], BLOCK_PX):
            block = luma[top : top + BLOCK_PX, left : left + BLOCK_PX]
            here = (edges.row // BLOCK_PX == top // BLOCK_PX) & (edges.column // BLOCK_PX == left // BLOCK_PX)
            if here.sum() <= SMALLEST_EDGE_SHARE * block.size:
                continue
            contrast = "low" if np.ptp(block) <= LOW_CONTRAST else "high"
            n_edges += here.sum()
            n_sharp += (edges.width_px[here] <= JUST_NOTICEABLE_PX[contrast]).sum()
    return n_sharp / n_edges if n_edges else float("nan")


def edges_of_rows(luma: np.ndarray) -> Edges:
    """Find the ranges of a row in which luma rises, or falls, monotonically by at least `SMALLEST_EDGE` levels.

    The height of an edge is compared, not its slope, so that blurred edges are found too.

    Args:
        luma: [H, W] in 0..255.
    """
    step = np.diff(luma, axis=1)
    direction = np.sign(step)
    begins = np.ones(step.shape, bool)
    begins[:, 1:] = direction[:, 1:] != direction[:, :-1]
    start = np.flatnonzero(begins)
    if not len(start):
        return Edges(*np.zeros((3, 0), np.int64))
    width = np.diff(np.append(start, step.size))
    height = np.abs(np.add.reduceat(step.ravel(), start))
    row, column = np.divmod(start, step.shape[1])
    large = height >= SMALLEST_EDGE
    return Edges(row[large], column[large], width[large])
