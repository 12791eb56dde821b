"""Rasterisation on all CPU cores with numba.

Each image is split into bands of rows. Faces are sorted into the bands that their bounding boxes touch; then each band
is rasterised by one thread, faces in ascending order, directly into the output arrays. The arithmetic is that of
`coverage`, in float32 and without reassociation, so the result equals that of `raster_reference` to the bit.

The kernels have fixed signatures and are cached on disk: they are compiled once per installation, when this module is
imported for the first time.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import float32, int32, int64, prange
from torch import Tensor

from nha.render.camera import MIN_DEPTH_METRES, pixel_centres_raster_ndc
from nha.render.coverage import AREA_GUARD, MIN_AREA, MIN_PERSPECTIVE_SUM

BAND_ROWS = 16
# Pixels added to bounding boxes, because they are computed from rounded float32 positions.
_BOX_SLACK = 0.01

# numba promotes float32 * python float to float64; typed constants keep the arithmetic in float32.
_MIN_DEPTH = np.float32(MIN_DEPTH_METRES)
_MIN_AREA = np.float32(MIN_AREA)
_AREA_GUARD = np.float32(AREA_GUARD)
_MIN_SUM = np.float32(MIN_PERSPECTIVE_SUM)


@numba.njit(float32(float32, float32, float32, float32, float32, float32), inline="always", cache=True)
def _edge(point_x, point_y, start_x, start_y, end_x, end_y):
    return (point_x - start_x) * (end_y - start_y) - (point_y - start_y) * (end_x - start_x)


@numba.njit(cache=True, inline="always")
def _pixel_range(low_ndc, high_ndc, shorter, length):
    """The first and last pixel whose centre may lie between two positions (first > last: none)."""
    # Raster NDC runs against the pixel direction: pixel centre i sits at (length - 1 - 2 i) / shorter.
    first = (length - 1 - high_ndc * shorter) * 0.5 - _BOX_SLACK
    last = (length - 1 - low_ndc * shorter) * 0.5 + _BOX_SLACK
    first = min(max(first, -1.0), float(length))  # clamped before the cast: far-off corners overflow an int
    last = min(max(last, -1.0), float(length))
    return max(int(np.ceil(first)), 0), min(int(np.floor(last)), length - 1)


@numba.njit(cache=True, inline="always")
def _box_face(vertices, face, height, width, cull_back_faces):
    """A face's first row, last row, first column, last column; (0, -1, 0, -1) if it covers nothing."""
    a, b, c = face[0], face[1], face[2]
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
    cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
    area = _edge(cx, cy, ax, ay, bx, by)
    # false for NaN corners
    drawable = az > _MIN_DEPTH and bz > _MIN_DEPTH and cz > _MIN_DEPTH
    drawable = drawable and (area > _MIN_AREA or (not cull_back_faces and area < -_MIN_AREA))
    if not drawable:
        return 0, -1, 0, -1
    shorter = min(height, width)
    row_first, row_last = _pixel_range(min(ay, by, cy), max(ay, by, cy), shorter, height)
    column_first, column_last = _pixel_range(min(ax, bx, cx), max(ax, bx, cx), shorter, width)
    if column_first > column_last:
        return 0, -1, 0, -1
    return row_first, row_last, column_first, column_last


@numba.njit(
    int32[:, :, ::1](float32[:, :, ::1], int64[:, ::1], int64, int64, numba.boolean),
    parallel=True,
    cache=True,
)
def _box_faces(vertices, faces, height, width, cull_back_faces):
    """Bounding boxes of all faces in all images: [N, F, 4] first row, last row, first column, last column."""
    batch, count = len(vertices), len(faces)
    boxes = np.empty((batch, count, 4), np.int32)
    for n in range(batch):
        for f in prange(count):
            box = _box_face(vertices[n], faces[f], height, width, cull_back_faces)
            boxes[n, f, 0], boxes[n, f, 1], boxes[n, f, 2], boxes[n, f, 3] = box
    return boxes


@numba.njit(numba.types.UniTuple(int32[::1], 2)(int32[:, :, ::1], int64), cache=True)
def _sort_into_bands(boxes, bands):
    """The faces of each band: starts [N * bands + 1] into members, faces ascending within a band."""
    batch, count = boxes.shape[0], boxes.shape[1]
    starts = np.zeros(batch * bands + 1, np.int32)
    for n in range(batch):
        for f in range(count):
            if boxes[n, f, 0] <= boxes[n, f, 1]:
                for band in range(boxes[n, f, 0] // BAND_ROWS, boxes[n, f, 1] // BAND_ROWS + 1):
                    starts[n * bands + band + 1] += 1
    for slot in range(batch * bands):
        starts[slot + 1] += starts[slot]
    members = np.empty(starts[-1], np.int32)
    filled = starts[:-1].copy()
    for n in range(batch):
        for f in range(count):
            if boxes[n, f, 0] <= boxes[n, f, 1]:
                for band in range(boxes[n, f, 0] // BAND_ROWS, boxes[n, f, 1] // BAND_ROWS + 1):
                    slot = n * bands + band
                    members[filled[slot]] = f
                    filled[slot] += 1
    return starts, members


@numba.njit(cache=True, inline="always")
def _corners(vertices, faces, face):
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    return (
        (vertices[a, 0], vertices[a, 1], vertices[a, 2]),
        (vertices[b, 0], vertices[b, 1], vertices[b, 2]),
        (vertices[c, 0], vertices[c, 1], vertices[c, 2]),
    )


@numba.njit(cache=True, inline="always", error_model="numpy")
def _perspective(edge_a, edge_b, edge_c, area, az, bz, cz):
    """Perspective-correct barycentrics and depth from a point's edge values; `area` includes `AREA_GUARD`."""
    top_a = edge_a / area * bz * cz
    top_b = az * (edge_b / area) * cz
    top_c = az * bz * (edge_c / area)
    total = max(top_a + top_b + top_c, _MIN_SUM)
    bary_a, bary_b, bary_c = top_a / total, top_b / total, top_c / total
    return bary_a, bary_b, bary_c, bary_a * az + bary_b * bz + bary_c * cz


@numba.njit(cache=True, error_model="numpy")
def _draw_band(
    vertices, faces, boxes, members, column_x, row_y, row_begin, row_end, face_index, barycentric, depth
):
    """Rasterise a band's faces into one image's face_index [H, W, L], barycentric and depth, nearest first."""
    zero = np.float32(0)
    layers = depth.shape[2]
    for member in members:
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = _corners(vertices, faces, member)
        signed_area = _edge(cx, cy, ax, ay, bx, by)
        area = signed_area + _AREA_GUARD
        facing = np.float32(1) if signed_area > zero else np.float32(-1)
        for row in range(max(boxes[member, 0], row_begin), min(boxes[member, 1] + 1, row_end)):
            py = row_y[row]
            entered = False
            for column in range(boxes[member, 2], boxes[member, 3] + 1):
                px = column_x[column]
                edge_a = _edge(px, py, bx, by, cx, cy)
                edge_b = _edge(px, py, cx, cy, ax, ay)
                edge_c = _edge(px, py, ax, ay, bx, by)
                # signs first: most pixels of a box lie outside, and the signs need no division
                if not (edge_a * facing > zero and edge_b * facing > zero and edge_c * facing > zero):
                    if entered:
                        break  # the pixels of a triangle in a row are contiguous
                    continue
                entered = True
                bary_a, bary_b, bary_c, z = _perspective(edge_a, edge_b, edge_c, area, az, bz, cz)
                if not (bary_a > zero and bary_b > zero and bary_c > zero):
                    continue
                # faces are in ascending order: a strict comparison keeps the lower id in front at equal depth
                place = layers
                while place > 0 and z < depth[row, column, place - 1]:
                    place -= 1
                for layer in range(layers - 1, place, -1):
                    face_index[row, column, layer] = face_index[row, column, layer - 1]
                    depth[row, column, layer] = depth[row, column, layer - 1]
                    for corner in range(3):
                        barycentric[row, column, layer, corner] = barycentric[row, column, layer - 1, corner]
                if place < layers:
                    face_index[row, column, place] = member
                    depth[row, column, place] = z
                    barycentric[row, column, place, 0] = bary_a
                    barycentric[row, column, place, 1] = bary_b
                    barycentric[row, column, place, 2] = bary_c


@numba.njit(cache=True)
def _replace_infinite(depth, row_begin, row_end):
    """Replace the infinite depths of uncovered pixels by -1."""
    for row in range(row_begin, row_end):
        for column in range(depth.shape[1]):
            for layer in range(depth.shape[2]):
                if depth[row, column, layer] == np.float32(np.inf):
                    depth[row, column, layer] = np.float32(-1)


@numba.njit(
    numba.void(
        float32[:, :, ::1],
        int64[:, ::1],
        float32[::1],
        float32[::1],
        numba.boolean,
        int64,
        int64[:, :, :, ::1],
        float32[:, :, :, :, ::1],
        float32[:, :, :, ::1],
    ),
    parallel=True,
    cache=True,
)
def _rasterize(vertices, faces, column_x, row_y, cull_back_faces, workers, face_index, barycentric, depth):
    batch, height, width = depth.shape[0], depth.shape[1], depth.shape[2]
    boxes = _box_faces(vertices, faces, height, width, cull_back_faces)
    bands = (height + BAND_ROWS - 1) // BAND_ROWS
    starts, members = _sort_into_bands(boxes, bands)
    for worker in prange(workers):
        # strided, because heads fill the middle of the image and neighbouring bands cost about the same
        for slot in range(worker, batch * bands, workers):
            n, row_begin = slot // bands, slot % bands * BAND_ROWS
            row_end = min(row_begin + BAND_ROWS, height)
            face_index[n, row_begin:row_end] = -1
            depth[n, row_begin:row_end] = np.inf
            barycentric[n, row_begin:row_end] = 0
            _draw_band(
                vertices[n],
                faces,
                boxes[n],
                members[starts[slot] : starts[slot + 1]],
                column_x,
                row_y,
                row_begin,
                row_end,
                face_index[n],
                barycentric[n],
                depth[n],
            )
            _replace_infinite(depth[n], row_begin, row_end)


def rasterize_numba(
    vertices: Tensor, faces: Tensor, image_size: tuple[int, int], layers: int, cull_back_faces: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise meshes of one topology on the CPU; arguments and results as `raster_reference`'s."""
    height, width = image_size
    batch = len(vertices)
    column_x, row_y = pixel_centres_raster_ndc(image_size, vertices.device)
    face_index = torch.empty(batch, height, width, layers, dtype=torch.long)
    barycentric = torch.empty(batch, height, width, layers, 3)
    depth = torch.empty(batch, height, width, layers)
    _rasterize(
        vertices.contiguous().numpy(),
        faces.contiguous().numpy(),
        column_x.numpy(),
        row_y.numpy(),
        cull_back_faces,
        numba.get_num_threads(),
        face_index.numpy(),
        barycentric.numpy(),
        depth.numpy(),
    )
    return face_index, barycentric, depth
