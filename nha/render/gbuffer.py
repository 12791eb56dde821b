"""The G-buffer: images of the visible surface's attributes, from one rasterisation. `docs/method.md`, section 2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nha.core.device import uses_cpu_kernels
from nha.core.launches import uses_fused_kernels
from nha.core.mesh import vertex_normals
from nha.core.types import Camera, Fragments, GBuffer, SurfaceTables
from nha.render.camera import pixels_to_ndc, project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.lazy_channels import LazyChannels
from nha.render.rasterize import rasterize
from nha.render.visible_ops import fused_visible_surface

# Sums of face normals shorter than this are not normalised.
NORMAL_EPS = 1e-6

CHANNELS = (
    "normals",
    "screen_coords",
    "hard_labels",
    "soft_labels",
    "uvcoords",
    "uvmap",
    "depth",
)


def draw_gbuffer(
    vertices: Tensor,
    tables: SurfaceTables,
    camera: Camera,
    channels: Sequence[str],
    lazy: Sequence[str] = (),
) -> GBuffer:
    """The G-buffer of N meshes of one topology, rasterised once, with the requested channels.

    Every channel is [N, C, H, W]; "alpha" (1) is always present: 1 where a face is visible, else 0. On request:

    - "normals" (3): vertex normals in the camera frame, interpolated, times -1, so that x points right, y
      down and z towards the camera; not renormalised; background 0. Gradient through the vertices.
    - "screen_coords" (2): position of the surface point on the image, -1..1, x grows left, y grows up; background 0.
      The corners' projected positions, summed with the detached perspective-correct barycentrics: not exactly the
      projection of the interpolated point, but the quantity that the published method differentiates. Gradient through
      the corners.
    - "hard_labels", "soft_labels" (P): part labels, interpolated; background 0. No gradient.
    - "uvcoords" (3): (2u-1, -(2v-1), 1), (-1, -1) the texture's top left; background 0. No gradient.
    - "uvmap" (1): 1 where the mouth's texture map applies, else 0. No gradient.
    - "depth" (1): camera z in metres, background -1. No gradient.

    The fragments have one layer, the visible surface after the eyelid rule (see `visible_surface`).

    Args:
        vertices: [N, V, 3] world, metres.
        tables: the mesh's faces and surface attributes.
        camera: N cameras.
        channels: names from the list above.
        lazy: names of channels that are drawn when one of them is read for the first time.

    Raises:
        ValueError: an unknown channel's name, or vertices that are not [N, V, 3].
        UserError: the chosen raster backend cannot be used.
    """
    unknown = {*channels, *lazy} - {*CHANNELS, "alpha"}
    if unknown:
        raise ValueError(
            f"unknown G-buffer channels {sorted(unknown)}; known are {', '.join(CHANNELS)} and alpha"
        )
    faces = tables.faces
    screen = project(vertices, camera)  # [N, V, 3]
    two_nearest = rasterize(screen, faces, camera.image_size, layers=2)
    fragments = visible_surface(two_nearest, tables)
    covered = covered_pixels(fragments)

    draw: dict[str, Callable[[], Tensor]] = {  # -> [N, C, H, W]
        "uvcoords": lambda: covered.draw_faces(tables.face_uvcoords.detach()[None]),
        "uvmap": lambda: _face_constants(covered, tables.face_uvmap.to(vertices.dtype)),
        "depth": lambda: fragments.depth[..., 0].to(vertices.dtype)[:, None],
        "alpha": lambda: _alpha(covered, fragments).to(vertices.dtype),
    }
    posed = {  # -> [N, V, C]
        "normals": lambda: -_camera_normals(vertices, faces, camera),
        "screen_coords": lambda: pixels_to_ndc(screen, camera.image_size),
    }
    labels = {  # -> [1, V, P]
        "hard_labels": lambda: tables.hard_labels.detach()[None],
        "soft_labels": lambda: tables.soft_labels.detach()[None],
    }

    def draw_channels(names: Iterable[str]) -> Mapping[str, Tensor]:
        drawn = {name: draw[name]() for name in names if name in draw}
        for group in (posed, labels):
            values = {name: group[name]() for name in names if name in group}
            drawn |= _draw_together(covered, values, faces)
        return {name: drawn[name] for name in names}

    drawn = draw_channels(tuple(dict.fromkeys(("alpha", *channels))))
    if lazy:
        drawn = LazyChannels(drawn, tuple(lazy), draw_channels)
    return GBuffer(fragments, camera.image_size, drawn, tables.part_names, covered, screen)


def _draw_together(
    covered: CoveredPixels, values: Mapping[str, Tensor], faces: Tensor
) -> Mapping[str, Tensor]:
    """Images [N, C, H, W] of several vertex values [N or 1, V, C] in one pass."""
    if len(values) < 2:
        return {name: covered.draw_vertices(value, faces) for name, value in values.items()}
    planes = covered.draw_vertices(torch.cat(list(values.values()), dim=-1), faces)
    sizes = [value.shape[-1] for value in values.values()]
    return dict(zip(values, planes.split(sizes, dim=1), strict=True))


def visible_surface(two_nearest: Fragments, tables: SurfaceTables) -> Fragments:
    """The visible one of the two nearest faces, according to the eyelid rule.

    Eyelids are thin and lie close to the eyeball, which intersects them while a head is fitted. Where the nearest face
    has an eyeball label > 0 and the second nearest the same side's eye-region label > 0, the second is taken.

    Args:
        two_nearest: fragments with at least two layers.
        tables: labels and part names; the rule is skipped for a side whose parts are missing.

    Returns:
        Fragments of one layer.
    """
    # inside a face all barycentrics are > 0, so an interpolated label is > 0 exactly where a corner's label is
    eyeball_faces, lid_faces = tables.eyelid_faces
    if uses_fused_kernels(eyeball_faces.device):
        return fused_visible_surface(two_nearest, eyeball_faces, lid_faces)
    on_eyeball = eyeball_faces[two_nearest.face_index[..., 0]]
    on_lid = lid_faces[two_nearest.face_index[..., 1]]
    swapped = (on_eyeball & on_lid) != 0
    return Fragments(
        face_index=_take_second(two_nearest.face_index, swapped),
        barycentric=_take_second(two_nearest.barycentric, swapped),
        depth=_take_second(two_nearest.depth, swapped),
    )


def _take_second(layers: Tensor, where: Tensor) -> Tensor:
    """The first layer, replaced by the second at `where` [N, H, W]: [N, H, W, 2 or more, ...] to [N, H, W, 1, ...]."""
    if not uses_cpu_kernels(layers.device):
        mask = where.view(*where.shape, *(1,) * (layers.ndim - 3))
        return torch.where(mask, layers[:, :, :, 1:2], layers[:, :, :, :1])
    # few pixels are swapped: on a CPU it is faster to write only these
    taken = layers[:, :, :, :1].clone(memory_format=torch.contiguous_format)
    index = where.nonzero(as_tuple=True)
    taken[:, :, :, 0][index] = layers[:, :, :, 1][index]
    return taken


def _camera_normals(vertices: Tensor, faces: Tensor, camera: Camera) -> Tensor:
    """Vertex normals in the camera frame, [N, V, 3], pointing out of the surface."""
    return vertex_normals(vertices, faces, eps=NORMAL_EPS) @ camera.extrinsics[:, :, :3]


def _alpha(covered: CoveredPixels, fragments: Fragments) -> Tensor:
    """Where a face is visible, [N, 1, H, W]; pixels that a list of fixed length lacks count as background."""
    if covered.padded:
        return covered.to_image(covered.barycentric.new_ones(len(covered.pixel), 1)).permute(0, 3, 1, 2)
    return (fragments.face_index[..., 0] >= 0)[:, None]


def _face_constants(covered: CoveredPixels, values: Tensor) -> Tensor:
    """Draw one value per face [F] as [N, 1, H, W]."""
    return covered.to_image(values[covered.face][:, None]).permute(0, 3, 1, 2)
