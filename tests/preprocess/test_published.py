"""Selection of the published estimators, messages about missing files, and a run with all of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch

from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_labels
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.registry import make_estimators
from tests.preprocess.published import FAN_FILES, NORMALS, PARSING, RVM


@pytest.fixture
def options(spaced_dir, weights) -> PreprocessOptions:
    return PreprocessOptions(
        video=spaced_dir / "video.mp4",
        out_path=spaced_dir / "data",
        estimators="auto",
        weights=weights,
        scale=96,
        device="cpu",
        crop_to_head=False,
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
        UserError, match=r"model\.pth' does not fit: 'cp\.resnet\.conv1\.weight' is missing; place 79999"
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
