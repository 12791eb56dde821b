"""Tracking files of other programs: each is made by that program's own formula, imported, and compared."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, Keypoints, write_keypoints, write_labels, write_rgb
from nha.data.tracking_file import TrackingResult, read_tracking, write_tracking
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.tracking.exchange.arkit import BLENDSHAPES, arkit_coefficients
from nha.tracking.exchange.convert import import_tracking
from nha.tracking.exchange.export import export_tracking
from nha.tracking.exchange.placement import root_joint
from nha.tracking.exchange.settings import TrackingExportSettings

SIZE = (48, 64)
FRAMES = (3, 4, 6, 9, 10)
FOCAL = 2.2


@dataclass(frozen=True)
class Scene:
    """A dataset with landmarks, the tracking that made them, and the heads before they are placed.

    unplaced: [F, 68, 3] landmarks in FLAME's own coordinates, with neck, jaw and eyes posed but the root at rest.
    """

    dataset: Path
    tracking: TrackingResult
    unplaced: np.ndarray
    root: np.ndarray  # [F, 3] rest positions of the root joint
    landmarks_px: np.ndarray  # [F, 68, 2]


@pytest.fixture(scope="module")
def model(assets) -> HeadModel:
    return HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)


@pytest.fixture(scope="module")
def scene(model, tmp_path_factory) -> Scene:
    rng = np.random.default_rng(0)
    n = len(FRAMES)
    rest = model.neutral_params(n)
    params = rest.replace(
        shape=torch.from_numpy(np.tile(rng.normal(size=300), (n, 1)).astype(np.float32)),
        expr=torch.from_numpy(rng.normal(size=(n, 100)).astype(np.float32)),
        rotation=torch.from_numpy(np.float32([0, np.pi, 0]) + rng.normal(0, 0.3, (n, 3)).astype(np.float32)),
        translation=torch.from_numpy(
            np.float32([0.02, -0.1, 0.9]) + rng.normal(0, 0.02, (n, 3)).astype(np.float32)
        ),
        neck=rest.neck + 0.1 * torch.randn(n, 3, generator=torch.Generator().manual_seed(1)),
        jaw=rest.jaw + torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0.6, 0, 0], [0.2, 0, 0], [0.4, 0, 0]]),
        eyes=0.2
        * torch.randn(n, 6, generator=torch.Generator().manual_seed(2))
        * torch.tensor([1, 1, 0, 1, 1, 0]),
    )
    tracking = TrackingResult(
        frame=np.array(FRAMES),
        rotation=params.rotation.numpy(),
        translation=params.translation.numpy(),
        neck_pose=params.neck.numpy(),
        jaw_pose=params.jaw.numpy(),
        eyes_pose=params.eyes.numpy(),
        shape=params.shape[0].numpy(),
        expr=params.expr.numpy(),
        texture=np.zeros(0, np.float32),
        light=np.zeros((n, 9, 3), np.float32),
        K=np.float32([FOCAL, 0.5, 0.5]),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=SIZE,
        view=tuple(map(str, FRAMES)),
        n_processed=n,
    )
    ids = torch.arange(68)
    landmarks = project(model.plain_landmarks(params, ids), tracking.camera_for(FRAMES, SIZE))[
        ..., :2
    ].numpy()
    folder = DatasetFolder(tmp_path_factory.mktemp("exchange") / "dataset")
    for i, points in zip(FRAMES, landmarks, strict=True):
        paths, ones = folder.paths(i), np.ones(68, np.float32)
        write_rgb(paths.image, rng.integers(0, 256, (*SIZE, 3), np.uint8))
        write_labels(paths.segmentation, np.full(SIZE, 101, np.uint8))
        write_keypoints(paths.keypoints, Keypoints(points, 0 * ones, ones, np.float32([[-1, -1], [-1, -1]])))
    root = root_joint(model, params.shape, params.expr).numpy()
    still = params.replace(rotation=torch.zeros(n, 3), translation=torch.zeros(n, 3))
    unplaced = model.plain_landmarks(still, ids).numpy() + root[:, None]
    return Scene(folder.root, tracking, unplaced, root, landmarks)


def assert_same(imported: Path, scene: Scene, model: HeadModel) -> None:
    """The imported file shows the same head at the same place in the image."""
    found, wanted = read_tracking(imported), scene.tracking
    assert found.frame.tolist() == list(FRAMES)
    assert found.origin.head["name"] == "procedural"
    for key in ("translation", "shape", "expr", "neck_pose", "jaw_pose", "eyes_pose", "K"):
        np.testing.assert_allclose(getattr(found, key), getattr(wanted, key), atol=2e-4, err_msg=key)
    turn = Rotation.from_rotvec(found.rotation).inv() * Rotation.from_rotvec(wanted.rotation)
    assert np.degrees(turn.magnitude()).max() < 0.01
    params, camera = found.params_for(FRAMES), found.camera_for(FRAMES, SIZE)
    pixels = project(model.plain_landmarks(params, torch.arange(68)), camera)[..., :2].numpy()
    np.testing.assert_allclose(pixels, scene.landmarks_px, atol=0.02)


def joint_angles(tracking: TrackingResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    params = tracking.params_for(tracking.frame)
    return neck_angles(params.neck).numpy(), jaw_angles(params.jaw).numpy(), eyes_angles(params.eyes).numpy()


def opengl_pixels(points: np.ndarray) -> np.ndarray:
    """Pixels of points [F, L, 3] in front of an OpenGL camera: x right, y up, looking along -z."""
    focal = FOCAL * max(SIZE)
    u = SIZE[1] / 2 + focal * points[..., 0] / -points[..., 2]
    v = SIZE[0] / 2 - focal * points[..., 1] / -points[..., 2]
    return np.stack([u, v], -1)


def opencv_pixels(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    pixels = points @ matrix.T
    return pixels[..., :2] / pixels[..., 2:]


def opencv_pose(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [F, 3, 3] and translation [F, 3] of FLAME's coordinates in an OpenCV camera (x right, y down)."""
    axes = np.diag([-1.0, -1.0, 1.0])
    rotation = axes @ Rotation.from_rotvec(scene.tracking.rotation).as_matrix()
    translation = scene.tracking.translation @ axes - np.einsum("fij,fj->fi", rotation, scene.root)
    return rotation, translation


OPENCV_MATRIX = np.array([[FOCAL * 64, 0, 32], [0, FOCAL * 64, 24], [0, 0, 1.0]])


@pytest.mark.parametrize("first_id", [0, 3], ids=["numbers from 0", "numbers of the dataset"])
def test_vhap(scene, model, tmp_path, first_id):
    """Camera at (0, 0, 1), looking along -z; p = R (v - J) + J + t."""
    axes = np.diag([-1.0, 1.0, -1.0])
    rotation = axes @ Rotation.from_rotvec(scene.tracking.rotation).as_matrix()
    translation = scene.tracking.translation @ axes - scene.root + np.array([0, 0, 1.0])
    placed = np.einsum("fij,flj->fli", rotation, scene.unplaced - scene.root[:, None])
    placed += (scene.root + translation)[:, None]
    np.testing.assert_allclose(opengl_pixels(placed - [0, 0, 1]), scene.landmarks_px, atol=0.01)
    neck, jaw, eyes = joint_angles(scene.tracking)
    path = tmp_path / "tracked_flame_params_30.npz"
    np.savez(
        path,
        rotation=Rotation.from_matrix(rotation).as_rotvec(), translation=translation,
        neck_pose=neck, jaw_pose=jaw, eyes_pose=eyes, shape=scene.tracking.shape, expr=scene.tracking.expr,
        timestep_id=np.array([f"{i - 3 + first_id:05d}" for i in FRAMES]), n_processed_frames=np.array(4),
        focal_length=np.array([FOCAL]), image_size=np.array(SIZE), lights=np.zeros((9, 3)),
    )  # fmt: skip
    result = import_tracking(path, tmp_path / "out", dataset=scene.dataset, head="procedural")
    assert (result.program, result.convention) == ("VHAP", "VHAP")
    assert_same(result.path, scene, model)
    with pytest.raises(UserError, match="holds a tracking already"):
        import_tracking(path, tmp_path / "out", dataset=scene.dataset, head="procedural")
    with pytest.raises(UserError, match="is a tracking file of VHAP: convert it with `nha import-tracking"):
        read_tracking(path)


def test_metrical_tracker(scene, model, tmp_path):
    """The camera moves, p = R v + t in OpenCV's axes; rotations are stored as two rows."""
    rotation, translation = opencv_pose(scene)
    placed = np.einsum("fij,flj->fli", rotation, scene.unplaced) + translation[:, None]
    np.testing.assert_allclose(opencv_pixels(placed, OPENCV_MATRIX), scene.landmarks_px, atol=0.01)
    flat = replace(scene.tracking, neck_pose=np.zeros_like(scene.tracking.neck_pose))
    _, jaw, eyes = joint_angles(flat)

    def rows(vector: np.ndarray) -> np.ndarray:
        return Rotation.from_rotvec(vector).as_matrix()[:2].reshape(1, 6).astype(np.float32)

    for row, frame_id in enumerate(FRAMES):
        frame = {
            "flame": {
                "exp": scene.tracking.expr[[row]], "shape": scene.tracking.shape[None],
                "eyes": np.concatenate([rows(eyes[row, :3]), rows(eyes[row, 3:])], 1), "jaw": rows(jaw[row]),
                "eyelids": np.full((1, 2), 0.4, np.float32), "tex": np.zeros((1, 140), np.float32),
            },
            "camera": {"R": np.zeros((1, 6), np.float32)},
            "opencv": {"R": rotation[[row]], "t": translation[[row]], "K": OPENCV_MATRIX[None]},
            "img_size": np.array(SIZE), "frame_id": f"{frame_id:05d}", "global_step": 7,
        }  # fmt: skip
        (tmp_path / "checkpoint").mkdir(exist_ok=True)
        torch.save(frame, tmp_path / "checkpoint" / f"{frame_id:05d}.frame")
    result = import_tracking(tmp_path, tmp_path / "out", head="procedural")
    assert result.program == "metrical-tracker"
    found = read_tracking(result.path)
    for key in ("shape", "expr", "jaw_pose", "eyes_pose", "translation"):
        np.testing.assert_allclose(getattr(found, key), getattr(scene.tracking, key), atol=1e-3, err_msg=key)
    np.testing.assert_allclose(found.K, scene.tracking.K, atol=1e-5)
    with pytest.raises(UserError, match="is a file of metrical-tracker; convert it"):
        read_tracking(tmp_path / "checkpoint" / "00003.frame")


def test_flame_head_tracker(scene, model, tmp_path):
    """`cam` is the pose of an OpenGL camera as yaw, pitch, roll and position; the head does not move."""
    axes = np.diag([-1.0, 1.0, -1.0])
    view = axes @ Rotation.from_rotvec(scene.tracking.rotation).as_matrix()  # world (FLAME) to camera
    offset = scene.tracking.translation @ axes - np.einsum("fij,fj->fi", view, scene.root)
    placed = np.einsum("fij,flj->fli", view, scene.unplaced) + offset[:, None]
    np.testing.assert_allclose(opengl_pixels(placed), scene.landmarks_px, atol=0.01)
    position = -np.einsum("fji,fj->fi", view, offset)
    roll, yaw, pitch = Rotation.from_matrix(view.transpose(0, 2, 1)).as_euler("ZYX").T
    neck, jaw, eyes = joint_angles(scene.tracking)
    square = 64  # the program's images are square, those of the dataset are not
    for row, frame_id in enumerate(FRAMES):
        np.savez(
            tmp_path / f"{frame_id}.npz",
            shape=scene.tracking.shape[None], exp=scene.tracking.expr[[row]], head_pose=np.zeros((1, 3)),
            jaw_pose=jaw[[row]], neck_pose=neck[[row]], eye_pose=eyes[[row]],
            cam=np.concatenate([[yaw[row], pitch[row], roll[row]], position[row]])[None],
            fov=np.degrees(2 * np.arctan(0.5 / FOCAL)) * np.ones(1), img=np.zeros((1, square, square, 3), np.uint8),
        )  # fmt: skip
    result = import_tracking(tmp_path, tmp_path / "out", dataset=scene.dataset, head="procedural")
    assert result.convention == "flame-head-tracker"
    assert_same(result.path, scene, model)


def test_nersemble(scene, model, tmp_path):
    """World coordinates with a scale, and an OpenCV camera in a file of its own."""
    rotation, translation = opencv_pose(scene)
    camera = np.eye(4)
    camera[:3, :3] = Rotation.from_euler("xyz", [0.3, 2.8, -0.2]).as_matrix()
    camera[:3, 3] = [0.1, -0.2, 1.5]
    scale = 1.3
    matrices = np.einsum("ji,fjk->fik", camera[:3, :3], rotation)
    moved = (translation * scale - camera[:3, 3]) @ camera[:3, :3]
    placed = scale * np.einsum("fij,flj->fli", matrices, scene.unplaced) + moved[:, None]
    in_camera = placed @ camera[:3, :3].T + camera[:3, 3]
    np.testing.assert_allclose(opencv_pixels(in_camera, OPENCV_MATRIX), scene.landmarks_px, atol=0.01)
    neck, jaw, eyes = joint_angles(scene.tracking)
    np.savez(
        tmp_path / "flame.npz",
        shape=scene.tracking.shape[None], expression=scene.tracking.expr, rotation=np.zeros((5, 3)),
        rotation_matrices=matrices, translation=moved, jaw=jaw, neck=neck, eyes=eyes,
        frames=np.array(FRAMES), scale=np.array([[scale]]),
    )  # fmt: skip
    cameras = tmp_path / "camera_params.json"
    calibration = {"world_2_cam": {"222": camera.tolist()}, "intrinsics": {"222": OPENCV_MATRIX.tolist()}}
    cameras.write_text(json.dumps(calibration))
    result = import_tracking(
        tmp_path / "flame.npz", tmp_path / "out", dataset=scene.dataset, head="procedural", cameras=cameras
    )
    assert_same(result.path, scene, model)
    with pytest.raises(UserError, match="has no camera"):
        import_tracking(tmp_path / "flame.npz", tmp_path / "b", dataset=scene.dataset, head="procedural")


@pytest.mark.parametrize("to", ["vhap", "gaussianavatars", "flame-npz"])
def test_an_exported_tracking_is_imported_again(scene, model, tmp_path, to):
    write_tracking(tmp_path / "t.npz", scene.tracking)
    export_tracking(
        TrackingExportSettings(
            tracking=tmp_path / "t.npz", to=to, out=tmp_path / to, dataset=scene.dataset, head="procedural"
        )
    )
    result = import_tracking(tmp_path / to, tmp_path / "back", dataset=scene.dataset, head="procedural")
    assert_same(result.path, scene, model)
    if to == "gaussianavatars":
        images = sorted(path.name for path in (tmp_path / to / "images").iterdir())
        assert images == [f"{i:05d}_00.png" for i in range(5)]
        train = json.loads((tmp_path / to / "transforms_train.json").read_text())
        assert [frame["timestep_id"] for frame in train["frames"]] == ["00003", "00004", "00006", "00009"]


def test_arkit_coefficients_follow_jaw_and_gaze(scene, model, tmp_path):
    write_tracking(tmp_path / "t.npz", scene.tracking)
    (path,) = export_tracking(
        TrackingExportSettings(
            tracking=tmp_path / "t.npz", to="arkit-csv", out=tmp_path / "out", head="procedural"
        )
    )
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(BLENDSHAPES) == 52
    assert len(set(BLENDSHAPES)) == 52
    assert list(rows[0])[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert [row["Timecode"] for row in rows][:2] == ["00:00:00:03", "00:00:00:04"]
    opened = [float(row["JawOpen"]) for row in rows]
    assert np.argsort(opened).tolist() == np.argsort(scene.tracking.jaw_pose[:, 0]).tolist()
    rest = model.neutral_params(1)
    still = replace(
        scene.tracking, frame=np.array([0]), expr=np.zeros((1, 100), np.float32),
        rotation=np.float32([[0, np.pi, 0]]), translation=scene.tracking.translation[:1],
        neck_pose=rest.neck.numpy(), jaw_pose=rest.jaw.numpy(), eyes_pose=np.float32([[0, 0.3, 0, 0, 0.3, 0]]),
        light=scene.tracking.light[:1], view=("0",),
    )  # fmt: skip
    values = {name: float(value[0]) for name, value in arkit_coefficients(still, model).items()}
    looks = {name for name, value in values.items() if abs(value) > 1e-3}
    assert looks == {"EyeLookOutLeft", "EyeLookInRight", "LeftEyeYaw", "RightEyeYaw"}


def test_files_of_other_programs_are_named(tmp_path):
    np.savez(tmp_path / "deca.npz", shapecode=np.zeros(100), expcode=np.zeros(50), posecode=np.zeros(6))
    np.savez(tmp_path / "other.npz", alpha=np.zeros(1), beta=np.zeros(1))
    for name, message in (
        ("deca.npz", "is of DECA or EMOCA: it fits single images"),
        ("other.npz", "no tracking file of a known program .*; its entries are alpha, beta"),
        ("nothing.npz", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            import_tracking(tmp_path / name, tmp_path / "out", head="procedural")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no tracking file of a known program"):
        import_tracking(tmp_path / "empty", tmp_path / "out", head="procedural")


def test_a_dataset_of_another_video_is_refused(scene, model, tmp_path):
    write_tracking(
        tmp_path / "t.npz", replace(scene.tracking, rotation=scene.tracking.rotation * np.float32(0.8))
    )
    export_tracking(
        TrackingExportSettings(tracking=tmp_path / "t.npz", to="vhap", out=tmp_path / "v", head="procedural")
    )
    with pytest.raises(UserError, match="does not fit .*: its landmarks are off by"):
        import_tracking(tmp_path / "v", tmp_path / "out", dataset=scene.dataset, head="procedural")
    assert not (tmp_path / "out").exists()


def test_the_case_from_outside_is_recognised(shared_dir, tmp_path, caplog):
    """VHAP's names, but values in the published conventions: seen by the jaws, which would be bent upwards."""
    result = import_tracking(shared_dir / "cases" / "vhap.npz", tmp_path / "out", head="procedural")
    assert result.convention == "the conventions of neural head avatars"
    assert len(read_tracking(result.path)) == 40
    assert "clipped" not in caplog.text
