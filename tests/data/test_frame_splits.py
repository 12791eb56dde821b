"""Training and held-out frames of a dataset, and loaders for them."""

import dataclasses

import pytest
import torch

from nha.core.config import parse_settings
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_dataset import FrameSplits, frame_loader
from nha.data.settings import DataSettings
from nha.data.splits import Split, write_split


def test_loaders_give_the_frames_in_the_order_asked_for(six_frames):
    splits = FrameSplits(six_frames)
    assert (splits.max_frame_id, splits.image_size) == (7, (12, 16))
    ids = [batch.frame_id.tolist() for batch in frame_loader(splits.train, 2)]
    assert ids == [[0, 1], [2, 5], [6]]
    ids = [batch.frame_id.tolist() for batch in frame_loader(splits.train, 2, order=[4, 0, 2])]
    assert ids == [[6, 0], [2]]


def test_worker_processes_give_the_same_frames(six_frames):
    alone = frame_loader(FrameSplits(six_frames).val, 1)
    workers = frame_loader(FrameSplits(six_frames).val, 1, workers=1)
    assert workers.num_workers == 1
    for one, other in zip(alone, workers, strict=True):
        assert torch.equal(one.rgb01, other.rgb01)
        assert torch.equal(one.tracked.expr, other.tracked.expr)


def test_splits(six_frames):
    folder = DatasetFolder(six_frames.data_path)
    without = dataclasses.replace(six_frames, split_config=None)
    assert FrameSplits(without).split == Split(train=(0, 1, 2, 5), val=(6, 7))
    write_split(folder.default_split, Split(train=(1,), val=()))
    assert FrameSplits(without).split == Split(train=(1,), val=())
    assert list(frame_loader(FrameSplits(without).val, 1)) == []
    write_split(six_frames.split_config, Split(train=(0, 3), val=(4,)))
    with pytest.raises(UserError, match="does not have: 3, 4;"):
        FrameSplits(six_frames)


def test_mistakes(six_frames, tiny_dataset):
    with pytest.raises(UserError, match="'train_batch_size' must hold numbers of at least 1"):
        FrameSplits(dataclasses.replace(six_frames, train_batch_size=(1, 0, 1)))
    DatasetFolder(six_frames.data_path).paths(5).normals.unlink()
    with pytest.raises(UserError, match=r"lacks 1 file: frame_0005/normals_0005.png"):
        FrameSplits(six_frames)
    other = tiny_dataset(frame_ids=(100, 101), seed=1)
    with pytest.raises(UserError, match="none of the frames"):
        FrameSplits(DataSettings(other.data_path, six_frames.tracking_results_path))


def test_settings_are_read_under_the_published_names():
    arguments = "--data_path a --tracking_results_path b --train_batch_size 4 2 2 --load_lmk true"
    settings = parse_settings(DataSettings, arguments.split(), description="d")
    assert settings.train_batch_size == (4, 2, 2)
