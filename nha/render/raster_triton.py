"""Rasterisation on CUDA with Triton.

One program rasterises one face: it visits the pixels of the face's bounding box and writes (depth, face id) to each
covered pixel with an atomic minimum. Depth and id form one 64-bit key with the bits of the depth above the id. Positive
floats are ordered like their bits, so the minimum is the nearest face and, at equal depth, the lower id, whatever
the order in which the programs run. Each further layer repeats the pass for keys greater than the previous layer's.

The arithmetic is that of `coverage`, in float32 without fused multiply-adds, so the backends agree to the bit.
With TRITON_INTERPRET=1 set before the import the same kernel runs on the CPU (slowly, for tests).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.render.camera import pixel_centres_raster_ndc
from nha.render.coverage import (
    AREA_GUARD,
    MIN_PERSPECTIVE_SUM,
    barycentrics_and_depth,
    drawable_faces,
)

_LANES = 32  # pixels that a program tests at once: one warp
_NO_KEY = torch.iinfo(torch.int64).max
_BOX_SLACK = 0.01  # pixels; bounding boxes are computed from rounded positions

_AREA_GUARD = tl.constexpr(AREA_GUARD)
_MIN_SUM = tl.constexpr(MIN_PERSPECTIVE_SUM)


@triton.jit
def _edge(point_x, point_y, start_x, start_y, end_x, end_y):
    return (point_x - start_x) * (end_y - start_y) - (point_y - start_y) * (end_x - start_x)


@triton.jit
def _draw_face(
    corners_ptr,  # [D, 9] float32: raster NDC x, y and z of the drawable faces' corners
    boxes_ptr,  # [D, 4] int32: first row, last row, first column, last column
    image_ptr,  # [D] int32
    face_ptr,  # [D] int32
    column_x_ptr,  # [W] float32
    row_y_ptr,  # [H] float32
    nearer_ptr,  # [N, H, W] int64: keys of the previous layer, -1 for the first layer
    key_ptr,  # [N, H, W] int64: keys of this layer, initialised to the largest int64
    height,
    width,
    LANES: tl.constexpr,
):
    program = tl.program_id(0)
    corner = corners_ptr + program * 9
    ax, ay, az = tl.load(corner), tl.load(corner + 1), tl.load(corner + 2)
    bx, by, bz = tl.load(corner + 3), tl.load(corner + 4), tl.load(corner + 5)
    cx, cy, cz = tl.load(corner + 6), tl.load(corner + 7), tl.load(corner + 8)
    box = boxes_ptr + program * 4
    row_first, row_last = tl.load(box), tl.load(box + 1)
    column_first, column_last = tl.load(box + 2), tl.load(box + 3)
    image = tl.load(image_ptr + program).to(tl.int64)
    face = tl.load(face_ptr + program).to(tl.int64)

    area = _edge(cx, cy, ax, ay, bx, by) + _AREA_GUARD
    box_width = column_last - column_first + 1
    box_pixels = box_width * (row_last - row_first + 1)
    for start in range(0, box_pixels, LANES):
        lane = start + tl.arange(0, LANES)
        in_box = lane < box_pixels
        row = row_first + lane // box_width
        column = column_first + lane % box_width
        px = tl.load(column_x_ptr + column, mask=in_box, other=0.0)
        py = tl.load(row_y_ptr + row, mask=in_box, other=0.0)
        # div_rn rounds correctly; the plain division is approximate on CUDA
        top_a = tl.div_rn(_edge(px, py, bx, by, cx, cy), area) * bz * cz
        top_b = az * tl.div_rn(_edge(px, py, cx, cy, ax, ay), area) * cz
        top_c = az * bz * tl.div_rn(_edge(px, py, ax, ay, bx, by), area)
        total = tl.maximum(top_a + top_b + top_c, _MIN_SUM)
        bary_a, bary_b, bary_c = tl.div_rn(top_a, total), tl.div_rn(top_b, total), tl.div_rn(top_c, total)
        z = bary_a * az + bary_b * bz + bary_c * cz
        covered = in_box & (bary_a > 0) & (bary_b > 0) & (bary_c > 0)

        pixel = (image * height + row) * width + column
        key = (z.to(tl.int32, bitcast=True).to(tl.int64) << 32) | face
        nearer = tl.load(nearer_ptr + pixel, mask=covered, other=0)
        tl.atomic_min(key_ptr + pixel, key, mask=covered & (key > nearer), sem="relaxed")


def rasterize_triton(
    vertices: Tensor, faces: Tensor, image_size: tuple[int, int], layers: int, cull_back_faces: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise meshes of one topology on a GPU; arguments and results as `raster_reference`'s."""
    height, width = image_size
    batch, device = len(vertices), vertices.device
    column_x, row_y = pixel_centres_raster_ndc(image_size, device)
    corners = vertices[:, faces]  # [N, F, 3, 3]
    boxes = _boxes(corners, image_size)  # [N, F, 4]
    visible = drawable_faces(corners, cull_back_faces)
    visible &= (boxes[..., 0] <= boxes[..., 1]) & (boxes[..., 2] <= boxes[..., 3])
    image, face = visible.nonzero(as_tuple=True)  # [D] each

    keys = []
    nearer = torch.full((batch, height, width), -1, dtype=torch.long, device=device)
    for _ in range(layers):
        key = torch.full_like(nearer, _NO_KEY)
        if len(face) > 0:
            _draw_face[(len(face),)](
                corners[image, face].reshape(-1, 9),
                boxes[image, face],
                image.int(),
                face.int(),
                column_x,
                row_y,
                nearer,
                key,
                height,
                width,
                LANES=_LANES,
                num_warps=1,
                enable_fp_fusion=False,
            )
        keys.append(key)
        nearer = key
    return _resolve(torch.stack(keys, dim=-1), corners, column_x, row_y)


def _boxes(corners: Tensor, image_size: tuple[int, int]) -> Tensor:
    """First row, last row, first column, last column of each face inside the image: [N, F, 4] int32."""
    shorter = min(image_size)
    limits = []
    for axis, length in ((1, image_size[0]), (0, image_size[1])):
        # Raster NDC runs against the pixel direction.
        first = (length - 1 - corners[..., axis].amax(-1) * shorter) / 2 - _BOX_SLACK
        last = (length - 1 - corners[..., axis].amin(-1) * shorter) / 2 + _BOX_SLACK
        limits += [first.clamp(0, length).ceil(), last.clamp(-1, length - 1).floor()]
    return torch.stack(limits, dim=-1).nan_to_num(0).int()


def _resolve(keys: Tensor, corners: Tensor, column_x: Tensor, row_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """face_index, barycentric and depth of keys [N, H, W, L]."""
    face_index = torch.full_like(keys, -1)
    barycentric = torch.zeros(*keys.shape, 3, device=keys.device)
    depth = torch.full(keys.shape, -1.0, device=keys.device)
    found = (keys != _NO_KEY).nonzero(as_tuple=True)  # (n, row, column, layer), each [Q]
    face = keys[found] & 0xFFFFFFFF
    points = torch.stack((column_x[found[2]], row_y[found[1]]), dim=-1)  # [Q, 2]
    barycentric[found], depth[found] = barycentrics_and_depth(points, corners[found[0], face])
    face_index[found] = face
    return face_index, barycentric, depth
