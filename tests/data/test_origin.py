"""What a tracking file records about its head model and its video."""

import dataclasses

import cv2
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, write_rgb
from nha.data.frame_dataset import FrameSplits
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import read_tracking, write_tracking

HEAD = {"name": "flame", "release": "FLAME 2023", "fingerprint": "0123456789abcdef", "measures": "0.1 0.2"}


def write_video(folder, seed: int, size: int = 64, frame_ids=range(20)) -> DatasetFolder:
    """A bright disc that moves over a dark, smooth background."""
    rng = np.random.default_rng(seed)
    start, step = rng.uniform(15, 30, 2), rng.uniform(0.5, 1.5, 2)
    dataset = DatasetFolder(folder)
    for i in frame_ids:
        image = np.full((64, 64, 3), 40, np.uint8)
        x, y = (start + step * i).round().astype(int)
        cv2.circle(image, (int(x), int(y)), 9, (210, 170, 150), -1)
        write_rgb(dataset.paths(i).image, cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR))
    return dataset


def test_the_origin_is_written_and_read(make_tracking, tmp_path):
    dataset = write_video(tmp_path / "video", 0)
    tracking = make_tracking(frame=range(20), origin=TrackingOrigin.of(dataset, range(20), HEAD))
    write_tracking(tmp_path / "t.npz", tracking)
    assert read_tracking(tmp_path / "t.npz").origin == tracking.origin
    assert len(tracking.origin.frames) == 12
    published = set(np.load(tmp_path / "t.npz").files) - {f"head_{key}" for key in HEAD}
    assert published - {"origin_frames", "origin_thumbnails"} == {
        "rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "expr", "shape", "texture", "light",
        "K", "RT", "frame", "view", "n_processed", "image_size",
    }  # fmt: skip


def test_a_video_is_recognised_at_another_size_and_with_fewer_frames(tmp_path):
    origin = TrackingOrigin.of(write_video(tmp_path / "a", 1), range(20))
    assert origin.is_of(write_video(tmp_path / "smaller", 1, size=48))
    assert origin.is_of(write_video(tmp_path / "larger", 1, size=256, frame_ids=range(0, 20, 3)))
    assert origin.is_of(write_video(tmp_path / "other", 2)) is False
    assert origin.is_of(write_video(tmp_path / "elsewhere", 1, frame_ids=range(100, 110))) is None
    assert TrackingOrigin().is_of(write_video(tmp_path / "b", 1)) is None
    assert origin.same_video(TrackingOrigin.of(DatasetFolder(tmp_path / "smaller"), range(20)))
    assert origin.same_video(TrackingOrigin.of(DatasetFolder(tmp_path / "other"), range(20))) is False
    assert origin.same_video(TrackingOrigin()) is None


def test_a_tracking_of_another_video_is_refused(six_frames, tmp_path):
    """Frame ids and sizes are equal: only the images tell the videos apart."""
    folder, path = DatasetFolder(six_frames.data_path), six_frames.tracking_results_path
    tracking, ids = read_tracking(path), folder.frame_ids()
    own, other = (TrackingOrigin.of(dataset, ids) for dataset in (folder, write_video(tmp_path / "o", 3)))
    write_tracking(path, dataclasses.replace(tracking, origin=own))
    assert len(FrameSplits(six_frames).train) == 5
    write_tracking(path, dataclasses.replace(tracking, origin=other))
    with pytest.raises(UserError, match=r"made from another video than .*: the images of frame 0, 1, 2, 5"):
        FrameSplits(six_frames)
