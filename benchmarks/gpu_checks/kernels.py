"""The kernels of the device against their slow twins."""

from __future__ import annotations

import torch

from bench import synthetic_batch
from gpu_checks.table import Aim
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.render.gbuffer import draw_gbuffer
from nha.render.rasterize import rasterize

AIMS = [
    Aim("rasteriser: pixels unlike the reference", 0, "pixels"),
    Aim("rasteriser: pixels unlike the CPU's", 0, "pixels"),
    Aim("G-buffer: largest difference to the CPU", 1e-5, ""),
    Aim("G-buffer gradient: relative difference", 1e-4, ""),
]
CHANNELS = ("normals", "screen_coords", "hard_labels", "soft_labels", "uvcoords")
SMALL = 48  # pixels; the reference rasteriser is slow


def measure(head: HeadModel, size: int, device: torch.device) -> dict[str, float]:
    """The figures of AIMS.

    Args:
        head: a head model on the CPU.
        size: side of the square images in pixels.
        device: the device that is checked.
    """
    figures = []
    for pixels, backend in ((SMALL, "reference"), (size, "auto")):
        batch = synthetic_batch(head, 2, pixels)
        screen = project(head(batch.tracked), batch.camera)
        here = rasterize(screen, head.faces, (pixels, pixels), backend=backend)
        there = rasterize(screen.to(device), head.faces.to(device), (pixels, pixels)).to("cpu")
        unlike = (here.face_index != there.face_index) | (here.barycentric != there.barycentric).any(-1)
        figures.append(float((unlike | (here.depth != there.depth)).any(-1).sum()))
    here, here_gradient = _drawn(head, size, torch.device("cpu"))
    there, there_gradient = _drawn(head, size, device)
    inside = here["alpha"] == there["alpha"]
    differences = [((here[name] - there[name]) * inside).abs().max().item() for name in CHANNELS]
    gradient = ((here_gradient - there_gradient).norm() / here_gradient.norm()).item()
    return dict(zip([aim.name for aim in AIMS], [*figures, max(differences), gradient], strict=True))


def _drawn(head: HeadModel, size: int, device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The G-buffer's channels and the gradient of their sum of squares in the vertices, on the CPU."""
    batch = synthetic_batch(head, 1, size)
    vertices = head(batch.tracked).to(device).requires_grad_()
    gbuffer = draw_gbuffer(vertices, head.tables.to(device), batch.camera.to(device), CHANNELS)
    (gbuffer["normals"].square().mean() + gbuffer["screen_coords"].square().mean()).backward()
    drawn = {name: gbuffer[name].detach().cpu() for name in (*CHANNELS, "alpha")}
    return drawn, vertices.grad.cpu()
