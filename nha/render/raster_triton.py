"""Rasterisation on CUDA with Triton.

One program rasterises one face: it skips faces that cover nothing, visits the pixels of the face's bounding box and
writes (depth, face id) to each covered pixel with an atomic minimum. Depth and id form one 64-bit key with the bits of
the depth above the id. Positive floats are ordered like their bits, so the minimum is the nearest face and, at equal
depth, the lower id, whatever the order in which the programs run. Each further layer repeats the pass for keys greater
than the previous layer's. A last kernel computes barycentrics and depths of the faces that were found.

The arithmetic is that of `coverage`, in float32 without fused multiply-adds, so the backends agree to the bit. Nothing
here makes the host wait for the device. With TRITON_INTERPRET=1 set before the import the same kernels run on the CPU
(slowly, for tests).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.render.camera import MIN_DEPTH_METRES, pixel_centres_raster_ndc
from nha.render.coverage import AREA_GUARD, MIN_AREA, MIN_PERSPECTIVE_SUM

_LANES = 32  # pixels that a program tests at once: one warp
_PIXELS = 128  # pixels that a program of the last kernel computes

_NO_KEY = tl.constexpr(torch.iinfo(torch.int64).max)
_BOX_SLACK = tl.constexpr(0.01)  # pixels; bounding boxes are computed from rounded positions
_MIN_DEPTH = tl.constexpr(MIN_DEPTH_METRES)
_MIN_AREA = tl.constexpr(MIN_AREA)
_AREA_GUARD = tl.constexpr(AREA_GUARD)
_MIN_SUM = tl.constexpr(MIN_PERSPECTIVE_SUM)


@triton.jit
def _edge(point_x, point_y, start_x, start_y, end_x, end_y):
    return (point_x - start_x) * (end_y - start_y) - (point_y - start_y) * (end_x - start_x)


@triton.jit
def _barycentrics(px, py, ax, ay, az, bx, by, bz, cx, cy, cz):
    """Perspective-correct barycentrics and depth, as `coverage.barycentrics_and_depth`."""
    # div_rn rounds correctly; the plain division is approximate on CUDA
    area = _edge(cx, cy, ax, ay, bx, by) + _AREA_GUARD
    top_a = tl.div_rn(_edge(px, py, bx, by, cx, cy), area) * bz * cz
    top_b = az * tl.div_rn(_edge(px, py, cx, cy, ax, ay), area) * cz
    top_c = az * bz * tl.div_rn(_edge(px, py, ax, ay, bx, by), area)
    total = tl.maximum(top_a + top_b + top_c, _MIN_SUM)
    bary_a, bary_b, bary_c = tl.div_rn(top_a, total), tl.div_rn(top_b, total), tl.div_rn(top_c, total)
    return bary_a, bary_b, bary_c, bary_a * az + bary_b * bz + bary_c * cz


@triton.jit
def _corner(vertices_ptr, faces_ptr, first_vertex, face, corner, mask):
    """x, y and z of one corner of faces."""
    vertex = tl.load(faces_ptr + face * 3 + corner, mask=mask, other=0)
    place = vertices_ptr + (first_vertex + vertex) * 3
    x = tl.load(place, mask=mask, other=0.0)
    y = tl.load(place + 1, mask=mask, other=0.0)
    z = tl.load(place + 2, mask=mask, other=0.0)
    return x, y, z


@triton.jit
def _pixel_range(low_ndc, high_ndc, shorter, length):
    """The first and last pixel whose centre may lie between two positions (first > last: none)."""
    # Raster NDC runs against the pixel direction. Clamped before the cast: far-off corners overflow an integer.
    first = (length - 1 - high_ndc * shorter) * 0.5 - _BOX_SLACK
    last = (length - 1 - low_ndc * shorter) * 0.5 + _BOX_SLACK
    first = tl.minimum(tl.maximum(first, 0.0), length * 1.0)
    last = tl.minimum(tl.maximum(last, -1.0), length - 1.0)
    return tl.ceil(first).to(tl.int32), tl.floor(last).to(tl.int32)


@triton.jit
def _draw_face(
    vertices_ptr,  # [N, V, 3] float32: raster NDC x, y and camera z
    faces_ptr,  # [F, 3] int64
    column_x_ptr,  # [W] float32
    row_y_ptr,  # [H] float32
    nearer_ptr,  # [N, H, W] int64: keys of the previous layer; not read for the first layer
    key_ptr,  # [N, H, W] int64: keys of this layer, initialised to the largest int64
    n_vertices,
    height,
    width,
    FIRST_LAYER: tl.constexpr,
    CULL_BACK_FACES: tl.constexpr,
    LANES: tl.constexpr,
):
    face = tl.program_id(0).to(tl.int64)
    image = tl.program_id(1).to(tl.int64)
    ax, ay, az = _corner(vertices_ptr, faces_ptr, image * n_vertices, face, 0, True)
    bx, by, bz = _corner(vertices_ptr, faces_ptr, image * n_vertices, face, 1, True)
    cx, cy, cz = _corner(vertices_ptr, faces_ptr, image * n_vertices, face, 2, True)

    area = _edge(cx, cy, ax, ay, bx, by)
    drawable = (az > _MIN_DEPTH) & (bz > _MIN_DEPTH) & (cz > _MIN_DEPTH)  # false for NaN
    if CULL_BACK_FACES:
        drawable = drawable & (area > _MIN_AREA)
    else:
        drawable = drawable & (tl.abs(area) > _MIN_AREA)
    shorter = tl.minimum(height, width)
    low_y, high_y = tl.minimum(tl.minimum(ay, by), cy), tl.maximum(tl.maximum(ay, by), cy)
    low_x, high_x = tl.minimum(tl.minimum(ax, bx), cx), tl.maximum(tl.maximum(ax, bx), cx)
    row_first, row_last = _pixel_range(low_y, high_y, shorter, height)
    column_first, column_last = _pixel_range(low_x, high_x, shorter, width)
    drawable = drawable & (row_first <= row_last) & (column_first <= column_last)
    box_width = tl.maximum(column_last - column_first + 1, 1)
    box_pixels = tl.where(drawable, box_width * (row_last - row_first + 1), 0)

    for start in range(0, box_pixels, LANES):
        lane = start + tl.arange(0, LANES)
        in_box = lane < box_pixels
        row = row_first + lane // box_width
        column = column_first + lane % box_width
        px = tl.load(column_x_ptr + column, mask=in_box, other=0.0)
        py = tl.load(row_y_ptr + row, mask=in_box, other=0.0)
        bary_a, bary_b, bary_c, z = _barycentrics(px, py, ax, ay, az, bx, by, bz, cx, cy, cz)
        covered = in_box & (bary_a > 0) & (bary_b > 0) & (bary_c > 0)
        pixel = (image * height + row) * width + column
        key = (z.to(tl.int32, bitcast=True).to(tl.int64) << 32) | face
        if not FIRST_LAYER:
            covered = covered & (key > tl.load(nearer_ptr + pixel, mask=covered, other=0))
        tl.atomic_min(key_ptr + pixel, key, mask=covered, sem="relaxed")


@triton.jit
def _resolve(
    key_ptr,  # [L, N, H, W] int64
    vertices_ptr,  # [N, V, 3] float32
    faces_ptr,  # [F, 3] int64
    column_x_ptr,  # [W] float32
    row_y_ptr,  # [H] float32
    face_index_ptr,  # [N, H, W, L] int64
    barycentric_ptr,  # [N, H, W, L, 3] float32
    depth_ptr,  # [N, H, W, L] float32
    n_pixels,  # N * H * W
    n_vertices,
    height,
    width,
    LAYERS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    layer = tl.program_id(1).to(tl.int64)
    in_image = pixel < n_pixels
    key = tl.load(key_ptr + layer * n_pixels + pixel, mask=in_image, other=_NO_KEY)
    found = key != _NO_KEY
    face = tl.where(found, key & 0xFFFFFFFF, 0)
    first_vertex = pixel // (height * width) * n_vertices
    px = tl.load(column_x_ptr + pixel % width, mask=found, other=0.0)
    py = tl.load(row_y_ptr + pixel // width % height, mask=found, other=0.0)
    ax, ay, az = _corner(vertices_ptr, faces_ptr, first_vertex, face, 0, found)
    bx, by, bz = _corner(vertices_ptr, faces_ptr, first_vertex, face, 1, found)
    cx, cy, cz = _corner(vertices_ptr, faces_ptr, first_vertex, face, 2, found)
    bary_a, bary_b, bary_c, z = _barycentrics(px, py, ax, ay, az, bx, by, bz, cx, cy, cz)
    place = pixel * LAYERS + layer
    tl.store(face_index_ptr + place, tl.where(found, face, -1), mask=in_image)
    tl.store(depth_ptr + place, tl.where(found, z, -1.0), mask=in_image)
    tl.store(barycentric_ptr + place * 3, tl.where(found, bary_a, 0.0), mask=in_image)
    tl.store(barycentric_ptr + place * 3 + 1, tl.where(found, bary_b, 0.0), mask=in_image)
    tl.store(barycentric_ptr + place * 3 + 2, tl.where(found, bary_c, 0.0), mask=in_image)


def rasterize_triton(
    vertices: Tensor, faces: Tensor, image_size: tuple[int, int], layers: int, cull_back_faces: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise meshes of one topology on a GPU; arguments and results as `raster_reference`'s.

    `layers` + 2 launches: the keys' initial values, one pass for each layer, and the last kernel.
    """
    height, width = image_size
    batch, n_vertices = vertices.shape[:2]
    device = vertices.device
    vertices, faces = vertices.contiguous(), faces.contiguous()
    column_x, row_y = pixel_centres_raster_ndc(image_size, device)
    keys = torch.full((layers, batch, height, width), _NO_KEY.value, dtype=torch.long, device=device)
    face_index = torch.empty((batch, height, width, layers), dtype=torch.long, device=device)
    barycentric = torch.empty((batch, height, width, layers, 3), device=device)
    depth = torch.empty((batch, height, width, layers), device=device)
    for layer in range(layers if len(faces) else 0):
        _draw_face[(len(faces), batch)](
            vertices,
            faces,
            column_x,
            row_y,
            keys[max(layer - 1, 0)],
            keys[layer],
            n_vertices,
            height,
            width,
            FIRST_LAYER=layer == 0,
            CULL_BACK_FACES=cull_back_faces,
            LANES=_LANES,
            num_warps=1,
            enable_fp_fusion=False,
        )
    n_pixels = batch * height * width
    _resolve[(triton.cdiv(n_pixels, _PIXELS), layers)](
        keys,
        vertices,
        faces,
        column_x,
        row_y,
        face_index,
        barycentric,
        depth,
        n_pixels,
        n_vertices,
        height,
        width,
        LAYERS=layers,
        PIXELS=_PIXELS,
        enable_fp_fusion=False,
    )
    return face_index, barycentric, depth
