"""Which estimator makes which annotation."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import torch

from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.optional_files import OptionalFiles, optional_file
from nha.preprocess.backends.face_alignment_landmarks import FaceAlignmentLandmarks, import_face_alignment
from nha.preprocess.backends.mediapipe_iris import MediapipeIris
from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks
from nha.preprocess.backends.mediapipe_matting import MediapipeMatting
from nha.preprocess.backends.mediapipe_normals import MediapipeNormals
from nha.preprocess.backends.mediapipe_parsing import MediapipeParsing
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe
from nha.preprocess.backends.published_matting import RvmMatting, RvmOnnxMatting
from nha.preprocess.backends.published_normals import ResNetUNetNormals
from nha.preprocess.backends.published_parsing import BiSeNetParsing
from nha.preprocess.backends.truth import truth_pack
from nha.preprocess.estimators import EstimatorPack, MattingEstimator
from nha.preprocess.options import PreprocessOptions

# Annotation -> what its published estimator is called in the table of optional files.
PUBLISHED = {
    "landmarks": "face-alignment",
    "matting": "rvm",
    "parsing": "face-parsing",
    "normals": "face-normals",
}


def make_pack(options: PreprocessOptions) -> EstimatorPack:
    """Build the pack that `options.estimators` names.

    Raises UserError where something that the pack needs is not there, or is not what it should be.
    """
    if options.estimators == "truth":
        return truth_pack(options.video)
    if options.estimators == "mediapipe":
        return mediapipe_pack()
    files = published_files(options.weights)
    if options.estimators == "published":
        require(files)
        import_face_alignment()
        there = set(files)
    else:
        there = {annotation for annotation, entry in files.items() if not entry.missing()}
        if importlib.util.find_spec("face_alignment") is None:
            there.discard("landmarks")
    return with_published(mediapipe_pack(), {name: files[name].found()[0] for name in there}, options)


def mediapipe_pack() -> EstimatorPack:
    """Everything from the models inside the mediapipe package; UserError where it is not installed."""
    load_mediapipe()
    landmarks, matting = MediapipeLandmarks(), MediapipeMatting()

    def close() -> None:
        landmarks.reset()
        matting.close()

    return EstimatorPack(landmarks, MediapipeIris(), matting, MediapipeParsing(), MediapipeNormals(), close)


def published_files(weights: Path | None = None) -> dict[str, OptionalFiles]:
    """Annotation -> the files of its published estimator. weights: see `PreprocessOptions.weights`."""
    return {annotation: optional_file(name, weights) for annotation, name in PUBLISHED.items()}


def require(files: dict[str, OptionalFiles]) -> None:
    """Raise a UserError that lists the files that are missing, and where they come from."""
    lacking = [
        f"{', '.join(map(str, entry.missing()))} ({annotation}: {entry.origin})"
        for annotation, entry in files.items()
        if entry.missing()
    ]
    if lacking:
        raise UserError(
            f"--estimators published needs {'; '.join(lacking)}; place them there, or use auto or mediapipe"
        )


def with_published(
    pack: EstimatorPack, weights: dict[str, Path], options: PreprocessOptions
) -> EstimatorPack:
    """The pack with published estimators in place of some of its own.

    weights: annotation -> file, of those that are replaced. Irises are always read from mediapipe's mesh. Raises
    UserError where weights do not fit.
    """
    device, input_range = pick_device(options.device), options.parsing_range
    changed = {}
    if "matting" in weights:
        changed["matting"] = rvm_matting(weights["matting"], device)
    if "parsing" in weights:
        changed["parsing"] = BiSeNetParsing(weights["parsing"], device, input_range)
    if "normals" in weights:
        changed["normals"] = ResNetUNetNormals(weights["normals"], device, input_range)
    if "landmarks" in weights:
        need_mesh = not {"parsing", "normals"} <= weights.keys()
        landmarks = FaceAlignmentLandmarks(device, MediapipeLandmarks(follow=False), need_mesh)
        changed["landmarks"] = landmarks

        def close() -> None:
            landmarks.reset()
            pack.close()

        changed["close"] = close
    return dataclasses.replace(pack, **changed)


def rvm_matting(model: Path, device: torch.device) -> MattingEstimator:
    """RobustVideoMatting from either of its files."""
    return RvmOnnxMatting(model, device) if model.suffix == ".onnx" else RvmMatting(model, device)
