"""Training and held-out frames of a dataset, and loaders for them."""

import dataclasses

import pytest
import torch

from nha.core.config import parse_settings
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_dataset import FrameSplits, frame_loader
from nha.data.settings import DataSettings
from nha.data.splits import PUBLISHED_SPLIT, Split, write_split


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


def test_the_published_split_is_not_taken_for_another_video(six_frames, tmp_path, monkeypatch, caplog):
    def frames(**options) -> FrameSplits:
        chosen = {"dataset": six_frames.data_path, "tracking": six_frames.tracking_results_path, **options}
        return FrameSplits(DataSettings.from_ini(tmp_path / "published.ini", **chosen))

    (tmp_path / "published.ini").write_text("split_config = configs/split.json\n")
    monkeypatch.chdir(tmp_path)  # without a folder `configs`
    assert frames().split == Split(train=(0, 1, 2, 5), val=(6, 7))
    assert (
        "split.json is for the published example video; this dataset is split by holding out" in caplog.text
    )
    with pytest.raises(UserError, match="names frames that .* does not have"):
        frames(published=True)
    (tmp_path / "configs").mkdir()
    copy = tmp_path / "configs" / "split.json"
    copy.write_bytes(PUBLISHED_SPLIT.read_bytes())
    assert frames().split == Split(train=(0, 1, 2, 5), val=(6, 7))
    write_split(copy, Split(train=(0,), val=(1,)))  # the user's own file under that name
    assert frames().split == Split(train=(0,), val=(1,))


def test_training_frames_are_thinned_out(six_frames):
    assert FrameSplits(dataclasses.replace(six_frames, every=2)).split == Split((0, 2, 6), (7,))
    assert FrameSplits(dataclasses.replace(six_frames, max_frames=2)).split == Split((0, 2), (7,))
    assert FrameSplits(dataclasses.replace(six_frames, max_frames=9)).split == Split((0, 1, 2, 5, 6), (7,))
    assert len(FrameSplits(dataclasses.replace(six_frames, every=2, max_frames=2)).train) == 2


def test_a_split_of_the_avatar_comes_before_that_of_the_dataset(six_frames):
    own = Split(train=(5,), val=(0, 1))
    without = dataclasses.replace(six_frames, split_config=None)
    assert FrameSplits(without, own_split=own).split == own
    assert FrameSplits(six_frames, own_split=own).split != own


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
