"""Which estimator makes which annotation."""

from __future__ import annotations

import os
from pathlib import Path

from nha.core.errors import UserError
from nha.preprocess.backends.mediapipe_iris import MediapipeIris
from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks
from nha.preprocess.backends.mediapipe_matting import MediapipeMatting
from nha.preprocess.backends.mediapipe_normals import MediapipeNormals
from nha.preprocess.backends.mediapipe_parsing import MediapipeParsing
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe
from nha.preprocess.backends.truth import truth_pack
from nha.preprocess.estimators import EstimatorPack

PACK_NAMES = ("auto", "mediapipe", "truth", "published")

ASSETS = Path(__file__).resolve().parents[2] / "assets"


def make_pack(name: str, video_path: str | Path) -> EstimatorPack:
    """Build the pack called `name` (one of PACK_NAMES) for a video.

    Raises UserError where something that the pack needs is not there.
    """
    if name in ("auto", "mediapipe"):
        # "auto" prefers a published estimator for each annotation; none of them can be run yet.
        return mediapipe_pack()
    if name == "truth":
        return truth_pack(video_path)
    if name == "published":
        raise UserError(_why_published_cannot_run())
    raise UserError(f"unknown estimators '{name}': choose one of {', '.join(PACK_NAMES)}")


def mediapipe_pack() -> EstimatorPack:
    """Everything from the models inside the mediapipe package; UserError where it is not installed."""
    load_mediapipe()
    landmarks, matting = MediapipeLandmarks(), MediapipeMatting()

    def close() -> None:
        landmarks.reset()
        matting.close()

    return EstimatorPack(landmarks, MediapipeIris(), matting, MediapipeParsing(), MediapipeNormals(), close)


def published_weights() -> dict[str, list[Path]]:
    """Annotation -> the files that its published estimator needs, where they are to be placed by hand."""
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    checkpoints = torch_home / "hub" / "checkpoints"
    return {
        "landmarks": [checkpoints / "3DFAN4-7835d9f11d.pth.tar", checkpoints / "s3fd-619a316812.pth"],
        "matting": [ASSETS / "rvm" / "rvm_mobilenetv3.pth"],
        "parsing": [ASSETS / "face_parsing" / "model.pth"],
        "normals": [ASSETS / "face_normals" / "model.pth"],
    }


def _why_published_cannot_run() -> str:
    missing = [path for paths in published_weights().values() for path in paths if not path.is_file()]
    if missing:
        return f"--estimators published needs these weights: {', '.join(map(str, missing))}; or use mediapipe"
    return "--estimators published: the weights are in place, but this version cannot run them; use mediapipe"
