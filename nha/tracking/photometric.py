"""The photometric term: the rendered head against the image, with gradients through colour and position.

The visible face of each pixel is found once and used for several steps; colours, normals and positions are evaluated
anew in every step, so that each of them carries its gradient. `docs/method.md`, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nha.core.mesh import vertex_normals
from nha.head.assets import HeadAssets
from nha.head.model import HeadModel
from nha.render.camera import pixels_to_ndc, project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize
from nha.tracking.appearance import AlbedoSpace, sample_albedo, shade
from nha.tracking.state import Unknowns


@dataclass(frozen=True)
class TrackerMesh:
    """The head model without subdivision, and the part of its surface that the photometric term uses.

    Attributes:
        head: vertices and landmarks of the whole mesh, its mouth open (landmarks need no rendered face).
        faces: [F, 3], the rendered faces.
        face_uv: [F, 3, 2] their texture coordinates in -1..1, (-1, -1) the top left.
    """

    head: HeadModel
    faces: Tensor
    face_uv: Tensor

    def to(self, device: torch.device) -> TrackerMesh:
        """The mesh on `device`; the head model itself is moved."""
        return TrackerMesh(self.head.to(device), self.faces.to(device), self.face_uv.to(device))


def tracker_mesh(assets: HeadAssets, *, ignore_lower_neck: bool = True) -> TrackerMesh:
    """Build the mesh that the tracker fits. `docs/method.md`, section 7.

    Args:
        assets: the head model's files.
        ignore_lower_neck: leave the lower neck's faces out before normals and rasterisation; collars hide them.
    """
    head = HeadModel(assets, subdivisions=0, close_mouth=False, drop_lower_neck=False, blur_sigma=None)
    rendered = torch.ones(len(head.faces), dtype=torch.bool)
    if ignore_lower_neck:
        lower_neck = torch.as_tensor(assets.lower_neck_faces, dtype=torch.long)
        rendered[lower_neck[lower_neck < len(rendered)]] = False
    return TrackerMesh(head, head.faces[rendered], head.face_uvcoords[rendered][..., :2].contiguous())


def visible_pixels(
    vertices: Tensor,
    mesh: TrackerMesh,
    unknowns: Unknowns,
    image_size: tuple[int, int],
    sampling_scale: float = 1.0,
) -> CoveredPixels:
    """The single nearest front face of each pixel; there is no eyelid rule here.

    Args:
        vertices: [N, V, 3], world.
        mesh: the mesh of these vertices.
        unknowns: of the N frames, for their camera.
        image_size: (height, width).
        sampling_scale: the head is rasterised at this multiple of the image's size.
    """
    rendered_size = tuple(max(1, round(side * sampling_scale)) for side in image_size)
    with torch.no_grad():
        screen = project(vertices, unknowns.camera(rendered_size))
        fragments = rasterize(screen, mesh.faces, rendered_size, layers=1, cull_back_faces=True)
    return covered_pixels(fragments)


def surface_colours(
    vertices: Tensor,
    mesh: TrackerMesh,
    visible: CoveredPixels,
    unknowns: Unknowns,
    albedo: AlbedoSpace,
    appearance: str,
) -> Tensor:
    """Colours of the covered pixels, to be compared with an image in 0..1: [P, 3]."""
    uv = visible.from_faces(mesh.face_uv[None])
    normals = visible.from_vertices(vertex_normals(vertices, mesh.faces, eps=1e-6), mesh.faces)
    return shade(sample_albedo(albedo.albedo01(unknowns.texture), uv), normals, unknowns.light, appearance)


def screen_positions(
    vertices: Tensor,
    mesh: TrackerMesh,
    visible: CoveredPixels,
    unknowns: Unknowns,
    image_size: tuple[int, int],
) -> Tensor:
    """Position of each covered pixel's surface point, x right and y down in -1..1, with gradients: [P, 2]."""
    screen = project(vertices, unknowns.camera(image_size))
    return -visible.from_vertices(pixels_to_ndc(screen, image_size), mesh.faces)


def sample_images(images: Tensor, visible: CoveredPixels, positions: Tensor) -> Tensor:
    """Bilinear samples of images, each covered pixel in its own image.

    The covered pixels are scattered into one grid per image, which `grid_sample` needs.

    Args:
        images: [N, C, H, W].
        visible: P covered pixels.
        positions: [P, 2] in -1..1, from `screen_positions`.

    Returns:
        [P, C].
    """
    count = torch.bincount(visible.image, minlength=len(images))
    longest = max(int(count.max()), 1) if len(count) else 1
    first = count.cumsum(0) - count
    slot = torch.arange(len(visible.image), device=positions.device) - first[visible.image]
    place = visible.image * longest + slot
    grid = positions.new_zeros(len(images) * longest, 2).index_copy(0, place, positions)
    sampled = F.grid_sample(
        images, grid.view(len(images), 1, longest, 2), mode="bilinear", align_corners=False
    )  # [N, C, 1, longest]
    return sampled[:, :, 0].transpose(1, 2).reshape(-1, images.shape[1]).index_select(0, place)


def photometric_distance(colours: Tensor, sampled01: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Term `photo`: mean absolute difference over covered pixels and channels, pooled over frames.

    Args:
        colours: [P, 3], rendered.
        sampled01: [P, 3], of the image.
        pixel_weight: [P] in 0..1, or None for 1.

    Returns:
        A scalar, 0 where no pixel is covered.
    """
    if pixel_weight is None:
        pixel_weight = torch.ones_like(colours[:, 0])
    difference = (colours - sampled01).abs().mean(1)
    return (difference * pixel_weight).sum() / pixel_weight.sum().clamp_min(1.0)
