"""The procedural head: its files, mesh, UV map, landmarks, parts, skinning, identities and expressions."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from nha.head.flame_files import read_head_folder
from nha.head.procedural import HeadFiles, generate_head, write_head_folder
from nha.head.procedural.texture import rasterise_uv

FLAME_PART_NAMES = [
    *("boundary", "ens", "eye_region", "face", "forehead"),
    *("left_ear", "left_eye_lid", "left_eye_region", "left_eyeball", "left_eyeball_front"),
    *("left_inner_eye_region", "lips", "mouth", "mouthnlips", "neck", "nose"),
    *("right_ear", "right_eye_lid", "right_eye_region", "right_eyeball", "right_eyeball_front"),
    *("right_inner_eye_region", "scalp", "static_neck"),
]
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def head() -> HeadFiles:
    return generate_head()


def directed_edges(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def landmarks(head: HeadFiles, vertices: np.ndarray) -> np.ndarray:
    return np.einsum("lk,lkc->lc", head.landmark_barycentric, vertices[head.faces[head.landmark_faces]])


def expressed(head: HeadFiles, **coefficients: float) -> np.ndarray:
    vertices = head.template_vertices.copy()
    for name, value in coefficients.items():
        vertices += value * head.expression_directions[..., head.expression_names.index(name)]
    return vertices


def with_jaw_open(head: HeadFiles, angle_rad: float) -> np.ndarray:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    arm = head.template_vertices - head.joint_regressor[2] @ head.template_vertices
    return head.template_vertices + head.skinning_weights[:, 2:3] * (arm @ rotation.T - arm)


def test_counts(head):
    n_vertices = len(head.template_vertices)
    assert 4000 <= n_vertices <= 8000
    assert head.shape_directions.shape == (n_vertices, 3, 300)
    assert head.expression_directions.shape == (n_vertices, 3, 100)
    assert head.pose_directions.shape == (n_vertices, 3, 36)
    assert len(head.shape_names) >= 30
    assert len(head.expression_names) >= 20
    assert len(set(head.shape_names)) == len(head.shape_names)
    used = np.abs(head.shape_directions).max((0, 1)) > 0
    assert used.tolist() == [True] * len(head.shape_names) + [False] * (300 - len(head.shape_names))
    used = np.abs(head.expression_directions).max((0, 1)) > 0
    assert used.tolist() == [True] * len(head.expression_names) + [False] * (100 - len(head.expression_names))
    assert np.unique(head.faces).tolist() == list(range(n_vertices))


def test_mesh_is_manifold_with_a_neck_and_a_mouth_border(head):
    edges = directed_edges(head.faces)
    assert len(np.unique(edges, axis=0)) == len(edges), "two faces have an edge in the same direction"
    undirected, uses = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    assert set(uses.tolist()) == {1, 2}
    border = undirected[uses == 1]
    points = head.template_vertices[np.unique(border)]
    at_neck = points[:, 1] < 1.33
    at_mouth = (np.abs(points[:, 0]) < 0.03) & (np.abs(points[:, 1] - 1.461) < 0.012) & (points[:, 2] > 0.03)
    assert (at_neck | at_mouth).all()
    assert at_neck.any()
    assert at_mouth.any()
    # Skin with two border loops, two closed balls: V - E + F is 2 - 2, 2 and 2.
    assert len(head.template_vertices) - len(undirected) + len(head.faces) == 0 + 2 + 2


def test_every_vertex_has_one_fan_of_faces(head):
    opposite = {}
    for a, b, c in head.faces.tolist():
        for v, start, end in ((a, b, c), (b, c, a), (c, a, b)):
            opposite.setdefault(v, {})[start] = end
    for links in opposite.values():
        starts = set(links) - set(links.values())
        assert len(starts) <= 1
        at = next(iter(starts or links))
        for _ in range(len(links)):
            at = links.pop(at)
            if at not in links:
                break
        assert not links


def test_no_degenerate_faces(head):
    vertices = head.template_vertices
    for faces in (head.faces, head.mouth_faces):
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        longest = np.max(
            [np.linalg.norm(b - a, axis=1), np.linalg.norm(c - b, axis=1), np.linalg.norm(a - c, axis=1)], 0
        )
        height = np.linalg.norm(face_normals(vertices, faces), axis=1) / longest
        assert height.min() > 1e-4  # a tenth of a millimetre
        assert longest.max() < 0.035


def test_faces_are_oriented_outwards(head):
    # Neighbours have the same orientation (see the manifold test), so one face of each component is enough.
    vertices, faces = head.template_vertices, head.faces
    normals = face_normals(vertices, faces)
    outside = {
        "scalp": (0, 1.51, -0.03),
        "forehead": (0, 1.51, 0),
        "nose": (0, 1.5, 0.04),
        "neck": (0, 1.44, -0.035),
    }
    for side in SIDES:
        outside[f"{side}_eyeball"] = tuple(vertices[head.parts[f"{side}_eyeball"]].mean(0))
    for part, centre in outside.items():
        of_part = np.isin(faces, head.parts[part]).all(1)
        away = np.einsum("fk,fk->f", vertices[faces[of_part]].mean(1) - np.array(centre), normals[of_part])
        assert (away > 0).mean() > 0.98, part
    assert (face_normals(vertices, head.mouth_faces)[:, 2] > 0).all()


def test_head_is_symmetric(head):
    vertices = head.template_vertices
    mirrored = vertices * np.array([-1.0, 1.0, 1.0])
    order, other = (np.lexsort(np.round(v, 7).T) for v in (vertices, mirrored))
    np.testing.assert_allclose(vertices[order], mirrored[other], atol=1e-9)


def test_size_and_joints_are_those_of_an_adult(head):
    vertices = head.template_vertices
    face_height = 1.62 - landmarks(head, vertices)[8, 1]
    assert 0.19 < face_height < 0.23
    assert 0.16 < np.ptp(vertices[:, 2]) < 0.24
    np.testing.assert_allclose(head.joint_regressor.sum(1), 1.0, atol=1e-9)
    joints = head.joint_regressor @ vertices
    np.testing.assert_allclose(joints[:3, 0], 0.0, atol=1e-9)
    assert joints[0, 1] < joints[1, 1] < joints[2, 1] < joints[3, 1]
    for joint, side in ((3, "left"), (4, "right")):
        centre = vertices[head.parts[f"{side}_eyeball"]].mean(0)
        np.testing.assert_allclose(joints[joint], centre, atol=1e-9)
    assert joints[3, 0] > 0.025


def test_uv_map_has_no_overlaps(head):
    corners = head.uvs[head.uv_faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0).all(), "a UV triangle is turned over"
    assert head.uvs.min() >= 0
    assert head.uvs.max() <= 1
    face_id, _, count = rasterise_uv(head.uvs, head.uv_faces, 700)
    assert count.max() == 1
    assert (face_id >= 0).mean() > 0.6
    _, _, count = rasterise_uv(head.uvs, head.mouth_uv_faces, 300)
    assert count.max() == 1
    assert set(head.mouth_uv_faces.ravel()).isdisjoint(head.uv_faces.ravel())


def test_uv_map_puts_the_face_upright_in_the_middle(head):
    points = landmarks(head, head.template_vertices)
    uv = np.einsum("lk,lkc->lc", head.landmark_barycentric, head.uvs[head.uv_faces[head.landmark_faces]])
    assert uv[8, 1] < uv[57, 1] < uv[33, 1] < uv[27, 1] < uv[24, 1]
    assert uv[36, 0] < uv[39, 0] < uv[27, 0] < uv[42, 0] < uv[45, 0]
    assert points[36, 0] < 0 < points[45, 0]
    np.testing.assert_allclose(uv[[8, 27, 30, 33, 51, 57], 0], 0.5, atol=0.01)


def test_landmarks_follow_the_ibug_order(head):
    p = landmarks(head, head.template_vertices)
    np.testing.assert_allclose(head.landmark_barycentric.sum(1), 1.0, atol=1e-12)
    assert head.landmark_barycentric.min() >= 0
    assert (np.diff(p[:17, 0]) > 0).all(), "jaw line from the person's right to the left"
    assert p[:17, 1].argmin() == 8
    assert (np.diff(p[17:27, 0]) > 0).all()
    assert (np.diff(p[27:31, 1]) < 0).all()
    assert p[30, 2] == p[:68, 2].max(), "the tip of the nose is foremost"
    assert (np.diff(p[31:36, 0]) > 0).all()
    for eye in (slice(36, 42), slice(42, 48)):
        outer, up1, up2, inner, low1, low2 = p[eye]
        assert outer[0] < up1[0] < up2[0] < inner[0]
        assert inner[0] > low1[0] > low2[0] > outer[0]
        assert min(up1[1], up2[1]) > max(low1[1], low2[1])
    assert (np.diff(p[48:55, 0]) > 0).all()
    assert (np.diff(p[54:60, 0]) < 0).all()
    assert (np.diff(p[60:65, 0]) > 0).all()
    assert p[51, 1] > p[62, 1] > p[66, 1] > p[57, 1] > p[8, 1]
    assert p[19, 1] > p[37, 1] > p[41, 1] > p[33, 1] > p[51, 1]
    mirror = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
    mirror += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
    mirror += [64, 63, 62, 61, 60, 67, 66, 65, 69, 68]
    np.testing.assert_allclose(p[mirror] * np.array([-1.0, 1.0, 1.0]), p, atol=1e-3)


def test_iris_landmarks_are_the_front_of_the_eyeballs(head):
    p = landmarks(head, head.template_vertices)
    for landmark, side in ((68, "right"), (69, "left")):
        ball = head.template_vertices[head.parts[f"{side}_eyeball"]]
        np.testing.assert_allclose(p[landmark], ball[ball[:, 2].argmax()], atol=1e-12)


def test_parts(head):
    parts, faces = head.parts, head.faces
    assert list(parts) == FLAME_PART_NAMES
    for name, ids in parts.items():
        assert len(ids) >= 20, name
        assert (np.diff(ids) > 0).all()
        assert ids[-1] < len(head.template_vertices)
    for name in parts:
        if name.startswith("left_"):
            assert len(parts[name]) == len(parts["right_" + name[5:]])
            assert (head.template_vertices[parts[name], 0] > 0).all()
    everything = np.concatenate([faces, head.mouth_faces])
    in_mouth = np.isin(everything, parts["mouth"]).all(1)
    assert np.flatnonzero(in_mouth).tolist() == list(range(len(faces), len(everything)))
    for inner, outer in (
        ("mouth", "lips"),
        ("lips", "face"),
        ("left_eyeball_front", "left_eyeball"),
        ("forehead", "face"),
    ):
        assert set(parts[inner]) <= set(parts[outer])
    for a, b in (
        ("scalp", "nose"),
        ("neck", "face"),
        ("left_ear", "face"),
        ("left_eyeball", "left_eye_region"),
    ):
        assert set(parts[a]).isdisjoint(parts[b])
    centre = {name: head.template_vertices[ids].mean(0) for name, ids in parts.items()}
    assert (
        centre["scalp"][1] > centre["nose"][1] > centre["lips"][1] > centre["neck"][1] > centre["boundary"][1]
    )
    assert centre["nose"][2] > centre["left_ear"][2] > centre["scalp"][2]


def test_lower_neck_faces_are_below_the_head(head):
    corners = head.template_vertices[head.faces[head.lower_neck_faces]]
    assert 100 < len(corners) < 800
    assert corners[..., 1].max() < 1.385


def test_skinning(head):
    weights = head.skinning_weights
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-9)
    assert weights.min() >= 0
    for joint, side in ((3, "left"), (4, "right")):
        assert set(np.flatnonzero(weights[:, joint] > 0)) == set(head.parts[f"{side}_eyeball"])
        assert (weights[head.parts[f"{side}_eyeball"], joint] == 1).all()
    bary, corners = head.landmark_barycentric, head.faces[head.landmark_faces]
    jaw = np.einsum("lk,lk->l", bary, weights[corners, 2])
    assert jaw[[57, 66, 8]].min() > 0.9
    assert jaw[[51, 62, 33, 30, 27, 0, 16]].max() < 0.1
    edges = directed_edges(head.faces)
    assert np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max() < 0.45


def test_jaw_opens_the_mouth(head):
    closed = landmarks(head, head.template_vertices)
    opened = landmarks(head, with_jaw_open(head, np.radians(20)))
    assert closed[62, 1] - closed[66, 1] < 0.001
    assert opened[62, 1] - opened[66, 1] > 0.015
    np.testing.assert_allclose(opened[27:48], closed[27:48], atol=1e-4)


@pytest.mark.parametrize("side", SIDES)
def test_blink_closes_the_lids_over_the_eyeball(head, side):
    eye = slice(36, 42) if side == "right" else slice(42, 48)
    gap = {}
    centre = head.template_vertices[head.parts[f"{side}_eyeball"]].mean(0)
    radius = np.linalg.norm(head.template_vertices[head.parts[f"{side}_eyeball"]] - centre, axis=1).max()
    for coefficient in (0.0, 0.4, 0.75, 1.1, 1.5):
        vertices = expressed(head, **{f"blink_{side}": coefficient})
        p = landmarks(head, vertices)[eye]
        gap[coefficient] = p[[1, 2], 1].min() - p[[4, 5], 1].max()
        lids = vertices[head.parts[f"{side}_eye_lid"]]
        assert np.linalg.norm(lids - centre, axis=1).min() > radius + 1e-4, coefficient
    assert gap[0.0] > 0.005
    assert gap[1.5] < 0.0025
    rest, shut = (landmarks(head, expressed(head, **{f"blink_{side}": c})) for c in (0.0, 1.5))
    other_eye = slice(36, 42) if side == "left" else slice(42, 48)
    assert np.array_equal(rest[other_eye], shut[other_eye])


def test_lids_do_not_touch_the_eyeballs_of_random_identities(head):
    rng = np.random.default_rng(0)
    for _ in range(20):
        coefficients = np.zeros(300)
        coefficients[: len(head.shape_names)] = rng.standard_normal(len(head.shape_names))
        vertices = head.template_vertices + head.shape_directions @ coefficients
        for side in SIDES:
            ball = vertices[head.parts[f"{side}_eyeball"]]
            centre = ball.mean(0)
            radius = np.linalg.norm(ball - centre, axis=1).max()
            lids = vertices[head.parts[f"{side}_eye_lid"]]
            assert np.linalg.norm(lids - centre, axis=1).min() > radius


def test_directions_are_not_zero_and_local(head):
    whole_head = {
        "head_size",
        "head_width",
        "head_length",
        "face_taper",
        "face_length",
        "neck_width",
        "skull_height",
    }
    whole_head |= {"forehead_slope", "occiput"}
    for names, directions in (
        (head.shape_names, head.shape_directions),
        (head.expression_names, head.expression_directions),
    ):
        for i, name in enumerate(names):
            length = np.linalg.norm(directions[..., i], axis=1)
            assert 4e-4 < length.max() < 0.012, name
            if name not in whole_head:
                assert (length > 1e-6).mean() < 0.55, name
    eyeballs = np.concatenate([head.parts[f"{side}_eyeball"] for side in SIDES])
    assert np.abs(head.expression_directions[eyeballs]).max() == 0


def test_directions_are_smooth(head):
    edges = directed_edges(head.faces)
    vertices = head.template_vertices
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    for i, name in enumerate(head.shape_names):
        field = head.shape_directions[..., i]
        stretch = np.linalg.norm(field[edges[:, 0]] - field[edges[:, 1]], axis=1)
        assert (stretch < 0.0003 + 0.5 * length).all(), name


def test_expressions_match_their_names(head):
    rest = landmarks(head, head.template_vertices)

    def moved(name: str, landmark: int, axis: int) -> float:
        return (landmarks(head, expressed(head, **{name: 1.0})) - rest)[landmark, axis]

    assert moved("smile_left", 54, 0) > 0.001
    assert moved("smile_left", 54, 1) > 0.001
    assert abs(moved("smile_left", 48, 1)) < 1e-4
    assert moved("smile_right", 48, 0) < -0.001
    assert moved("pucker", 54, 0) < -0.002
    assert moved("pucker", 57, 2) > 0.001
    assert moved("frown_right", 48, 1) < -0.001
    assert moved("brow_inner_raise_left", 22, 1) > 0.001
    assert moved("brow_lower_right", 20, 1) < -0.0005
    assert moved("lips_part", 62, 1) - moved("lips_part", 66, 1) > 0.002


def test_mouth_features_span_their_range(head):
    pairs = head.mouth_feature_pairs
    assert pairs.shape == (10, 2)
    assert set(pairs.ravel()) <= set(head.parts["lips"])

    def distances(vertices):
        return np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1)

    low, high = head.mouth_feature_minimum, head.mouth_feature_maximum
    assert (low < high).all()
    rest = distances(head.template_vertices)
    assert ((rest > low - 1e-3) & (rest < high)).all()
    opened = distances(with_jaw_open(head, np.radians(15)))
    assert (opened[[0, 7, 8]] > rest[[0, 7, 8]] + 0.005).all()


def test_texture_has_lips_iris_and_brows(head):
    size = len(head.texture_mean)
    assert head.texture_mean.shape == (512, 512, 3)
    assert head.texture_directions.shape == (512, 512, 3, len(head.texture_names))
    assert head.texture_mean.dtype == head.texture_directions.dtype == np.float32
    assert head.texture_mean.min() >= 0
    assert head.texture_mean.max() <= 255

    def colour(landmark: int) -> np.ndarray:
        uv = head.landmark_barycentric[landmark] @ head.uvs[head.uv_faces[head.landmark_faces[landmark]]]
        return head.texture_mean[int((1 - uv[1]) * size), int(uv[0] * size)]

    cheek, pupil, lip = colour(29), colour(69), colour(66)
    assert cheek[2] > cheek[1] > cheek[0], "BGR skin"
    assert pupil.max() < 40
    assert lip[1] < cheek[1] - 30
    assert colour(19).sum() < cheek.sum() - 60


def test_the_written_folder_contains_the_same_head(head, spaced_dir):
    folder = write_head_folder(spaced_dir / "head")  # generates it a second time
    assert [p.name for p in spaced_dir.iterdir()] == ["head"]
    assets = read_head_folder(folder)
    with open(folder / "generic_model.pkl", "rb") as file:
        model = pickle.load(file)
    assert np.array_equal(model["v_template"], head.template_vertices)
    assert np.array_equal(model["weights"], head.skinning_weights)
    assert np.array_equal(model["J_regressor"], head.joint_regressor)
    assert model["kintree_table"].dtype == np.uint32
    assert model["kintree_table"].tolist() == [[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]
    np.testing.assert_allclose(assets.template_vertices, head.template_vertices, atol=1e-6)
    np.testing.assert_allclose(assets.expression_directions, head.expression_directions, atol=1e-7)
    assert np.array_equal(assets.closed.faces, np.concatenate([head.faces, head.mouth_faces]))
    assert np.array_equal(assets.open.faces, head.faces)
    assert np.array_equal(assets.closed.uv_faces, np.concatenate([head.uv_faces, head.mouth_uv_faces]))
    np.testing.assert_allclose(assets.closed.uvs, head.uvs, atol=1e-6)
    assert assets.joint_parents == (-1, 0, 1, 1, 1)
    assert list(assets.part_names) == FLAME_PART_NAMES
    assert assets.shape_names == head.shape_names
    assert np.array_equal(assets.mouth_features.pairs, head.mouth_feature_pairs)
    texture = np.load(folder / "FLAME_texture.npz")
    assert np.array_equal(texture["mean"], head.texture_mean)
    assert np.array_equal(texture["tex_dir"], head.texture_directions)
    assert json.loads((folder / "head.json").read_text(encoding="utf-8"))["licence"].startswith("Apache-2.0")


def test_script_refuses_a_folder_with_other_things(run_script, spaced_dir):
    (spaced_dir / "thesis.txt").write_text("precious", encoding="utf-8")
    result = run_script("make_head.py", "--out", spaced_dir)
    assert result.returncode == 2
    assert "choose another output folder" in result.stderr
    assert (spaced_dir / "thesis.txt").read_text(encoding="utf-8") == "precious"
