"""Scores of an untrained avatar on a dataset whose images the avatar has rendered."""

from __future__ import annotations

import numpy as np
import pytest

from nha.core.conventions import Parsing, Segmentation
from nha.data.dataset_folder import DatasetFolder, read_labels, read_rgb, write_labels, write_rgb
from nha.data.frame_dataset import FrameSplits
from nha.evaluation.comparison import representative_frames
from nha.evaluation.rendered_frames import PARTS, render_dataset
from nha.evaluation.scores import FrameScores, means, score_frames
from nha.evaluation.surface_errors import SurfaceErrors
from tests.evaluation.conftest import FRAMES, SIZE


def evaluate(avatar, data: FrameSplits, parts=PARTS) -> list[FrameScores]:
    return [
        score for part, frames in render_dataset(avatar, data, parts) for score in score_frames(part, frames)
    ]


def test_scores_of_an_avatar_that_rendered_the_dataset_are_perfect(avatar, settings):
    rendered = list(render_dataset(avatar, FrameSplits(settings), batch_size=3))
    assert [(part, len(frames.batch)) for part, frames in rendered] == [("train", 3), ("held_out", 1)]
    scores = [score for part, frames in rendered for score in score_frames(part, frames)]
    ids = [(score.frame_id, score.part) for score in scores]
    assert ids == [(0, "train"), (1, "train"), (2, "train"), (3, "held_out")]
    for score in scores:
        assert score.scores["head_psnr"] > 50  # the error of rounding to 8 bits
        assert score.scores["ssim"] > 0.999
        assert score.scores["silhouette_iou"] == 1
        assert "ms_ssim" not in score.scores


def test_a_hole_in_the_prediction_lowers_head_psnr_but_not_covered_psnr(avatar, settings):
    data = FrameSplits(settings)
    clean = evaluate(avatar, data, ("held_out",))[0].scores
    folder = DatasetFolder(settings.data_path)
    paths = folder.paths(3)
    segmentation, rgb = read_labels(paths.segmentation), read_rgb(paths.image)
    background = np.argwhere(segmentation == 0)[:40]
    segmentation[tuple(background.T)] = Segmentation.HEAD
    rgb[tuple(background.T)] = 0  # black hair where the avatar covers nothing
    write_labels(paths.segmentation, segmentation)
    write_rgb(paths.image, rgb)
    spoiled = evaluate(avatar, FrameSplits(settings), ("held_out",))[0].scores
    assert spoiled["covered_psnr"] == pytest.approx(clean["covered_psnr"])
    assert spoiled["head_psnr"] < 25
    assert spoiled["silhouette_iou"] < 1


def test_clothes_are_white_background(avatar, settings):
    paths = DatasetFolder(settings.data_path).paths(3)
    segmentation, rgb = read_labels(paths.segmentation), read_rgb(paths.image)
    rgb[segmentation == 0] = 77
    segmentation[segmentation == 0] = Segmentation.CLOTHES
    write_labels(paths.segmentation, segmentation)
    write_rgb(paths.image, rgb)
    assert evaluate(avatar, FrameSplits(settings), ("held_out",))[0].scores["psnr"] > 50


def test_means_leave_out_nan():
    frames = [FrameScores(i, "train", {"psnr": value}) for i, value in enumerate((20.0, 30.0, float("nan")))]
    assert means(frames) == {"train": {"psnr": 25.0}}


def test_representative_frames_are_worst_median_best_and_worst_mouth():
    frames = [
        FrameScores(i, "train", {"head_psnr": value}) for i, value in enumerate((25.0, 21.0, 30.0, 27.0))
    ]
    captions = representative_frames(frames, "train")
    assert list(captions) == [1, 3, 2]
    assert captions[1].startswith("worst train frame, 21.0 dB")
    for frame, mouth in zip(frames, (12.0, 14.0, float("nan"), 13.0), strict=True):
        frame.scores["mouth_psnr"] = mouth
    assert representative_frames(frames, "train")[0] == "worst train frame, 12.0 dB at the mouth"
    frames[1].scores["mouth_psnr"] = 11.0
    both = "worst train frame, 21.0 dB inside the head mask; also worst, 11.0 dB at the mouth"
    assert representative_frames(frames, "train")[1] == both
    assert list(representative_frames(frames[:1], "train")) == [0]
    assert representative_frames(frames, "held_out") == {}


def test_regions_and_sharpness_are_scored(avatar, settings):
    folder = DatasetFolder(settings.data_path)
    for i in FRAMES:
        parsing = np.full(SIZE, Parsing.SKIN, np.uint8)
        parsing[:20] = Parsing.HAIR
        write_labels(folder.paths(i).parsing, parsing)
    rgb = read_rgb(folder.paths(3).image)
    rgb[:20] = np.clip(rgb[:20].astype(int) + 60, 0, 255)  # lighter hair than that of the avatar
    write_rgb(folder.paths(3).image, rgb)
    clean, spoiled = (s.scores for s in evaluate(avatar, FrameSplits(settings))[2:])
    assert clean["hair_psnr"] > 50
    assert spoiled["hair_psnr"] < 20
    assert spoiled["face_psnr"] > 50
    assert np.isnan(spoiled["mouth_psnr"])
    assert clean["cpbd"] == pytest.approx(clean["true_cpbd"], abs=0.05)


def test_surface_errors_are_located_on_the_surface(avatar, settings):
    folder = DatasetFolder(settings.data_path)
    rgb = read_rgb(folder.paths(3).image)
    rgb[:, : SIZE[1] // 2] //= 2  # an error in the left half of the image, the person's right
    write_rgb(folder.paths(3).image, rgb)
    errors = SurfaceErrors(avatar)
    for _, frames in render_dataset(avatar, FrameSplits(settings), ("held_out",)):
        errors.add(frames)
    mean = errors.mean()
    assert mean.isnan().any()  # the back of the head
    x = avatar.head.template_normed[:, 0]  # positive on the person's left
    seen = mean.isfinite()
    assert mean[seen & (x < -0.3)].mean() > 10 * mean[seen & (x > 0.5)].mean()
