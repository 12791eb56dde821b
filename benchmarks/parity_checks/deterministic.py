"""Weights and images of the networks' reference numbers, which are functions of names and positions."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from torch import Tensor

# image(n, c, h, w, s), or (…, s) with the sizes of the previous one; an optional factor and an optional offset
_IMAGE = re.compile(r"(?:image\((\d+),(\d+),(\d+),(\d+),|\((?:…|\.\.\.),)(\d+)\)(?:\*([\d.]+))?([+-][\d.]+)?")


def filled(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor `name` of a state dict, as in section "networks" of the golden README."""
    if name.endswith(("running_mean", "bias")):
        return torch.zeros(shape)
    if name.endswith("running_var"):
        return torch.ones(shape)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if len(shape) == 1:
        return torch.full(shape, 0.25 if "prelu" in name else 1.0)
    i = np.arange(math.prod(shape), dtype=np.float64)
    v = np.sin(12.9898 * i + sum(map(ord, name))) * 43758.5453
    bound = math.sqrt(2 / math.prod(shape[1:])) * math.sqrt(3)
    return torch.from_numpy((v - np.floor(v)) * 2 - 1).mul(bound).reshape(shape).float()


def waves(n: int, channels: int, height: int, width: int, shift: float) -> Tensor:
    """The golden README's image(n, c, h, w, s): waves in 0..1, [n, channels, height, width]."""
    x, y = torch.linspace(0, 1, width), torch.linspace(0, 1, height)[:, None]
    k, b = torch.arange(channels)[:, None, None], torch.arange(n)[:, None, None, None]
    phase = x * (k + 1) + y * (2 * k + 1) + 0.37 * shift + 0.11 * b
    return torch.sin(6.283 * phase) / 2 + 0.5


def images_of(text: str) -> list[Tensor]:
    """The images in a description, for instance "image(2,3,112,96,0)*2-1 against image(2,3,112,96,1)*2-1"."""
    images, sizes = [], ()
    for *found, shift, factor, offset in _IMAGE.findall(text):
        sizes = tuple(map(int, found)) if found[0] else sizes
        images.append(waves(*sizes, int(shift)) * float(factor or 1) + float(offset or 0))
    return images
