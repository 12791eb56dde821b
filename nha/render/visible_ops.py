"""The eyelid rule of `nha/render/gbuffer.py` as one kernel launch; the kernel is in `nha/render/visible_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches
from nha.core.types import Fragments


def fused_visible_surface(two_nearest: Fragments, eyeball_faces: Tensor, lid_faces: Tensor) -> Fragments:
    """The fragments of one layer that `visible_surface` chooses of the first two.

    Args:
        two_nearest: fragments with two layers or more, without gradient.
        eyeball_faces, lid_faces: uint8 [F + 1], see `SurfaceTables.eyelid_faces`.
    """
    layers = [two_nearest.face_index, two_nearest.barycentric, two_nearest.depth]
    layers = [values.detach().contiguous() for values in layers]
    chosen = [values.new_empty(*values.shape[:3], 1, *values.shape[4:]) for values in layers]
    torch.ops.nha.visible_surface(*layers, eyeball_faces, lid_faces, *chosen)
    return Fragments(*chosen)


def _visible_twin(
    face_index: Tensor,
    barycentric: Tensor,
    depth: Tensor,
    eyeball_faces: Tensor,
    lid_faces: Tensor,
    *chosen: Tensor,
) -> None:
    swapped = (eyeball_faces[face_index[..., 0]] & lid_faces[face_index[..., 1]]) != 0
    for layers, out in zip((face_index, barycentric, depth), chosen, strict=True):
        mask = swapped.view(*swapped.shape, *(1,) * (layers.ndim - 3))
        out.copy_(torch.where(mask, layers[:, :, :, 1:2], layers[:, :, :, :1]))


register_launches(
    "nha.render.visible_triton",
    {
        "visible_surface(Tensor face_index, Tensor barycentric, Tensor depth, Tensor eyeball_faces, "
        "Tensor lid_faces, Tensor(a!) face, Tensor(b!) weights, Tensor(c!) z) -> ()": _visible_twin
    },
)
