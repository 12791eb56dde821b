"""Random draws of a training step. They depend only on seed and step, so that a resumed run reproduces them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nha.core.processes import WHOLE_BATCH, BatchShare
from nha.core.types import HeadParams

# Standard deviations in units of the parameters; that of the rotation is a setting. `docs/method.md`, section 5.
NOISE_SIGMA = {"neck": 0.15, "jaw": 0.2, "expr": 1.0, "eyes": 15 * math.pi / 180}


def step_generator(seed: int, step: int) -> torch.Generator:
    """A generator on the CPU, seeded by the run's seed and the number of the step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def parameter_noise(
    params: HeadParams,
    scale: float,
    rotation_deg: float,
    generator: torch.Generator,
    share: BatchShare = WHOLE_BATCH,
) -> HeadParams:
    """Gaussian noise with the tensor shapes of `params`; zero for head shape and translation.

    Args:
        params: N sets of head parameters.
        scale: factor of all standard deviations.
        rotation_deg: standard deviation of the rotation's noise in degrees, before `scale`.
        generator: source of the random numbers.
        share: the part of the whole batch that `params` holds; noise is drawn for the whole batch.
    """
    sigma = {**NOISE_SIGMA, "rotation": math.radians(rotation_deg)}
    n, own = share.total(len(params)), share.own(len(params))
    widths = [getattr(params, name).shape[1] for name in sigma]
    drawn = [
        scale * sigma[name] * torch.randn((n, width), generator=generator)[own]
        for name, width in zip(sigma, widths, strict=True)
    ]
    # one copy to the device, which the host does not wait for
    noise = torch.cat(drawn, 1).to(params.rotation, non_blocking=True).split(widths, 1)
    noise = dict(zip(sigma, noise, strict=True))
    unchanged = {name: torch.zeros_like(getattr(params, name)) for name in ("shape", "translation")}
    return HeadParams(**noise, **unchanged)


def random_partners(n: int, generator: torch.Generator) -> Tensor:
    """A random other frame for each of n frames, [n] long; the frame itself if n is 1."""
    if n == 1:
        return torch.zeros(1, dtype=torch.long)
    return (torch.arange(n) + torch.randint(1, n, (n,), generator=generator)) % n


def random_scores(
    n: int, image_size: tuple[int, int], generator: torch.Generator, share: BatchShare = WHOLE_BATCH
) -> Tensor:
    """Uniform random numbers in (0, 1] for the pixels of n images, [n, H, W]; drawn for the whole batch."""
    return 1 - torch.rand((share.total(n), *image_size), generator=generator)[share.own(n)]


def highest_scores(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """Mask of the `count` pixels with the highest scores in each image; all candidates where there are fewer.

    Args:
        scores: [N, H, W], above 0.
        among: bool [N, 1, H, W], the candidates.
        count: number of pixels for each image.

    Returns:
        bool [N, 1, H, W].
    """
    scores = torch.where(among[:, 0], scores.to(among.device, non_blocking=True), 0.0).flatten(1)
    best = scores.topk(min(count, scores.shape[1]), dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True).view_as(among) & among
