"""Export as a script and from Python; OBJ, PLY and head parameters are read back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import nha
from nha.avatar.open import load_avatar, save_avatar
from nha.core.config import parse_settings
from nha.core.errors import UserError
from nha.data.dataset_folder import read_rgb
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import read_tracking, write_tracking
from nha.export.poses import frame_params, pose_avatar
from nha.export.run import export_avatar
from nha.export.settings import ExportSettings
from nha.export.textures import sample_texture
from tests.export.conftest import FRAMES, make_avatar
from tests.export.glb_twin import GlbTwin

OTHER_HEAD = TrackingOrigin({"release": "FLAME 2023", "fingerprint": "0123456789abcdef"})


@dataclasses.dataclass(frozen=True)
class Exported:
    """Paths of the input and the output, and the text that the script printed."""

    ckpt: Path
    tracking: Path
    out: Path
    printed: str


@pytest.fixture(scope="module")
def exported(head, assets, tracking, run_script, tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp('a folder\'s "name"')
    ckpt, tracked, out = folder / "avatar.ckpt", folder / "tracked_flame_params.npz", folder / "out"
    save_avatar(ckpt, make_avatar(head, 1e-3), assets, {"head": "procedural"})
    write_tracking(tracked, tracking)
    done = run_script(
        "export_avatar.py", "--ckpt", ckpt, "--tracking", tracked, "--out", out, "--frames", 2, 5,
        "--texture_size", 64, "--views", 2, "--morphs", 5, "--report", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Exported(ckpt, tracked, out, done.stdout)


@pytest.fixture
def avatar(exported):
    return load_avatar(exported.ckpt).requires_grad_(False)


def settings_for(exported: Exported, out: Path, *options: str) -> ExportSettings:
    needed = ["--ckpt", str(exported.ckpt), "--out", str(out), "--device", "cpu", "--texture_size", "16"]
    return parse_settings(ExportSettings, [*needed, *options], description="d")


def read_obj(path: Path) -> tuple[dict[str, np.ndarray], list[list[list[int]]], list[str]]:
    """Coordinates by keyword; corners [F][3][3] of each face as in the file; the material of each face."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    corners, materials, current = [], [], ""
    for line in path.read_text("utf-8").splitlines():
        keyword, *words = line.split()
        if keyword in rows:
            rows[keyword].append([float(word) for word in words])
        elif keyword == "usemtl":
            current = words[0]
        elif keyword == "f":
            corners.append([[int(number) for number in word.split("/")] for word in words])
            materials.append(current)
    return {name: np.array(values) for name, values in rows.items()}, corners, materials


@pytest.mark.parametrize("frame", [2, 5])
def test_obj_is_the_posed_surface_with_the_heads_own_faces(exported, avatar, frame):
    rows, corners, materials = read_obj(exported.out / f"frame_{frame:04d}.obj")
    surface = pose_avatar(avatar, read_tracking(exported.tracking), frame).surface
    head = avatar.head
    assert np.abs(rows["v"] - surface.vertices[0].numpy()).max() < 1e-6
    assert np.abs(rows["vt"] - head.uvs.numpy()).max() < 1e-6
    order = head.face_uvmap.argsort(stable=True)  # the file has the head's faces, then the mouth's
    written = np.array(corners)
    assert written.min() == 1  # an OBJ counts from 1
    assert np.array_equal(written[..., 0] - 1, head.faces[order].numpy())
    assert np.array_equal(written[..., 1] - 1, head.uv_faces[order].numpy())
    assert np.array_equal(written[..., 2], written[..., 0])
    assert materials == [("head", "mouth")[i] for i in head.face_uvmap[order]]
    faces = head.faces.numpy()
    a, b, c = (rows["v"][faces[:, k]] for k in range(3))
    normals = np.zeros_like(rows["v"])
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(b - a, c - a))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.abs(rows["vn"] - normals).max() < 1e-3  # positions have seven digits


def test_writing_an_obj_leaves_the_models_faces_alone(exported, tmp_path):
    """A known fault of the published code: it added 1 to its own faces."""
    files = []
    for name in ("first", "second"):
        settings = settings_for(
            exported, tmp_path / name, "--formats", "obj", "--tracking", str(exported.tracking)
        )
        export_avatar(dataclasses.replace(settings, frames=(0, 1), views=1))
        files.append([(tmp_path / name / f"frame_000{i}.obj").read_text("utf-8") for i in (0, 1)])
    assert files[0] == files[1]
    faces = [[line for line in text.splitlines() if line[:2] == "f "] for text in files[0]]
    assert faces[0] == faces[1]


def test_materials_name_existing_images(exported):
    text = (exported.out / "frame_0005.mtl").read_text("utf-8")
    assert "mtllib frame_0005.mtl" in (exported.out / "frame_0005.obj").read_text("utf-8")
    images = {line.split()[1] for line in text.splitlines() if line.startswith("map_Kd")}
    assert images == {"frame_0005_head.png", "frame_0005_mouth.png"}
    assert [read_rgb(exported.out / name).shape for name in sorted(images)] == [(64, 64, 3), (16, 16, 3)]


def test_ply_has_the_surface_and_the_textures_colours(exported, avatar):
    data = (exported.out / "frame_0005.ply").read_bytes()
    header, body = data.split(b"end_header\n", 1)
    lines = header.decode("utf-8").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    types = {"float": "<f4", "uchar": "u1"}
    properties = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
    record = np.dtype([(name, types[kind]) for kind, name in properties])
    head = avatar.head
    assert f"element vertex {head.n_vertices}" in lines
    assert f"element face {len(head.faces)}" in lines
    rows = np.frombuffer(body, record, head.n_vertices)
    surface = pose_avatar(avatar, read_tracking(exported.tracking), 5).surface
    points = np.stack([rows["x"], rows["y"], rows["z"]], 1)
    assert np.array_equal(points, surface.vertices[0].numpy())
    faces = np.frombuffer(body, np.dtype([("n", "u1"), ("ids", "<i4", (3,))]), offset=rows.nbytes)
    assert (faces["n"] == 3).all()
    assert np.array_equal(faces["ids"], head.faces.numpy())
    # colours, at a vertex of the head's map that has only one UV
    texture = read_rgb(exported.out / "frame_0005_head.png")
    corner = int((head.face_uvmap == 0).nonzero()[100])
    expected = 255 * sample_texture(texture, head.uvs[head.uv_faces[corner]])
    colours = np.stack([rows["red"], rows["green"], rows["blue"]], 1)[head.faces[corner].numpy()]
    assert np.abs(colours - expected.numpy()).max() <= 0.51


def test_parameters_pose_a_flame_layer_as_the_avatars_head(exported, avatar):
    """Compared with a FLAME layer in numpy and double precision, with the file's names and angles."""
    p = np.load(exported.out / "head_parameters.npz")
    assert p["frame"].tolist() == list(FRAMES)
    head = avatar.head
    tables = {
        name: getattr(head, name).double().numpy()
        for name in ("template", "directions", "pose_directions", "joint_regressor", "skinning_weights")
    }
    expected = avatar.surface(frame_params(avatar, read_tracking(exported.tracking), FRAMES)).plain_vertices
    for k in range(len(FRAMES)):
        shaped = tables["template"] + tables["directions"] @ np.concatenate([p["betas"], p["expression"][k]])
        joints = tables["joint_regressor"] @ shaped
        names = ("global_orient", "neck_pose", "jaw_pose", "leye_pose", "reye_pose")
        turns = [Rotation.from_rotvec(p[name][k]).as_matrix() for name in names]
        posed = shaped + tables["pose_directions"] @ (np.stack(turns[1:]) - np.eye(3)).ravel()
        maps: list[np.ndarray] = []
        for j, parent in enumerate((-1, 0, 1, 1, 1)):
            own = np.eye(4)
            own[:3, :3] = turns[j]
            own[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
            maps.append(own if parent < 0 else maps[parent] @ own)
        result = np.zeros_like(posed)
        for j in range(5):
            moved = (posed - joints[j]) @ maps[j][:3, :3].T + maps[j][:3, 3]
            result += tables["skinning_weights"][:, j : j + 1] * moved
        result = (result + p["transl"][k])[head.kept_vertices.numpy()]
        assert np.abs(result - expected[k].numpy()).max() < 5e-6
        assert np.allclose(p["root_position"][k] - p["transl"][k], joints[0], atol=1e-6)
    text = json.loads((exported.out / "head_parameters.json").read_text("utf-8"))
    assert set(text["meaning"]) == set(p.files)
    for name in p.files:
        assert np.allclose(text[name], p[name], atol=1e-6)


def test_the_summary_lists_the_files_and_their_accuracy(exported):
    summary = json.loads((exported.out / "export.json").read_text("utf-8"))
    existing = {path.name for path in exported.out.iterdir()}
    assert existing == {".manifest.jsonl", *summary["files_bytes"], "export.json"}
    assert all((exported.out / name).stat().st_size == size for name, size in summary["files_bytes"].items())
    twin = GlbTwin(exported.out / "avatar.glb")
    assert summary["glb"]["morph_targets"] == twin.mesh.extras["targetNames"]
    *expressions, blink = [name for name in summary["glb"]["morph_targets"] if "corrective" not in name]
    assert (len(expressions), blink) == (5, "blink")
    facts = twin.gltf.asset.extras
    assert "Apache" in facts["licence"]
    assert facts["units"].startswith("metres")
    assert "nha export" in facts["source"]
    assert (facts["frames_per_second"], facts["frames"]) == (25.0, 6)
    assert twin.gltf.asset.copyright is None
    rig, images = summary["report"]["rig"], summary["report"]["images"]
    assert rig["bind_pose"]["max_mm"] < 0.01
    assert 0.05 < rig["tracked_frames"]["max_mm"] <= rig["tracked_frames_by_hand"]["max_mm"]
    assert 10 < images["texture_and_rig"]["covered_psnr"] < 60
    assert f"rig, tracked_frames: mean_mm {rig['tracked_frames']['mean_mm']:g}" in exported.printed
    assert f"psnr {images['texture_only']['psnr']:g}" in exported.printed


def test_without_a_tracking_file_the_neutral_template_is_written(exported, avatar, tmp_path):
    written, summary = export_avatar(settings_for(exported, tmp_path, "--formats", "obj", "glb", "params"))
    assert summary["poses"] == ["neutral"]
    assert {path.name for path in written} >= {"neutral.obj", "avatar.glb", "head_parameters.npz"}
    rows, *_ = read_obj(tmp_path / "neutral.obj")
    neutral = pose_avatar(avatar, None, None).surface
    assert np.abs(rows["v"] - neutral.vertices[0].numpy()).max() < 1e-6
    nose = avatar.head.landmarks(neutral.vertices)[0, 30]
    assert nose[2] > neutral.vertices[0, :, 2].mean() + 0.05  # looks along +z
    assert not GlbTwin(tmp_path / "avatar.glb").gltf.animations


def test_the_tracking_file_of_the_training_is_found(exported, head, assets, tmp_path):
    ckpt = tmp_path / "avatar.ckpt"
    hyper = {"head": "procedural", "tracking_results_path": str(exported.tracking)}
    save_avatar(ckpt, make_avatar(head, 0.0), assets, hyper)
    settings = dataclasses.replace(settings_for(exported, tmp_path / "out"), ckpt=ckpt, formats=("params",))
    export_avatar(settings)
    assert np.load(tmp_path / "out" / "head_parameters.npz")["frame"].tolist() == list(FRAMES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "3"], "needs a tracking file"),
        (["--frames", "77", "--tracking", "TRACKED"], "no frame 77"),
        (["--bind_frame", "77", "--tracking", "TRACKED"], "no frame 77"),
        (["--tracking", "nowhere"], "no tracking file at 'nowhere'"),
        (["--texture_size", "0"], "texture_size"),
        (["--morphs", "-1"], "morphs"),
        (["--tracking", "OTHER"], "other.npz' was tracked with the head model 'FLAME 2023'"),
    ],
)
def test_errors_are_raised_before_anything_is_written(options, message, exported, tracking, tmp_path):
    other = tmp_path / "other.npz"
    write_tracking(other, dataclasses.replace(tracking, origin=OTHER_HEAD))
    paths = {"TRACKED": str(exported.tracking), "OTHER": str(other)}
    with pytest.raises(UserError, match=message) as error:
        export_avatar(settings_for(exported, tmp_path / "out", *(paths.get(word, word) for word in options)))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_folder_are_kept(exported, tmp_path):
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(UserError, match="already holds files from elsewhere"):
        export_avatar(settings_for(exported, tmp_path, "--formats", "params"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / ".manifest.jsonl").touch()  # an export of before
    export_avatar(settings_for(exported, tmp_path, "--formats", "params"))
    assert (tmp_path / "mine.txt").read_text("utf-8") == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {
        ".manifest.jsonl", "mine.txt", "head_parameters.npz", "head_parameters.json", "export.json",
    }  # fmt: skip
    assert torch.is_grad_enabled()


def test_export_from_python_with_an_open_avatar(exported, avatar, tracking, tmp_path, capsys):
    options = {"tracking": exported.tracking, "frames": (5,), "texture_size": 64, "views": 2}
    written = nha.export(avatar, tmp_path / "out", formats=("obj", "ply"), **options)
    existing = {path.name for path in (tmp_path / "out").iterdir()}
    assert {".manifest.jsonl", *(path.name for path in written)} == existing
    for name in ("frame_0005.obj", "frame_0005.ply", "frame_0005_head.png"):
        assert (tmp_path / "out" / name).read_bytes() == (exported.out / name).read_bytes()
    assert json.loads(written[-1].read_text("utf-8"))["checkpoint"] is None
    assert capsys.readouterr().out == ""
    other = tmp_path / "other.npz"
    write_tracking(other, dataclasses.replace(tracking, origin=OTHER_HEAD))
    with pytest.raises(UserError, match="other.npz' was tracked with the head model 'FLAME 2023'"):
        nha.export(avatar, tmp_path / "other", formats="params", tracking=other)


def test_export_from_python_with_a_checkpoint(exported, tmp_path):
    written = nha.export(
        exported.ckpt,
        tmp_path,
        formats="params",
        tracking=nha.load_tracking(exported.tracking),
        device="cpu",
    )
    assert [path.name for path in written] == ["head_parameters.npz", "head_parameters.json", "export.json"]
    assert written[0].read_bytes() == (exported.out / "head_parameters.npz").read_bytes()
