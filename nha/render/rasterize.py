"""Rasterisation: the nearest faces at each pixel, with one of several backends.

`set_raster_backend(name)` chooses the backend for the process, `with raster_backend(name):` for a block. The default
"auto" is Triton on CUDA where it is installed, and Numba on the CPU.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Iterator

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.types import Fragments
from nha.render.camera import pixels_to_raster_ndc

# backend -> (module, function, optional package that it needs)
_BACKENDS = {
    "numba": ("nha.render.raster_numba", "rasterize_numba", "numba"),
    "triton": ("nha.render.raster_triton", "rasterize_triton", "triton"),
    "reference": ("nha.render.raster_reference", "rasterize_reference", None),
    "pytorch3d": ("nha.render.raster_pytorch3d", "rasterize_pytorch3d", "pytorch3d"),
}
BACKENDS = ("auto", *_BACKENDS)

_chosen_backend = "auto"  # of the whole process: the viewer renders in several threads


def set_raster_backend(name: str) -> None:
    """Choose the backend of every later rasterisation in this process.

    Args:
        name: one of `BACKENDS`.

    Raises:
        UserError: the name is unknown or the backend's package is not installed.
    """
    global _chosen_backend
    _require_installed(name)
    _chosen_backend = name


def chosen_raster_backend() -> str:
    """The backend chosen last with `set_raster_backend`; "auto" at the start."""
    return _chosen_backend


@contextlib.contextmanager
def raster_backend(name: str) -> Iterator[None]:
    """Choose a backend for the block, as `set_raster_backend` does, and restore the previous one after it."""
    before = _chosen_backend
    set_raster_backend(name)
    try:
        yield
    finally:
        set_raster_backend(before)


def rasterize(
    screen: Tensor,
    faces: Tensor,
    image_size: tuple[int, int],
    *,
    layers: int = 2,
    cull_back_faces: bool = False,
    backend: str | None = None,
) -> Fragments:
    """The nearest faces at every pixel, with perspective-correct barycentrics and depths.

    A pixel is covered by a face if its centre lies strictly inside. Faces with a corner at z <= 1e-8 or with an area
    of nearly zero on screen are skipped. Of two faces at the same depth the one with the lower id is first. Positions
    are detached here: visibility has no gradient, and the method treats barycentrics as constants (`docs/method.md`,
    section 2).

    Args:
        screen: [N, V, 3] u (px from the left), v (px from the top), camera z (metres); see `camera.project`.
        faces: [F, 3] long, shared by all N meshes.
        image_size: (H, W).
        layers: number of nearest faces kept per pixel.
        cull_back_faces: keep only faces whose corners run counter-clockwise on screen.
        backend: one of `BACKENDS`; None is the one chosen with `set_raster_backend` or `raster_backend`.

    Returns:
        Fragments with L = layers, face ids local to each mesh.

    Raises:
        UserError: the backend is unknown, is not installed, or does not run on the tensors' device.
        ValueError: a tensor's shape is wrong.
    """
    if screen.ndim != 3 or screen.shape[-1] != 3:
        raise ValueError(f"screen must be [N, V, 3], got {list(screen.shape)}")
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype != torch.long:
        raise ValueError(f"faces must be [F, 3] long, got {list(faces.shape)} {faces.dtype}")
    if layers < 1:
        raise ValueError(f"layers must be at least 1, got {layers}")
    image_size = (int(image_size[0]), int(image_size[1]))
    function = _backend_function(backend or _chosen_backend, screen.device)
    pixels = screen.detach().float()
    raster_ndc = torch.cat((pixels_to_raster_ndc(pixels, image_size), pixels[..., 2:]), dim=-1)
    return Fragments(*function(raster_ndc, faces, image_size, layers, cull_back_faces))


def usable_backend(backend: str, device: torch.device) -> str:
    """The backend for meshes on `device`: `backend` itself, or the one that "auto" selects there.

    Raises:
        UserError: the backend is unknown, is not installed, or does not run on that device.
    """
    if backend == "auto":
        return _best_backend(device)
    _require_installed(backend)
    if backend == "numba" and device.type != "cpu":
        raise UserError(
            f"raster backend 'numba' runs on the CPU, the mesh is on {device}; use --backend auto"
        )
    if backend == "triton" and device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise UserError(
            "raster backend 'triton' needs a CUDA device, the mesh is on the CPU; use --backend auto"
        )
    return backend


def _require_installed(backend: str) -> None:
    if backend not in BACKENDS:
        raise UserError(f"unknown raster backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    package = None if backend == "auto" else _BACKENDS[backend][2]
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(
            f"raster backend {backend!r} needs the package {package}, which is not installed; "
            "install it or use --backend auto"
        )


def _backend_function(backend: str, device: torch.device):
    module, function, _ = _BACKENDS[usable_backend(backend, device)]
    return getattr(importlib.import_module(module), function)


def _best_backend(device: torch.device) -> str:
    preferred = {"cpu": "numba", "cuda": "triton"}.get(device.type, "reference")
    needed = _BACKENDS[preferred][2]
    return preferred if needed is None or importlib.util.find_spec(needed) is not None else "reference"
