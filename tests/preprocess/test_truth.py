"""The truth beside a synthetic video comes through crop, pad and scale unharmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nha.core.conventions import Parsing, Segmentation
from nha.core.errors import UserError
from nha.data.dataset_folder import (
    DatasetFolder,
    read_keypoints,
    read_labels,
    read_normals,
    read_transforms,
    write_labels,
)
from nha.preprocess.crop import FrameTransform
from nha.preprocess.dataset_info import read_info
from nha.preprocess.pipeline import build_dataset


def test_at_the_videos_size_nothing_changes(truth_options):
    info = read_info(build_dataset(truth_options))
    assert info.estimators["normals"] == "truth"
    assert info.frames_without_face == [2]
    assert info.frames_without_iris == [1]
    truth, made = DatasetFolder(truth_options.video.parent / "truth"), DatasetFolder(truth_options.out_path)
    assert made.frame_ids() == [0, 1, 3]
    for frame_id in made.frame_ids():
        before, after = truth.paths(frame_id), made.paths(frame_id)
        expected, found = read_keypoints(before.keypoints), read_keypoints(after.keypoints)
        np.testing.assert_allclose(found.landmarks_px, expected.landmarks_px, atol=1e-5)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
        np.testing.assert_allclose(found.iris_px, expected.iris_px, atol=1e-5)
        assert (found.depth == 0).all()
        labels = read_labels(before.parsing)
        labels[labels == Parsing.HEADWEAR] = Parsing.HAIR
        np.testing.assert_array_equal(read_labels(after.parsing), labels)
        is_head = (labels != Parsing.BACKGROUND) & (labels != Parsing.CLOTH)
        np.testing.assert_array_equal(read_labels(after.segmentation) == Segmentation.HEAD, is_head)
        expected_normals = np.where(is_head[..., None], read_normals(before.normals), 0)
        np.testing.assert_allclose(read_normals(after.normals), expected_normals, atol=1 / 127)


def test_points_and_labels_take_part_in_square_and_scale(fakes, truth_options):
    square = replace(truth_options, force_square=True, scale=192)
    build_dataset(square)
    truth, made = DatasetFolder(truth_options.video.parent / "truth"), DatasetFolder(square.out_path)
    transform = FrameTransform.from_json(read_transforms(made.transforms))
    before, after = truth.paths(0), made.paths(0)
    back = fakes.points_to_video(transform, read_keypoints(after.keypoints).landmarks_px)
    np.testing.assert_allclose(back, read_keypoints(before.keypoints).landmarks_px, atol=1e-4)
    iris_back = fakes.points_to_video(transform, read_keypoints(after.keypoints).iris_px)
    np.testing.assert_allclose(iris_back, [[30, 30], [50, 31]], atol=1e-4)
    parsing = read_labels(after.parsing)
    assert parsing.shape == (192, 192)
    np.testing.assert_array_equal(parsing[24 + 2 * 20 : 24 + 2 * 50, 40:140], Parsing.SKIN)
    assert (parsing == Parsing.SKIN).sum() == 4 * 30 * 50


def test_a_video_without_truth_is_a_user_error(truth_options, tmp_path):
    alone = replace(truth_options, video=truth_options.video.rename(tmp_path / "alone.mp4"))
    with pytest.raises(UserError, match="no ground truth in"):
        build_dataset(alone)
    assert not alone.out_path.exists()


def test_truth_of_another_size_or_with_holes_is_a_user_error(truth_options):
    paths = DatasetFolder(truth_options.video.parent / "truth").paths(3)
    write_labels(paths.parsing, np.zeros((10, 10), np.uint8))
    with pytest.raises(UserError, match="do not belong together"):
        build_dataset(truth_options)
    assert not truth_options.out_path.exists()
    paths.parsing.unlink()
    with pytest.raises(UserError, match="parsing_0003"):
        build_dataset(truth_options)
    assert not truth_options.out_path.exists()
