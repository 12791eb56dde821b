"""Teeth and the inside of the mouth as geometry, for any head model. `docs/method.md`, section 3.

The faces that close the mouth, and the pocket behind them, are replaced by a cavity that starts where the lips touch,
and by two rows of teeth: the upper one is fixed to the skull, the lower one follows the jaw.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from nha.core.errors import UserError
from nha.head.assets import HeadAssets, MeshTopology
from nha.head.derived.mesh_graph import MeshGraph

SKULL_JOINT, JAW_JOINT = 1, 2
# Metres on a head whose mouth is _MOUTH_WIDTH wide where the lips touch; scaled with the width of other heads.
_MOUTH_WIDTH = 0.046
_ARCH_RADIUS = 0.018  # of curvature of the dental arch at the incisors
_ARCH_HALF_WIDTH = 0.021
_TEETH_COLUMNS = 13
_UPPER_DEPTH, _LOWER_DEPTH = 0.006, 0.0085  # of the front surfaces, behind the foremost point of that line
# Rows of the two arches from top to bottom: height above the line where the lips touch, distance behind the surface.
_UPPER_ROWS = ((0.009, 0.001), (-0.0015, 0.0), (0.003, 0.006))
_LOWER_ROWS = ((-0.004, 0.006), (-0.0005, 0.0), (-0.009, 0.001))
# Rings of the cavity: distance behind the lips, share of the width, height above and below the lips' line.
_CAVITY_RINGS = ((0.010, 0.95, 0.007), (0.035, 0.7, 0.009))
# On the mouth's UV map, u to the person's left and v up: the upper teeth, the cavity and the lower teeth.
_UPPER_V, _CAVITY_V, _LOWER_V = (0.70, 0.97), (0.33, 0.67), (0.03, 0.30)
_TEETH_U = (0.03, 0.97)
_HUB_SIDE_RADIUS = 0.2  # of the cavity's last ring, relative to the lips'


@dataclass(frozen=True)
class _Patch:
    """New vertices and faces.

    Attributes:
        vertices: [K, 3] metres.
        skinning: [K, 5].
        faces: [F, 3] vertex ids of the extended head model.
        uvs: [F, 3, 2] in 0..1 on the mouth's UV map.
    """

    vertices: np.ndarray
    skinning: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray


def with_mouth_interior(assets: HeadAssets) -> HeadAssets:
    """The head model with teeth and a mouth cavity in place of the faces that close the mouth.

    The new vertices follow the mean of the lips' shape directions, no expression and no pose correctives. They are
    numbered after the old ones, and the new faces after the old ones of `closed`. `open` and the identity of the head
    model stay as they are. A head model without faces that close the mouth stays as it is.

    Raises:
        UserError: the faces that close the mouth are no disc.
    """
    if len(assets.closed.faces) == len(assets.open.faces):
        return assets
    ring, behind = lip_ring(assets)
    n_old = len(assets.template_vertices)
    lips = _Lips.of(assets, ring)
    cavity = _cavity(assets, ring, lips, n_old)
    upper = _teeth(assets, lips, n_old + len(cavity.vertices), upper=True)
    lower = _teeth(assets, lips, n_old + len(cavity.vertices) + len(upper.vertices), upper=False)
    patches = (cavity, upper, lower)
    old, n_old_faces = assets.closed, len(assets.closed.faces)
    faces = np.concatenate([old.faces, *(patch.faces for patch in patches)])
    corners_uv = np.concatenate([patch.uvs.reshape(-1, 2) for patch in patches])
    uv_faces = len(old.uvs) + np.arange(len(corners_uv)).reshape(-1, 3)
    new_faces = np.arange(n_old_faces, len(faces))
    landmark_faces, landmark_barycentric = _landmarks_on_skin(assets, ring, behind)

    vertices = np.concatenate([patch.vertices for patch in patches])
    directions = assets.shape_directions
    shape = np.broadcast_to(
        directions[ring].mean(0, dtype=directions.dtype), (len(vertices), *directions.shape[1:])
    )
    extended = dataclasses.replace(
        assets,
        template_vertices=np.concatenate([assets.template_vertices, vertices]),
        shape_directions=np.concatenate([directions, shape]),
        expression_directions=_with_zero_rows(assets.expression_directions, len(vertices)),
        pose_directions=_with_zero_rows(assets.pose_directions, len(vertices)),
        joint_regressor=np.pad(assets.joint_regressor, ((0, 0), (0, len(vertices)))),
        skinning_weights=np.concatenate(
            [assets.skinning_weights, *(patch.skinning for patch in patches)]
        ).astype(assets.skinning_weights.dtype),
        closed=MeshTopology(
            faces, np.concatenate([old.uvs, corners_uv]), np.concatenate([old.uv_faces, uv_faces])
        ),
        lower_neck_faces=np.union1d(assets.lower_neck_faces, behind),
        landmark_faces=landmark_faces,
        landmark_barycentric=landmark_barycentric,
        mouth_map_faces=new_faces,
    )
    extended.__dict__["identity"] = assets.identity  # of the files, not of the derived vertices
    return extended


def lip_ring(assets: HeadAssets) -> tuple[np.ndarray, np.ndarray]:
    """Where the lips touch, and what lies behind.

    Returns:
        The vertices where the lips touch [R], counter-clockwise seen from the front; and ids of faces of `closed`:
        those that close the mouth, and the pocket behind the lips if there is one.

    Raises:
        UserError: the border of the faces that close the mouth is no ring.
    """
    faces, n_open = assets.closed.faces, len(assets.open.faces)
    graph = MeshGraph(faces[:n_open], len(assets.template_vertices))
    members = np.zeros(graph.n_vertices, bool)
    members[faces[n_open:]] = True
    try:
        ring = np.array(graph.ring_loop(members, int(members.argmax())))
    except ValueError as error:
        raise UserError(
            "the faces that close the head model's mouth are no disc; take its files from the same release"
        ) from error
    beside = np.setdiff1d(np.concatenate([graph.neighbours(vertex) for vertex in ring]), ring)
    sides = []  # of the ring: the skin, and the pocket if there is one
    while len(beside):
        sides.append(graph.fill(int(beside[0]), ring))
        beside = beside[~sides[-1][beside]]
    skin = max(sides, key=np.count_nonzero)
    behind = np.any([side for side in sides if side is not skin], axis=0)
    pocket = np.flatnonzero(behind[graph.faces].any(1)) if len(sides) > 1 else np.empty(0, np.int64)
    of_skin = graph.faces[skin[graph.faces].any(1)][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    if (of_skin == ring[:2]).all(1).any():
        ring = ring[::-1]  # the skin's faces run along the ring in the other direction than those inside it
    return ring, np.concatenate([pocket, np.arange(n_open, len(faces))])


def _landmarks_on_skin(
    assets: HeadAssets, ring: np.ndarray, behind: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks' faces and barycentric coordinates, without the faces `behind` the lips.

    A landmark in such a face moves to the vertices where the lips touch that are nearest to the face's own, which are
    mostly these themselves.
    """
    faces, points = assets.closed.faces, assets.template_vertices
    face_ids, weights = assets.landmark_faces.copy(), assets.landmark_barycentric.copy()
    skin = np.setdiff1d(np.arange(len(assets.open.faces)), np.union1d(behind, assets.lower_neck_faces))
    for landmark in np.flatnonzero(np.isin(face_ids, behind)):
        on_skin: dict[int, float] = {}
        for vertex, weight in zip(faces[face_ids[landmark]], weights[landmark], strict=True):
            nearest = int(ring[np.linalg.norm(points[ring] - points[vertex], axis=1).argmin()])
            on_skin[nearest] = on_skin.get(nearest, 0.0) + float(weight)
        wanted = [vertex for vertex, weight in on_skin.items() if weight > 0]
        shared = np.isin(faces[skin], wanted).sum(1)
        face_ids[landmark] = skin[shared.argmax()]
        row = np.array([on_skin.get(int(vertex), 0.0) for vertex in faces[face_ids[landmark]]])
        weights[landmark] = row / row.sum()
    return face_ids, weights


@dataclass(frozen=True)
class _Lips:
    """Measures of the line where the lips touch.

    centre: [3] x and y of the middle, z of the foremost point. scale: relative to _MOUTH_WIDTH. half_width: metres.
    """

    centre: np.ndarray
    scale: float
    half_width: float

    @classmethod
    def of(cls, assets: HeadAssets, ring: np.ndarray) -> _Lips:
        points = assets.template_vertices[ring].astype(float)
        low, high = points.min(0), points.max(0)
        centre = np.array([(low[0] + high[0]) / 2, points[:, 1].mean(), high[2]])
        return cls(centre, (high[0] - low[0]) / _MOUTH_WIDTH, (high[0] - low[0]) / 2)


def _cavity(assets: HeadAssets, ring: np.ndarray, lips: _Lips, first: int) -> _Patch:
    """A tube from the lips to the back, closed by a fan; its vertices move with the lips in front of them."""
    at_lips = assets.template_vertices[ring].astype(float)
    side = (at_lips[:, 0] - lips.centre[0]) / lips.half_width  # -1..1
    sign = np.where(_is_upper(assets, ring, side), 1.0, -1.0)
    height = sign * np.sqrt(np.clip(1 - side**2, 0, 1))
    n, depth0 = len(ring), at_lips[:, 2]
    rings = []
    for level, (depth, width, half_height) in enumerate(_CAVITY_RINGS):
        last = level == len(_CAVITY_RINGS) - 1
        z = (lips.centre[2] if last else depth0) - depth * lips.scale
        x = lips.centre[0] + width * (at_lips[:, 0] - lips.centre[0])
        y = lips.centre[1] + height * half_height * lips.scale
        rings.append(np.stack([x, y, np.broadcast_to(z, n)], 1))
    vertices = np.concatenate([*rings, rings[-1].mean(0, keepdims=True)])
    # local numbers: the lips, the rings, and the hub of the fan
    levels = np.arange((len(rings) + 1) * n).reshape(-1, n)
    outer, inner = levels[:-1], levels[1:]
    walls = np.stack(
        [
            np.stack([outer, np.roll(outer, -1, 1), np.roll(inner, -1, 1)], 2),
            np.stack([outer, np.roll(inner, -1, 1), inner], 2),
        ],
        1,
    )
    fan = np.stack([levels[-1], np.roll(levels[-1], -1), np.full(n, levels.size)], 1)
    faces = np.concatenate([walls.reshape(-1, 3), fan])
    radius = np.linspace(1, _HUB_SIDE_RADIUS, len(levels))  # on the UV map
    direction = np.stack([side, height], 1)
    place = np.concatenate([(radius[:, None, None] * direction).reshape(-1, 2), np.zeros((1, 2))])[faces]
    low, high = _CAVITY_V
    uvs = np.stack([0.5 + 0.47 * place[..., 0], (low + high) / 2 + (high - low) / 2 * place[..., 1]], -1)
    weights = assets.skinning_weights[ring]
    return _Patch(
        vertices,
        np.concatenate([np.tile(weights, (len(rings), 1)), weights.mean(0, keepdims=True)]),
        np.concatenate([ring, first + np.arange(len(vertices))])[faces],
        uvs,
    )


def _is_upper(assets: HeadAssets, ring: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Bool [R]: vertices of the upper lip; the chain between the corners that follows the jaw less."""
    ends = sorted((int(side.argmin()), int(side.argmax())))
    inner = np.zeros(len(ring), bool)
    inner[ends[0] + 1 : ends[1]] = True
    outer = ~inner
    outer[ends] = False
    jaw = assets.skinning_weights[ring, JAW_JOINT]
    return inner if jaw[inner].mean() < jaw[outer].mean() else outer


def _teeth(assets: HeadAssets, lips: _Lips, first: int, *, upper: bool) -> _Patch:
    """A row of teeth: a band along the dental arch with an edge that turns inwards."""
    x = np.linspace(-_ARCH_HALF_WIDTH, _ARCH_HALF_WIDTH, _TEETH_COLUMNS)
    arch = -(_UPPER_DEPTH if upper else _LOWER_DEPTH) - x**2 / (2 * _ARCH_RADIUS)
    rows = _UPPER_ROWS if upper else _LOWER_ROWS
    offsets = np.stack([np.stack([x, np.full_like(x, y), arch - behind], 1) for y, behind in rows])
    vertices = (lips.centre + lips.scale * offsets).reshape(-1, 3)
    index = first + np.arange(len(vertices)).reshape(len(rows), _TEETH_COLUMNS)
    above, below = index[:-1], index[1:]
    quads = np.stack([below[:, :-1], below[:, 1:], above[:, 1:], above[:, :-1]], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    low, high = _UPPER_V if upper else _LOWER_V
    u = np.linspace(*_TEETH_U, _TEETH_COLUMNS)
    v = np.linspace(high, low, len(rows))
    grid = np.stack(np.broadcast_arrays(u[None], v[:, None]), -1).reshape(-1, 2)
    joint = SKULL_JOINT if upper else JAW_JOINT
    skinning = np.eye(assets.skinning_weights.shape[1])[[joint] * len(vertices)]
    return _Patch(vertices, skinning, faces, grid[faces - first])


def _with_zero_rows(table: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([table, np.zeros((n, *table.shape[1:]), table.dtype)])
