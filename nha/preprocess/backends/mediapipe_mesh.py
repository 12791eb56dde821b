"""Topology of mediapipe's face mesh: triangles, outlines and named points.

The edge sets are read from the installed package; triangles and ordered outlines are computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from nha.preprocess.backends.mediapipe_runtime import load_mediapipe

N_MESH_POINTS = 468  # on the skin
N_REFINED_POINTS = 478  # with five more for each iris

RIGHT_IRIS, LEFT_IRIS = 468, 473
FOREHEAD_TOP, CHIN = 10, 152
RIGHT_CHEEK_EDGE, LEFT_CHEEK_EDGE = 234, 454  # where the mesh ends in front of the ears
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291
RIGHT_INNER_CORNER, LEFT_INNER_CORNER = 78, 308

# From the bridge down the left flank, below the nostrils and up the right flank.
NOSE_OUTLINE = (
    *(168, 417, 412, 399, 437, 420, 360, 279, 358, 294, 327, 326, 2),
    *(97, 98, 64, 129, 49, 131, 198, 217, 174, 188, 193),
)

# Points of the mesh that are closest to the 68 iBUG landmarks. Mean error against FAN on ten faces, in units of
# the distance between the outer eye corners: 0.050 (eyes 0.023, nose 0.033, mouth 0.037, brows 0.048, jaw 0.094).
IBUG68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


@dataclass(frozen=True)
class FaceTopology:
    """Connections of the 468 points; every array holds point indices.

    Attributes:
        triangles: int64 [T, 3].
        face_oval, right_eye, left_eye, outer_lips, inner_lips: ordered closed outlines, int64 [P].
        right_brow, left_brow: ordered closed outlines, upper edge first, then the lower edge backwards.
    """

    triangles: np.ndarray
    face_oval: np.ndarray
    right_eye: np.ndarray
    left_eye: np.ndarray
    right_brow: np.ndarray
    left_brow: np.ndarray
    outer_lips: np.ndarray
    inner_lips: np.ndarray

    @property
    def upper_lip(self) -> np.ndarray:
        """Outline of the upper lip, corner to corner and back."""
        return self._lip(upper=True)

    @property
    def lower_lip(self) -> np.ndarray:
        """Outline of the lower lip, corner to corner and back."""
        return self._lip(upper=False)

    def _lip(self, upper: bool) -> np.ndarray:
        # Point 0 is the middle of the upper lip's outer edge and 13 that of its inner edge.
        outer = _half_of_loop(self.outer_lips, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER, 0, upper)
        inner = _half_of_loop(self.inner_lips, RIGHT_INNER_CORNER, LEFT_INNER_CORNER, 13, upper)
        return np.concatenate([outer, inner[::-1]])


@cache
def face_topology() -> FaceTopology:
    """Read and order the edge sets of the package; computed once."""
    connections = load_mediapipe().solutions.face_mesh_connections
    surface = connections.FACEMESH_TESSELATION
    outer_lips, inner_lips = sorted(ordered_chains(connections.FACEMESH_LIPS), key=lambda loop: 0 not in loop)
    return FaceTopology(
        triangles=triangles_of_edges(surface),
        face_oval=ordered_chains(connections.FACEMESH_FACE_OVAL)[0],
        right_eye=ordered_chains(connections.FACEMESH_RIGHT_EYE)[0],
        left_eye=ordered_chains(connections.FACEMESH_LEFT_EYE)[0],
        right_brow=_brow_outline(connections.FACEMESH_RIGHT_EYEBROW, surface),
        left_brow=_brow_outline(connections.FACEMESH_LEFT_EYEBROW, surface),
        outer_lips=outer_lips,
        inner_lips=inner_lips,
    )


def triangles_of_edges(edges: Iterable[tuple[int, int]]) -> np.ndarray:
    """Recover the triangles of a surface from its edges, consistently oriented, int64 [T, 3].

    Three points that are connected pairwise form a triangle, unless they are the only neighbours of a fourth
    point: then they enclose the three triangles around it. Which of the two orientations results is arbitrary.
    """
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    joined = {
        tuple(sorted((a, b, c)))
        for a in neighbours
        for b in neighbours[a]
        for c in neighbours[a] & neighbours[b]
    }
    enclosing = {tuple(sorted(around)) for around in neighbours.values() if len(around) == 3}
    return _same_orientation(sorted(joined - enclosing))


def _same_orientation(triangles: list[tuple[int, int, int]]) -> np.ndarray:
    at_edge: dict[frozenset[int], list[int]] = {}
    for number, (a, b, c) in enumerate(triangles):
        for edge in ((a, b), (b, c), (c, a)):
            at_edge.setdefault(frozenset(edge), []).append(number)
    oriented: dict[int, tuple[int, int, int]] = {0: triangles[0]}
    waiting = [0]
    while waiting:
        a, b, c = oriented[waiting.pop()]
        for start, end in ((a, b), (b, c), (c, a)):
            for number in at_edge[frozenset((start, end))]:
                if number not in oriented:
                    (third,) = set(triangles[number]) - {start, end}
                    # Consistently oriented neighbours traverse their common edge in opposite directions.
                    oriented[number] = (end, start, third)
                    waiting.append(number)
    return np.array([oriented[number] for number in range(len(triangles))], np.int64)


def ordered_chains(edges: Iterable[tuple[int, int]]) -> list[np.ndarray]:
    """Order undirected edges: one array of points for each connected chain or loop."""
    neighbours: dict[int, list[int]] = {}
    for start, end in sorted(edges):
        neighbours.setdefault(start, []).append(end)
        neighbours.setdefault(end, []).append(start)
    chains, seen = [], set()
    # Ends of open chains come first, so that no chain starts in its middle.
    for first in sorted(neighbours, key=lambda point: (len(neighbours[point]), point)):
        chain, point = [], first
        while point is not None and point not in seen:
            seen.add(point)
            chain.append(point)
            point = next((other for other in neighbours[point] if other not in seen), None)
        if chain:
            chains.append(np.array(chain, np.int64))
    return chains


def _brow_outline(chains: Iterable[tuple[int, int]], surface: Iterable[tuple[int, int]]) -> np.ndarray:
    first, second = ordered_chains(chains)
    # Upper and lower edge are separate chains; edges of the mesh show which of their ends are neighbours.
    ends_meet = {(first[-1], second[-1]), (second[-1], first[-1])} & set(surface)
    return np.concatenate([first, second[::-1] if ends_meet else second])


def _half_of_loop(loop: np.ndarray, start: int, end: int, middle_of_upper: int, upper: bool) -> np.ndarray:
    """Part of a closed loop from `start` to `end`: the one with point `middle_of_upper`, or else the other."""
    rolled = np.roll(loop, -int(np.flatnonzero(loop == start)[0]))
    position = int(np.flatnonzero(rolled == end)[0])
    one = rolled[: position + 1]
    other = np.concatenate([rolled[:1], rolled[: position - 1 : -1]])
    return one if (middle_of_upper in one) == upper else other
