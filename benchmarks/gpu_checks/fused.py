"""The fused layers of the FiLM-SIREN networks against their plain twin, and their times. Needs Triton."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from bench import timed
from gpu_checks.table import Aim
from nha.core.device import set_precision
from nha.nets.film_siren import folded_trunk
from nha.nets.fused_siren import fused_trunk, set_fused_networks, trunk_twin
from nha.nets.siren_folding import fold_layers
from nha.nets.texture_net import TextureNet

AIMS = [
    Aim("fused network: colours, largest difference to its twin", 5e-3, ""),
    Aim("fused network: gradients, relative difference (tf32)", 5e-3, ""),
    Aim("fused network: gradients, relative difference (bf16)", 2e-2, ""),
    Aim("fused network: runs twice to the same bits", 1, "", at_least=True),
    Aim("fused network: forward", 1.5, "ms"),
    Aim("fused network: forward and backward, high", 5, "ms"),
    Aim("fused network: forward and backward, medium", 4, "ms"),
    Aim("fused network: share of the time without it, high", 0.7, ""),
]
FEW, MANY = 5_000, 172_000  # points for comparisons; points in two images of 512 x 512


def measure(device: torch.device, repeats: int, many: int = MANY) -> dict[str, float]:
    """The figures of AIMS, of the texture network's layers in their published sizes.

    Args:
        device: a CUDA device.
        repeats: timed runs.
        many: number of points for the times.
    """
    torch.manual_seed(0)
    net = TextureNet().to(device)
    size = sum(layer.out_features for layer in net.layers)
    frequency, phase = (values[0, :size] for values in net.mapping(torch.zeros(1, 13, device=device)))
    folded = [values[None].detach() for values in fold_layers(net.layers, frequency, phase)]
    figures = _differences(_points(FEW, device), folded)
    points = _points(many, device)
    seconds: dict[tuple[str, bool], float] = {}

    def step() -> None:
        out = folded_trunk(points, net.layers, frequency.detach(), phase.detach())
        out.backward(out.detach())

    try:
        set_precision("high")
        set_fused_networks(True)
        with torch.no_grad():
            forward = _median(lambda: folded_trunk(points, net.layers, frequency, phase), repeats, device)
        for precision, fused in (("high", True), ("medium", True), ("high", False)):
            set_precision(precision)
            set_fused_networks(fused)
            seconds[precision, fused] = _median(step, repeats, device)
    finally:
        set_fused_networks(False)
        set_precision("highest")
    share = seconds["high", True] / seconds["high", False]
    times = (1e3 * forward, 1e3 * seconds["high", True], 1e3 * seconds["medium", True], share)
    return dict(zip([aim.name for aim in AIMS], (*figures, *times), strict=True))


def _differences(points: Tensor, folded: list[Tensor]) -> list[float]:
    """The first four figures of AIMS."""
    inputs = [tensor.detach().requires_grad_() for tensor in (points, *folded)]
    slow = trunk_twin(*inputs)
    upstream = torch.randn_like(slow)
    wanted = torch.autograd.grad(slow, inputs, upstream)
    figures, runs = [], []
    for operand in (torch.float32, torch.bfloat16, torch.bfloat16):
        fast = fused_trunk(*inputs, operand)
        runs.append(torch.autograd.grad(fast, inputs, upstream))
        if not figures:
            figures.append((fast.sin() - slow.sin()).abs().max().item())
    for found in runs[:2]:
        figures.append(max(((a - b).norm() / b.norm()).item() for a, b in zip(found, wanted, strict=True)))
    same = all(torch.equal(a, b) for a, b in zip(runs[1], runs[2], strict=True))
    return [*figures, float(same)]


def _points(count: int, device: torch.device) -> Tensor:
    return (torch.rand(count, 67, device=device) * 2 - 1).requires_grad_()


def _median(function, repeats: int, device: torch.device) -> float:
    return statistics.median(timed(function, repeats, device))
