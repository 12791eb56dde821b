"""The truth beside a synthetic video comes through crop, pad and scale unharmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nha.core.conventions import Parsing, Segmentation
from nha.core.errors import UserError
from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    read_keypoints,
    read_labels,
    read_normals,
    read_transforms,
    write_keypoints,
    write_labels,
    write_normals,
)
from nha.preprocess.crop import FrameTransform
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset

N_FRAMES = 4


@pytest.fixture
def options(spaced_dir, fakes) -> PreprocessOptions:
    """A video of 96 x 72 with truth beside it; frame 2 has no face and the irises of frame 1 are hidden."""
    video = fakes.write_video(spaced_dir / "video.mp4", fakes.walking_square(N_FRAMES))
    truth = DatasetFolder(spaced_dir / "truth")
    rng = np.random.default_rng(0)
    for frame_id in range(N_FRAMES):
        paths = truth.paths(frame_id)
        labels = np.zeros((fakes.HEIGHT, fakes.WIDTH), np.uint8)
        labels[10:60, 20:70] = Parsing.SKIN
        labels[10:20, 20:70] = Parsing.HEADWEAR
        labels[50:60, 20:70] = Parsing.CLOTH
        write_labels(paths.parsing, labels)
        write_normals(paths.normals, np.where(labels[..., None] > 0, np.float32([0, 0.6, 0.8]), 0))
        landmarks = rng.uniform(20, 60, (68, 2)).astype(np.float32)
        irises = np.float32([[30, 30], [50, 31]]) if frame_id != 1 else np.full((2, 2), -1, np.float32)
        if frame_id != 2:
            confidence = rng.random(68).astype(np.float32)
            write_keypoints(
                paths.keypoints, Keypoints(landmarks, np.full(68, 7, np.float32), confidence, irises)
            )
    return PreprocessOptions(
        video=video, out_path=spaced_dir / "data", estimators="truth", scale=96, max_missing=0.5
    )


def test_at_the_videos_size_nothing_changes(options):
    info = read_info(build_dataset(options))
    assert info.estimators["normals"] == "truth"
    assert info.frames_without_face == [2]
    assert info.frames_without_iris == [1]
    truth, made = DatasetFolder(options.video.parent / "truth"), DatasetFolder(options.out_path)
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


def test_points_and_labels_take_part_in_square_and_scale(fakes, options):
    square = replace(options, force_square=True, scale=192)
    build_dataset(square)
    truth, made = DatasetFolder(options.video.parent / "truth"), DatasetFolder(square.out_path)
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


def test_a_video_without_truth_is_a_user_error(options, tmp_path):
    alone = replace(options, video=options.video.rename(tmp_path / "alone.mp4"))
    with pytest.raises(UserError, match="no ground truth in"):
        build_dataset(alone)
    assert not alone.out_path.exists()


def test_truth_of_another_size_or_with_holes_is_a_user_error(options):
    paths = DatasetFolder(options.video.parent / "truth").paths(3)
    write_labels(paths.parsing, np.zeros((10, 10), np.uint8))
    with pytest.raises(UserError, match="do not belong together"):
        build_dataset(options)
    assert not options.out_path.exists()
    paths.parsing.unlink()
    with pytest.raises(UserError, match="parsing_0003"):
        build_dataset(options)
    assert not options.out_path.exists()
