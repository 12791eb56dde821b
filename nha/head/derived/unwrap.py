"""A UV map for FLAME's mesh: the skin cut open at the back, and a disc for each eyeball.

It is not FLAME's own UV map: textures, albedo spaces and avatars made for that map cannot be used with it.
"""

from __future__ import annotations

import numpy as np

from nha.head.assets import MeshTopology
from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import SIDES, NamedVertices
from nha.head.derived.parts import hidden_skin
from nha.head.flatten import arch_border, ball_chart, flatten_disc, triangle_areas

# Relative size on the map. For a vertex in several parts the last entry applies.
IMPORTANCE = {
    "static_neck": 0.6,
    "face": 2.2,
    "left_ear": 1.0,
    "right_ear": 1.0,
    "left_eye_region": 3.0,
    "right_eye_region": 3.0,
    "lips": 3.0,
}
HIDDEN_IMPORTANCE = 0.3  # eye sockets and the inside of the mouth
_HUB_IMPORTANCE = 0.2
_HUB_DEPTH_METRES = 0.004


def unwrap_head(
    vertices: np.ndarray, graph: MeshGraph, named: NamedVertices, parts: dict[str, np.ndarray]
) -> MeshTopology:
    """Unwrap FLAME's triangles.

    Args:
        vertices: [V, 3] template positions in metres.
        graph: FLAME's triangles.
        named: the named vertices.
        parts: the result of `derive_parts`.

    Returns:
        The mesh with its faces in the same order and UVs in 0..1, v up.
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
    hub = len(points)  # an additional point closes the mouth, so that the chart is a disc
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
    """The number of seam vertices with a copy: all except its end on the crown."""
    return len(named.lines["uv_seam"]) - 1


def _cut_open(
    vertices: np.ndarray, graph: MeshGraph, named: NamedVertices, on_skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The skin with duplicate points along the seam.

    Returns:
        The vertex of each point [T] (those of the skin in ascending order, then the seam's copies on the person's
        right), the faces as ids of points, the closed border from the foot of the seam, and the number of its
        points on the neck.
    """
    skin = np.unique(graph.faces[on_skin])
    faces = np.searchsorted(skin, graph.faces[on_skin])
    seam = np.searchsorted(skin, named.lines["uv_seam"])
    copies = len(skin) + np.arange(_n_copies(named))
    on_right = vertices[skin[faces], 0].mean(1) < vertices[skin[seam], 0].mean()
    copy_of = np.arange(len(skin))
    copy_of[seam[:-1]] = copies
    faces[on_right] = copy_of[faces[on_right]]
    # in the direction of its triangles' edges the neck's border runs from the person's right to the left
    neck = np.searchsorted(skin, graph.border_loop(named.lines["uv_seam"][0]))
    bottom = np.concatenate([copies[:1], neck[1:], neck[:1]])
    border = np.concatenate([bottom, seam[1:], copies[:0:-1]])
    return np.concatenate([skin, skin[seam[:-1]]]), faces, border, len(bottom)


def _ball_chart(
    vertices: np.ndarray, faces: np.ndarray, named: NamedVertices, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """UVs of an eyeball and its faces into them; the front is at the centre of the disc, the back at its edge."""
    ids = np.unique(faces)
    front, back = (
        np.searchsorted(ids, pole[side]) for pole in (named.eyeball_front_pole, named.eyeball_back_pole)
    )
    points = vertices[ids]
    middle = (points[front] + points[back]) / 2
    arm = (points - middle) / np.linalg.norm(points - middle, axis=1, keepdims=True)
    axis = arm[front]
    polar = np.arccos(np.clip(arm @ axis, -1, 1))
    # seen from the front, u points to the person's left and v up
    upwards = np.array([0.0, 1.0, 0.0]) - axis[1] * axis
    sideways = np.cross(upwards, axis)
    azimuth = np.arctan2(arm @ upwards, arm @ sideways)
    uv, uv_faces, _ = ball_chart(polar, azimuth, np.searchsorted(ids, faces), back, side)
    return uv, uv_faces
