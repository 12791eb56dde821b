"""Tables that are derived from FLAME's model alone."""

import logging
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.core.safe_pickle import load_pickle
from nha.head.derived.mesh_graph import UNREACHED, MeshGraph
from nha.head.derived.mouth import _strip
from nha.head.derived.named_vertices import is_flame_mesh, named_vertices, triangles_sha256
from nha.head.file_guide import (
    CLOSED_MESH,
    LANDMARK_FILE,
    OPEN_MESH,
    PARTS_FILE,
    REQUIRED_FILES,
    TEXTURE_FILE,
    derived_summary,
    derived_surface,
)
from nha.head.flame_files import read_head_folder
from nha.head.flatten import triangle_areas
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.head.topology import build_topology

# Minimal intersection over union with FLAME's masks. Some borders differ: the outer ends of the lids, and the brows,
# which belong to the forehead in FLAME's masks.
LEAST_IOU = dict.fromkeys(("left_eye_lid", "right_eye_lid", "forehead"), 0.6)
USUAL_IOU = 0.85


def grid(columns: int, rows: int) -> np.ndarray:
    """Triangles of a flat sheet of columns x rows vertices, counter-clockwise."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    b, c, d = a + 1, a + columns, a + columns + 1
    return np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)])


def test_steps_fill_and_loops_on_a_sheet():
    graph = MeshGraph(grid(5, 5), 26)  # vertex 25 belongs to no triangle
    steps = graph.steps_from([0])
    assert steps[[0, 1, 5, 6, 24]].tolist() == [0, 1, 1, 1, 4]  # the diagonal is an edge
    assert steps[25] == UNREACHED
    middle_row = range(10, 15)
    assert np.flatnonzero(graph.fill(2, middle_row)).tolist() == list(range(10))
    assert graph.border_loop(0) == [0, 1, 2, 3, 4, 9, 14, 19, 24, 23, 22, 21, 20, 15, 10, 5]
    around = graph.ring_loop(graph.steps_from([12]) == 1, 6)
    assert around in ([6, 7, 13, 18, 17, 11], [6, 11, 17, 18, 13, 7])
    with pytest.raises(ValueError, match="ring"):
        graph.ring_loop(np.isin(np.arange(26), [0, 1, 2]), 0)


def test_the_hash_is_independent_of_the_order_of_triangles():
    faces = grid(4, 3)
    same = np.roll(faces[::-1], 1, axis=1)
    assert triangles_sha256(same) == triangles_sha256(faces)
    assert triangles_sha256(faces[:, ::-1]) != triangles_sha256(faces)
    assert triangles_sha256(faces[1:]) != triangles_sha256(faces)
    assert not is_flame_mesh(faces)


@pytest.mark.parametrize(("n_upper", "n_lower"), [(3, 3), (5, 5), (4, 7), (6, 3)])
def test_a_strip_fills_the_gap_between_two_lines(n_upper, n_lower):
    def arc(n: int, sign: int) -> np.ndarray:
        angle = np.linspace(0, np.pi, n)
        return np.stack([np.cos(angle), sign * np.sin(angle)], -1)

    upper, lower = arc(n_upper, 1), arc(n_lower, -1)
    points = np.concatenate([upper, lower[1:-1]])
    below = [0, *range(n_upper, n_upper + n_lower - 2), n_upper - 1]
    faces = np.array(_strip(list(range(n_upper)), below))
    areas = triangle_areas(points, faces)
    assert (areas > 0).all()
    ring = np.concatenate([upper, lower[-2:0:-1]])
    x, y = ring.T
    polygon = 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    assert areas.sum() == pytest.approx(polygon)
    assert len(faces) == len(ring) - 2


def test_the_table_of_named_vertices_is_consistent():
    named = named_vertices()
    assert len(named.landmarks) == 70
    for landmark in named.landmarks:
        assert len(landmark["vertices"]) == len(landmark["weights"]) <= 3
        assert sum(landmark["weights"]) == pytest.approx(1)
        assert min(landmark["weights"]) > 0
    for chain in (*named.outlines.values(), *named.lines.values()):
        assert len(set(chain)) == len(chain)


def test_nothing_is_derived_for_another_mesh(assets, tmp_path):
    shutil.copy(assets.folder / "generic_model.pkl", tmp_path)
    with pytest.raises(
        UserError, match=r"not have FLAME's triangles.*head_template_mesh\.obj from the repository"
    ):
        read_head_folder(tmp_path)


def test_summary_of_derived_tables():
    assert derived_summary(()) == "nothing"
    assert derived_surface((OPEN_MESH,)) == ()  # the other mesh file contains the same
    assert derived_surface((CLOSED_MESH,)) == ("mouth faces",)
    assert derived_summary(REQUIRED_FILES) == "UV map, mouth faces, parts, landmarks (estimated), lower neck"


# --- on FLAME's mesh ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(flame_like):
    return read_head_folder(flame_like)


@pytest.fixture(scope="module")
def alone(flame_alone):
    return read_head_folder(flame_alone)


def test_the_model_file_alone_is_enough_and_derived_tables_are_logged(flame_alone, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("nha"), "propagate", True)
    assets = load_head(flame_alone)
    assert assets.derived == REQUIRED_FILES
    (line,) = set(caplog.messages)
    assert line.endswith("derived, not from FLAME's files: " + derived_summary(REQUIRED_FILES))


def test_outlines_and_lines_follow_edges(published):
    graph = MeshGraph(published.open.faces, len(published.template_vertices))
    named = named_vertices()
    for chain in named.outlines.values():
        for vertex, following in zip(chain, chain[1:] + chain[:1], strict=True):
            assert following in graph.neighbours(vertex)
    for chain in named.lines.values():
        for vertex, following in zip(chain, chain[1:], strict=False):
            assert following in graph.neighbours(vertex)


def test_derived_parts_overlap_with_the_masks(published, alone):
    assert alone.part_names == published.part_names
    overlap = {}
    for name, mask in published.parts.items():
        ours = alone.parts[name]
        overlap[name] = len(np.intersect1d(mask, ours)) / len(np.union1d(mask, ours))
        print(f"{name:<24}{len(mask):5d}{len(ours):5d}  IoU {overlap[name]:.2f}")
    assert {n: o for n, o in overlap.items() if o < LEAST_IOU.get(n, USUAL_IOU)} == {}
    for name in ("boundary", "static_neck", "left_eyeball", "right_eyeball"):
        assert overlap[name] == 1


def test_derived_parts_are_symmetric(published, alone):
    mirrored = published.template_vertices * [-1, 1, 1]
    for name in ("ear", "eye_region", "eye_lid", "eyeball_front", "inner_eye_region"):
        left, right = alone.parts[f"left_{name}"], alone.parts[f"right_{name}"]
        left_points = published.template_vertices[left]
        assert {tuple(p) for p in left_points.tolist()} == {
            tuple(p) for p in mirrored[right].astype(np.float32).tolist()
        }


def test_the_rendered_mesh_is_the_published_one(published, alone):
    """`docs/method.md`, section 1: 16 227 vertices, 32 392 faces, 15 135 vertices with offsets."""
    assert np.array_equal(np.sort(alone.lower_neck_faces), np.sort(published.lower_neck_faces))
    ours, theirs = (build_topology(assets, blur_sigma=None) for assets in (alone, published))
    assert (len(ours.kept_vertices), len(ours.faces)) == (16227, 32392)
    assert int((~ours.is_eyeball).sum()) == 15135
    outside_mouth = slice(0, 9976)
    assert np.array_equal(ours.all_faces[outside_mouth], theirs.all_faces[outside_mouth])


def test_the_mouth_is_closed_where_the_lips_touch(published, alone):
    ours, theirs = (assets.closed.faces[9976:] for assets in (alone, published))
    assert np.array_equal(np.unique(ours), np.unique(theirs))
    assert len(ours) == len(theirs) == 30
    # watertight: each inner edge belongs to two faces of opposite direction; the other edges form the ring
    directed = [tuple(edge) for edge in ours[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).tolist()]
    assert len(set(directed)) == len(directed)
    free = [(a, b) for a, b in directed if (b, a) not in directed]
    assert len(free) == 32
    # the orientation is that of the outer lips: their triangles traverse the ring in the opposite direction
    steps = MeshGraph(alone.open.faces, 5023).steps_from(alone.parts["mouth"])
    on_pocket = MeshGraph(alone.open.faces, 5023).steps_from(
        MeshGraph(alone.open.faces, 5023).border_loop(named_vertices().mouth_boundary)
    )
    outside = {
        (a, b)
        for face in alone.open.faces[
            (steps[alone.open.faces] <= 1).all(1) & (on_pocket[alone.open.faces] >= 3).all(1)
        ]
        for a, b in zip(face.tolist(), np.roll(face, -1).tolist(), strict=True)
    }
    assert all((b, a) in outside for a, b in free)


def test_uv_charts_do_not_fold_and_stay_in_0_to_1(alone):
    uvs, uv_faces = alone.closed.uvs, alone.closed.uv_faces
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    areas = triangle_areas(uvs, uv_faces)
    assert (areas > 0).all()
    head, mouth = areas[:9976], areas[9976:]
    assert head.sum() > 0.7
    assert mouth.sum() == pytest.approx(np.pi * 0.45**2, rel=0.02)
    # the covered area equals the sum of the triangles' areas, so none overlap
    size = 1024
    covered = np.zeros((size, size), np.uint8)
    for corners in uvs[uv_faces[:9976]]:
        cv2.fillConvexPoly(covered, np.rint(corners * (size - 1)).astype(np.int32), 1)
    assert covered.mean() == pytest.approx(head.sum(), rel=0.03)


def landmark_points(assets) -> np.ndarray:
    corners = assets.template_vertices[assets.closed.faces[assets.landmark_faces]]
    return (assets.landmark_barycentric[..., None] * corners).sum(1)


def test_landmarks_are_near_the_published_ones(published, alone):
    np.testing.assert_allclose(alone.landmark_barycentric.sum(1), 1, atol=1e-6)
    away_mm = 1000 * np.linalg.norm(landmark_points(alone) - landmark_points(published), axis=1)
    print("landmarks: mean", away_mm.mean().round(2), "mm, largest", away_mm.max().round(1), "mm")
    assert away_mm.mean() < 2.5
    eyes_nose_mouth = [*range(27, 70)]
    assert away_mm[eyes_nose_mouth].max() < 4
    assert away_mm[[68, 69]].max() < 0.01


@pytest.mark.parametrize("absent", [(CLOSED_MESH,), (OPEN_MESH,), (PARTS_FILE, LANDMARK_FILE)])
def test_each_file_is_derived_separately(flame_like, published, tmp_path, absent):
    shutil.copytree(flame_like, tmp_path / "head", ignore=shutil.ignore_patterns(*absent))
    assets = read_head_folder(tmp_path / "head")
    assert assets.derived == absent
    np.testing.assert_array_equal(assets.open.faces, published.open.faces)
    np.testing.assert_array_equal(
        assets.open.uvs[assets.open.uv_faces], published.open.uvs[published.open.uv_faces]
    )
    head = HeadModel(assets, blur_sigma=None)
    assert (head.n_vertices, len(head.faces)) == (16227, 32392)


def test_an_albedo_space_is_not_used_with_another_uv_map(flame_alone, tmp_path):
    shutil.copytree(flame_alone, tmp_path / "head")
    (tmp_path / "head" / TEXTURE_FILE).touch()
    assert read_head_folder(tmp_path / "head").texture_file is None


def test_the_model_may_list_its_triangles_in_any_order(flame_alone, alone, tmp_path):
    """The derived tables depend on vertices, not on the order of faces."""
    model = load_pickle(flame_alone / "flame2023_Open.pkl")
    model["f"] = np.roll(np.asarray(model["f"])[::-1], 1, axis=1)
    (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(model))
    other = read_head_folder(tmp_path)
    for name in alone.part_names:
        np.testing.assert_array_equal(other.parts[name], alone.parts[name])
    np.testing.assert_allclose(landmark_points(other), landmark_points(alone), atol=1e-6)


def test_a_posed_head_is_finite(alone):
    head = HeadModel(alone, blur_sigma=None)
    vertices = head(head.neutral_params(1))
    assert torch.isfinite(vertices).all()
    assert torch.isfinite(head.mouth_features(vertices, head.neutral_params(1))).all()
