"""Videos with the properties that cameras, phones and editors produce, from the file to the dataset.

A clip shows a white square on dark grey that moves to the right; the fake estimators detect it as a face. Number of
frames, size and position of the face in the upright image are checked.
"""

from __future__ import annotations

import itertools
import json
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nha.core.conventions import Parsing
from nha.core.errors import UserError
from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    read_keypoints,
    read_labels,
    read_rgb,
    read_transforms,
    write_keypoints,
    write_labels,
    write_normals,
)
from nha.data.video_io import VideoWriter, iterate_frames, video_info
from nha.preprocess.backends.mediapipe_parsing import MediapipeParsing
from nha.preprocess.crop import FrameTransform
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from tests.clips import break_off, claim_frames, encode, mark_quarter_turn

WHITE = (240, 240, 240)
N_FRAMES = 5


def walking(height: int = 72, width: int = 96, n_frames: int = N_FRAMES) -> list[np.ndarray]:
    """A white square of a quarter of the height, a third from the top, which walks to the right."""
    frames = np.full((n_frames, height, width, 3), 16, np.uint8)
    for i, image in enumerate(frames):
        x0, y0, side = square_at(i, height, width)
        image[y0 : y0 + side, x0 : x0 + side] = WHITE
    return list(frames)


def square_at(frame_id: int, height: int, width: int) -> tuple[int, int, int]:
    """Left, top and side of the square in pixels of the image as it is encoded."""
    return width // 10 + frame_id * width // 20, height // 3, min(height, width) // 4


def landscape(path: Path) -> Path:
    return encode(path.with_suffix(".mp4"), walking(), "rgb24", "libx264", "yuv420p")


def portrait(path: Path) -> Path:
    return encode(path.with_suffix(".mp4"), walking(128, 72), "rgb24", "libx264", "yuv420p")


def odd_size(path: Path) -> Path:
    return encode(path.with_suffix(".mkv"), walking(71, 97), "rgb24", "ffv1", "bgr0")


def one_frame(path: Path) -> Path:
    return encode(path.with_suffix(".mp4"), walking(n_frames=1), "rgb24", "libx264", "yuv420p")


def four_k(path: Path) -> Path:
    return encode(path.with_suffix(".mp4"), walking(2160, 3840, 2), "rgb24", "libx264", "yuv420p")


def variable_rate(path: Path) -> Path:
    times_ms = (0, 40, 55, 400, 401)
    return encode(path.with_suffix(".mkv"), walking(), "rgb24", "ffv1", "bgr0", times_ms)


def phone(path: Path) -> Path:
    turned = landscape(path)
    mark_quarter_turn(turned)
    return turned


def too_many_claimed(path: Path) -> Path:
    clip = encode(path.with_suffix(".avi"), walking(), "rgb24", "ffv1", "bgr0")
    claim_frames(clip, 1000)
    assert video_info(clip).claimed_frames == 1000
    return clip


def too_few_claimed(path: Path) -> Path:
    clip = encode(path.with_suffix(".avi"), walking(), "rgb24", "ffv1", "bgr0")
    claim_frames(clip, 2)
    assert video_info(clip).claimed_frames == 2
    return clip


def transparent(path: Path) -> Path:
    frames = [np.concatenate([rgb, np.full((72, 96, 1), 255, np.uint8)], axis=2) for rgb in walking()]
    return encode(path.with_suffix(".mov"), frames, "rgba", "png", "rgba")


def grey(path: Path) -> Path:
    return encode(path.with_suffix(".mkv"), [rgb[..., 0] for rgb in walking()], "gray", "ffv1", "gray")


def ten_bit(path: Path) -> Path:
    return encode(path.with_suffix(".mkv"), walking(), "rgb24", "ffv1", "yuv420p10le")


@pytest.mark.parametrize(
    ("make", "n_frames", "size"),
    [
        (landscape, N_FRAMES, (96, 72)),
        (portrait, N_FRAMES, (72, 128)),
        (odd_size, N_FRAMES, (97, 71)),
        (one_frame, 1, (96, 72)),
        (four_k, 2, (3840, 2160)),
        (variable_rate, N_FRAMES, (96, 72)),
        (too_many_claimed, N_FRAMES, (96, 72)),
        (too_few_claimed, N_FRAMES, (96, 72)),
        (transparent, N_FRAMES, (96, 72)),
        (grey, N_FRAMES, (96, 72)),
        (ten_bit, N_FRAMES, (96, 72)),
    ],
)
def test_the_face_is_found_where_it_is(fakes, spaced_dir, make: Callable, n_frames, size):
    out = make_dataset(fakes, make(spaced_dir / "clip"))
    width, height = size
    transform = FrameTransform.from_json(read_transforms(out.transforms))
    assert (transform.w_in, transform.h_in) == size
    assert max(transform.w_out, transform.h_out) == 96
    assert out.frame_ids() == list(range(n_frames))
    pixel = max(size) / 96  # one of the dataset's in the video's
    for frame_id in range(n_frames):
        x0, y0, side = square_at(frame_id, height, width)
        points = fakes.points_to_video(transform, read_keypoints(out.paths(frame_id).keypoints).landmarks_px)
        np.testing.assert_allclose(points.min(axis=0), (x0, y0), atol=1.5 * pixel + 0.05 * side)
        np.testing.assert_allclose(points.max(axis=0), (x0 + side, y0 + side), atol=1.5 * pixel + 0.05 * side)


def make_dataset(fakes, video: Path, **changes) -> DatasetFolder:
    options = PreprocessOptions(video=video, out_path=video.parent / "data", scale=96, crop_to_head=False)
    build_dataset(replace(options, **changes), fakes.fake_estimators())
    return DatasetFolder.open(options.out_path)


def test_rotation_metadata_is_applied(fakes, spaced_dir):
    out = make_dataset(fakes, phone(spaced_dir / "clip"))
    assert read_rgb(out.paths(0).image).shape == (96, 72, 3)
    x0, y0, side = square_at(2, 72, 96)
    points = read_keypoints(out.paths(2).keypoints).landmarks_px
    # A quarter turn clockwise: what was left is on top, what was on top is right.
    np.testing.assert_allclose(points.min(axis=0), (72 - y0 - side, x0), atol=2)


def test_a_truncated_video_gives_its_decodable_frames(fakes, spaced_dir, capsys):
    noise = np.random.default_rng(0).integers(0, 60, (20, 72, 96, 3), dtype=np.uint8)
    frames = [np.maximum(rgb, dark) for rgb, dark in zip(walking(n_frames=20), noise, strict=True)]
    clip = encode(spaced_dir / "clip.mkv", frames, "rgb24", "ffv1", "bgr0")
    break_off(clip, 0.5)
    ids = make_dataset(fakes, clip).frame_ids()
    assert ids == list(range(len(ids)))
    assert 5 <= len(ids) <= 15


def test_a_size_that_changes_midway_is_a_user_error(fakes, spaced_dir):
    def raw(height: int, width: int) -> bytes:
        path = spaced_dir / f"{width}.h264"
        return encode(path, walking(height, width), "rgb24", "libx264", "yuv420p").read_bytes()

    clip = spaced_dir / "clip.h264"
    clip.write_bytes(raw(72, 96) + raw(96, 128))
    with pytest.raises(UserError, match="changes its size at frame 5: cut it"):
        make_dataset(fakes, clip)
    assert not (spaced_dir / "data").exists()


@pytest.mark.parametrize("name", ["sound.wav", "folder"])
def test_what_is_no_video_is_a_user_error(fakes, spaced_dir, name):
    source = spaced_dir / name
    if name == "folder":
        source.mkdir()
    else:
        write_sound(source)
    with pytest.raises(UserError, match="no video in this file|not a video file") as caught:
        make_dataset(fakes, source)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert not (spaced_dir / "data").exists()


def write_sound(path: Path) -> None:
    """A second of silence."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def test_a_face_that_leaves_the_image(spaced_dir):
    """Landmarks outside of the image are kept, labels end at its border, and later there is no face."""
    height, width, n_frames = 72, 96, 8
    truth = DatasetFolder(spaced_dir / "truth")
    with VideoWriter(spaced_dir / "video.mp4") as writer:
        for i in range(n_frames):
            left = 20 + 12 * i
            labels = np.zeros((height, width), np.uint8)
            labels[20:50, left : left + 30] = Parsing.SKIN
            writer.write(np.where(labels[..., None] > 0, np.uint8(200), np.uint8(16)).repeat(3, axis=2))
            paths = truth.paths(i)
            write_labels(paths.parsing, labels)
            write_normals(paths.normals, np.where(labels[..., None] > 0, np.float32([0, 0, 1]), 0))
            if left < width:
                points = np.float32([[left, 20], [left + 30, 50]])[np.arange(68) % 2]
                write_keypoints(
                    paths.keypoints, Keypoints(points, np.zeros(68), np.ones(68), np.full((2, 2), -1.0))
                )
    options = PreprocessOptions(
        video=spaced_dir / "video.mp4",
        out_path=spaced_dir / "data",
        estimators="truth",
        scale=96,
        max_missing=0.2,
    )
    info = read_info(build_dataset(options))
    assert info.frames_without_face == [7]
    out = DatasetFolder.open(options.out_path)
    at_the_edge = out.paths(6)
    assert read_keypoints(at_the_edge.keypoints).landmarks_px[:, 0].max() == 20 + 12 * 6 + 30
    assert (read_labels(at_the_edge.parsing) > 0).sum() == 30 * 4
    cropped = replace(options, out_path=spaced_dir / "cropped", crop_to_head=True)
    build_dataset(cropped)
    box = json.loads((cropped.out_path / "transforms.json").read_text())
    assert box["crop_x"] >= 0
    assert box["crop_x"] + box["crop_w"] == width  # never beyond the video frame


# --- a real face, where the video is at hand ---------------------------------------------------------------


@pytest.fixture(scope="module")
def person(shared_dir) -> list[np.ndarray]:
    """Every fourth of the first frames of a portrait, 256 x 256."""
    pytest.importorskip("mediapipe", exc_type=ImportError)
    video = shared_dir / "video" / "portrait_a.mp4"
    if not video.is_file():
        pytest.skip("the portrait video is not there")
    frames = itertools.islice(iterate_frames(video), 0, 40, 4)
    return [cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA) for rgb in frames]


def annotate(folder: Path, frames: list[np.ndarray], **changes) -> tuple[dict, DatasetFolder]:
    with VideoWriter(folder / "clip.mp4") as writer:
        for rgb in frames:
            writer.write(rgb)
    options = PreprocessOptions(
        video=folder / "clip.mp4",
        out_path=folder / "data",
        estimators="mediapipe",
        scale=256,
        crop_to_head=False,
    )
    info = read_info(build_dataset(replace(options, **changes)))
    return vars(info), DatasetFolder.open(options.out_path)


@pytest.mark.parametrize(("n_done", "faceless"), [(1, ()), (6, (4,))])
def test_an_interrupted_run_remembers_earlier_frames(
    person, spaced_dir, contents, monkeypatch, n_done, faceless
):
    """The labels of a frame depend on the two before it, which the second run has not made itself."""
    frames = [np.full_like(rgb, 120) if i in faceless else rgb for i, rgb in enumerate(person)]
    for name in ("whole", "broken"):
        (spaced_dir / name).mkdir()
    annotate(spaced_dir / "whole", frames, max_missing=0.2)
    parsing, left = MediapipeParsing.parsing, [n_done]

    def interrupted(self, frame, face, matte):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return parsing(self, frame, face, matte)

    with monkeypatch.context() as patch:
        patch.setattr(MediapipeParsing, "parsing", interrupted)
        with pytest.raises(KeyboardInterrupt):
            annotate(spaced_dir / "broken", frames, max_missing=0.2)
    annotate(spaced_dir / "broken", frames, max_missing=0.2)
    assert contents(spaced_dir / "broken") == contents(spaced_dir / "whole")


def test_a_real_face_is_missing_in_some_frames(person, spaced_dir):
    frames = list(person)
    frames[4] = frames[5] = np.full_like(frames[0], 120)
    info, out = annotate(spaced_dir, frames, max_missing=0.2)
    assert info["frames_without_face"] == [4, 5]
    assert out.frame_ids() == [0, 1, 2, 3, 6, 7, 8, 9]
    distance = [
        np.linalg.norm(np.diff(read_keypoints(out.paths(i).keypoints).landmarks_px[[36, 45]], axis=0))
        for i in out.frame_ids()
    ]
    assert max(distance) < 1.2 * min(distance)  # found again, not elsewhere


def test_of_two_real_faces_the_larger_is_followed(person, spaced_dir):
    small = [cv2.resize(rgb, (192, 192), interpolation=cv2.INTER_AREA) for rgb in person]
    frames = [np.full((256, 448, 3), 120, np.uint8) for _ in person]
    for canvas, left, right in zip(frames, small, person, strict=True):
        canvas[64:, :192], canvas[:, 192:] = left[:, ::-1], right
    info, out = annotate(spaced_dir, frames, scale=448)
    assert len(info["frames_with_several_faces"]) >= len(frames) - 1
    for i in out.frame_ids():
        landmarks = read_keypoints(out.paths(i).keypoints).landmarks_px
        assert landmarks[:, 0].min() > 192
        labels = read_labels(out.paths(i).segmentation)
        assert (labels[:, :180] > 0).mean() < 0.01  # the other person belongs to the background


def test_a_real_face_leaves_the_image(person, spaced_dir):
    frames = []
    for i, rgb in enumerate(person):
        shifted = np.full_like(rgb, 120)
        shift = 26 * i
        shifted[:, shift:] = rgb[:, : 256 - shift]
        frames.append(shifted)
    info, out = annotate(spaced_dir, frames, max_missing=0.7)
    assert info["frames_without_face"] == list(
        range(len(out.frame_ids()), len(frames))
    )  # gone once and for all
    assert len(out.frame_ids()) >= 4
    for i in out.frame_ids():
        assert out.paths(i).missing() == []
        assert (read_labels(out.paths(i).segmentation) > 0).any()
