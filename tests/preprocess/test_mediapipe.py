"""The mediapipe estimators: tables of the mesh, images without a person, and a real person if a video is available."""

from __future__ import annotations

import itertools
import os

import cv2
import numpy as np
import pytest

from nha.core.conventions import Parsing

pytest.importorskip("mediapipe", exc_type=ImportError)

from nha.data.video_io import iterate_frames
from nha.preprocess.backends.mediapipe_matting import clean_matte
from nha.preprocess.backends.mediapipe_mesh import (
    IBUG68,
    N_MESH_POINTS,
    face_topology,
    ordered_chains,
    triangles_of_edges,
)
from nha.preprocess.backends.mediapipe_runtime import pad_to_square, quiet
from nha.preprocess.crop import plan_transform
from nha.preprocess.estimators import EstimatorSet, Frame
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.registry import make_estimators


@pytest.fixture(scope="module")
def estimators(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unused")
    estimators = make_estimators(PreprocessOptions(folder / "video", folder / "out", "mediapipe"))
    yield estimators
    estimators.close()


def frame_of(rgb: np.ndarray, longer_edge: int, frame_id: int = 0) -> Frame:
    transform = plan_transform(rgb.shape[1::-1], longer_edge)
    return Frame(frame_id, transform.apply_to_rgb(rgb), transform)


# --- the mesh's tables -----------------------------------------------------------------------------------


def test_triangles_cover_the_face_once_and_face_the_same_way():
    triangles = face_topology().triangles
    assert triangles.shape == (852, 3)
    assert set(triangles.ravel()) == set(range(N_MESH_POINTS))
    directed = [(a, b) for t in triangles.tolist() for a, b in itertools.pairwise([*t, t[0]])]
    assert len(set(directed)) == len(directed)  # neighbours walk a common edge in opposite directions
    edges = {frozenset(edge) for edge in directed}
    n_holes = 3  # eyes and mouth; a disc has characteristic 1
    assert N_MESH_POINTS - len(edges) + len(triangles) == 1 - n_holes


def test_a_ring_around_one_point_is_not_a_triangle():
    triangles = [(0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 1, 4), (1, 2, 5), (2, 0, 6)]
    edges = [edge for a, b, c in triangles for edge in ((a, b), (b, c), (c, a))]
    found = {frozenset(t) for t in triangles_of_edges(edges).tolist()}
    assert found == {frozenset(t) for t in triangles}  # without 0, 1, 2


def test_chains_are_walked_in_order():
    loop, chain = ordered_chains([(5, 6), (6, 7), (7, 5), (3, 1), (1, 2)])[::-1]
    assert chain.tolist() in ([2, 1, 3], [3, 1, 2])
    assert loop.tolist() in ([5, 6, 7], [5, 7, 6])


def test_lips_share_their_corners_and_brows_are_simple_outlines():
    topology = face_topology()
    corners = set(topology.upper_lip) & set(topology.lower_lip)
    assert corners == {61, 291, 78, 308}
    assert len(topology.upper_lip) == len(topology.lower_lip) == 22
    assert {0, 13} <= set(topology.upper_lip)
    assert {17, 14} <= set(topology.lower_lip)
    assert len(topology.right_brow) == len(topology.left_brow) == 10
    assert len(set(IBUG68)) == len(IBUG68) == 68


# --- images without a person ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(120, 160, 3), (97, 64, 3)])
def test_a_blank_image_has_no_face_and_no_matte(estimators: EstimatorSet, shape):
    frame = frame_of(np.full(shape, 90, np.uint8), 128)
    assert estimators.landmarks.faces(frame) == []
    assert estimators.matting.matte(frame).shape == frame.rgb.shape[:2]
    assert estimators.matting.matte(frame).mean() < 0.05


def test_square_padding_keeps_the_image_at_the_top_left():
    rgb = np.full((3, 5, 3), 7, np.uint8)
    square = pad_to_square(rgb)
    assert square.shape == (5, 5, 3)
    assert (square[:3] == 7).all()
    assert (square[3:] == 0).all()


def test_quiet_hides_native_chatter_but_not_what_led_to_an_error(capfd):
    with quiet():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError):
        chatter_and_fail()
    assert capfd.readouterr().err == "the reason\n"


def chatter_and_fail() -> None:
    with quiet():
        os.write(2, b"the reason\n")
        raise RuntimeError


def test_the_matte_is_one_piece_without_small_holes_and_follows_edges():
    rgb = np.full((120, 120, 3), 200, np.uint8)
    rgb[30:120, 40:80] = (90, 60, 40)
    matte = np.zeros((120, 120), np.float32)
    matte[31:120, 41:80] = 1  # one pixel off
    matte[60:64, 55:59] = 0  # a hole
    matte[5:12, 5:12] = 1  # somebody else, or noise
    cleaned = clean_matte(matte, rgb)
    wrong = (cleaned > 0.5) != (rgb[..., 0] == 90)
    assert not wrong[32:, 42:].any()
    assert wrong.sum() <= 4  # at a corner
    assert cleaned[5:12, 5:12].max() == 0


# --- a real person ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portrait(estimators: EstimatorSet, shared_dir):
    """Frame, face, matte and labels of the third frame of the test video, at 256 px."""
    video = shared_dir / "video" / "portrait_a.mp4"
    if not video.is_file():
        pytest.skip("the portrait video is not there")
    estimators.landmarks.reset()
    frames = [frame_of(rgb, 256, i) for i, rgb in enumerate(itertools.islice(iterate_frames(video), 3))]
    faces = [estimators.landmarks.faces(frame) for frame in frames]
    assert [len(found) for found in faces] == [1, 1, 1]
    frame, face = frames[2], faces[2][0]
    matte = estimators.matting.matte(frame)
    return frame, face, matte, estimators.parsing.parsing(frame, face, matte)


def test_landmarks_and_irises_of_a_person(estimators: EstimatorSet, portrait):
    frame, face, _, _ = portrait
    irises = estimators.iris.irises(frame, face)
    right_eye, left_eye = face.landmarks_px[36:42].mean(axis=0), face.landmarks_px[42:48].mean(axis=0)
    eye_distance = np.linalg.norm(left_eye - right_eye)
    assert right_eye[0] < left_eye[0]  # the person's right is on the image's left
    np.testing.assert_allclose(irises, [right_eye, left_eye], atol=0.2 * eye_distance)
    assert face.landmarks_px[8, 1] > face.landmarks_px[57, 1] > face.landmarks_px[33, 1] > right_eye[1]
    facing = face.confidence[[27, 30, 33, 39, 42, 51, 57, 66]]  # the middle of the face
    assert face.confidence[:17].max() < facing.min() == 1
    assert face.mesh_px.shape == (478, 3)


def test_points_on_the_far_side_are_less_confident(estimators: EstimatorSet, portrait):
    _, face, _, _ = portrait
    middle = face.mesh_px.mean(axis=0)
    turned = (face.mesh_px - middle) @ turn_about_y(np.radians(75)) + middle  # to the image's right
    frontal, hidden = (
        estimators.landmarks.confidence(face.mesh_px),
        estimators.landmarks.confidence(turned.astype(np.float32)),
    )
    far_eye, near_eye = [42, 43, 44, 45, 46, 47], [36, 37, 38, 39, 40, 41]
    assert turned[IBUG68[45], 2] > turned[IBUG68[36], 2]  # away from the camera
    assert hidden[far_eye].mean() < 0.6 * frontal[far_eye].mean()
    assert hidden[near_eye].mean() > 0.8 * frontal[near_eye].mean()
    assert hidden[[14, 15, 16]].max() < 0.1 < frontal[[14, 15, 16]].min()
    assert hidden.min() > 0


def turn_about_y(angle_rad: float) -> np.ndarray:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def test_parsing_of_a_person(portrait):
    frame, face, matte, labels = portrait
    height = frame.rgb.shape[0]
    rows, columns = np.indices(labels.shape)

    def mean_of(*names: Parsing) -> tuple[float, float]:
        mask = np.isin(labels, names)
        assert mask.mean() > 2e-4, names
        return rows[mask].mean() / height, columns[mask].mean() / height

    order = [
        mean_of(part) for part in (Parsing.HAIR, Parsing.NOSE, Parsing.MOUTH, Parsing.NECK, Parsing.CLOTH)
    ]
    assert [y for y, _ in order] == sorted(y for y, _ in order)
    for right, left in ((Parsing.R_EYE, Parsing.L_EYE), (Parsing.R_BROW, Parsing.L_BROW)):
        assert mean_of(right)[1] < mean_of(left)[1]
    assert mean_of(Parsing.R_EAR)[1] < mean_of(Parsing.NOSE)[1] < mean_of(Parsing.L_EAR)[1]
    assert mean_of(Parsing.U_LIP)[0] < mean_of(Parsing.L_LIP)[0]
    # Hair and shirt are darker than the grey wall and the skin; that is how they can be told from them here.
    lightness = frame.rgb.mean(axis=2)
    assert np.median(lightness[labels == Parsing.HAIR]) < 0.6 * np.median(lightness[labels == Parsing.NECK])
    assert (lightness[labels == Parsing.NECK] < 60).mean() < 0.05
    assert (lightness[labels == Parsing.CLOTH] > 120).mean() < 0.05
    # The person is that of the matte, but for the outermost pixels of the head.
    person, of_matte = labels != Parsing.BACKGROUND, (matte > 0.5).astype(np.uint8)
    window = np.ones((3, 3), np.uint8)
    assert not (person & (cv2.dilate(of_matte, window) == 0)).any()
    assert not (~person & (cv2.erode(of_matte, window) > 0)).any()
    assert (person != (of_matte > 0)).mean() < 0.002


def test_a_face_without_a_matte_is_background(estimators: EstimatorSet, portrait):
    frame, face, matte, labels = portrait
    assert not estimators.parsing.parsing(frame, face, np.zeros_like(matte)).any()
    one_ear = matte * (labels != Parsing.L_EAR)
    assert (estimators.parsing.parsing(frame, face, one_ear) == Parsing.R_EAR).any()
    everywhere = np.ones_like(matte)
    assert (estimators.parsing.parsing(frame, face, everywhere) > 0).mean() > 0.5


def test_normals_of_a_person(estimators: EstimatorSet, portrait):
    frame, face, _, labels = portrait
    normals = estimators.normals.normals(frame, face, (labels > 0).astype(np.uint8))
    known = np.abs(normals).max(axis=2) > 0
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-5)
    assert normals[known][:, 2].min() > 0

    def at(point: int) -> np.ndarray:
        x, y = face.mesh_px[point, :2].astype(int)
        return normals[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))

    right_cheek, left_cheek, under_lip, nose_root, forehead = (at(i) for i in (187, 411, 18, 5, 151))
    assert right_cheek[0] < -0.2  # x to the right
    assert left_cheek[0] > 0.2
    assert forehead[2] > 0.8  # z to the camera
    assert nose_root[2] > 0.6
    # y down: the underside of the nose looks down more than its bridge does.
    assert at(2)[1] > 0.2
    assert nose_root[1] < at(2)[1]
    assert np.isfinite(under_lip).all()
