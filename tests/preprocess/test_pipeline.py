"""From video to dataset with estimators that cannot err: steps, resuming, missing and several faces, bad input."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nha.core.conventions import Parsing, Segmentation
from nha.core.errors import UserError
from nha.data.dataset_folder import (
    DatasetFolder,
    read_keypoints,
    read_labels,
    read_normals,
    read_rgb,
    write_rgb,
)
from nha.data.video_io import video_info
from nha.preprocess import resume
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.preprocess.steps import QUEUED_FRAMES

N_FRAMES = 6


@pytest.fixture
def options(spaced_dir: Path, fakes) -> PreprocessOptions:
    video = fakes.write_video(spaced_dir / "my video.mp4", fakes.walking_square(N_FRAMES))
    return PreprocessOptions(video=video, out_path=spaced_dir / "data set", scale=96, crop_to_head=False)


def test_a_run_writes_the_whole_layout(fakes, options):
    info = read_info(build_dataset(options, fakes.fake_estimators()))
    folder = DatasetFolder.open(options.out_path)
    assert folder.frame_ids() == list(range(N_FRAMES))
    assert all(folder.paths(i).missing() == [] for i in range(N_FRAMES))
    assert sorted(path.name for path in options.out_path.iterdir() if not path.name.startswith("frame_")) == [
        ".manifest.jsonl",
        "dataset.mp4",
        "dataset_info.json",
        "split.json",
        "transforms.json",
    ]
    split = json.loads((options.out_path / "split.json").read_text())
    assert split == {"train": [0, 1, 2, 3, 4], "val": [5]}
    assert info.finished
    assert info.estimators["parsing"] == "fake parsing"
    assert info.frames_without_iris == [3]
    overview = video_info(options.out_path / "dataset.mp4")
    assert (overview.width, overview.height) == (5 * 96, 72)


def test_every_nth_frame_keeps_its_number_also_in_a_resumed_run(fakes, options, contents):
    thinned = replace(options, every=2, max_frames=2)
    info = read_info(build_dataset(thinned, fakes.fake_estimators(sequential=True)))
    folder = DatasetFolder.open(thinned.out_path)
    assert folder.frame_ids() == [0, 2]
    assert (info.n_frames, info.ids_with_face()) == (2, [0, 2])
    left = [read_keypoints(folder.paths(i).keypoints).landmarks_px[:, 0].min() for i in (0, 2)]
    assert left[1] - left[0] == pytest.approx(8, abs=0.1)  # the square moves by four pixels a frame
    whole = contents(thinned.out_path)
    folder.paths(2).normals.unlink()
    build_dataset(thinned, fakes.fake_estimators(sequential=True))
    assert contents(thinned.out_path) == whole
    with pytest.raises(UserError, match="every 2 instead of 3"):
        build_dataset(replace(thinned, every=3), fakes.fake_estimators())


def test_the_overview_fits_a_screen(fakes, options):
    build_dataset(replace(options, scale=512, max_frames=1), fakes.fake_estimators())
    overview = video_info(options.out_path / "dataset.mp4")
    assert (overview.width, overview.height) == (1920, 288)  # of five times 512 x 384


def test_annotations_follow_the_estimators_and_the_rules(fakes, options):
    build_dataset(options, fakes.fake_estimators())
    paths = DatasetFolder(options.out_path).paths(2)
    rgb, keypoints = read_rgb(paths.image), read_keypoints(paths.keypoints)
    on_square = rgb.max(axis=2) > 130
    np.testing.assert_allclose(keypoints.landmarks_px.min(axis=0), (16, 26), atol=1.5)
    np.testing.assert_allclose(keypoints.iris_px[1] - keypoints.iris_px[0], (6, 0), atol=1e-4)
    assert (
        read_keypoints(DatasetFolder(options.out_path).paths(3).keypoints).iris_px.tolist() == [[-1, -1]] * 2
    )
    parsing, segmentation = read_labels(paths.parsing), read_labels(paths.segmentation)
    assert set(np.unique(parsing)) == {Parsing.BACKGROUND, Parsing.SKIN, Parsing.CLOTH, Parsing.HAIR}
    np.testing.assert_array_equal(parsing == Parsing.BACKGROUND, ~on_square)
    expected = np.isin(parsing, (Parsing.SKIN, Parsing.HAIR)) * np.uint8(Segmentation.HEAD)
    np.testing.assert_array_equal(segmentation, expected)
    normals = read_normals(paths.normals)
    np.testing.assert_allclose(normals[segmentation > 0].mean(axis=0), (0.6, 0, 0.8), atol=0.01)
    assert np.abs(normals[segmentation == 0]).max() == 0


class Interrupting:
    """Passes calls of one method of an estimator on, until it is interrupted."""

    def __init__(self, estimator, method: str, after: int) -> None:
        self._estimator, self._method, self._left = estimator, method, after

    def __getattr__(self, name):
        if name == self._method:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
        return getattr(self._estimator, name)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("annotation", "method"),
    [
        ("landmarks", "faces"),
        ("iris", "irises"),
        ("matting", "matte"),
        ("parsing", "parsing"),
        ("normals", "normals"),
    ],
)
def test_an_interrupted_run_continues_to_the_same_bytes(
    fakes, options, contents, annotation, method, sequential
):
    whole = replace(options, out_path=options.out_path.with_name("whole"))
    build_dataset(whole, fakes.fake_estimators(sequential))

    estimators = fakes.fake_estimators(sequential)
    broken = replace(
        estimators, **{annotation: Interrupting(getattr(estimators, annotation), method, after=3)}
    )
    with pytest.raises(KeyboardInterrupt):
        build_dataset(options, broken)
    (options.out_path / "frame_0001" / ".image_0001.123.abcd.part.png").write_bytes(b"half")
    continued = fakes.fake_estimators(sequential)
    build_dataset(options, continued)

    assert contents(options.out_path) == contents(whole.out_path)
    if annotation == "landmarks":
        assert continued.landmarks.seen == list(range(0 if sequential else 3, N_FRAMES))


def test_the_length_of_a_video_changes_nothing_in_what_is_held(fakes, options):
    """Number of images in memory while a matte is estimated: the same for a long and a short video."""

    class Watching(fakes.FakeMatting):
        def __init__(self) -> None:
            super().__init__(sequential=True)
            self.images: list[weakref.ref] = []
            self.most_alive = 0

        def matte(self, frame):
            self.images.append(weakref.ref(frame.rgb))
            self.most_alive = max(self.most_alive, sum(ref() is not None for ref in self.images))
            return super().matte(frame)

    for n_frames in (30, 150):
        clip = [fakes.draw_frame((8 + i % 60, 24, fakes.RED)) for i in range(n_frames)]
        video = fakes.write_video(options.video.with_name(f"{n_frames}.mp4"), clip)
        watching = Watching()
        out = options.out_path.with_name(f"out {n_frames}")
        build_dataset(
            replace(options, video=video, out_path=out), replace(fakes.fake_estimators(), matting=watching)
        )
        assert len(watching.images) == n_frames
        # three queues behind it, and in each of the four stages one in work and one that waits for room
        assert watching.most_alive <= 3 * QUEUED_FRAMES + 4 * 2


def test_a_run_killed_while_decoding_continues(fakes, options, contents, monkeypatch):
    whole = replace(options, out_path=options.out_path.with_name("whole"))
    build_dataset(whole, fakes.fake_estimators())
    written = []

    def failing_write(path, rgb):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_rgb(path, rgb)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "write_rgb", failing_write)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(options, fakes.fake_estimators())
    build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path) == contents(whole.out_path)


def test_a_finished_dataset_is_left_alone_and_a_damaged_one_repaired(fakes, options, contents):
    frames = fakes.walking_square(11, faceless=(4,))
    fakes.write_video(options.video, frames)
    build_dataset(options, fakes.fake_estimators())
    before = contents(options.out_path)
    idle = fakes.fake_estimators()
    build_dataset(options, idle)
    assert idle.landmarks.seen == []
    for name in ("frame_0001/parsing_0001.png", "frame_0002/image_0002.png", "dataset.mp4"):
        (options.out_path / name).unlink()
    build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path) == before


def test_frames_without_a_face_are_put_aside(fakes, options):
    fakes.write_video(options.video, fakes.walking_square(11, faceless=(4,)))
    info = read_info(build_dataset(options, fakes.fake_estimators()))
    assert info.frames_without_face == [4]
    folder = DatasetFolder(options.out_path)
    assert 4 not in folder.frame_ids()
    assert (options.out_path / "frames_without_face" / "frame_0004" / "image_0004.png").is_file()
    split = json.loads((options.out_path / "split.json").read_text())
    assert split == {"train": [0, 1, 2, 3, 5, 6, 7, 8], "val": [9, 10]}


@pytest.mark.parametrize(
    ("faceless", "message"),
    [((1, 4), r"no face in 2 of 6 frames \(1, 4\).*max_missing 0.1"), (range(6), "no face was found in any")],
)
def test_too_few_faces_stop_the_run_and_leave_nothing(fakes, options, faceless, message):
    fakes.write_video(options.video, fakes.walking_square(N_FRAMES, faceless=tuple(faceless)))
    with pytest.raises(UserError, match=message) as caught:
        build_dataset(options, fakes.fake_estimators())
    assert "\n" not in str(caught.value)
    assert not options.out_path.exists()


def test_max_missing_is_a_choice(fakes, options):
    fakes.write_video(options.video, fakes.walking_square(N_FRAMES, faceless=(1, 4)))
    info = read_info(build_dataset(replace(options, max_missing=0.5), fakes.fake_estimators()))
    assert info.frames_without_face == [1, 4]


def test_an_empty_folder_of_the_user_survives_a_failed_run(fakes, options, contents):
    options.out_path.mkdir()
    (options.out_path / "notes.txt").write_text("mine")
    fakes.write_video(options.video, fakes.walking_square(N_FRAMES, faceless=tuple(range(6))))
    with pytest.raises(UserError):
        build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path).keys() == {"notes.txt"}


def test_of_several_faces_the_nearest_to_the_last_is_followed(fakes, options, capsys):
    small = fakes.draw_frame((10, 30, fakes.RED))
    small[30:50, 10:30] = 16
    small[32:46, 12:26] = fakes.RED  # smaller than the other person
    frames = [
        fakes.draw_frame((10, 30, fakes.RED)),
        fakes.draw_frame((14, 30, fakes.RED), (70, 30, fakes.BLUE)),
        np.maximum(small, fakes.draw_frame((70, 30, fakes.BLUE))),
    ]
    fakes.write_video(options.video, frames)
    info = read_info(build_dataset(options, fakes.fake_estimators()))
    assert info.frames_with_several_faces == [1, 2]
    folder = DatasetFolder(options.out_path)
    assert all(read_keypoints(folder.paths(i).keypoints).landmarks_px[:, 0].max() < 40 for i in range(3))

    alone = replace(options, out_path=options.out_path.with_name("largest first"))
    fakes.write_video(alone.video, frames[2:])
    build_dataset(alone, fakes.fake_estimators())
    landmarks = read_keypoints(DatasetFolder(alone.out_path).paths(0).keypoints).landmarks_px
    assert landmarks[:, 0].min() > 60


def test_scale_square_and_originals(fakes, options):
    wider = replace(options, scale=192, force_square=True, keep_original_frames=True)
    build_dataset(wider, fakes.fake_estimators())
    folder = DatasetFolder(wider.out_path)
    assert read_rgb(folder.paths(0).image).shape == (192, 192, 3)
    assert read_rgb(wider.out_path / "original_frames" / "original_0003.png").shape == (72, 96, 3)
    assert (read_labels(folder.paths(0).parsing)[:20] == Parsing.BACKGROUND).all()  # the padding


def test_crop_to_head_uses_one_box_for_all_frames(fakes, options):
    cropped = replace(options, crop_to_head=True)
    estimators = fakes.fake_estimators(sequential=True)
    build_dataset(cropped, estimators)
    transform = json.loads((cropped.out_path / "transforms.json").read_text())
    assert transform["crop_w"] < 96
    shapes = {read_rgb(DatasetFolder(cropped.out_path).paths(i).image).shape for i in range(N_FRAMES)}
    assert shapes == {(transform["h_out"], transform["w_out"], 3)}
    depth = read_keypoints(DatasetFolder(cropped.out_path).paths(0).keypoints).depth
    assert depth[0] == 1  # the tracker has forgotten the frames that only served to find the box


def test_an_output_folder_with_another_dataset_is_refused(fakes, options, contents):
    build_dataset(options, fakes.fake_estimators())
    before = contents(options.out_path)
    with pytest.raises(UserError, match="scale 96 instead of 128"):
        build_dataset(replace(options, scale=128), fakes.fake_estimators())
    other = replace(
        options, video=fakes.write_video(options.video.with_name("other.mp4"), fakes.walking_square(3))
    )
    with pytest.raises(UserError, match="holds the dataset of my video.mp4"):
        build_dataset(other, fakes.fake_estimators())
    assert contents(options.out_path) == before

    foreign = replace(options, out_path=options.out_path.with_name("foreign"))
    (foreign.out_path / "frame_0000").mkdir(parents=True)
    with pytest.raises(UserError, match="frames from elsewhere"):
        build_dataset(foreign, fakes.fake_estimators())
    assert list(foreign.out_path.iterdir()) == [foreign.out_path / "frame_0000"]


def test_bad_input_creates_nothing(fakes, options):
    for change, message in (
        ({"video": options.video.with_name("missing.mp4")}, "not found"),
        ({"scale": 16}, "--scale must be at least 64"),
        ({"max_missing": 1.5}, "--max_missing must be at most 1"),
        ({"max_frames": -1}, "max_frames"),
    ):
        with pytest.raises(UserError, match=message):
            build_dataset(replace(options, **change), fakes.fake_estimators())
        assert not options.out_path.exists()


def test_an_output_folder_that_cannot_be_written_is_a_user_error(fakes, options):
    with pytest.raises(UserError, match="cannot write"):
        build_dataset(replace(options, out_path=options.video / "inside a file"), fakes.fake_estimators())


def test_published_estimators_name_what_is_missing(fakes, options, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="published needs .*3DFAN4.*rvm") as caught:
        build_dataset(replace(options, estimators="published"))
    assert "\n" not in str(caught.value)
    assert not options.out_path.exists()


def test_images_with_alpha_are_a_dataset_with_their_own_mattes(fakes, options, contents):
    """The fake matting would mark all bright pixels; the alpha marks the left half of the square."""
    folder = options.video.parent / "images"
    folder.mkdir()
    for i, rgb in enumerate(fakes.walking_square(4)):
        alpha = np.zeros((*rgb.shape[:2], 1), np.uint8)
        alpha[:, : 18 + 4 * i] = 255
        cv2.imwrite(str(folder / f"{i + 8}.png"), np.concatenate([rgb[..., ::-1], alpha], axis=2))
    from_images = replace(options, video=folder)
    estimators = fakes.fake_estimators()
    build_dataset(from_images, estimators)
    assert estimators.matting.seen == []
    dataset = DatasetFolder(from_images.out_path)
    assert dataset.frame_ids() == [0, 1, 2, 3]
    for i in dataset.frame_ids():
        labels = read_labels(dataset.paths(i).parsing)
        assert (labels[:, 18 + 4 * i :] == Parsing.BACKGROUND).all()
        assert (labels[:, : 18 + 4 * i] != Parsing.BACKGROUND).any()
    before = contents(from_images.out_path)
    build_dataset(from_images, fakes.fake_estimators())  # complete
    assert contents(from_images.out_path) == before
    cv2.imwrite(str(folder / "12.png"), np.zeros((72, 96, 3), np.uint8))
    with pytest.raises(UserError, match="holds the dataset of images"):
        build_dataset(from_images, fakes.fake_estimators())
