"""Rasterisation with PyTorch3D, which produced the published results. Optional, for comparison."""

from __future__ import annotations

from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor


def rasterize_pytorch3d(
    vertices: Tensor, faces: Tensor, image_size: tuple[int, int], layers: int, cull_back_faces: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise meshes of one topology; arguments and results as `raster_reference`'s."""
    meshes = Meshes(verts=vertices, faces=faces[None].expand(len(vertices), -1, -1))
    packed_index, depth, barycentric, _ = rasterize_meshes(
        meshes,
        image_size=image_size,
        blur_radius=0.0,
        faces_per_pixel=layers,
        perspective_correct=True,
        cull_backfaces=cull_back_faces,
    )
    found = packed_index >= 0
    # PyTorch3D numbers faces through the whole batch, this project within each mesh.
    face_index = packed_index.remainder(max(len(faces), 1)).where(found, packed_index.new_tensor(-1))
    return face_index, barycentric.where(found[..., None], barycentric.new_tensor(0.0)), depth
