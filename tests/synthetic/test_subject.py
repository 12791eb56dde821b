"""A synthetic subject: its files, determinism, and consistency of the annotations with the head model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.conventions import Parsing
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_labels, read_normals
from nha.data.tracking_file import read_tracking
from nha.data.video_io import iterate_frames, video_info
from nha.head.flame_files import read_head_folder
from nha.head.joint_limits import neck_angles
from nha.head.model import HeadModel
from nha.head.procedural import write_head_folder
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.render.camera import project
from nha.synthetic.motion import head_motion, sample_identity
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject

SIZE = (64, 96)
N_FRAMES = 4


@pytest.fixture(scope="module")
def head_folder(tmp_path_factory) -> Path:
    return write_head_folder(tmp_path_factory.mktemp("head") / "procedural")


def _settings(head_folder: Path, seed: int = 0) -> SyntheticSettings:
    return SyntheticSettings(seed=seed, frames=N_FRAMES, size=SIZE, head=str(head_folder), progress=False)


@pytest.fixture(scope="module")
def subject(tmp_path_factory, head_folder) -> Path:
    return write_subject(tmp_path_factory.mktemp("zero") / "subject", _settings(head_folder))


@pytest.fixture(scope="module")
def other(tmp_path_factory, head_folder) -> Path:
    return write_subject(tmp_path_factory.mktemp("one") / "subject", _settings(head_folder, seed=1))


@pytest.fixture(scope="module")
def frames(subject) -> list[dict]:
    folder = DatasetFolder(subject / "truth")
    return [
        {
            "parsing": read_labels(folder.paths(i).parsing),
            "seg": read_labels(folder.paths(i).segmentation),
            "normals": read_normals(folder.paths(i).normals),
            "keypoints": read_keypoints(folder.paths(i).keypoints),
            "mask": read_labels(subject / "truth" / "masks" / f"mask_{i:04d}.png"),
        }
        for i in folder.frame_ids()
    ]


def _video(folder: Path) -> np.ndarray:
    return np.stack(list(iterate_frames(folder / "video.mp4")))


def test_video_has_every_frame_at_the_asked_size(subject, frames):
    assert _video(subject).shape == (N_FRAMES, *SIZE, 3)
    assert video_info(subject / "video.mp4").fps == 25
    assert len(frames) == N_FRAMES
    assert all(
        frame[name].shape[:2] == SIZE for frame in frames for name in ("parsing", "seg", "normals", "mask")
    )


def test_same_seed_same_files(subject, head_folder, tmp_path):
    again = write_subject(tmp_path / "it's again", _settings(head_folder))
    files = sorted(path.relative_to(subject) for path in (subject / "truth").rglob("*.*") if path.is_file())
    assert files == sorted(
        path.relative_to(again) for path in (again / "truth").rglob("*.*") if path.is_file()
    )
    for name in files:
        if name.suffix == ".npz":  # archives contain the time of writing
            first, second = np.load(subject / name), np.load(again / name)
            assert all(np.array_equal(first[key], second[key]) for key in first.files)
        else:
            assert (subject / name).read_bytes() == (again / name).read_bytes()
    assert np.array_equal(_video(subject), _video(again))
    assert [path.name for path in again.glob(".*")] == [".manifest.jsonl"]


def test_another_seed_is_another_person(subject, other):
    looks = [json.loads((folder / "truth" / "subject.json").read_text()) for folder in (subject, other)]
    assert looks[0]["hair"] != looks[1]["hair"]
    assert looks[0]["skin_color"] != looks[1]["skin_color"]
    shapes = [read_tracking(folder / "truth").shape for folder in (subject, other)]
    assert np.linalg.norm(shapes[0] - shapes[1]) > 3
    assert np.abs(_video(subject)[0].astype(int) - _video(other)[0]).mean() > 15


def test_parameters_reproduce_the_vertices(subject, head_folder):
    truth = np.load(subject / "truth" / "vertices.npz")
    head = HeadModel(
        read_head_folder(head_folder),
        subdivisions=0,
        close_mouth=True,
        drop_lower_neck=False,
        blur_sigma=None,
    )
    tracking = read_tracking(subject / "truth")
    vertices = head(tracking.params_for(range(N_FRAMES))).numpy()
    assert np.array_equal(truth["faces"], head.faces.numpy())
    assert np.array_equal(truth["vertex_ids"], head.kept_vertices.numpy())
    np.testing.assert_allclose(truth["vertices"], vertices, atol=1e-6)


def test_landmarks_are_the_projected_ones(subject, frames, head_folder):
    head = HeadModel(read_head_folder(head_folder), subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    tracking = read_tracking(subject / "truth")
    ids = range(N_FRAMES)
    points = head.landmarks(head(tracking.params_for(ids)))
    pixels = project(points, tracking.camera_for(list(ids), SIZE)).numpy()[..., :2]
    for frame, expected in zip(frames, pixels, strict=True):
        np.testing.assert_allclose(frame["keypoints"].landmarks_px, expected[:68], atol=1e-3)
        found = (frame["keypoints"].iris_px >= 0).all(1)
        np.testing.assert_allclose(frame["keypoints"].iris_px[found], expected[68:][found], atol=1e-3)


def test_landmarks_lie_on_their_labels(frames):
    """In the frontal first frame; 3 x 3 pixels, as landmarks lie on outlines."""
    parsing, keypoints = frames[0]["parsing"], frames[0]["keypoints"]

    def labels_near(point) -> set[int]:
        column, row = (int(value) for value in point)
        return set(parsing[row - 1 : row + 2, column - 1 : column + 2].ravel().tolist())

    expected = {
        (18, 19, 20): Parsing.R_BROW,
        (23, 24, 25): Parsing.L_BROW,
        (30, 33): Parsing.NOSE,
        (37, 40): Parsing.R_EYE,
        (43, 46): Parsing.L_EYE,
        (51,): Parsing.U_LIP,
        (57,): Parsing.L_LIP,
    }
    for landmarks, label in expected.items():
        for landmark in landmarks:
            assert label in labels_near(keypoints.landmarks_px[landmark]), (landmark, label)
    # Mesh order: the person's right iris, on the left in the image, comes first.
    assert Parsing.R_EYE in labels_near(keypoints.iris_px[0])
    assert Parsing.L_EYE in labels_near(keypoints.iris_px[1])
    assert keypoints.iris_px[0, 0] < keypoints.iris_px[1, 0]


def test_visible_and_hidden_landmarks(frames):
    confidences = np.stack([frame["keypoints"].confidence for frame in frames])
    np.testing.assert_allclose(np.unique(confidences), [0.3, 1.0])
    assert (confidences[0, 27:68] == 1).all()


def test_labels_agree_with_segmentation_and_mask(frames):
    labels = set()
    for frame in frames:
        parsing = frame["parsing"]
        head = (parsing != Parsing.BACKGROUND) & (parsing != Parsing.CLOTH)
        assert np.array_equal(frame["seg"], np.where(head, 101, 0))
        assert (frame["mask"][parsing != Parsing.BACKGROUND] > 0).mean() > 0.99
        assert (frame["mask"][parsing == Parsing.BACKGROUND] < 255).mean() > 0.99
        labels |= set(np.unique(parsing).tolist())
    everywhere = {0, 1, 2, 3, 4, 5, 10, 12, 13, 14, 16, 17}
    assert everywhere <= labels <= everywhere | {7, 8, 11}


def test_normals_are_unit_and_face_the_camera(frames):
    for frame in frames:
        parsing, normals = frame["parsing"], frame["normals"]
        bare = np.isin(
            parsing, [Parsing.BACKGROUND, Parsing.CLOTH, Parsing.L_EYE, Parsing.R_EYE, Parsing.MOUTH]
        )
        assert (normals[bare] == 0).all()
        length = np.linalg.norm(normals[~bare], axis=-1)
        np.testing.assert_allclose(length, 1, atol=0.02)
        assert (normals[~bare][:, 2] > -0.05).mean() > 0.97


def test_normals_directions(frames):
    """x right, y down, z to the camera: the tip of the nose faces the camera, the cheeks face sideways."""
    normals, keypoints = frames[0]["normals"], frames[0]["keypoints"]
    points = keypoints.landmarks_px

    def normal_at(point) -> np.ndarray:
        return normals[int(point[1]), int(point[0])]

    assert normal_at(points[30])[2] > 0.5
    assert normal_at(0.5 * (points[36] + points[3]))[0] < -0.2  # the left of the image
    assert normal_at(0.5 * (points[45] + points[13]))[0] > 0.2
    assert normal_at(0.5 * (points[8] + points[57]))[1] > normal_at(points[27])[1] - 0.5


def test_first_frame_is_frontal_and_neutral(subject, head_folder):
    tracking = read_tracking(subject / "truth")
    neutral = HeadModel(read_head_folder(head_folder), subdivisions=0, blur_sigma=None).neutral_params()
    np.testing.assert_allclose(tracking.rotation[0], [0, np.pi, 0], atol=0.02)
    for name, expected in (("neck_pose", neutral.neck), ("jaw_pose", neutral.jaw)):
        np.testing.assert_allclose(getattr(tracking, name)[0], expected[0].numpy(), atol=0.02)
    np.testing.assert_allclose(tracking.expr[0], 0, atol=0.02)


def test_motion_is_smooth_and_reaches_both_profiles(head_folder):
    assets = read_head_folder(head_folder)
    params = head_motion(assets, sample_identity(assets, 3), 60, 3, np.zeros(3))
    whole = rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck))
    gaze = whole @ torch.tensor([0.0, 0.0, 1.0])
    yaw = torch.rad2deg(torch.atan2(gaze[:, 0], -gaze[:, 2]))
    assert yaw.max() > 55
    assert yaw.min() < -55
    step = torch.rad2deg(torch.acos((whole[1:] * whole[:-1]).sum((1, 2)).sub(1).div(2).clamp(-1, 1)))
    assert step.max() < 15
    assert (params.rotation[1:] - params.rotation[:-1]).abs().max() < 0.3  # no jump at a half turn
    assert params.expr.abs().max() > 1


@pytest.mark.parametrize(
    "wrong",
    [{"size": (63, 64)}, {"size": (8, 8)}, {"frames": 0}, {"fps": 0.0}, {"seed": -1}, {"supersampling": 0}],
)
def test_wrong_settings_are_refused(tmp_path, wrong):
    with pytest.raises(UserError):
        write_subject(tmp_path / "out", SyntheticSettings(**wrong))
    assert not (tmp_path / "out").exists()


def test_a_foreign_truth_folder_is_not_replaced(tmp_path, head_folder):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="truth"):
        write_subject(tmp_path, _settings(head_folder))
    assert [path.name for path in tmp_path.rglob("*.*")] == ["thesis.txt"]


def test_a_dataset_can_be_built_from_it(subject, frames, tmp_path):
    options = PreprocessOptions(
        video=subject / "video.mp4", out_path=tmp_path / "data", estimators="truth", scale=max(SIZE)
    )
    info = read_info(build_dataset(options))
    assert info.n_frames == N_FRAMES
    assert not info.frames_without_face
    dataset = DatasetFolder(tmp_path / "data")
    for frame_id, frame in enumerate(frames):
        paths = dataset.paths(frame_id)
        assert not paths.missing()
        assert np.array_equal(read_labels(paths.parsing), frame["parsing"])
        assert np.array_equal(read_labels(paths.segmentation), frame["seg"])
        np.testing.assert_allclose(
            read_keypoints(paths.keypoints).landmarks_px, frame["keypoints"].landmarks_px, atol=1e-3
        )


def test_script(run_script, tmp_path, head_folder):
    arguments = ["--frames", 1, "--size", 64, "--head", head_folder, "--supersampling", 1]
    result = run_script("make_synthetic_video.py", "--out", tmp_path / "a b", *arguments)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a b" / "video.mp4").is_file()
    assert (tmp_path / "a b" / "truth" / "tracked_flame_params.npz").is_file()
