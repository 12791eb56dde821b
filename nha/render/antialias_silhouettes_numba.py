"""The search for silhouettes between pixels, for antialiasing on the CPU, with numba.

First the edges that may be silhouettes, a few per cent of all, mark the pairs of pixels that they cross. Only marked
pairs are examined as `antialias_reference` examines all, with the same arithmetic in float32.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, int8, int64

from nha.render.antialias_reference import (
    CONNECTED,
    EDGE_ON,
    LOST,
    MAX_STEPS,
    MIN_AREA_PX,
    NOT_DRAWN,
    PASSED,
    POSITION_SLACK,
    SILHOUETTE,
)
from nha.render.camera import MIN_DEPTH_METRES

_MIN_DEPTH = np.float32(MIN_DEPTH_METRES)
_MIN_AREA = np.float32(MIN_AREA_PX)
_LOWEST, _HIGHEST = np.float32(-POSITION_SLACK), np.float32(1 + POSITION_SLACK)
_MARGIN = np.float32(4 * POSITION_SLACK)
_ONE, _HALF = np.float32(1), np.float32(0.5)


@numba.njit(int8[::1](float32[:, ::1], int64[:, ::1]), cache=True)
def _face_facing(screen, faces):
    """`face_facing` of one mesh: [F]."""
    facing = np.empty(len(faces), np.int8)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        drawn = screen[a, 2] > _MIN_DEPTH and screen[b, 2] > _MIN_DEPTH and screen[c, 2] > _MIN_DEPTH
        if not (drawn and np.isfinite(area)):
            facing[f] = NOT_DRAWN
        elif area > _MIN_AREA:
            facing[f] = 1
        else:
            facing[f] = -1 if area < -_MIN_AREA else EDGE_ON
    return facing


@numba.njit(cache=True, inline="always", error_model="numpy")
def _crossing(screen, low, high, axis, along, across):
    """Position of an edge's crossing with a line, and its share of the way from the low to the high vertex."""
    share = (across - screen[low, 1 - axis]) / (screen[high, 1 - axis] - screen[low, 1 - axis])
    return screen[low, axis] + share * (screen[high, axis] - screen[low, axis]) - along, share


@numba.njit(cache=True, inline="always")
def _is_steep(screen, low, high, axis):
    """Whether an edge runs across the axis rather than along it."""
    along = abs(screen[high, axis] - screen[low, axis])
    across = abs(screen[high, 1 - axis] - screen[low, 1 - axis])
    return along < across or (axis == 0 and along == across)


@numba.njit(cache=True, error_model="numpy")
def _walk(screen, faces, neighbours, all_facing, axis, face, goal, along, across, forward):
    """Walk as `_MeshOnScreen.walk` does: how it ends, and the last edge's low and high vertex."""
    facing = all_facing[face]
    if goal >= 0 and all_facing[goal] == facing:
        for k in range(3):
            if neighbours[face, k] == goal:
                return CONNECTED, int64(-1), int64(-1)
    low, high = int64(-1), int64(-1)
    for _ in range(MAX_STEPS):
        position = np.float32(-np.inf)
        exit_low, exit_high, following = int64(-1), int64(-1), int64(-1)
        for k in range(3):
            start, end = faces[face, k], faces[face, (k + 1) % 3]
            start_is_low = screen[start, 1 - axis] < across
            if start_is_low == (screen[end, 1 - axis] < across):
                continue
            edge_low, edge_high = (start, end) if start_is_low else (end, start)
            if edge_low == low and edge_high == high:
                continue
            crossing, _ = _crossing(screen, edge_low, edge_high, axis, along, across)
            if not forward:
                crossing = _ONE - crossing
            if crossing > position:
                position, exit_low, exit_high, following = crossing, edge_low, edge_high, neighbours[face, k]
        low, high = exit_low, exit_high
        if not position >= _LOWEST:
            return LOST, low, high
        if position > _HIGHEST:
            return PASSED, low, high
        facing_there = NOT_DRAWN if following < 0 else all_facing[following]
        if facing_there == NOT_DRAWN or facing_there * facing < 0:
            return SILHOUETTE, low, high
        if following == goal:
            return CONNECTED, low, high
        if facing == EDGE_ON:
            facing = facing_there
        face = following
    return LOST, low, high


@numba.njit(cache=True, error_model="numpy")
def _silhouette(screen, faces, neighbours, facing, axis, face_a, face_b, z_a, z_b, along, across):
    """The silhouette between two pixels: whether there is one that counts, its low and high vertex."""
    forward = face_b < 0 or (face_a >= 0 and z_a <= z_b)
    near, far = (face_a, face_b) if forward else (face_b, face_a)
    ending, low, high = _walk(screen, faces, neighbours, facing, axis, near, far, along, across, forward)
    if ending == PASSED and far >= 0:
        ending, low, high = _walk(
            screen, faces, neighbours, facing, axis, far, near, along, across, not forward
        )
    if ending != SILHOUETTE:
        return False, low, high
    return _is_steep(screen, low, high, axis), low, high


@numba.njit(cache=True, inline="always")
def _may_be_silhouette(facing, neighbour_facing):
    return facing == EDGE_ON or neighbour_facing == NOT_DRAWN or facing * neighbour_facing < 0


@numba.njit(cache=True, inline="always", error_model="numpy")
def _mark_edge(screen, low, high, axis, marks):
    """Mark the pairs of one axis, `marks` [H, W] at the first pixel, that an edge crosses between the centres."""
    lines, length = (marks.shape[0], marks.shape[1]) if axis == 0 else (marks.shape[1], marks.shape[0])
    begin, end = screen[low, 1 - axis] - _HALF, screen[high, 1 - axis] - _HALF
    begin, end = max(begin, np.float32(-1)), min(end, np.float32(lines))  # far-off positions overflow an int
    if not begin <= end:
        return
    for line in range(max(int(np.ceil(begin)) - 1, 0), min(int(np.floor(end)) + 2, lines)):
        across = np.float32(line) + _HALF
        if not (screen[low, 1 - axis] < across and screen[high, 1 - axis] >= across):
            continue
        position, _ = _crossing(screen, low, high, axis, _HALF, across)
        if not (position >= _LOWEST and position <= np.float32(length)):
            continue
        # one pair, or two where the edge passes close to a pixel's centre
        for first in range(int(np.floor(position - _MARGIN)), int(np.floor(position + _MARGIN)) + 1):
            if first >= 0 and first < length - 1:
                if axis == 0:
                    marks[line, first] = True
                else:
                    marks[first, line] = True


@numba.njit(cache=True)
def _mark_pairs(screen, faces, neighbours, facing, marks):
    """Mark the pairs of pixels, [2 axes, H, W], between whose centres an edge passes that may be a silhouette."""
    marks[:] = False
    for f in range(len(faces)):
        if facing[f] == NOT_DRAWN:
            continue
        for k in range(3):
            g = neighbours[f, k]
            if not _may_be_silhouette(facing[f], NOT_DRAWN if g < 0 else facing[g]):
                continue
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            axis = 0 if _is_steep(screen, a, b, 0) else 1
            if screen[a, 1 - axis] < screen[b, 1 - axis]:
                _mark_edge(screen, a, b, axis, marks[axis])
            else:
                _mark_edge(screen, b, a, axis, marks[axis])


@numba.njit(
    numba.types.Tuple((int64[:, ::1], float32[:, ::1]))(
        int64[:, :, ::1], float32[:, :, ::1], float32[:, :, ::1], int64[:, ::1], int64[:, ::1]
    ),
    cache=True,
    error_model="numpy",
)
def find_silhouettes(face_index, depth, all_screen, faces, neighbours):
    """The pairs of pixels to blend.

    Returns:
        pairs [K, 6]: image, target pixel, source pixel, axis, low vertex, high vertex;
        numbers [K, 3]: s (see `antialias_reference`), the crossing's share of the way from low to high, the edge's
        slope: its extent along the axis over the extent across.
    """
    batch, height, width = face_index.shape
    facing = np.empty((batch, len(faces)), np.int8)
    marks = np.empty((batch, 2, height, width), np.bool_)
    for n in range(batch):
        facing[n] = _face_facing(all_screen[n], faces)
        _mark_pairs(all_screen[n], faces, neighbours, facing[n], marks[n])
    marked = np.flatnonzero(marks)
    pairs = np.empty((len(marked), 6), np.int64)
    numbers = np.empty((len(marked), 3), np.float32)
    count = 0
    for place in marked:
        n, axis = place // (2 * height * width), place // (height * width) % 2
        first = place % (height * width)
        row, column = first // width, first % width
        row_b, column_b = row + axis, column + 1 - axis
        face, face_b = face_index[n, row, column], face_index[n, row_b, column_b]
        if face == face_b:
            continue
        screen, z, z_b = all_screen[n], depth[n, row, column], depth[n, row_b, column_b]
        u, v = np.float32(column) + _HALF, np.float32(row) + _HALF
        along, across = (u, v) if axis == 0 else (v, u)
        found, low, high = _silhouette(
            screen, faces, neighbours, facing[n], axis, face, face_b, z, z_b, along, across
        )
        if not found:
            continue
        position, share = _crossing(screen, low, high, axis, along, across)
        second = row_b * width + column_b
        target, source = (second, first) if position > _HALF else (first, second)
        pair, number = pairs[count], numbers[count]
        pair[0], pair[1], pair[2], pair[3], pair[4], pair[5] = n, target, source, axis, low, high
        run = screen[high, axis] - screen[low, axis]
        number[0], number[1] = position - _HALF, share
        number[2] = run / (screen[high, 1 - axis] - screen[low, 1 - axis])
        count += 1
    return pairs[:count].copy(), numbers[:count].copy()
