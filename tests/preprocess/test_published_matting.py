"""RobustVideoMatting: mattes of a video from the weights, in batches, and from the ONNX file.

Weights are functions of their names, so results are deterministic but meaningless.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.preprocess.backends.published_matting import RvmMatting, RvmOnnxMatting, downsample_ratio
from nha.preprocess.stream import call_in_batches
from tests.preprocess.published import CPU, RVM, frame_of, noise


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
    with pytest.raises(
        UserError, match=r"cannot read .*\(Protobuf parsing failed\.\); place rvm_mobilenetv3"
    ):
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
