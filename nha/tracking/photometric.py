"""The photometric term: the drawn head against the picture, with gradients through colour and position.

Visibility (which face each pixel sees) is found once and used for several steps; colours, normals and
positions are evaluated anew in every step, so that each of them carries its gradient. Method, section 7.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nha.core.mesh import vertex_normals
from nha.render.camera import pixels_to_ndc, project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize
from nha.tracking.appearance import AlbedoSpace, sample_albedo, shade
from nha.tracking.mesh import TrackerMesh
from nha.tracking.state import Unknowns


def visible_pixels(
    vertices: Tensor,
    mesh: TrackerMesh,
    unknowns: Unknowns,
    image_size: tuple[int, int],
    sampling_scale: float = 1.0,
    backend: str | None = None,
) -> CoveredPixels:
    """Which front face each pixel sees, drawn at `sampling_scale` times the image's size.

    vertices: [N, V, 3] world; backend: see `rasterize`. The single nearest front face counts; there is no
    eyelid rule here.
    """
    drawn_size = tuple(max(1, round(side * sampling_scale)) for side in image_size)
    with torch.no_grad():
        screen = project(vertices, unknowns.camera(drawn_size))
        fragments = rasterize(screen, mesh.faces, drawn_size, layers=1, cull_back_faces=True, backend=backend)
    return covered_pixels(fragments)


def surface_colours(
    vertices: Tensor,
    mesh: TrackerMesh,
    seen: CoveredPixels,
    unknowns: Unknowns,
    albedo: AlbedoSpace,
    appearance: str,
) -> Tensor:
    """Colours of the covered pixels, to be compared with an image in 0..1: [P, 3]."""
    uv = seen.from_faces(mesh.face_uv[None])
    normals = seen.from_vertices(vertex_normals(vertices, mesh.faces, eps=1e-6), mesh.faces)
    return shade(sample_albedo(albedo.albedo01(unknowns.texture), uv), normals, unknowns.light, appearance)


def screen_positions(
    vertices: Tensor, mesh: TrackerMesh, seen: CoveredPixels, unknowns: Unknowns, image_size: tuple[int, int]
) -> Tensor:
    """Where each covered pixel's surface point lies, x right and y down in -1..1; corners carry gradients."""
    screen = project(vertices, unknowns.camera(image_size))
    return -seen.from_vertices(pixels_to_ndc(screen, image_size), mesh.faces)  # [P, 2]


def sample_images(images: Tensor, seen: CoveredPixels, positions: Tensor) -> Tensor:
    """Bilinear samples of images [N, C, H, W] at [P, 2] positions in -1..1, each in its pixel's own image.

    The covered pixels are scattered into one grid per image, as `grid_sample` wants it. Returns [P, C].
    """
    count = torch.bincount(seen.image, minlength=len(images))
    longest = max(int(count.max()), 1) if len(count) else 1
    first = count.cumsum(0) - count
    slot = torch.arange(len(seen.image), device=positions.device) - first[seen.image]
    place = seen.image * longest + slot
    grid = positions.new_zeros(len(images) * longest, 2).index_copy(0, place, positions)
    sampled = F.grid_sample(
        images, grid.view(len(images), 1, longest, 2), mode="bilinear", align_corners=False
    )  # [N, C, 1, longest]
    return sampled[:, :, 0].transpose(1, 2).reshape(-1, images.shape[1]).index_select(0, place)


def photometric_distance(colours: Tensor, sampled01: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference over covered pixels and channels, pooled over frames; 0 if nothing is seen.

    colours, sampled01: [P, 3]; pixel_weight: [P] or None for 1.
    """
    if pixel_weight is None:
        pixel_weight = torch.ones_like(colours[:, 0])
    difference = (colours - sampled01).abs().mean(1)
    return (difference * pixel_weight).sum() / pixel_weight.sum().clamp_min(1.0)
