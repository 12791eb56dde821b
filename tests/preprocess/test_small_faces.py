"""Small, turned and covered faces of a real person, where the video is at hand, and the choice of the crop."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_rgb, read_transforms
from nha.data.splits import read_split
from nha.data.video_io import VideoWriter, iterate_frames
from nha.preprocess.backends.mediapipe_detection import _starts
from nha.preprocess.crop import plan_transform
from nha.preprocess.dataset_info import read_info
from nha.preprocess.estimators import Frame
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset


@pytest.fixture(scope="module")
def person(shared_dir) -> list[np.ndarray]:
    """Eight frames of a portrait, 512 x 512; the face is 190 pixels high."""
    pytest.importorskip("mediapipe", exc_type=ImportError)
    video = shared_dir / "video" / "portrait_a.mp4"
    if not video.is_file():
        pytest.skip("the portrait video is not there")
    return list(itertools.islice(iterate_frames(video, 4), 8))


def in_a_large_frame(image: np.ndarray, side: int, x: int, y: int) -> np.ndarray:
    """The image, scaled to a square, in a grey frame of 1920 x 1080."""
    frame = np.full((1080, 1920, 3), (120, 130, 140), np.uint8)
    frame[y : y + side, x : x + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return frame


def write(path: Path, frames: list[np.ndarray]) -> Path:
    with VideoWriter(path) as writer:
        for rgb in frames:
            writer.write(rgb)
    return path


@pytest.mark.parametrize("side", [320, 120])  # of the square with the person; its face is 0.37 of it
def test_a_small_face_is_found_at_the_resolution_of_the_video(person, side):
    from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks

    transform = plan_transform((1920, 1080), 512)
    large, small = MediapipeLandmarks(follow=False), MediapipeLandmarks()
    for i, rgb in enumerate(person[:4]):
        x, y = 1300 + 10 * i, 400
        video_frame = in_a_large_frame(rgb, side, x, y)
        (face,) = small.faces(Frame(i, transform.apply_to_rgb(video_frame), transform, video_frame))
        (expected,) = large.faces(Frame(i, rgb, plan_transform((512, 512), 512)))
        found = (face.landmarks_px / transform.scale - (x, y)) * 512 / side
        face_px = np.ptp(expected.landmarks_px, axis=0).max()
        assert np.abs(found - expected.landmarks_px).mean() < 0.015 * face_px
        assert face.mesh_px.shape == (478, 3)
    empty = np.full((1080, 1920, 3), 120, np.uint8)
    assert small.faces(Frame(9, transform.apply_to_rgb(empty), transform, empty)) == []
    large.close()
    small.close()


def test_a_distant_person_is_cropped_to(person, spaced_dir, caplog):
    """The face of 185 of 1080 pixels that was refused; it walks a little."""
    frames = [in_a_large_frame(rgb, 640, 1200 + 4 * i, 420) for i, rgb in enumerate(person)]
    options = PreprocessOptions(
        write(spaced_dir / "hall.mp4", frames), spaced_dir / "data", estimators="mediapipe", scale=192
    )
    build_dataset(options)
    info = read_info(options.out_path)
    assert info.frames_without_face == []
    assert "cropped to the head" in caplog.text
    transform = read_transforms(options.out_path / "transforms.json")
    assert max(transform["crop_w"], transform["crop_h"]) < 720
    folder = DatasetFolder.open(options.out_path)
    points = read_keypoints(folder.paths(3).keypoints).landmarks_px
    assert np.ptp(points[:, 1]) > 0.25 * 192  # 18 pixels without the crop
    assert read_rgb(folder.paths(3).image).shape[0] == 192


def test_upside_down_and_sideways_faces_are_named(person, spaced_dir):
    for quarters, message, degrees in (
        (1, "on their side", 270),
        (2, "upside down", 180),
        (3, "on their side", 90),
    ):
        frames = [np.ascontiguousarray(np.rot90(rgb, -quarters)) for rgb in person[:2]]
        video = write(spaced_dir / f"{quarters}.mp4", frames)
        options = PreprocessOptions(video, spaced_dir / f"data{quarters}", "mediapipe", scale=128)
        with pytest.raises(
            UserError, match=f"faces in {quarters}.mp4 .*{message}.*--rotate {degrees}"
        ) as caught:
            build_dataset(options)
        assert "\n" not in str(caught.value)
        assert not options.out_path.exists()
    build_dataset(replace(options, rotate=degrees))
    image = read_rgb(DatasetFolder.open(options.out_path).paths(0).image)
    upright = cv2.resize(person[0], image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - upright).mean() < 6


def test_a_covered_mouth_is_left_out_of_the_split(person, spaced_dir, caplog):
    frames = [cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA) for rgb in person * 2]
    for i in (5, 6):
        cv2.rectangle(frames[i], (60, 146), (170, 166), (150, 110, 95), -1)
        cv2.line(frames[i], (60, 156), (170, 156), (100, 70, 60), 2)
    options = PreprocessOptions(
        write(spaced_dir / "hand.mp4", frames), spaced_dir / "data", estimators="mediapipe", scale=256
    )
    info = read_info(build_dataset(options))
    assert info.frames_covered == [5, 6]
    assert not {5, 6} & set(read_split(options.out_path / "split.json").frame_ids())
    assert "something seems to cover the face" in caplog.text


# --- with squares for faces --------------------------------------------------------------------------------


def test_only_small_heads_are_cropped_to(fakes, spaced_dir):
    """A square of 20 pixels in a frame of 96 x 72 fills it with its margins; in 384 x 288 it is small."""
    for name, factor, is_cropped in (("near", 1, False), ("far", 4, True)):
        frames = [
            np.pad(rgb, ((0, 72 * (factor - 1)), (0, 96 * (factor - 1)), (0, 0)), constant_values=16)
            for rgb in fakes.walking_square(4)
        ]
        options = PreprocessOptions(
            fakes.write_video(spaced_dir / f"{name}.mp4", frames), spaced_dir / name, scale=192
        )
        build_dataset(options, fakes.fake_estimators())
        transform = read_transforms(options.out_path / "transforms.json")
        assert (transform["crop_w"] < transform["w_in"]) == is_cropped
        whole = replace(options, out_path=spaced_dir / f"{name} whole", crop_to_head=False)
        build_dataset(whole, fakes.fake_estimators())
        transform = read_transforms(whole.out_path / "transforms.json")
        assert transform["crop_w"] == transform["w_in"]
        build_dataset(
            replace(whole, crop_to_head="auto"), fakes.fake_estimators()
        )  # takes the crop that is there
        with pytest.raises(UserError, match="crop_to_head False instead of True"):
            build_dataset(replace(whole, crop_to_head=True), fakes.fake_estimators())


@pytest.mark.parametrize(("length", "side"), [(1920, 960), (1080, 480), (500, 500), (300, 400), (1001, 250)])
def test_tiles_cover_the_frame_and_overlap_by_half(length, side):
    starts = _starts(length, side)
    assert starts[0] == 0
    assert starts[-1] + side >= length
    assert all(b - a <= side / 2 + 1 for a, b in itertools.pairwise(starts))
