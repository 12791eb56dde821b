"""The published estimators: input and output of their networks, and messages about missing files.

Weights are functions of their names, so results are deterministic but meaningless. Tests of the output replace the
network by a fake one.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_labels
from nha.preprocess.backends.face_alignment_landmarks import FaceAlignmentLandmarks, attach_mesh
from nha.preprocess.backends.mediapipe_landmarks import MediapipeIris
from nha.preprocess.backends.published_matting import RvmMatting, RvmOnnxMatting, downsample_ratio
from nha.preprocess.backends.published_normals import ResNetUNetNormals, SquareBox
from nha.preprocess.backends.published_parsing import BiSeNetParsing, centre_of, square_on_green
from nha.preprocess.crop import identity_transform
from nha.preprocess.estimators import Face, Frame
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.registry import make_estimators
from nha.preprocess.stream import call_in_batches

CPU = torch.device("cpu")
RVM, PARSING, NORMALS = "rvm/rvm_mobilenetv3.pth", "face_parsing/model.pth", "face_normals/model.pth"
FAN_FILES = ("3DFAN4-7835d9f11d.pth.tar", "depth-2a464da4ea.pth.tar", "s3fd-619a316812.pth")

# A stand-in for the package, which is not installed here: it sees bright squares as faces.
FAKE_FACE_ALIGNMENT = """
import cv2
import numpy as np


class LandmarksType:
    TWO_D, TWO_HALF_D, THREE_D = 1, 2, 3


class FaceAlignment:
    made_with = []

    def __init__(self, landmarks_type, **options):
        self.made_with.append((landmarks_type, options))

    def get_landmarks_from_image(self, image, return_bboxes=False):
        bright = (image.max(axis=2) > 130).astype(np.uint8)
        count, _, statistics, _ = cv2.connectedComponentsWithStats(bright)
        squares = [box for box in statistics[1:count] if box[4] > 50]
        if not squares:
            return None, None, None
        shape = np.random.default_rng(3).random((68, 3)).astype(np.float32)
        landmarks = [shape * [box[2], box[3], 7] + [box[0], box[1], 0] for box in squares]
        # the further right, the more certain
        return landmarks, None, [np.float32([*box[:4], box[0] / 100]) for box in squares]
"""


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch) -> Path:
    """$TORCH_HOME with files under the names of face-alignment's weights; returns the folder that they are in."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    checkpoints = tmp_path / "torch home" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in FAN_FILES:
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, checkpoints / name)
    return checkpoints


@pytest.fixture
def face_alignment(tmp_path: Path, monkeypatch, torch_home: Path) -> ModuleType:
    """The stand-in for the package, importable here and in scripts that a test starts."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "face_alignment.py").write_text(FAKE_FACE_ALIGNMENT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "face_alignment", raising=False)
    import face_alignment

    yield face_alignment
    sys.modules.pop("face_alignment", None)


def frame_of(rgb: np.ndarray, frame_id: int = 0) -> Frame:
    return Frame(frame_id, rgb, identity_transform(rgb.shape[1::-1]))


def face_in(left: float, top: float, width: float, height: float, mesh: np.ndarray | None = None) -> Face:
    """A face whose landmarks fill a box; right eye at a third of its width, left eye at two thirds."""
    points = np.random.default_rng(0).random((68, 2)).astype(np.float32)
    points[0], points[1] = 0, 1
    points[36:42] = np.float32([1 / 3, 0.4]) + np.float32([[-0.02, 0], [0, -0.02], [0, 0.02]] * 2)
    points[42:48] = points[36:42] + np.float32([1 / 3, 0])
    landmarks = points * np.float32([width, height]) + np.float32([left, top])
    return Face(
        landmarks,
        np.zeros(68, np.float32),
        np.ones(68, np.float32),
        np.zeros((0, 3)) if mesh is None else mesh,
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# --- matting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "ratio"), [((300, 512), 1.0), ((64, 64), 1.0), ((1080, 1920), 512 / 1920)])
def test_the_matte_is_found_at_512_pixels(size, ratio):
    assert downsample_ratio(*size) == ratio


def test_mattes_of_a_video_in_batches_and_one_by_one(weights):
    frames = [frame_of(noise(64, 90, 3) // (i + 1), i) for i in range(5)]
    together = RvmMatting(weights / RVM, CPU)
    together.batch_size = 2
    mattes = [matte for _, matte in call_in_batches(together, "matte", frames, lambda frame: (frame,))]
    single = RvmMatting(weights / RVM, CPU)
    for frame, matte in zip(frames, mattes, strict=True):
        assert matte.shape == (64, 90)
        assert matte.dtype == np.float32
        assert matte.min() >= 0
        assert matte.max() <= 1
        np.testing.assert_allclose(single.matte(frame), matte, atol=1e-4)
    fresh = RvmMatting(weights / RVM, CPU)
    assert np.abs(fresh.matte(frames[4]) - mattes[4]).max() > 1e-3  # it has not seen the four before


# --- parsing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (7, 7)])
def test_the_person_stands_on_green_in_the_centre_of_a_square(size):
    rgb, matte = noise(*size, 3), np.zeros(size, np.float32)
    matte[:3] = 1
    matte[3] = 0.5
    square = square_on_green(rgb, matte)
    green = np.float32([0.47, 1, 0.6]) * 255
    assert square.shape == (max(size), max(size), 3)
    middle = centre_of(square, size)
    np.testing.assert_allclose(middle[:3], rgb[:3], atol=1e-4)
    np.testing.assert_allclose(middle[3], (rgb[3] + green) / 2, atol=1e-4)
    np.testing.assert_allclose(middle[4:], np.broadcast_to(green, middle[4:].shape), atol=1e-4)
    middle[:] = green
    np.testing.assert_allclose(square, np.broadcast_to(green, square.shape), atol=1e-4)


class FakeBiSeNet:
    """Returns one label for each colour of the image, and keeps its input."""

    COLOURS = ((Parsing.L_EYE, (0, 0, 255)), (Parsing.HAIR, (255, 0, 0)), (Parsing.SKIN, (120, 255, 153)))

    def __init__(self) -> None:
        self.seen: Tensor | None = None

    def __call__(self, normalised: Tensor) -> Tensor:
        self.seen = normalised
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        rgb = (normalised * std[:, None, None] + mean[:, None, None]) * 255
        scores = torch.full((len(rgb), 19, *rgb.shape[2:]), -1e6)
        for label, colour in self.COLOURS:
            scores[:, label] = -(rgb - torch.tensor(colour)[:, None, None]).abs().sum(1)
        return scores


@pytest.mark.parametrize("size", [(120, 90), (60, 97)])
def test_labels_return_to_their_pixels_and_eyes_to_their_sides(weights, size):
    height, width = size
    rgb = np.full((*size, 3), (120, 255, 153), np.uint8)
    rgb[: height // 3] = (255, 0, 0)
    right, left = width // 3, 2 * width // 3
    for x in (right, left):
        rgb[height // 2 - 4 : height // 2 + 4, x - 4 : x + 4] = (0, 0, 255)
    estimator = BiSeNetParsing(weights / PARSING, CPU)
    estimator._net = network = FakeBiSeNet()
    labels = estimator.parsing(
        frame_of(rgb), face_in(0, 0.1 * height, width, height), np.ones(size, np.float32)
    )
    assert network.seen.shape == (1, 3, 512, 512)
    assert labels.shape == size
    wrong = (labels == Parsing.HAIR) != (rgb[..., 0] == 255)
    assert wrong.mean() < 0.02  # a blurred edge at most
    assert labels[height // 2, right] == Parsing.R_EYE
    assert labels[height // 2, left] == Parsing.L_EYE


def test_the_published_range_is_half_as_wide(weights):
    rgb = noise(48, 48, 3)
    arguments = (frame_of(rgb), face_in(5, 5, 30, 30), np.ones((48, 48), np.float32))
    seen = {}
    for input_range in ("plain", "published"):
        estimator = BiSeNetParsing(weights / PARSING, CPU, input_range)
        estimator._net = network = FakeBiSeNet()
        estimator.parsing(*arguments)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        seen[input_range] = network.seen * std[:, None, None] + mean[:, None, None]
        assert ("published" in estimator.name) == (input_range == "published")
    torch.testing.assert_close(seen["published"], seen["plain"] * 0.5 + 0.5)
    assert seen["plain"].min() < 0.2


def test_parsing_with_the_network_itself_in_batches(weights):
    estimator = BiSeNetParsing(weights / PARSING, CPU)
    estimator.batch_size = 2
    inputs = [
        (frame_of(noise(40, 30, 3), i), face_in(5, 5, 20, 20), np.ones((40, 30), np.float32))
        for i in range(3)
    ]
    answers = [labels for _, labels in call_in_batches(estimator, "parsing", inputs, tuple)]
    assert [labels.shape for labels in answers] == [(40, 30)] * 3
    np.testing.assert_array_equal(answers[0], answers[2])  # the same image, alone and in a batch
    assert answers[0].max() < 19


# --- normals ----------------------------------------------------------------------------------------------


def test_the_box_is_a_square_around_the_landmarks():
    assert SquareBox.around(np.float32([[10, 20], [60, 40]])) == SquareBox(5, 0, 60)


@pytest.mark.parametrize("box", [SquareBox(20, 10, 40), SquareBox(-15, -9, 60), SquareBox(30, 30, 300)])
def test_what_is_cut_out_is_pasted_back_to_its_place(box):
    rows, columns = np.mgrid[:90, :100].astype(np.float32)
    position = np.stack([columns, rows, np.full_like(rows, 50)], axis=2)
    pasted = box.paste(box.cut_out(position), (90, 100))
    expected = position / np.linalg.norm(position, axis=2, keepdims=True)
    inside = np.zeros((90, 100), bool)
    inside[max(box.top, 0) : box.top + box.side, max(box.left, 0) : box.left + box.side] = True
    assert (np.abs(pasted).max(axis=2) > 0).tolist() == inside.tolist()
    np.testing.assert_allclose(pasted[inside], expected[inside], atol=0.02)


def test_a_box_outside_of_the_image_gives_nothing():
    box = SquareBox(200, 10, 40)
    assert box.cut_out(noise(50, 60, 3)).shape == (256, 256, 3)
    assert not box.paste(np.ones((256, 256, 3), np.float32), (50, 60)).any()


@pytest.mark.parametrize("input_range", ["plain", "published"])
def test_normals_are_turned_y_down_unit_and_cut_by_the_segmentation(weights, input_range):
    seen = []

    def network(rgb01: Tensor) -> Tensor:
        seen.append(rgb01)
        return torch.tensor([0.6, 0.8, 2.4])[None, :, None, None].expand(len(rgb01), 3, 256, 256) * 3

    estimator = ResNetUNetNormals(weights / NORMALS, CPU, input_range)
    estimator._net = network
    segmentation = np.zeros((80, 70), np.uint8)
    segmentation[20:60] = 101
    normals = estimator.normals(
        frame_of(np.zeros((80, 70, 3), np.uint8)), face_in(15, 10, 30, 50), segmentation
    )
    known = np.abs(normals).max(axis=2) > 0
    rows, columns = np.nonzero(known)
    assert (rows.min(), rows.max()) == (20, 59)
    assert (columns.min(), columns.max()) == (0, 59)  # the box is 60 wide around 30
    np.testing.assert_allclose(
        normals[known], np.broadcast_to([3 / 13, -4 / 13, 12 / 13], normals[known].shape), atol=1e-5
    )
    assert normals.dtype == np.float32
    assert seen[0].unique().tolist() == [0.0 if input_range == "plain" else 0.5]


def test_normals_with_the_network_itself(weights):
    estimator = ResNetUNetNormals(weights / NORMALS, CPU)
    segmentation = np.full((60, 50), 101, np.uint8)
    normals = estimator.normals(frame_of(noise(60, 50, 3)), face_in(10, 10, 30, 40), segmentation)
    known = np.abs(normals).max(axis=2) > 0
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-4)
    assert known.any()


# --- landmarks --------------------------------------------------------------------------------------------


class FakeMeshes:
    """Returns given meshes instead of those of mediapipe."""

    def __init__(self, *faces: Face) -> None:
        self.found = list(faces)

    def faces(self, frame: Frame) -> list[Face]:
        return self.found

    def reset(self) -> None:
        self.found = []


def test_landmarks_most_certain_face_first_with_depth(fakes, face_alignment):
    estimator = FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    (kind, made_with) = face_alignment.FaceAlignment.made_with[-1]
    assert kind == face_alignment.LandmarksType.THREE_D
    assert made_with == {"device": "cpu", "flip_input": True, "face_detector": "sfd", "compile": False}
    frame = frame_of(fakes.draw_frame((8, 20, fakes.RED), (60, 24, fakes.BLUE)))
    first, second = estimator.faces(frame)
    assert first.centre_px[0] > 60 > second.centre_px[0]
    assert first.landmarks_px.shape == (68, 2)
    assert 0 < first.depth.max() <= 7
    assert (first.confidence == 1).all()
    assert estimator.faces(frame_of(fakes.draw_frame())) == []


def test_a_mesh_goes_to_the_face_at_its_place(fakes, face_alignment):
    mesh = np.ones((478, 3), np.float32)
    here, elsewhere = face_in(10, 10, 20, 20), face_in(60, 40, 20, 20, mesh)
    assert len(attach_mesh(here, []).mesh_px) == 0
    assert len(attach_mesh(here, [elsewhere]).mesh_px) == 0
    assert len(attach_mesh(here, [elsewhere, replace(here, mesh_px=mesh)]).mesh_px) == 478
    frame = frame_of(fakes.draw_frame((8, 20, fakes.RED), (60, 24, fakes.BLUE)))
    meshes = FakeMeshes(face_in(60, 24, 20, 20, mesh))
    assert [len(f.mesh_px) for f in FaceAlignmentLandmarks(CPU, meshes, False).faces(frame)] == [478, 0]
    assert [len(f.mesh_px) for f in FaceAlignmentLandmarks(CPU, meshes, True).faces(frame)] == [478]


def test_a_face_without_a_mesh_has_no_irises():
    assert (
        MediapipeIris().irises(frame_of(noise(40, 40, 3)), face_in(5, 5, 30, 30)).tolist() == [[-1, -1]] * 2
    )


def test_weights_of_face_alignment_are_never_downloaded(face_alignment, torch_home):
    (torch_home / FAN_FILES[1]).unlink()
    made = len(face_alignment.FaceAlignment.made_with)
    with pytest.raises(UserError, match=FAN_FILES[1]):
        FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    assert len(face_alignment.FaceAlignment.made_with) == made


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", FAN_FILES)
def test_weights_that_would_run_something_never_reach_face_alignment(
    face_alignment, torch_home, tmp_path, name
):
    marker = tmp_path / "executed"
    torch.save({"state_dict": Malicious(marker)}, torch_home / name)
    made = len(face_alignment.FaceAlignment.made_with)
    with pytest.raises(UserError, match=name):
        FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    assert len(face_alignment.FaceAlignment.made_with) == made
    assert not marker.exists()


# --- selection --------------------------------------------------------------------------------------------


@pytest.fixture
def options(spaced_dir, weights) -> PreprocessOptions:
    return PreprocessOptions(
        video=spaced_dir / "video.mp4",
        out_path=spaced_dir / "data",
        estimators="auto",
        weights=weights,
        scale=96,
        device="cpu",
    )


def without_face_alignment(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)


def test_auto_takes_for_each_annotation_what_is_there(options, weights, spaced_dir, monkeypatch, torch_home):
    pytest.importorskip("mediapipe", exc_type=ImportError)
    without_face_alignment(monkeypatch)
    names = make_estimators(options).names
    assert {annotation for annotation, name in names.items() if "mediapipe" in name} == {"landmarks", "iris"}
    some = spaced_dir / "some weights"
    (some / "rvm").mkdir(parents=True)
    (some / RVM).symlink_to(weights / RVM)
    names = make_estimators(replace(options, weights=some)).names
    assert {annotation for annotation, name in names.items() if "mediapipe" not in name} == {"matting"}
    names = make_estimators(replace(options, estimators="mediapipe")).names
    assert all("mediapipe" in name for name in names.values())


def test_auto_takes_landmarks_too_where_package_and_weights_are_there(options, face_alignment):
    pytest.importorskip("mediapipe", exc_type=ImportError)
    estimators = make_estimators(options)
    assert estimators.names["landmarks"] == "face-alignment 3DFAN4"
    estimators.close()


def test_published_says_everything_that_is_missing(options, weights, spaced_dir, torch_home, monkeypatch):
    (torch_home / FAN_FILES[0]).unlink()
    nothing = replace(options, estimators="published", weights=spaced_dir / "nothing")
    with pytest.raises(UserError) as error:
        make_estimators(nothing)
    text = str(error.value)
    assert "\n" not in text
    for wanted in (FAN_FILES[0], *(str(spaced_dir / "nothing" / file) for file in (RVM, PARSING, NORMALS))):
        assert wanted in text
    assert FAN_FILES[2] not in text
    torch.save({}, torch_home / FAN_FILES[0])
    without_face_alignment(monkeypatch)
    with pytest.raises(UserError, match=r"the package face-alignment 1\.5\.0"):
        make_estimators(replace(nothing, weights=weights))


def test_weights_of_another_network_stop_the_run(options, weights, spaced_dir):
    pytest.importorskip("mediapipe", exc_type=ImportError)
    wrong = spaced_dir / "wrong"
    (wrong / "face_parsing").mkdir(parents=True)
    (wrong / PARSING).symlink_to(weights / RVM)
    with pytest.raises(
        UserError, match=r"model\.pth' does not fit: 'cp\.resnet\.conv1\.weight' is missing; put 79999"
    ):
        make_estimators(replace(options, weights=wrong))


@pytest.mark.slow
def test_a_video_with_the_published_estimators(run_script, fakes, weights, face_alignment, spaced_dir):
    """The script from end to end, in a process of its own."""
    pytest.importorskip("mediapipe", exc_type=ImportError)
    video = fakes.write_video(spaced_dir / "video.mp4", fakes.walking_square(3))
    out = spaced_dir / "data"
    arguments = ("--video", video, "--out_path", out, "--scale", 96, "--device", "cpu", "--weights", weights)
    done = run_script(
        "video_to_dataset.py", *arguments, "--estimators", "published", "--parsing_range", "published"
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    folder = DatasetFolder.open(out)
    assert folder.frame_ids() == [0, 1, 2]
    assert all(folder.paths(i).missing() == [] for i in range(3))
    assert folder.overview_video.is_file()
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["estimators"]["matting"] == "RobustVideoMatting mobilenetv3"
    assert info["estimators"]["parsing"] == "BiSeNet-19 (sees colours in 0.5..1, as published)"
    keypoints = read_keypoints(folder.paths(1).keypoints)
    assert keypoints.origin == "face-alignment 3DFAN4"
    assert keypoints.depth.any()
    assert read_labels(folder.paths(1).parsing).shape == (72, 96)
    # what was seen decides the labels: another range is another dataset
    other = run_script("video_to_dataset.py", *arguments, "--estimators", "published")
    assert other.returncode == 2
    assert "parsing" in other.stderr


# --- ONNX -------------------------------------------------------------------------------------------------


def test_the_onnx_file_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="needs the package onnxruntime"):
        RvmOnnxMatting(tmp_path / "rvm_mobilenetv3_fp32.onnx", CPU)


class FakeSession:
    """A fake onnxruntime session: alpha and states count the calls; keeps its inputs."""

    inputs = ("src", "r1i", "r2i", "r3i", "r4i", "downsample_ratio")

    def __init__(self, path: str, options, providers) -> None:
        if not Path(path).read_bytes().startswith(b"onnx"):
            raise ValueError("Protobuf parsing failed.\nmore")
        self.calls: list[dict[str, np.ndarray]] = []

    def get_inputs(self):
        return [type("Node", (), {"name": name}) for name in self.inputs]

    def get_outputs(self):
        return [type("Node", (), {"name": name}) for name in ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")]

    def run(self, outputs, inputs):
        self.calls.append(inputs)
        count = np.float32(len(self.calls))
        answers = {f"r{i}o": np.full((1, c, 3, 3), count) for i, c in enumerate((16, 20, 40, 64), start=1)}
        answers["pha"] = np.full((1, 1, *inputs["src"].shape[2:]), count / 10)
        return [answers[name] for name in outputs]


@pytest.fixture
def onnxruntime(monkeypatch) -> ModuleType:
    module = ModuleType("onnxruntime")
    module.SessionOptions = type("SessionOptions", (), {})
    module.get_available_providers = lambda: ["CPUExecutionProvider"]
    module.InferenceSession = FakeSession
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module


def test_states_go_round_through_the_onnx_file(onnxruntime, tmp_path):
    model = tmp_path / "rvm_mobilenetv3_fp32.onnx"
    model.write_bytes(b"onnx")
    estimator = RvmOnnxMatting(model, CPU)
    frame = frame_of(noise(30, 1024, 3))
    assert estimator.matte(frame).max() == np.float32(0.1)
    assert estimator.matte(frame).shape == (30, 1024)
    first, second = estimator._session.calls
    assert [first[f"r{i}i"].shape for i in (1, 2, 3, 4)] == [(1, 1, 1, 1)] * 4
    assert [second[f"r{i}i"].shape[1] for i in (1, 2, 3, 4)] == [16, 20, 40, 64]
    assert first["src"].shape == (1, 3, 30, 1024)
    assert first["src"].dtype == first["downsample_ratio"].dtype == np.float32
    assert first["downsample_ratio"].tolist() == [0.5]


def test_other_onnx_files_are_refused(onnxruntime, tmp_path):
    model = tmp_path / "rvm_mobilenetv3_fp32.onnx"
    model.write_bytes(b"something")
    with pytest.raises(UserError, match=r"cannot read .*\(Protobuf parsing failed\.\); put rvm_mobilenetv3"):
        RvmOnnxMatting(model, CPU)
    model.write_bytes(b"onnx")
    onnxruntime.InferenceSession = type("Other", (FakeSession,), {"inputs": ("src",)})
    with pytest.raises(UserError, match="takes src, so it is another network"):
        RvmOnnxMatting(model, CPU)


class OfficialSignature(torch.nn.Module):
    """Our network with inputs and outputs of the official ONNX file, whose first states are zeros [1, 1, 1, 1]."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, src: Tensor, r1i: Tensor, r2i: Tensor, r3i: Tensor, r4i: Tensor, downsample_ratio: Tensor
    ):
        sizes = [(-(-src.shape[2] // 2**level), -(-src.shape[3] // 2**level)) for level in (1, 2, 3, 4)]
        channels = (16, 20, 40, 64)
        states = [
            state + torch.zeros(1, c, *size)
            for state, c, size in zip((r1i, r2i, r3i, r4i), channels, sizes, strict=True)
        ]
        # the ratio is 1 here; it must only not vanish from the file
        foreground, alpha, states = self.net(src + 0 * downsample_ratio, tuple(states), 1.0)
        return foreground, alpha, *states


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_file_gives_the_mattes_of_the_weights(weights, tmp_path):
    pytest.importorskip("onnx", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    torch_matting, model = RvmMatting(weights / RVM, CPU), tmp_path / "rvm_mobilenetv3_fp32.onnx"
    states = ["r1i", "r2i", "r3i", "r4i"]
    torch.onnx.export(
        OfficialSignature(torch_matting._net),
        (torch.zeros(1, 3, 64, 48), *torch.zeros(4, 1, 1, 1, 1), torch.ones(1)),
        str(model),
        input_names=["src", *states, "downsample_ratio"],
        output_names=["fgr", "pha", "r1o", "r2o", "r3o", "r4o"],
        dynamic_axes={name: {1: f"{name}c", 2: f"{name}h", 3: f"{name}w"} for name in states},
        dynamo=False,
    )
    onnx_matting = RvmOnnxMatting(model, CPU)
    for i in range(3):
        frame = frame_of(noise(64, 48, 3) // (i + 1), i)
        np.testing.assert_allclose(onnx_matting.matte(frame), torch_matting.matte(frame), atol=1e-4)
