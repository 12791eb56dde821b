"""The G-buffer: images of the visible surface's attributes, from one rasterisation. `docs/method.md`, section 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nha.core.device import uses_cpu_kernels
from nha.core.mesh import vertex_normals
from nha.core.types import Camera, Fragments, GBuffer, SurfaceTables
from nha.render.camera import pixels_to_ndc, project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize

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

    Raises:
        ValueError: an unknown channel's name, or vertices that are not [N, V, 3].
        UserError: the chosen raster backend cannot be used.
    """
    unknown = set(channels) - {*CHANNELS, "alpha"}
    if unknown:
        raise ValueError(
            f"unknown G-buffer channels {sorted(unknown)}; known are {', '.join(CHANNELS)} and alpha"
        )
    faces = tables.faces
    screen = project(vertices, camera)  # [N, V, 3]
    two_nearest = rasterize(screen, faces, camera.image_size, layers=2)
    fragments = visible_surface(two_nearest, tables)
    covered = covered_pixels(fragments)

    # functions, so that only the requested channels are computed
    draw: dict[str, Callable[[], Tensor]] = {  # -> [N, C, H, W]
        "normals": lambda: covered.draw_vertices(-_camera_normals(vertices, faces, camera), faces),
        "screen_coords": lambda: covered.draw_vertices(pixels_to_ndc(screen, camera.image_size), faces),
        "hard_labels": lambda: covered.draw_vertices(tables.hard_labels.detach()[None], faces),
        "soft_labels": lambda: covered.draw_vertices(tables.soft_labels.detach()[None], faces),
        "uvcoords": lambda: covered.draw_faces(tables.face_uvcoords.detach()[None]),
        "uvmap": lambda: _face_constants(covered, tables.face_uvmap.to(vertices.dtype)),
        "depth": lambda: fragments.depth[..., 0].to(vertices.dtype)[:, None],
        "alpha": lambda: (fragments.face_index[..., 0] >= 0).to(vertices.dtype)[:, None],
    }
    drawn = {name: draw[name]() for name in dict.fromkeys(("alpha", *channels))}
    return GBuffer(fragments, camera.image_size, drawn, tables.part_names)


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
    on_eyeball = _sides_touched(tables, "eyeball")[two_nearest.face_index[..., 0]]
    on_lid = _sides_touched(tables, "eye_region")[two_nearest.face_index[..., 1]]
    swapped = (on_eyeball & on_lid) != 0
    return Fragments(
        face_index=_take_second(two_nearest.face_index, swapped),
        barycentric=_take_second(two_nearest.barycentric, swapped),
        depth=_take_second(two_nearest.depth, swapped),
    )


def _sides_touched(tables: SurfaceTables, part: str) -> Tensor:
    """Whether a corner of each face lies in a part of the left (bit 1) or right (bit 2) side: [F + 1] uint8.

    Inside a face all barycentrics are > 0, so the interpolated label is > 0 exactly on these faces. The last entry is 0
    and is used for face index -1 (no face).
    """
    sides = torch.zeros(len(tables.hard_labels), dtype=torch.uint8, device=tables.faces.device)
    for bit, side in ((1, "left"), (2, "right")):
        if f"{side}_{part}" in tables.part_names:
            sides |= (tables.hard_labels[:, tables.part_names.index(f"{side}_{part}")] > 0) * bit
    a, b, c = sides[tables.faces].unbind(1)
    return torch.cat((a | b | c, sides.new_zeros(1)))


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


def _face_constants(covered: CoveredPixels, values: Tensor) -> Tensor:
    """Draw one value per face [F] as [N, 1, H, W]."""
    return covered.to_image(values[covered.face][:, None]).permute(0, 3, 1, 2)
