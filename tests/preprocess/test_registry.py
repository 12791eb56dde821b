"""Selection of estimators: combinations, single choices, and estimators added from outside the package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, read_labels
from nha.preprocess.dataset_info import read_info
from nha.preprocess.estimators import MattingEstimator
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.preprocess.registry import COMBINATIONS, ESTIMATORS, Registration, make_estimators, parse_selection


def test_every_registered_estimator_loads_and_implements_its_annotation():
    for annotation, method in (
        ("landmarks", "faces"),
        ("iris", "irises"),
        ("matting", "matte"),
        ("parsing", "parsing"),
        ("normals", "normals"),
    ):
        for name, row in ESTIMATORS[annotation].items():
            assert callable(getattr(row.load(), method)), (annotation, name)
    for combination in set(COMBINATIONS) - {"auto"}:
        assert all(name in ESTIMATORS[a] for a, name in COMBINATIONS[combination].items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", dict.fromkeys(ESTIMATORS, "auto")),
        ("published", {**dict.fromkeys(ESTIMATORS, "published"), "iris": "mediapipe"}),
        ("mediapipe,normals=published", {**dict.fromkeys(ESTIMATORS, "mediapipe"), "normals": "published"}),
        ("matting=truth, iris=truth", {**COMBINATIONS["auto"], "matting": "truth", "iris": "truth"}),
    ],
)
def test_selections(text, expected):
    assert parse_selection(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mediapie", "'mediapie' is not one of auto, mediapipe, published, truth"),
        ("normals=published,mediapipe", "'mediapipe' is not one of .*ANNOTATION=NAME"),
        (
            "mediapipe,hands=published",
            "no annotation 'hands'; use landmarks, iris, matting, parsing, normals",
        ),
        ("iris=published", "no iris=published; use auto, mediapipe, truth"),
    ],
)
def test_unknown_selections_are_refused(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        PreprocessOptions(tmp_path / "video", tmp_path / "out", estimators=text).check()


def test_an_estimator_from_outside_the_package(truth_options, monkeypatch):
    class Everything(MattingEstimator):
        name = "everything is foreground"

        def matte(self, frame):
            return np.ones(frame.rgb.shape[:2], np.float32)

    monkeypatch.setitem(ESTIMATORS["matting"], "everything", Registration(Everything))
    out = build_dataset(
        PreprocessOptions(
            truth_options.video, truth_options.out_path, "truth,matting=everything", max_missing=0.5
        )
    )

    assert read_info(out).estimators == {**dict.fromkeys(ESTIMATORS, "truth"), "matting": Everything.name}
    assert (read_labels(DatasetFolder(out).paths(0).parsing) > 0).any()


def test_estimators_that_need_a_mesh_need_landmarks_with_one(truth_options):
    mixed = PreprocessOptions(
        truth_options.video, truth_options.out_path, "truth,parsing=mediapipe,normals=mediapipe"
    )
    with pytest.raises(UserError, match="of parsing, normals need a face mesh.*landmarks=mediapipe"):
        make_estimators(mixed)


def test_options_are_checked_without_loading_heavy_packages():
    code = (
        "import sys; from nha.preprocess.options import PreprocessOptions as P;"
        "P('v', 'o', estimators='mediapipe,normals=published').check();"
        "print(*{'torch', 'cv2', 'av', 'numpy', 'mediapipe', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
