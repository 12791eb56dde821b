"""Optional weight files that are not part of the project: purpose, place, origin and licence of each.

Messages, `nha check weights` and the README take these facts from here; those about a head model's files are in
`nha.head.file_guide`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from nha.core.paths import find_asset

# Folders of the table that do not lie in `assets`.
_TORCH_CHECKPOINTS = Path("$TORCH_HOME/hub/checkpoints")
_MEDIAPIPE_MODULES = Path("mediapipe/modules")

INSTALL_MEDIAPIPE = (
    "python -m pip install --no-deps mediapipe==0.10.21 protobuf==4.25.9 attrs absl-py flatbuffers"
)
"""Without the versions that mediapipe declares: it runs with numpy 2."""


@dataclass(frozen=True)
class OptionalFiles:
    """Files that serve one purpose.

    Attributes:
        name: the name of the entry in `nha check weights --require`.
        folder: where the files are looked for.
        names: names of the files.
        purpose, origin, licence: texts for the user.
        one_suffices: whether any one of the files is enough; else all are needed.
    """

    name: str
    folder: Path
    names: tuple[str, ...]
    purpose: str
    origin: str
    licence: str
    one_suffices: bool = False

    @property
    def paths(self) -> list[Path]:
        """Where the files are looked for."""
        return [self.folder / name for name in self.names]

    def found(self) -> list[Path]:
        """The existing files."""
        return [path for path in self.paths if path.is_file()]

    def missing(self) -> list[Path]:
        """The files that the user must still place; none where one suffices and one exists."""
        if self.one_suffices:
            return [] if self.found() else self.paths[:1]
        return [path for path in self.paths if not path.is_file()]


_TABLE = (
    OptionalFiles(
        "arcface",
        Path("arcface"),
        ("backbone.pth",),
        "the perceptual term of the texture",
        "backbone.pth of ms1mv3_arcface_r18_fp16 from InsightFace's model zoo",
        "InsightFace's: non-commercial research",
    ),
    OptionalFiles(
        "rvm",
        Path("rvm"),
        ("rvm_mobilenetv3.pth", "rvm_mobilenetv3_fp32.onnx"),
        "published matting (the .onnx file needs the package onnxruntime)",
        "rvm_mobilenetv3.pth (or rvm_mobilenetv3_fp32.onnx) of RobustVideoMatting (PeterL1n/RobustVideoMatting)",
        "GPL-3.0",
        one_suffices=True,
    ),
    OptionalFiles(
        "face-parsing",
        Path("face_parsing"),
        ("model.pth",),
        "published parsing",
        "79999_iter.pth of face-parsing.PyTorch (zllrunning/face-parsing.PyTorch), renamed to model.pth",
        "MIT; trained on CelebAMask-HQ: non-commercial research",
    ),
    OptionalFiles(
        "face-normals",
        Path("face_normals"),
        ("model.pth",),
        "published normals of the face",
        "model.pth of Cross-modal Deep Face Normals (boukhayma/face_normals)",
        "CC BY-NC 4.0",
    ),
    OptionalFiles(
        "face-alignment",
        _TORCH_CHECKPOINTS,
        ("3DFAN4-7835d9f11d.pth.tar", "depth-2a464da4ea.pth.tar", "s3fd-619a316812.pth"),
        "published landmarks (needs the package face-alignment)",
        "the weights of face-alignment 1.5.0 (1adrianb/face-alignment)",
        "BSD-3-Clause",
    ),
    OptionalFiles(
        "alexnet",
        _TORCH_CHECKPOINTS,
        ("alexnet-owt-7be5be79.pth",),
        "LPIPS in evaluations",
        "alexnet-owt-7be5be79.pth of torchvision (AlexNet's weights for ImageNet)",
        "BSD-3-Clause; trained on ImageNet: non-commercial research",
    ),
    OptionalFiles(
        "mediapipe",
        _MEDIAPIPE_MODULES,
        (
            "face_detection/face_detection_short_range.tflite",
            "face_landmark/face_landmark_with_attention.tflite",
            "selfie_segmentation/selfie_segmentation.tflite",
        ),
        "annotations without any download; irises for all sets of estimators",
        "the package mediapipe 0.10.21 (`make env` installs it, models included)",
        "Apache-2.0",
    ),
)


def optional_files(assets: Path | None = None) -> tuple[OptionalFiles, ...]:
    """The table of optional files.

    Args:
        assets: the folder with the user's files; None searches all asset folders, see `nha.core.paths.find_asset`.
    """
    return tuple(replace(entry, folder=_resolved(entry.folder, assets)) for entry in _TABLE)


def optional_file(name: str, assets: Path | None = None) -> OptionalFiles:
    """The entry called `name`."""
    entry = next(entry for entry in _TABLE if entry.name == name)
    return replace(entry, folder=_resolved(entry.folder, assets))


def _resolved(folder: Path, assets: Path | None) -> Path:
    """The existing or expected place of a folder of the table."""
    if folder == _TORCH_CHECKPOINTS:
        import torch  # takes seconds, and only two entries need it

        return Path(torch.hub.get_dir()) / "checkpoints"
    if folder == _MEDIAPIPE_MODULES:
        return _package_folder("mediapipe") / "modules"
    return find_asset(str(folder)) if assets is None else assets / folder


def _package_folder(package: str) -> Path:
    """Where a package is installed, else a path that names the missing package; nothing is imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path(f"{package} (not installed)")
