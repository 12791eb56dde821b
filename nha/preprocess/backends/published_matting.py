"""Published matting: RobustVideoMatting, from its weights or its official ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nha.core.errors import UserError
from nha.core.optional_files import optional_file
from nha.nets.weights import advice
from nha.preprocess.estimators import EstimatorContext, Frame, MattingEstimator
from nha.preprocess.networks.published import batch_size_on, load_published, to_batch01
from nha.preprocess.networks.robust_video_matting import State

SMALL_EDGE_PX = 512  # longer edge of the image that the matte is estimated in before it is refined
ONNX_STATES = ("r1i", "r2i", "r3i", "r4i")
ONNX_INPUTS = {"src", *ONNX_STATES, "downsample_ratio"}
ONNX_OUTPUTS = ("pha", "r1o", "r2o", "r3o", "r4o")


def downsample_ratio(height: int, width: int) -> float:
    """The scale at which the longer edge has 512 pixels, at most 1."""
    return min(SMALL_EDGE_PX / max(height, width), 1.0)


def rvm_matting(model: Path, device: torch.device) -> MattingEstimator:
    """RobustVideoMatting from either of its files."""
    return RvmOnnxMatting(model, device) if model.suffix == ".onnx" else RvmMatting(model, device)


class RvmMatting(MattingEstimator):
    """Mattes of the frames of a video, which must come in order from the first one on."""

    name = "RobustVideoMatting mobilenetv3"
    sequential = True

    def __init__(self, weights: Path, device: torch.device) -> None:
        self.batch_size = batch_size_on(device)
        self._device = device
        self._net = load_published("rvm", weights).to(device)
        self._state: State | None = None

    @classmethod
    def create(cls, context: EstimatorContext) -> MattingEstimator:
        """From whichever of the two files is in place; see `Estimator.create`."""
        return rvm_matting(context.weights, context.device)

    def matte(self, frame: Frame) -> np.ndarray:
        """See `MattingEstimator.matte`."""
        return self.matte_batch([(frame,)])[0]

    @torch.inference_mode()
    def matte_batch(self, inputs: Sequence[tuple[Frame]]) -> list[np.ndarray]:
        """`matte` of the next frames."""
        rgb01 = to_batch01([frame.rgb for (frame,) in inputs], self._device)
        _, alpha, self._state = self._net(rgb01, self._state, downsample_ratio(*rgb01.shape[2:]))
        return list(alpha[:, 0].cpu().numpy())


class RvmOnnxMatting(MattingEstimator):
    """The same from the official ONNX file with onnxruntime; frames must come in order."""

    name = "RobustVideoMatting mobilenetv3 (ONNX)"
    sequential = True

    def __init__(self, model: Path, device: torch.device) -> None:
        self._session = _open_session(model, device)
        self._state = [np.zeros((1, 1, 1, 1), np.float32) for _ in ONNX_STATES]

    def matte(self, frame: Frame) -> np.ndarray:
        """See `MattingEstimator.matte`."""
        ratio = downsample_ratio(*frame.rgb.shape[:2])
        inputs = {
            "src": to_batch01([frame.rgb], torch.device("cpu")).contiguous().numpy(),
            **dict(zip(ONNX_STATES, self._state, strict=True)),
            "downsample_ratio": np.array([ratio], np.float32),
        }
        alpha, *self._state = self._session.run(ONNX_OUTPUTS, inputs)
        return alpha[0, 0]


def _open_session(model: Path, device: torch.device):
    """An onnxruntime session. Raises UserError if the package is missing or the file holds another network."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"'{model}' needs the package onnxruntime ({error}); install it (README, 'Published annotators'), or "
            "use rvm_mobilenetv3.pth"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = (
        ["CPUExecutionProvider"]
        if device.type == "cpu"
        else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    origin = optional_file("rvm").origin
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # the exception classes of onnxruntime are not public
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read '{model}' ({reason}); {advice(origin)}") from None
    inputs, outputs = (
        {node.name for node in nodes} for nodes in (session.get_inputs(), session.get_outputs())
    )
    if inputs != ONNX_INPUTS or not outputs.issuperset(ONNX_OUTPUTS):
        raise UserError(
            f"'{model}' takes {', '.join(sorted(inputs))}, so it is another network; {advice(origin)}"
        )
    return session
