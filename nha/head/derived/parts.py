"""FLAME's 24 named vertex sets and the faces of its lower neck, from rings, outlines and named vertices.

The outlines follow anatomy, as on the procedural head. The sets resemble those in FLAME's mask file but are not equal
to them (tests/head/test_derived.py prints the differences).
"""

from __future__ import annotations

import numpy as np

from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import SIDES, NamedVertices

# First and last ring, counted in edges from the neck's border, the mouth's border or the bottom of an eye socket.
BOUNDARY_RINGS = (0, 3)
STATIC_NECK_RINGS = (0, 7)
NECK_RINGS = (2, 9)
LOWER_NECK_RINGS = (0, 5)
LIP_RINGS = (2, 9)
LIP_CONTACT_RING = 3
MOUTH_POCKET_RINGS = (0, 1)
SOCKET_RINGS = (0, 2)
LID_RINGS = (4, 8)
EYE_REGION_RINGS = (3, 10)
INNER_EYE_REGION_RINGS = (0, 10)


def _between(steps: np.ndarray, rings: tuple[int, int]) -> np.ndarray:
    return (steps >= rings[0]) & (steps <= rings[1])


def _members(ids: list[int], count: int) -> np.ndarray:
    out = np.zeros(count, bool)
    out[ids] = True
    return out


def _neck_steps(graph: MeshGraph, named: NamedVertices) -> np.ndarray:
    return graph.steps_from(graph.border_loop(named.neck_boundary))


def mouth_steps(graph: MeshGraph, named: NamedVertices) -> np.ndarray:
    """Distances [V] in edges from the open border in the mouth; the lips touch at `LIP_CONTACT_RING`."""
    return graph.steps_from(graph.border_loop(named.mouth_boundary))


def hidden_skin(graph: MeshGraph, named: NamedVertices) -> np.ndarray:
    """The skin behind the eyeballs and the lips: bool [V]."""
    hidden = _between(mouth_steps(graph, named), MOUTH_POCKET_RINGS)
    for side in SIDES:
        hidden |= _between(graph.steps_from([named.eye_socket_pole[side]]), SOCKET_RINGS)
    return hidden


def derive_lower_neck(graph: MeshGraph, named: NamedVertices) -> np.ndarray:
    """Ids of the faces of the lower neck, which are removed: the five strips at the neck's border."""
    low = _between(_neck_steps(graph, named), LOWER_NECK_RINGS)
    return np.flatnonzero(low[graph.faces].all(1))


def derive_parts(graph: MeshGraph, named: NamedVertices) -> dict[str, np.ndarray]:
    """The parts in FLAME's mask file as sorted vertex ids (int64).

    Args:
        graph: FLAME's triangles without those that close the mouth.
        named: the named vertices.
    """
    masks = _eye_parts(graph, named) | _mouth_parts(graph, named) | _skin_regions(graph, named)
    return {name: np.flatnonzero(masks[name]).astype(np.int64) for name in sorted(masks)}


def _eye_parts(graph: MeshGraph, named: NamedVertices) -> dict[str, np.ndarray]:
    masks = {}
    for side in SIDES:
        to_front = graph.steps_from([named.eyeball_front_pole[side]])
        to_back = graph.steps_from([named.eyeball_back_pole[side]])
        ball = graph.fill(named.eyeball_front_pole[side], ())
        socket = graph.steps_from([named.eye_socket_pole[side]])
        masks[f"{side}_eyeball"] = ball
        masks[f"{side}_eyeball_front"] = ball & (to_front <= to_back)
        masks[f"{side}_eye_lid"] = _between(socket, LID_RINGS)
        masks[f"{side}_eye_region"] = _between(socket, EYE_REGION_RINGS)
        masks[f"{side}_inner_eye_region"] = ball | _between(socket, INNER_EYE_REGION_RINGS)
    return masks


def _mouth_parts(graph: MeshGraph, named: NamedVertices) -> dict[str, np.ndarray]:
    steps = mouth_steps(graph, named)
    lips = _between(steps, LIP_RINGS)
    return {"lips": lips, "mouthnlips": lips, "mouth": steps == LIP_CONTACT_RING}


def _skin_regions(graph: MeshGraph, named: NamedVertices) -> dict[str, np.ndarray]:
    count = graph.n_vertices
    neck_steps = _neck_steps(graph, named)
    outline = {name: _members(chain, count) for name, chain in named.outlines.items()}
    line = {name: _members(chain, count) for name, chain in named.lines.items()}

    def region(name: str) -> np.ndarray:
        return outline[name] | graph.fill(named.inside[name], named.outlines[name])

    hidden = hidden_skin(graph, named)
    masks = {f"{side}_ear": region(f"{side}_ear") for side in SIDES}
    ears = masks["left_ear"] | masks["right_ear"]
    within_face = region("face")
    masks["face"] = within_face & ~hidden & ~ears
    masks["eye_region"] = region("eye_region") & ~hidden
    masks["nose"] = region("nose")
    brow_line = line["forehead"]
    masks["forehead"] = graph.fill(named.inside["forehead"], np.flatnonzero(outline["face"] | brow_line))
    masks["forehead"] |= brow_line | _hair_line(graph, outline["face"], masks["forehead"])

    # a line from each ear down the neck divides the rest of the skin into scalp and throat
    napes = line["left_nape"] | line["right_nape"]
    low = neck_steps < NECK_RINGS[0]
    walls = np.flatnonzero(
        outline["face"] | outline["left_ear"] | outline["right_ear"] | napes | (neck_steps == NECK_RINGS[0])
    )
    beyond = ears | within_face | low
    scalp = graph.fill(named.inside["scalp"], walls) | napes
    masks["scalp"] = scalp & ~beyond & (neck_steps > NECK_RINGS[0])
    masks["neck"] = (graph.fill(named.inside["throat"], walls) & ~beyond) | _between(neck_steps, NECK_RINGS)
    masks["static_neck"] = _between(neck_steps, STATIC_NECK_RINGS)
    masks["boundary"] = _between(neck_steps, BOUNDARY_RINGS)
    masks["ens"] = ears | masks["neck"] | masks["scalp"]
    return masks


def _hair_line(graph: MeshGraph, face_outline: np.ndarray, forehead: np.ndarray) -> np.ndarray:
    """The part of the face's outline that borders on the forehead: bool [V]."""
    touching = np.zeros(graph.n_vertices, bool)
    touching[graph.faces[forehead[graph.faces].any(1)]] = True
    return touching & face_outline
