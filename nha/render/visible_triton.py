"""The Triton kernel of `nha/render/visible_ops.py`: each lane computes a pixel.

With TRITON_INTERPRET=1 set before the import the kernel runs on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_LANES = 256


@triton.jit
def _visible_surface(
    face_index_ptr,  # [P, L] int64
    barycentric_ptr,  # [P, L, 3]
    depth_ptr,  # [P, L]
    eyeball_faces_ptr,  # [F + 1] uint8
    lid_faces_ptr,  # [F + 1] uint8
    face_ptr,  # [P] int64, written
    weights_ptr,  # [P, 3], written
    z_ptr,  # [P], written
    pixels,
    layers,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    mask = pixel < pixels
    place = pixel * layers
    first = tl.load(face_index_ptr + place, mask=mask, other=-1)
    second = tl.load(face_index_ptr + place + 1, mask=mask, other=-1)
    on_eyeball = tl.load(eyeball_faces_ptr + first, mask=first >= 0, other=0)
    on_lid = tl.load(lid_faces_ptr + second, mask=second >= 0, other=0)
    place += tl.where((on_eyeball & on_lid) != 0, 1, 0)
    tl.store(face_ptr + pixel, tl.load(face_index_ptr + place, mask=mask, other=-1), mask=mask)
    tl.store(z_ptr + pixel, tl.load(depth_ptr + place, mask=mask, other=0.0), mask=mask)
    for k in tl.static_range(3):
        weight = tl.load(barycentric_ptr + place * 3 + k, mask=mask, other=0.0)
        tl.store(weights_ptr + pixel * 3 + k, weight, mask=mask)


def visible_surface(
    face_index: Tensor,
    barycentric: Tensor,
    depth: Tensor,
    eyeball_faces: Tensor,
    lid_faces: Tensor,
    face: Tensor,
    weights: Tensor,
    z: Tensor,
) -> None:
    """Write one layer [N, H, W, 1, ...] of fragments [N, H, W, L, ...] by the eyelid rule."""
    pixels, layers = z.numel(), depth.shape[3]
    _visible_surface[(triton.cdiv(pixels, _LANES),)](
        face_index,
        barycentric,
        depth,
        eyeball_faces,
        lid_faces,
        face,
        weights,
        z,
        pixels,
        layers,
        LANES=_LANES,
    )
