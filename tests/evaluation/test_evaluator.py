"""Evaluation of an untrained avatar on a dataset that the avatar itself has drawn: the scores are perfect."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from markupsafe import escape

from nha.avatar.open import save_avatar
from nha.core.conventions import Parsing, Segmentation
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, read_labels, read_rgb, write_labels, write_rgb
from nha.data.frame_dataset import FrameSplits
from nha.data.splits import Split, write_split
from nha.data.tracking_file import write_tracking
from nha.data.video_io import iterate_frames
from nha.evaluation.comparison import telling_frames
from nha.evaluation.evaluator import FrameScores, evaluate, means
from nha.evaluation.run import REPORT_FILE, SCORES_FILE, evaluate_avatar
from nha.evaluation.settings import EvaluationSettings
from nha.evaluation.surface_errors import SurfaceErrors
from tests.evaluation.conftest import FRAMES, SIZE, make_tracking


def test_an_avatar_that_drew_the_pictures_is_perfect(avatar, settings):
    seen = []
    scores = evaluate(
        avatar,
        FrameSplits(settings),
        batch_size=3,
        also=lambda part, drawn: seen.append((part, len(drawn.batch))),
    )
    assert [(s.frame_id, s.part) for s in scores] == [
        (0, "train"),
        (1, "train"),
        (2, "train"),
        (3, "held_out"),
    ]
    assert seen == [("train", 3), ("held_out", 1)]
    for score in scores:
        assert score.scores["head_psnr"] > 50  # what rounding to 8 bits costs
        assert score.scores["ssim"] > 0.999
        assert score.scores["silhouette_iou"] == 1
        assert "ms_ssim" not in score.scores


def test_a_hole_in_the_prediction_costs_inside_the_mask_but_not_where_covered(avatar, settings):
    data = FrameSplits(settings)
    clean = evaluate(avatar, data, ("held_out",))[0].scores
    folder = DatasetFolder(settings.data_path)
    paths = folder.paths(3)
    segmentation, rgb = read_labels(paths.segmentation), read_rgb(paths.image)
    background = np.argwhere(segmentation == 0)[:40]
    segmentation[tuple(background.T)] = Segmentation.HEAD
    rgb[tuple(background.T)] = 0  # black hair where the avatar draws nothing
    write_labels(paths.segmentation, segmentation)
    write_rgb(paths.image, rgb)
    spoiled = evaluate(avatar, FrameSplits(settings), ("held_out",))[0].scores
    assert spoiled["covered_psnr"] == pytest.approx(clean["covered_psnr"])
    assert spoiled["head_psnr"] < 25
    assert spoiled["silhouette_iou"] < 1


def test_clothes_count_as_white_background(avatar, settings):
    paths = DatasetFolder(settings.data_path).paths(3)
    segmentation, rgb = read_labels(paths.segmentation), read_rgb(paths.image)
    rgb[segmentation == 0] = 77
    segmentation[segmentation == 0] = Segmentation.CLOTHES
    write_labels(paths.segmentation, segmentation)
    write_rgb(paths.image, rgb)
    assert evaluate(avatar, FrameSplits(settings), ("held_out",))[0].scores["psnr"] > 50


def test_means_leave_out_what_is_not_a_number():
    frames = [FrameScores(i, "train", {"psnr": value}) for i, value in enumerate((20.0, 30.0, float("nan")))]
    assert means(frames) == {"train": {"psnr": 25.0}}


def test_telling_frames_are_worst_median_best_and_the_worst_mouth():
    frames = [
        FrameScores(i, "train", {"head_psnr": value}) for i, value in enumerate((25.0, 21.0, 30.0, 27.0))
    ]
    captions = telling_frames(frames, "train")
    assert list(captions) == [1, 3, 2]
    assert captions[1].startswith("worst train frame, 21.0 dB")
    for frame, mouth in zip(frames, (12.0, 14.0, float("nan"), 13.0), strict=True):
        frame.scores["mouth_psnr"] = mouth
    assert telling_frames(frames, "train")[0] == "worst train frame, 12.0 dB at the mouth"
    frames[1].scores["mouth_psnr"] = 11.0
    both = "worst train frame, 21.0 dB inside the head mask; also worst, 11.0 dB at the mouth"
    assert telling_frames(frames, "train")[1] == both
    assert list(telling_frames(frames[:1], "train")) == [0]
    assert telling_frames(frames, "held_out") == {}


def test_regions_and_sharpness_are_scored(avatar, settings):
    folder = DatasetFolder(settings.data_path)
    for i in FRAMES:
        parsing = np.full(SIZE, Parsing.SKIN, np.uint8)
        parsing[:20] = Parsing.HAIR
        write_labels(folder.paths(i).parsing, parsing)
    rgb = read_rgb(folder.paths(3).image)
    rgb[:20] = np.clip(rgb[:20].astype(int) + 60, 0, 255)  # lighter hair than the avatar's
    write_rgb(folder.paths(3).image, rgb)
    clean, spoiled = (s.scores for s in evaluate(avatar, FrameSplits(settings))[2:])
    assert clean["hair_psnr"] > 50
    assert spoiled["hair_psnr"] < 20
    assert spoiled["face_psnr"] > 50
    assert np.isnan(spoiled["mouth_psnr"])
    assert clean["cpbd"] == pytest.approx(clean["true_cpbd"], abs=0.05)


def test_errors_are_gathered_where_they_lie_on_the_surface(avatar, settings):
    folder = DatasetFolder(settings.data_path)
    rgb = read_rgb(folder.paths(3).image)
    rgb[:, : SIZE[1] // 2] //= 2  # the picture's left half, the person's right, is wrong
    write_rgb(folder.paths(3).image, rgb)
    errors = SurfaceErrors(avatar)
    evaluate(avatar, FrameSplits(settings), ("held_out",), also=errors.add)
    mean = errors.mean()
    assert mean.isnan().any()  # the back of the head
    x = avatar.head.template_normed[:, 0]  # grows to the person's left
    seen = mean.isfinite()
    assert mean[seen & (x < -0.3)].mean() > 10 * mean[seen & (x > 0.5)].mean()


def test_evaluation_writes_scores_films_and_report(checkpoint, settings, spaced_dir):
    out, table = evaluate_avatar(
        EvaluationSettings(ckpt=[checkpoint], out=spaced_dir / "eval", turntable=8, data=settings)
    )
    content = json.loads((out / SCORES_FILE).read_text())
    assert [frame["frame"] for frame in content["frames"]] == [0, 1, 2, 3]
    assert content["mean"]["held_out"]["head_psnr"] > 50
    assert content["metrics_absent"].keys() | content["metrics_by"].keys() == {"lpips", "landmark_px"}
    assert "head_psnr" in table
    assert "held-out (1)" in table
    films = {path.name: len(list(iterate_frames(path))) for path in out.glob("*.mp4")}
    assert films == {"comparison.mp4": 4, "novel_views.mp4": 4, "turntable.mp4": 8}
    page = (out / REPORT_FILE).read_text()
    assert "worst train frame" in page
    assert page.count("data:image/png") >= 6
    assert "ms_ssim is not computed: it needs pictures of at least 176 pixels" in page
    for name, reason in content["metrics_absent"].items():
        assert escape(f"{name} is not computed: {reason}") in page
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_several_avatars_are_compared(checkpoint, avatar, assets, settings, tmp_path):
    with torch.no_grad():
        avatar.texture_net.static_head.bias += 0.3  # the second one has other colours
    other = save_avatar(tmp_path / "other" / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    options = EvaluationSettings(
        ckpt=[checkpoint, other],
        out=tmp_path / "both",
        novel_views=[],
        turntable=0,
        split="val",
        data=settings,
    )
    out, table = evaluate_avatar(options)
    names = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert len(names) == 2
    scores = [json.loads((out / name / SCORES_FILE).read_text()) for name in names]
    psnr = {s["checkpoint"]: s["mean"]["held_out"]["head_psnr"] for s in scores}
    assert psnr[str(checkpoint)] > 50 > 30 > psnr[str(other)]
    assert f"{psnr[str(other)]:.4f}" in table
    page = (out / REPORT_FILE).read_text()
    assert "Frame by frame" in page
    assert all(f"{name}: held-out (1)" in page for name in names)


def test_another_videos_tracking_file_is_doubted(checkpoint, head, settings, tmp_path, caplog):
    options = EvaluationSettings(
        ckpt=[checkpoint], out=tmp_path / "o", novel_views=[], turntable=0, data=settings
    )
    evaluate_avatar(options)
    assert "overlap by" not in caplog.text
    elsewhere = make_tracking(head, FRAMES)
    elsewhere.translation[:, 0] += 0.1
    write_tracking(tmp_path / "other.npz", elsewhere)
    data = dataclasses.replace(settings, tracking_results_path=tmp_path / "other.npz")
    out, _ = evaluate_avatar(dataclasses.replace(options, data=data))
    assert "is the tracking file of this dataset" in caplog.text
    assert "is the tracking file of this dataset" in (out / REPORT_FILE).read_text()


def test_lists_that_do_not_fit_are_errors(checkpoint, settings, tmp_path):
    good = EvaluationSettings(ckpt=[checkpoint], out=tmp_path / "o", data=settings)
    for changes, message in (
        ({"ckpt": []}, "names no checkpoint"),
        ({"ckpt": [checkpoint, checkpoint]}, "named twice"),
        ({"further_tracking_results": [tmp_path]}, "1 files for 0 further"),
        ({"turntable": -1}, "must not be negative"),
        ({"frame_rate": 0.0}, "frame_rate"),
        ({"batch_size": 0}, "batch_size"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_avatar(dataclasses.replace(good, **changes))


def test_an_empty_part_is_an_error(checkpoint, settings, tmp_path):
    write_split(settings.split_config, Split(FRAMES, ()))
    with pytest.raises(UserError, match="no frame to evaluate"):
        evaluate_avatar(EvaluationSettings(ckpt=[checkpoint], out=tmp_path / "o", split="val", data=settings))
