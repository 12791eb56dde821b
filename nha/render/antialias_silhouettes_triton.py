"""The search for silhouettes between pixels, for antialiasing on CUDA, with Triton.

One lane examines one pair of pixels, as `antialias_reference` does, with the same arithmetic in float32 and without
fused multiply-adds.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.render import antialias_reference as reference
from nha.render.camera import MIN_DEPTH_METRES

LANES = 128  # pixels, or faces, of one program

_MAX_STEPS = tl.constexpr(reference.MAX_STEPS)
_LOWEST = tl.constexpr(-reference.POSITION_SLACK)
_HIGHEST = tl.constexpr(1 + reference.POSITION_SLACK)
_BELOW_ONE = tl.constexpr(1 - 2**-24)  # the next float32
_MIN_AREA = tl.constexpr(reference.MIN_AREA_PX)
_MIN_DEPTH = tl.constexpr(MIN_DEPTH_METRES)
_EDGE_ON = tl.constexpr(reference.EDGE_ON)
_NOT_DRAWN = tl.constexpr(reference.NOT_DRAWN)
_LOST = tl.constexpr(reference.LOST)
_SILHOUETTE = tl.constexpr(reference.SILHOUETTE)
_CONNECTED = tl.constexpr(reference.CONNECTED)
_PASSED = tl.constexpr(reference.PASSED)


@triton.jit
def _find_facing(
    screen_ptr,  # [N, V, 3] float32
    faces_ptr,  # [F, 3] int64
    facing_ptr,  # [N, F] int32, written
    vertices,
    count,
    LANES: tl.constexpr,
):
    face = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = face < count
    n = tl.program_id(1).to(tl.int64)
    a = screen_ptr + (n * vertices + tl.load(faces_ptr + face * 3, mask=inside, other=0)) * 3
    b = screen_ptr + (n * vertices + tl.load(faces_ptr + face * 3 + 1, mask=inside, other=0)) * 3
    c = screen_ptr + (n * vertices + tl.load(faces_ptr + face * 3 + 2, mask=inside, other=0)) * 3
    ax, ay, az = tl.load(a), tl.load(a + 1), tl.load(a + 2)
    bx, by, bz = tl.load(b), tl.load(b + 1), tl.load(b + 2)
    cx, cy, cz = tl.load(c), tl.load(c + 1), tl.load(c + 2)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    drawn = (az > _MIN_DEPTH) & (bz > _MIN_DEPTH) & (cz > _MIN_DEPTH) & (tl.abs(area) < float("inf"))
    facing = tl.where(area > _MIN_AREA, 1, tl.where(area < -_MIN_AREA, -1, _EDGE_ON))
    tl.store(facing_ptr + n * count + face, tl.where(drawn, facing, _NOT_DRAWN), mask=inside)


@triton.jit
def crossing_of_edge(screen, low, high, axis, along, across, mask):
    """Position of edges' crossings with lines, and its share of the way from the low to the high vertex."""
    across_low = tl.load(screen + low * 3 + 1 - axis, mask=mask, other=0.0)
    across_high = tl.load(screen + high * 3 + 1 - axis, mask=mask, other=1.0)
    along_low = tl.load(screen + low * 3 + axis, mask=mask, other=0.0)
    along_high = tl.load(screen + high * 3 + axis, mask=mask, other=0.0)
    # div_rn rounds correctly; the plain division is approximate on CUDA
    share = tl.div_rn(across - across_low, across_high - across_low)
    slope = tl.div_rn(along_high - along_low, across_high - across_low)
    return along_low + share * (along_high - along_low) - along, share, slope


@triton.jit
def _walk(screen, faces_ptr, neighbours_ptr, facing_ptr, axis, face, goal, along, across, forward, wanted):
    """Walk as in `antialias_reference`, where wanted: how it ends, and the last edge's low and high vertex."""
    facing = tl.load(facing_ptr + face, mask=wanted, other=0)
    goal_facing = tl.load(facing_ptr + goal, mask=wanted & (goal >= 0), other=_NOT_DRAWN)
    joined = tl.load(neighbours_ptr + face * 3, mask=wanted, other=-2) == goal
    joined |= tl.load(neighbours_ptr + face * 3 + 1, mask=wanted, other=-2) == goal
    joined |= tl.load(neighbours_ptr + face * 3 + 2, mask=wanted, other=-2) == goal
    joined &= goal_facing == facing
    ending = tl.where(joined, _CONNECTED, _LOST)
    low = tl.full(face.shape, -1, tl.int64)
    high = tl.full(face.shape, -1, tl.int64)
    active = wanted & ~joined
    step = 0
    while (step < _MAX_STEPS) & (tl.max(active.to(tl.int32), axis=0) > 0):
        position = tl.full(face.shape, float("-inf"), tl.float32)
        exit_low = tl.full(face.shape, -1, tl.int64)
        exit_high = tl.full(face.shape, -1, tl.int64)
        following = tl.full(face.shape, -1, tl.int64)
        for k in tl.static_range(3):
            start = tl.load(faces_ptr + face * 3 + k, mask=active, other=0)
            end = tl.load(faces_ptr + face * 3 + (k + 1) % 3, mask=active, other=0)
            start_is_low = tl.load(screen + start * 3 + 1 - axis, mask=active, other=0.0) < across
            end_is_low = tl.load(screen + end * 3 + 1 - axis, mask=active, other=0.0) < across
            edge_low = tl.where(start_is_low, start, end)
            edge_high = tl.where(start_is_low, end, start)
            leaves = active & (start_is_low != end_is_low) & ((edge_low != low) | (edge_high != high))
            crossing, _, _ = crossing_of_edge(screen, edge_low, edge_high, axis, along, across, leaves)
            crossing = tl.where(forward, crossing, 1.0 - crossing)
            better = leaves & (crossing > position)
            position = tl.where(better, crossing, position)
            exit_low = tl.where(better, edge_low, exit_low)
            exit_high = tl.where(better, edge_high, exit_high)
            beyond = tl.load(neighbours_ptr + face * 3 + k, mask=better, other=-1)
            following = tl.where(better, beyond, following)
        low = tl.where(active, exit_low, low)
        high = tl.where(active, exit_high, high)
        facing_there = tl.load(facing_ptr + following, mask=active & (following >= 0), other=_NOT_DRAWN)
        ends = (facing_there == _NOT_DRAWN) | (facing_there * facing < 0)
        reason = tl.where(following == goal, _CONNECTED, _LOST)
        reason = tl.where(ends, _SILHOUETTE, reason)
        reason = tl.where(position > _HIGHEST, _PASSED, reason)
        reason = tl.where(position >= _LOWEST, reason, _LOST)
        ending = tl.where(active, reason, ending)
        facing = tl.where(facing == _EDGE_ON, facing_there, facing)
        active = active & (position >= _LOWEST) & (reason == _LOST)
        face = tl.where(active, following, face)
        step += 1
    return ending, low, high


@triton.jit
def _find_silhouettes(
    face_index_ptr,  # [N, H, W] int64
    depth_ptr,  # [N, H, W] float32
    screen_ptr,  # [N, V, 3] float32
    faces_ptr,  # [F, 3] int64
    neighbours_ptr,  # [F, 3] int64
    facing_ptr,  # [N, F] int32
    s_ptr,  # [2 axes, N, H, W] float32, written: 0 where nothing is blended
    edge_ptr,  # [2 axes, N, H, W, 2] int32, written where s is not 0: low and high vertex
    pixels,  # N * H * W
    height,
    width,
    vertices,
    face_count,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    axis = tl.program_id(1)
    column = pixel % width
    row = pixel // width % height
    n = pixel // width // height
    has_second = (pixel < pixels) & (tl.where(axis == 0, width - column, height - row) > 1)
    second = pixel + tl.where(axis == 0, 1, width)
    face_a = tl.load(face_index_ptr + pixel, mask=has_second, other=-1)
    face_b = tl.load(face_index_ptr + second, mask=has_second, other=-1)
    differ = face_a != face_b
    z_a = tl.load(depth_ptr + pixel, mask=differ, other=0.0)
    z_b = tl.load(depth_ptr + second, mask=differ, other=0.0)
    forward = (face_b < 0) | ((face_a >= 0) & (z_a <= z_b))
    near = tl.where(forward, face_a, face_b)
    far = tl.where(forward, face_b, face_a)
    u, v = column.to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
    along = tl.where(axis == 0, u, v)
    across = tl.where(axis == 0, v, u)
    screen = screen_ptr + n * vertices * 3
    facing = facing_ptr + n * face_count

    ending, low, high = _walk(
        screen, faces_ptr, neighbours_ptr, facing, axis, near, far, along, across, forward, differ
    )
    again = differ & (ending == _PASSED) & (far >= 0)
    ending_2, low_2, high_2 = _walk(
        screen, faces_ptr, neighbours_ptr, facing, axis, far, near, along, across, ~forward, again
    )
    ending = tl.where(again, ending_2, ending)
    low, high = tl.where(again, low_2, low), tl.where(again, high_2, high)

    found = differ & (ending == _SILHOUETTE)
    position, _, slope = crossing_of_edge(screen, low, high, axis, along, across, found)
    found &= tl.abs(slope) <= tl.where(axis == 0, 1.0, _BELOW_ONE)
    tl.store(s_ptr + axis * pixels + pixel, tl.where(found, position - 0.5, 0.0), mask=pixel < pixels)
    edge = edge_ptr + (axis * pixels + pixel) * 2
    tl.store(edge, low.to(tl.int32), mask=found)
    tl.store(edge + 1, high.to(tl.int32), mask=found)


def find_silhouettes(
    face_index: Tensor, depth: Tensor, screen: Tensor, faces: Tensor, neighbours: Tensor
) -> tuple[Tensor, Tensor]:
    """The pairs of pixels to blend.

    Args:
        face_index: [N, H, W] long; depth: [N, H, W] metres; screen: [N, V, 3] float32;
        faces, neighbours: [F, 3] long; all contiguous.

    Returns:
        s [2 axes, N, H, W] of the pair that begins at each pixel (see `antialias_reference`), 0 where nothing is
        blended; the silhouette's vertices [2 axes, N, H, W, 2] int32, defined where s is not 0.
    """
    batch, height, width = face_index.shape
    vertices, count, pixels = screen.shape[1], len(faces), face_index.numel()
    facing = torch.empty(batch, count, dtype=torch.int32, device=screen.device)
    _find_facing[(triton.cdiv(count, LANES), batch)](
        screen, faces, facing, vertices, count, LANES=LANES, enable_fp_fusion=False
    )
    s = torch.empty(2, batch, height, width, device=screen.device)
    edge = torch.empty(2, batch, height, width, 2, dtype=torch.int32, device=screen.device)
    _find_silhouettes[(triton.cdiv(pixels, LANES), 2)](
        face_index,
        depth,
        screen,
        faces,
        neighbours,
        facing,
        s,
        edge,
        pixels,
        height,
        width,
        vertices,
        count,
        LANES=LANES,
        enable_fp_fusion=False,
    )
    return s, edge
