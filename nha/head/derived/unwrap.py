"""A UV map for FLAME's mesh: the skin cut open at the back, two eyeball discs. Not FLAME's own UV map.

Textures, albedo spaces and avatars that were made for FLAME's UV map do not fit this one.
"""

from __future__ import annotations

import numpy as np

from nha.head.assets import MeshTopology
from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import SIDES, NamedVertices
from nha.head.derived.parts import hidden_skin
from nha.head.flatten import arch_border, ball_chart, flatten_disc, triangle_areas

# How much of the map an area gets, for its size. The later of two entries that share a vertex counts.
IMPORTANCE = {
    "static_neck": 0.6,
    "face": 2.2,
    "left_ear": 1.0,
    "right_ear": 1.0,
    "left_eye_region": 3.0,
    "right_eye_region": 3.0,
    "lips": 3.0,
}
HIDDEN_IMPORTANCE = 0.3  # sockets and the inside of the mouth
_HUB_IMPORTANCE = 0.2
_HUB_DEPTH_METRES = 0.004


def unwrap_head(
    vertices: np.ndarray, graph: MeshGraph, named: NamedVertices, parts: dict[str, np.ndarray]
) -> MeshTopology:
    """Unwrap FLAME's triangles.

    vertices: [V, 3] the template, metres; parts: from `derive_parts`. Returns the mesh with uvs in 0..1, v up;
    the faces keep their order.
    """
    balls = {side: np.isin(graph.faces, parts[f"{side}_eyeball"]).all(1) for side in SIDES}
    on_skin = ~(balls["left"] | balls["right"])
    uv_faces = np.zeros_like(graph.faces)
    uvs, uv_faces[on_skin] = _skin_chart(vertices, graph, named, parts, on_skin)
    for side in SIDES:
        chart, chart_faces = _ball_chart(vertices, graph.faces[balls[side]], named, side)
        uv_faces[balls[side]] = chart_faces + len(uvs)
        uvs = np.concatenate([uvs, chart])
    return MeshTopology(graph.faces, uvs, uv_faces)


def _skin_chart(
    vertices: np.ndarray,
    graph: MeshGraph,
    named: NamedVertices,
    parts: dict[str, np.ndarray],
    on_skin: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """UVs [U, 2] of the skin, and its faces into them."""
    vertex, faces, border, n_bottom = _cut_open(vertices, graph, named, on_skin)
    points = vertices[vertex]
    rim = np.searchsorted(vertex[: -_n_copies(named)], graph.border_loop(named.mouth_boundary))
    hub = len(points)  # a helper point closes the mouth, so that the chart is a disc
    behind = points[rim].mean(0) - np.array([0.0, 0.0, _HUB_DEPTH_METRES])
    points = np.concatenate([points, behind[None]])
    disc = np.concatenate([faces, np.stack([np.roll(rim, -1), rim, np.full(len(rim), hub)], -1)])

    importance = np.ones(graph.n_vertices)
    for name, value in IMPORTANCE.items():
        importance[parts[name]] = value
    importance[hidden_skin(graph, named)] = HIDDEN_IMPORTANCE
    importance = np.append(importance[vertex], _HUB_IMPORTANCE)
    wanted = triangle_areas(points, disc) * importance[disc].mean(1)
    border_uv = arch_border(points[border], n_bottom, _n_copies(named))
    return flatten_disc(points, disc, border, border_uv, wanted)[:-1], faces


def _n_copies(named: NamedVertices) -> int:
    """How many vertices of the seam lie on both of its sides: all but its end on the crown."""
    return len(named.lines["uv_seam"]) - 1


def _cut_open(
    vertices: np.ndarray, graph: MeshGraph, named: NamedVertices, on_skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The skin with its seam doubled.

    Returns the vertex of each point [T] (the skin's in ascending order, then the seam's copies for the person's
    right), the faces into the points, the border from the seam's foot once round, and how many of it are the neck.
    """
    skin = np.unique(graph.faces[on_skin])
    faces = np.searchsorted(skin, graph.faces[on_skin])
    seam = np.searchsorted(skin, named.lines["uv_seam"])
    copies = len(skin) + np.arange(_n_copies(named))
    on_right = vertices[skin[faces], 0].mean(1) < vertices[skin[seam], 0].mean()
    copy_of = np.arange(len(skin))
    copy_of[seam[:-1]] = copies
    faces[on_right] = copy_of[faces[on_right]]
    # the neck's border runs from the person's right to the left, as its triangles' edges do
    neck = np.searchsorted(skin, graph.border_loop(named.lines["uv_seam"][0]))
    bottom = np.concatenate([copies[:1], neck[1:], neck[:1]])
    border = np.concatenate([bottom, seam[1:], copies[:0:-1]])
    return np.concatenate([skin, skin[seam[:-1]]]), faces, border, len(bottom)


def _ball_chart(
    vertices: np.ndarray, faces: np.ndarray, named: NamedVertices, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """UVs of one eyeball and its faces into them; the front is the middle, the back the rim."""
    ids = np.unique(faces)
    front, back = (
        np.searchsorted(ids, pole[side]) for pole in (named.eyeball_front_pole, named.eyeball_back_pole)
    )
    points = vertices[ids]
    middle = (points[front] + points[back]) / 2
    arm = (points - middle) / np.linalg.norm(points - middle, axis=1, keepdims=True)
    axis = arm[front]
    polar = np.arccos(np.clip(arm @ axis, -1, 1))
    # seen from the front: u to the person's left, v up
    upwards = np.array([0.0, 1.0, 0.0]) - axis[1] * axis
    sideways = np.cross(upwards, axis)
    azimuth = np.arctan2(arm @ upwards, arm @ sideways)
    uv, uv_faces, _ = ball_chart(polar, azimuth, np.searchsorted(ids, faces), back, side)
    return uv, uv_faces
