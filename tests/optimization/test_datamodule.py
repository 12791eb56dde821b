"""The Lightning data module: batches of each stage, and an order that a resumed run repeats."""

import dataclasses
import types

import pytorch_lightning as lightning
import torch

from nha.core.types import FrameBatch, map_tensors
from nha.optimization import datamodule
from nha.optimization.datamodule import FrameDataModule, epoch_order
from nha.optimization.device_frames import DeviceFrames, fits


def epoch(loader) -> list[list[int]]:
    return [batch.frame_id.tolist() for batch in loader]


def test_batches_of_each_stage(six_frames):
    data = FrameDataModule(six_frames)
    assert (data.max_frame_id, data.image_size) == (7, (12, 16))
    for stage, sizes in ((0, [3, 2]), (1, [2, 2, 1]), (2, [1] * 5)):
        data.stage = stage
        batches = epoch(data.train_dataloader())
        assert [len(batch) for batch in batches] == sizes
        assert sorted(sum(batches, [])) == [0, 1, 2, 5, 6]
        assert epoch(data.val_dataloader()) == [[7]]


def test_order_depends_only_on_seed_and_epoch(six_frames):
    single = dataclasses.replace(six_frames, train_batch_size=(1, 1, 1))

    def order(seed: int, epoch_of_run: int) -> list[list[int]]:
        data = FrameDataModule(single, seed=seed)
        data.trainer = types.SimpleNamespace(current_epoch=epoch_of_run, global_rank=0, world_size=1)
        return epoch(data.train_dataloader())

    orders = [order(1, 0), order(1, 1), order(2, 0)]
    assert len({str(one) for one in orders}) == 3
    assert all(sorted(one) == sorted(orders[0]) for one in orders)
    assert order(1, 1) == orders[1]


def test_lightning_trains_and_validates_with_the_data_module(six_frames, tmp_path):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.seen = []

        def training_step(self, batch: FrameBatch, _):
            self.seen += batch.frame_id.tolist()
            return (batch.rgb01.mean() * self.weight).square()

        def validation_step(self, batch: FrameBatch, _):
            self.seen += batch.frame_id.tolist()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        num_sanity_val_steps=0, enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu",
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, datamodule=FrameDataModule(six_frames))
    assert sorted(module.seen) == [0, 1, 2, 5, 6, 7]


class Recorder(lightning.LightningModule):
    """Keeps the frame ids of each epoch and the processes that loaded them."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.epochs: list[list[int]] = []
        self.loaders: list[int] = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch: FrameBatch, _):
        self.epochs[-1] += batch.frame_id.tolist()
        self.loaders.append(id(self.trainer.train_dataloader))
        return (batch.rgb01.mean() * self.weight).square()

    def validation_step(self, batch: FrameBatch, _):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_one_loader_serves_all_epochs_in_the_order_of_each(six_frames, tmp_path):
    data, module = FrameDataModule(six_frames, seed=4), Recorder()
    trainer = lightning.Trainer(
        max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False, limit_val_batches=0,
        num_sanity_val_steps=0, enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu",
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    ids = data.train.frame_ids
    assert module.epochs == [[ids[i] for i in epoch_order(len(ids), 4, epoch)] for epoch in range(3)]
    assert len(set(module.loaders)) == 1
    assert data.val_dataloader() is data.val_dataloader()


def test_frames_in_the_memory_of_a_device_equal_those_of_the_dataset(six_frames):
    frames = FrameDataModule(six_frames).train
    kept = DeviceFrames(frames, torch.device("cpu"))
    expected, found = frames.batch([3, 0, 3]), kept.batch([3, 0, 3])
    pairs: list = []
    map_tensors(expected, lambda tensor: pairs.append([tensor]) or tensor)
    each = iter(pairs)
    map_tensors(found, lambda tensor: next(each).append(tensor) or tensor)
    assert len(pairs) > 10
    assert all(one.dtype == two.dtype and torch.equal(one, two) for one, two in pairs)


def test_the_loader_takes_frames_from_the_device_where_they_fit(six_frames, monkeypatch):
    monkeypatch.setattr(datamodule, "fits", lambda frames, device: frames is data.train)
    data = FrameDataModule(six_frames)
    loader = data.train_dataloader()
    assert isinstance(loader.dataset, DeviceFrames)
    assert loader.dataset is data.train_dataloader().dataset  # copied once
    assert data.val_dataloader().dataset is data.val
    assert sorted(sum(epoch(loader), [])) == [0, 1, 2, 5, 6]


def test_frames_are_kept_only_on_an_accelerator_with_room(six_frames, monkeypatch):
    frames = FrameDataModule(six_frames).train
    needed = 8 * 12 * 16 * len(frames)
    assert not fits(frames, torch.device("cpu"))
    for free, expected in ((needed, False), (3 * needed, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        assert fits(frames, torch.device("cuda")) is expected
