"""The G-buffer: all that the avatar and its losses need to know of the visible surface, from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nha.core.mesh import vertex_normals
from nha.core.types import Camera, Fragments, GBuffer, SurfaceTables
from nha.render.camera import pixels_to_ndc, project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize

# Shorter summed normals than this are not stretched to unit length.
NORMAL_EPS = 1e-6

CHANNELS = (
    "normals",
    "screen_coords",
    "hard_labels",
    "soft_labels",
    "face_coords_normed",
    "uvcoords",
    "uvmap",
    "depth",
)


def draw_gbuffer(
    vertices: Tensor,
    tables: SurfaceTables,
    camera: Camera,
    channels: Sequence[str],
    backend: str = "auto",
) -> GBuffer:
    """Rasterise N meshes of one topology once and draw the requested channels of what is visible.

    Every channel is [N, C, H, W]; "alpha" (1) is always there: 1 where a face is seen, else 0. On request:

    - "normals" (3): vertex normals in the camera frame, interpolated, times -1, so that x points right, y
      down and z towards the camera; not renormalised; background 0. Gradient through the vertices.
    - "screen_coords" (2): where the surface point lies on the image, -1..1, x grows left, y grows up;
      background 0. Gradient through the corners' projections (see `interpolate.screen_coordinates`).
    - "hard_labels", "soft_labels" (P): part labels, interpolated; background 0. No gradient.
    - "face_coords_normed" (3): position on the template, -1..1 per axis; background 0. No gradient.
    - "uvcoords" (3): (2u-1, -(2v-1), 1), (-1, -1) the texture's top left; background 0. No gradient.
    - "uvmap" (1): 1 where the mouth's texture map paints, else 0. No gradient.
    - "depth" (1): camera z in metres, background -1. No gradient.

    The fragments have one layer, the visible surface after the eyelid rule (see `visible_surface`). Method,
    section 2.

    Args:
        vertices: [N, V, 3] world, metres.
        tables: the mesh's faces and surface attributes.
        camera: N cameras.
        channels: names from the list above.
        backend: see `rasterize`.

    Raises:
        ValueError: an unknown channel's name, or vertices that are not [N, V, 3].
        UserError: the backend cannot be used.
    """
    unknown = set(channels) - {*CHANNELS, "alpha"}
    if unknown:
        raise ValueError(
            f"unknown G-buffer channels {sorted(unknown)}; known are {', '.join(CHANNELS)} and alpha"
        )
    screen = project(vertices, camera)  # [N, V, 3]
    two_nearest = rasterize(screen, tables.faces, camera.image_size, layers=2, backend=backend)
    fragments = visible_surface(two_nearest, tables)
    covered = covered_pixels(fragments)

    # Each entry is evaluated only when asked for.
    values: dict[str, Callable[[], Tensor]] = {  # -> [P, C]
        "normals": lambda: (
            -covered.from_vertices(_camera_normals(vertices, tables.faces, camera), tables.faces)
        ),
        "screen_coords": lambda: covered.from_vertices(
            pixels_to_ndc(screen, camera.image_size), tables.faces
        ),
        "hard_labels": lambda: covered.from_vertices(tables.hard_labels.detach()[None], tables.faces),
        "soft_labels": lambda: covered.from_vertices(tables.soft_labels.detach()[None], tables.faces),
        "face_coords_normed": lambda: covered.from_faces(tables.face_coords_normed.detach()[None]),
        "uvcoords": lambda: covered.from_faces(tables.face_uvcoords.detach()[None]),
        "uvmap": lambda: tables.face_uvmap.to(vertices.dtype)[covered.face][:, None],
    }
    alpha = (fragments.face_index[..., 0] >= 0).to(vertices.dtype)[:, None]
    drawn = {"alpha": alpha}
    for name in channels:
        if name == "depth":
            drawn[name] = fragments.depth[..., 0].to(vertices.dtype)[:, None]
        elif name != "alpha":
            drawn[name] = _to_nchw(covered, values[name]())
    return GBuffer(fragments=fragments, image_size=camera.image_size, channels=drawn)


def visible_surface(two_nearest: Fragments, tables: SurfaceTables) -> Fragments:
    """Pick the visible one of the two nearest faces by the eyelid rule.

    Lids are thin and lie close to the eyeball, which pokes through them while a head is fitted. Where the
    nearest face has an eyeball label > 0 and the second nearest the same side's eye-region label > 0, the
    second is taken.

    Args:
        two_nearest: fragments with at least two layers.
        tables: labels and part names; a side whose parts are missing has no rule.

    Returns:
        Fragments of one layer.
    """
    nearest, second = two_nearest.face_index[..., 0], two_nearest.face_index[..., 1]
    use_second = torch.zeros_like(nearest, dtype=torch.bool)
    for side in ("left", "right"):
        eyeball, lid = f"{side}_eyeball", f"{side}_eye_region"
        if eyeball not in tables.part_names or lid not in tables.part_names:
            continue
        # Inside a face all barycentrics are > 0, so an interpolated label is > 0 where any corner's is.
        both = [tables.part_names.index(eyeball), tables.part_names.index(lid)]
        touches = (tables.hard_labels[:, both] > 0)[tables.faces].any(dim=1)  # [F, 2]
        # Index -1 (no face) reads the last row; the comparison with 0 undoes it.
        use_second |= touches[nearest, 0] & (nearest >= 0) & touches[second, 1] & (second >= 0)
    return Fragments(
        face_index=torch.where(use_second, second, nearest)[..., None],
        barycentric=torch.where(
            use_second[..., None], two_nearest.barycentric[..., 1, :], two_nearest.barycentric[..., 0, :]
        )[..., None, :],
        depth=torch.where(use_second, two_nearest.depth[..., 1], two_nearest.depth[..., 0])[..., None],
    )


def _camera_normals(vertices: Tensor, faces: Tensor, camera: Camera) -> Tensor:
    """Vertex normals in the camera frame, [N, V, 3], pointing out of the surface."""
    return vertex_normals(vertices, faces, eps=NORMAL_EPS) @ camera.extrinsics[:, :, :3]


def _to_nchw(covered: CoveredPixels, values: Tensor) -> Tensor:
    return covered.to_image(values).permute(0, 3, 1, 2).contiguous()
