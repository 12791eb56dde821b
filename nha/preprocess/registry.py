"""Registry of the estimators: which ones exist for each annotation, and which ones a run uses.

Only names are known here until an estimator is created, so options can be checked without loading PyTorch or
mediapipe.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nha.core.errors import UserError
from nha.core.optional_files import OptionalFiles, optional_file

if TYPE_CHECKING:
    from nha.preprocess.estimators import Estimator, EstimatorSet
    from nha.preprocess.options import PreprocessOptions


@dataclass(frozen=True)
class Registration:
    """A row of the registry.

    Attributes:
        estimator: the class, or "module:Class", which is imported when it is needed.
        weights: name of its weight files in the table of `nha.core.optional_files`, None if it needs none.
        package: optional package that it needs; `auto` takes another estimator if it is not installed.
    """

    estimator: type[Estimator] | str
    weights: str | None = None
    package: str | None = None

    def load(self) -> type[Estimator]:
        """The class, imported if need be."""
        if not isinstance(self.estimator, str):
            return self.estimator
        module, name = self.estimator.split(":")
        return getattr(importlib.import_module(module), name)

    def files(self, weights_folder: Path | None) -> OptionalFiles | None:
        """Its weight files below a folder (None: all asset folders), None if it needs none."""
        if self.weights is None:
            return None
        return optional_file(self.weights, weights_folder)

    def is_available(self, weights_folder: Path | None) -> bool:
        """Whether its package is installed and its weight files are in place."""
        if self.package is not None and importlib.util.find_spec(self.package) is None:
            return False
        files = self.files(weights_folder)
        return files is None or not files.missing()


_BACKENDS = "nha.preprocess.backends"

# Annotation -> name -> estimator. A new estimator needs its class and one row here.
ESTIMATORS: dict[str, dict[str, Registration]] = {
    "landmarks": {
        "mediapipe": Registration(f"{_BACKENDS}.mediapipe_landmarks:MediapipeLandmarks", package="mediapipe"),
        "published": Registration(
            f"{_BACKENDS}.face_alignment_landmarks:FaceAlignmentLandmarks", "face-alignment", "face_alignment"
        ),
        "truth": Registration(f"{_BACKENDS}.truth:TruthLandmarks"),
    },
    "iris": {
        "mediapipe": Registration(f"{_BACKENDS}.mediapipe_landmarks:MediapipeIris", package="mediapipe"),
        "truth": Registration(f"{_BACKENDS}.truth:TruthIris"),
    },
    "matting": {
        "mediapipe": Registration(f"{_BACKENDS}.mediapipe_matting:MediapipeMatting", package="mediapipe"),
        "published": Registration(f"{_BACKENDS}.published_matting:RvmMatting", "rvm"),
        "truth": Registration(f"{_BACKENDS}.truth:TruthMatting"),
    },
    "parsing": {
        "mediapipe": Registration(f"{_BACKENDS}.mediapipe_parsing:MediapipeParsing", package="mediapipe"),
        "published": Registration(f"{_BACKENDS}.published_parsing:BiSeNetParsing", "face-parsing"),
        "truth": Registration(f"{_BACKENDS}.truth:TruthParsing"),
    },
    "normals": {
        "mediapipe": Registration(f"{_BACKENDS}.mediapipe_normals:MediapipeNormals", package="mediapipe"),
        "published": Registration(f"{_BACKENDS}.published_normals:ResNetUNetNormals", "face-normals"),
        "truth": Registration(f"{_BACKENDS}.truth:TruthNormals"),
    },
}

# Combinations that `--estimators` accepts by one name.
AUTO = "auto"
COMBINATIONS: dict[str, dict[str, str]] = {
    AUTO: dict.fromkeys(ESTIMATORS, AUTO),
    "mediapipe": dict.fromkeys(ESTIMATORS, "mediapipe"),
    "published": {**dict.fromkeys(ESTIMATORS, "published"), "iris": "mediapipe"},
    "truth": dict.fromkeys(ESTIMATORS, "truth"),
}
AUTO_ORDER = ("published", "mediapipe")  # `auto` takes the first one that is available


def parse_selection(text: str) -> dict[str, str]:
    """The estimators that `--estimators` selects: annotation -> name, or `auto`.

    Args:
        text: a combination, or single choices `ANNOTATION=NAME`, or both, separated by commas. Annotations that
            are not mentioned are `auto`. Example: "mediapipe,normals=published".

    Raises:
        UserError: a combination, annotation or name is not known.
    """
    selection = dict(COMBINATIONS[AUTO])
    for number, part in enumerate(text.split(",")):
        annotation, separator, name = (piece.strip() for piece in part.partition("="))
        if not separator:
            if number or annotation not in COMBINATIONS:
                raise UserError(
                    f"--estimators {text}: '{annotation}' is not one of {', '.join(COMBINATIONS)}; choices for "
                    "one annotation follow as ANNOTATION=NAME, as in mediapipe,normals=published"
                )
            selection = dict(COMBINATIONS[annotation])
        elif annotation not in ESTIMATORS:
            raise UserError(
                f"--estimators {text}: there is no annotation '{annotation}'; use {', '.join(ESTIMATORS)}"
            )
        elif name not in (AUTO, *ESTIMATORS[annotation]):
            known = ", ".join((AUTO, *ESTIMATORS[annotation]))
            raise UserError(f"--estimators {text}: there is no {annotation}={name}; use {known}")
        else:
            selection[annotation] = name
    return selection


def make_estimators(options: PreprocessOptions) -> EstimatorSet:
    """Create the estimators that `options.estimators` selects.

    Raises:
        UserError: packages or weight files are missing or do not fit, or the selected estimators do not work
            together.
    """
    from nha.preprocess.estimators import EstimatorContext, EstimatorSet  # loads numpy and OpenCV

    rows = {
        annotation: _row(annotation, name, options.weights)
        for annotation, name in parse_selection(options.estimators).items()
    }
    _require_weights(rows, options)
    classes = {annotation: row.load() for annotation, row in rows.items()}
    _require_mesh(classes, options)
    needs_mesh = classes["parsing"].needs_mesh or classes["normals"].needs_mesh
    made = {}
    for annotation, row in rows.items():
        files = row.files(options.weights)
        context = EstimatorContext(options, files.found()[0] if files else None, needs_mesh)
        made[annotation] = classes[annotation].create(context)
    return EstimatorSet(**made)


def needed_packages(selection: str, weights_folder: Path | None = None) -> dict[str, bool]:
    """Packages of the selected estimators, and whether they are installed; nothing is imported."""
    rows = [_row(*choice, weights_folder) for choice in parse_selection(selection).items()]
    needed = dict.fromkeys(row.package for row in rows if row.package is not None)
    return {package: importlib.util.find_spec(package) is not None for package in needed}


def is_available(combination: str, weights_folder: Path | None = None) -> bool:
    """Whether all estimators of a combination have their packages and weight files."""
    names = COMBINATIONS[combination]
    return all(
        _row(annotation, name, weights_folder).is_available(weights_folder)
        for annotation, name in names.items()
    )


def _row(annotation: str, name: str, weights_folder: Path | None) -> Registration:
    known = ESTIMATORS[annotation]
    if name != AUTO:
        return known[name]
    candidates = [known[candidate] for candidate in AUTO_ORDER if candidate in known]
    return next((row for row in candidates if row.is_available(weights_folder)), candidates[-1])


def _require_weights(rows: Mapping[str, Registration], options: PreprocessOptions) -> None:
    missing = []
    for annotation, row in rows.items():
        files = row.files(options.weights)
        if files is not None and files.missing():
            missing.append(f"{', '.join(map(str, files.missing()))} ({annotation}: {files.origin})")
    if missing:
        raise UserError(
            f"--estimators {options.estimators} needs {'; '.join(missing)}; place them there, or use auto or "
            "mediapipe"
        )


def _require_mesh(classes: Mapping[str, type[Estimator]], options: PreprocessOptions) -> None:
    needing = [annotation for annotation, cls in classes.items() if cls.needs_mesh]
    if needing and not classes["landmarks"].has_mesh:
        raise UserError(
            f"--estimators {options.estimators}: the estimators of {', '.join(needing)} need a face mesh, which "
            "the landmark estimator does not give; choose landmarks=mediapipe or landmarks=published with them"
        )
