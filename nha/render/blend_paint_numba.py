"""Kernels of `blend_paint`, in float32 without reassociation."""

from __future__ import annotations

import numba
import numpy as np
from numba import boolean, float32, float64, int64, prange

from nha.render.gbuffer import NORMAL_EPS

MIN_NORMAL = 1e-6  # shorter interpolated normals are not normalised

# numba promotes float32 * python float to float64; typed constants keep the arithmetic in float32.
_ZERO, _ONE, _HALF, _THREE = np.float32(0), np.float32(1), np.float32(0.5), np.float32(3)
_NORMAL_EPS, _MIN_NORMAL = np.float32(NORMAL_EPS), np.float32(MIN_NORMAL)


@numba.njit(
    numba.void(float32[:, :, ::1], int64[:, ::1], float32[:, :, ::1], float32[:, :, ::1]),
    parallel=True,
    cache=True,
)
def camera_normals(vertices, faces, rotations, normals):
    """Area-weighted vertex normals times a rotation, as `nha.core.mesh.vertex_normals`; `normals` is 0 at first."""
    for n in prange(len(vertices)):
        points, total, r = vertices[n], normals[n], rotations[n]
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
            vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
            cross = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
            for vertex in (a, b, c):
                for axis in range(3):
                    total[vertex, axis] += cross[axis]
        for vertex in range(len(points)):
            x, y, z = total[vertex, 0], total[vertex, 1], total[vertex, 2]
            length = max(np.sqrt(x * x + y * y + z * z), _NORMAL_EPS)
            x, y, z = x / length, y / length, z / length
            for axis in range(3):
                total[vertex, axis] = x * r[0, axis] + y * r[1, axis] + z * r[2, axis]


@numba.njit(cache=True, inline="always")
def _surface_point(weights, face, face_uv, faces, normals):
    """Texture coordinates and unit normal at barycentric weights in a face."""
    u = v = x = y = z = _ZERO
    for corner in range(3):
        weight, vertex = weights[corner], faces[face, corner]
        u += weight * face_uv[face, corner, 0]
        v += weight * face_uv[face, corner, 1]
        x += weight * normals[vertex, 0]
        y += weight * normals[vertex, 1]
        z += weight * normals[vertex, 2]
    length = max(np.sqrt(x * x + y * y + z * z), _MIN_NORMAL)
    return u, v, x / length, y / length, z / length


@numba.njit(cache=True, inline="always")
def _shade(light, channel, x, y, z):
    """The light of one channel at a normal; the factors of the basis functions are in `light` already."""
    return (
        _ONE
        + light[0, channel] * x
        + light[1, channel] * y
        + light[2, channel] * z
        + light[3, channel] * (x * y)
        + light[4, channel] * (x * z)
        + light[5, channel] * (y * z)
        + light[6, channel] * (x * x - y * y)
        + light[7, channel] * (_THREE * z * z - _ONE)
    )


@numba.njit(cache=True, inline="always")
def _texels(position, size):
    """The two texels of one axis around a coordinate in -1..1, and the share of the second."""
    place = ((position + _ONE) * np.float32(size) - _ONE) * _HALF
    place = min(max(place, _ZERO), np.float32(size - 1))
    first = int64(place)
    return first, min(first + 1, size - 1), place - np.float32(first)


@numba.njit(cache=True, inline="always")
def _sample(plane, x, y):
    """A bilinear sample of a plane at `_texels` of both axes."""
    above = plane[y[0], x[0]] * (_ONE - x[2]) + plane[y[0], x[1]] * x[2]
    below = plane[y[1], x[0]] * (_ONE - x[2]) + plane[y[1], x[1]] * x[2]
    return above * (_ONE - y[2]) + below * y[2]


@numba.njit(cache=True, inline="always")
def _add_sample(plane, x, y, value):
    """The transpose of `_sample`: add a value to the texels."""
    plane[y[0], x[0]] += value * (_ONE - x[2]) * (_ONE - y[2])
    plane[y[0], x[1]] += value * x[2] * (_ONE - y[2])
    plane[y[1], x[0]] += value * (_ONE - x[2]) * y[2]
    plane[y[1], x[1]] += value * x[2] * y[2]


@numba.njit(cache=True, inline="always")
def _add_basis(gradient, channel, x, y, z, value):
    """The transpose of `_shade` in `light`."""
    gradient[0, channel] += value * x
    gradient[1, channel] += value * y
    gradient[2, channel] += value * z
    gradient[3, channel] += value * (x * y)
    gradient[4, channel] += value * (x * z)
    gradient[5, channel] += value * (y * z)
    gradient[6, channel] += value * (x * x - y * y)
    gradient[7, channel] += value * (_THREE * z * z - _ONE)


_SURFACE = (
    int64[:, :, ::1],
    float32[:, :, :, ::1],
    int64[:, ::1],
    float32[:, :, ::1],
    int64[::1],
    float32[:, :, ::1],
)
_MAPS = (float32[:, :, ::1], float32[:, :, :, ::1], float32[:, :, ::1], float32[:, :, :, ::1])
_COLOURS = (float32[:, ::1], float32[:, ::1])  # light, gain


@numba.njit(
    numba.void(*_SURFACE, *_MAPS, *_COLOURS, boolean, float32[:, :, :, ::1]), parallel=True, cache=True
)
def paint(
    face_index,
    barycentric,
    faces,
    face_uv,
    face_uvmap,
    normals,
    head_mean,
    head_own,
    mouth_mean,
    mouth_own,
    light,
    gain,
    clamp01,
    image,
):
    """Draw image [N, 4, H, W]; arguments as in `blend_paint.paint_blend`."""
    batch, height, width = face_index.shape
    for line in prange(batch * height):
        n, row = line // height, line % height
        for column in range(width):
            face = face_index[n, row, column]
            if face < 0:
                image[n, 0, row, column] = _ZERO
                for channel in range(3):
                    image[n, 1 + channel, row, column] = _ONE
                continue
            image[n, 0, row, column] = _ONE
            u, v, x, y, z = _surface_point(barycentric[n, row, column], face, face_uv, faces, normals[n])
            mean, own = (mouth_mean, mouth_own[n]) if face_uvmap[face] > 0 else (head_mean, head_own[n])
            mean_x, mean_y = _texels(u, mean.shape[2]), _texels(v, mean.shape[1])
            own_x, own_y = _texels(u, own.shape[2]), _texels(v, own.shape[1])
            for channel in range(3):
                colour = _sample(mean[channel], mean_x, mean_y) + _sample(own[channel], own_x, own_y)
                colour *= _shade(light, channel, x, y, z) * gain[n, channel]
                if clamp01:
                    colour = min(max(colour, _ZERO), _ONE)
                image[n, 1 + channel, row, column] = colour


@numba.njit(
    numba.void(
        *_SURFACE,
        *_MAPS,
        *_COLOURS,
        float32[:, :, :, ::1],
        boolean,
        boolean,
        *(float32[:, :, :, ::1],) * 4,
        float64[:, :, ::1],
        float64[:, :, ::1],
    ),
    parallel=True,
    cache=True,
)
def paint_backward(
    face_index,
    barycentric,
    faces,
    face_uv,
    face_uvmap,
    normals,
    head_mean,
    head_own,
    mouth_mean,
    mouth_own,
    light,
    gain,
    upstream,
    clamp01,
    to_maps,
    head_mean_gradient,
    head_own_gradient,
    mouth_mean_gradient,
    mouth_own_gradient,
    light_gradient,
    gain_gradient,
):
    """Add the gradients of `paint`, one set for each image; those of the textures only with `to_maps`."""
    batch, height, width = face_index.shape
    for n in prange(batch):
        for row in range(height):
            for column in range(width):
                face = face_index[n, row, column]
                if face < 0:
                    continue
                u, v, x, y, z = _surface_point(barycentric[n, row, column], face, face_uv, faces, normals[n])
                mean, own = (head_mean, head_own[n])
                mean_gradient, own_gradient = head_mean_gradient[n], head_own_gradient[n]
                if face_uvmap[face] > 0:
                    mean, own = mouth_mean, mouth_own[n]
                    mean_gradient, own_gradient = mouth_mean_gradient[n], mouth_own_gradient[n]
                mean_x, mean_y = _texels(u, mean.shape[2]), _texels(v, mean.shape[1])
                own_x, own_y = _texels(u, own.shape[2]), _texels(v, own.shape[1])
                for channel in range(3):
                    texture = _sample(mean[channel], mean_x, mean_y) + _sample(own[channel], own_x, own_y)
                    shade = _shade(light, channel, x, y, z)
                    colour = texture * (shade * gain[n, channel])
                    if clamp01 and not (_ZERO <= colour <= _ONE):
                        continue
                    up = upstream[n, 1 + channel, row, column]
                    gain_gradient[n, n, channel] += up * texture * shade
                    up *= gain[n, channel]
                    _add_basis(light_gradient[n], channel, x, y, z, up * texture)
                    if to_maps:
                        _add_sample(mean_gradient[channel], mean_x, mean_y, up * shade)
                        _add_sample(own_gradient[channel], own_x, own_y, up * shade)
