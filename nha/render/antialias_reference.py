"""Antialiasing in plain torch, slow; it defines what the numba and Triton kernels compute.

For each pair of neighbouring pixels that show different faces (`docs/method.md`, section 2):

1. Walk along the line between the two centres, from the pixel with the nearer surface, from face to face, until the
   surface ends in an open edge or folds back. This edge is the silhouette. A walk that arrives at the other pixel's
   face crosses connected surface, and nothing is blended.
2. Of edges that are steeper than 45 degrees the horizontal pair is blended, of others the vertical pair.
3. s = position of the silhouette on the line, 0 at the first (left or upper) centre and 1 at the second, minus 0.5.
   s > 0: the second pixel takes the share s of the first one's values; s < 0: the first takes -s of the second's.

Decisions are made in float32, in pixels, in this order of operations, so that the backends agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.render.camera import MIN_DEPTH_METRES

# Faces that one walk visits at most. Longer walks occur only where dozens of faces lie on one pixel.
MAX_STEPS = 64
# A silhouette may lie this far (pixels) outside the segment between the centres, because of rounding.
POSITION_SLACK = 1e-3
# Twice the area (square pixels) below which a face counts as seen edge-on, and walks pass through it.
MIN_AREA_PX = 1e-4

# Which way a face is wound on screen, apart from 1 and -1.
EDGE_ON, NOT_DRAWN = 0, 2

# How a walk ended.
LOST, SILHOUETTE, CONNECTED, PASSED = range(4)


def antialias_reference(
    values: Tensor, face_index: Tensor, depth: Tensor, screen: Tensor, faces: Tensor, neighbours: Tensor
) -> Tensor:
    """Blend pixels at silhouettes.

    Args:
        values: [N, C, H, W].
        face_index: [N, H, W] long, -1 on the background.
        depth: [N, H, W] metres.
        screen: [N, V, 3] u and v in pixels, camera z in metres.
        faces: [F, 3] long.
        neighbours: [F, 3] long, the face across the edge from corner k to corner k + 1, -1 for none.

    Returns:
        [N, C, H, W], differentiable in values and in the u and v of screen.
    """
    batch, channels, height, width = values.shape
    found = [_silhouettes(face_index, depth, screen, faces, neighbours, axis) for axis in (0, 1)]
    first, second, s = (torch.cat(parts) for parts in zip(*found, strict=True))
    target, source = torch.where(s > 0, second, first), torch.where(s > 0, first, second)
    share = s.abs().to(values.dtype)
    total = share.new_zeros(batch * height * width).index_add(0, target, share.detach())
    share = share / total[target].clamp_min(1)  # beyond 1 the result would leave the range of the values

    rows = values.movedim(1, -1).reshape(batch * height * width, channels)
    blended = rows.index_add(0, target, share[:, None] * (rows[source] - rows[target]))
    return blended.view(batch, height, width, channels).movedim(-1, 1).contiguous()


def face_facing(screen: Tensor, faces: Tensor) -> Tensor:
    """Which way faces are wound on screen: [N, F] 1, -1, `EDGE_ON`, or `NOT_DRAWN` with a corner behind the camera."""
    a, b, c = screen.detach().float()[:, faces].unbind(2)  # [N, F, 3] each
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )
    facing = (area > MIN_AREA_PX).long() - (area < -MIN_AREA_PX).long()
    nearest = torch.minimum(torch.minimum(a[..., 2], b[..., 2]), c[..., 2])
    return torch.where((nearest > MIN_DEPTH_METRES) & area.isfinite(), facing, NOT_DRAWN)


def _silhouettes(
    face_index: Tensor, depth: Tensor, screen: Tensor, faces: Tensor, neighbours: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Silhouettes between horizontally (axis 0) or vertically (axis 1) neighbouring pixels.

    Returns:
        first, second: [P] positions of the pixels among all N * H * W; s: [P], see the module's description.
    """
    _, height, width = face_index.shape
    length = (width, height)[axis]
    before = face_index.narrow(2 - axis, 0, length - 1)
    after = face_index.narrow(2 - axis, 1, length - 1)
    n, row, column = (before != after).nonzero(as_tuple=True)
    first = (n * height + row) * width + column
    second = first + (1, width)[axis]
    centre = torch.stack((column, row), dim=-1) + 0.5  # of the first pixel
    mesh = _MeshOnScreen(screen, faces, neighbours, axis)

    face, z = face_index.flatten(), depth.flatten()
    forward = (face[second] < 0) | ((face[first] >= 0) & (z[first] <= z[second]))
    near = torch.where(forward, face[first], face[second])
    far = torch.where(forward, face[second], face[first])
    walks = mesh.walk(n, near, far, centre, forward)
    # Where surfaces intersect, or the eyelid rule has changed their order, the farther one may end instead.
    again = ((walks.ending == PASSED) & (far >= 0)).nonzero()[:, 0]
    walks.replace(again, mesh.walk(n[again], far[again], near[again], centre[again], ~forward[again]))

    silhouette = (walks.ending == SILHOUETTE).nonzero()[:, 0]
    n, low, high, centre = n[silhouette], walks.low[silhouette], walks.high[silhouette], centre[silhouette]
    steep = mesh.is_steep(n, low, high)
    s = mesh.crossing(n[steep], low[steep], high[steep], centre[steep]) - 0.5
    return first[silhouette][steep], second[silhouette][steep], s


@dataclass(frozen=True)
class _Walks:
    """How P walks ended, and the last edge that each crossed.

    Attributes:
        ending: [P] LOST, SILHOUETTE, CONNECTED or PASSED.
        low, high: [P] vertex ids of the edge's ends, on the side of small and of large coordinates across the line.
    """

    ending: Tensor
    low: Tensor
    high: Tensor

    def replace(self, index: Tensor, other: _Walks) -> None:
        """Overwrite the walks at `index`."""
        self.ending[index], self.low[index], self.high[index] = other.ending, other.low, other.high


class _MeshOnScreen:
    """The mesh, for walks along rows (axis 0) or columns (axis 1) of pixels."""

    def __init__(self, screen: Tensor, faces: Tensor, neighbours: Tensor, axis: int):
        self.screen, self.rounded = screen, screen.detach().float()
        self.faces, self.neighbours, self.axis = faces, neighbours, axis
        self.facing = face_facing(screen, faces)  # [N, F]

    def walk(self, n: Tensor, face: Tensor, goal: Tensor, centre: Tensor, forward: Tensor) -> _Walks:
        """Walk between the centres of pixel pairs, through connected faces.

        Args:
            n: [P] images.
            face: [P] faces at the start.
            goal: [P] faces at the other end, -1 for the background.
            centre: [P, 2] centres of the first pixels, u and v.
            forward: [P] whether the walk starts at the first pixel, else at the second.
        """
        walks = _Walks(torch.full_like(n, LOST), torch.full_like(n, -1), torch.full_like(n, -1))
        facing = self.facing[n, face]
        goal_facing = torch.where(goal < 0, NOT_DRAWN, self.facing[n, goal])
        joined = (self.neighbours[face] == goal[:, None]).any(1) & (goal_facing == facing)
        walks.ending[joined] = CONNECTED
        active, face = (~joined).nonzero()[:, 0], face.clone()
        for _ in range(MAX_STEPS):
            at = active
            position, following, low, high = self._leave(
                n[at], face[at], centre[at], forward[at], walks.low[at], walks.high[at]
            )
            facing_there = torch.where(following < 0, NOT_DRAWN, self.facing[n[at], following])
            ends = (facing_there == NOT_DRAWN) | (facing_there * facing[at] < 0)
            ending = torch.where(following == goal[at], CONNECTED, LOST)
            ending = torch.where(ends, SILHOUETTE, ending)
            ending = torch.where(position > 1 + POSITION_SLACK, PASSED, ending)
            valid = position >= -POSITION_SLACK
            walks.replace(at, _Walks(torch.where(valid, ending, LOST), low, high))
            facing[at] = torch.where(facing[at] == EDGE_ON, facing_there, facing[at])
            face[at] = following
            active = at[valid & (ending == LOST)]
        return walks

    def _leave(
        self,
        n: Tensor,
        face: Tensor,
        centre: Tensor,
        forward: Tensor,
        low_before: Tensor,
        high_before: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The edges through which walks leave faces, other than those through which they came.

        Returns:
            position [P] of the crossing, 0 at the walk's start and 1 at its end, -inf if there is none; the face [P]
            behind the edge; the edge's low and high vertex [P].
        """
        vertex = self.faces[face]  # [P, 3]
        following = vertex.roll(-1, dims=1)
        is_low = self.rounded[n[:, None], vertex, 1 - self.axis] < centre[:, 1 - self.axis, None]
        low, high = torch.where(is_low, vertex, following), torch.where(is_low, following, vertex)
        leaves = is_low != is_low.roll(-1, dims=1)
        leaves &= (low != low_before[:, None]) | (high != high_before[:, None])
        position = self._crossing(self.rounded, n[:, None], low, high, centre[:, None])
        position = torch.where(forward[:, None], position, 1 - position)
        position, edge = torch.where(leaves & ~position.isnan(), position, -torch.inf).max(1, keepdim=True)
        picked = (table.gather(1, edge)[:, 0] for table in (self.neighbours[face], low, high))
        return position[:, 0], *picked

    def crossing(self, n: Tensor, low: Tensor, high: Tensor, centre: Tensor) -> Tensor:
        """Where edges cross the pairs' lines, [P], 0 at the first centre and 1 at the second; differentiable."""
        return self._crossing(self.screen, n, low, high, centre)

    def _crossing(self, screen: Tensor, n: Tensor, low: Tensor, high: Tensor, centre: Tensor) -> Tensor:
        along_low, along_high = screen[n, low, self.axis], screen[n, high, self.axis]
        across_low, across_high = screen[n, low, 1 - self.axis], screen[n, high, 1 - self.axis]
        share = (centre[..., 1 - self.axis] - across_low) / (across_high - across_low)
        return along_low + share * (along_high - along_low) - centre[..., self.axis]

    def is_steep(self, n: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Whether edges run across the axis rather than along it, [P]; diagonal ones run across the horizontal one."""
        run = (self.rounded[n, high, :2] - self.rounded[n, low, :2]).abs()  # [P, 2]
        along, across = run[:, self.axis], run[:, 1 - self.axis]
        return along < across if self.axis else along <= across
