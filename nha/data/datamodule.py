"""The data of an optimisation, for Lightning: training and validation batches of the running stage."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

from nha.core.errors import UserError
from nha.core.types import FrameBatch
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_dataset import FrameDataset, as_it_is, check_files
from nha.data.frame_store import FrameStore
from nha.data.settings import DataSettings
from nha.data.splits import Split, check_split, default_split, read_split
from nha.data.tracking_file import read_tracking

N_STAGES = 3


class FrameDataModule(lightning.LightningDataModule):
    """Training and validation frames of one dataset, opened and checked when it is made.

    `stage` (0 geometry, 1 texture, 2 joint) picks the batch sizes; set it before each stage.
    seed: fixes the order of training frames.
    train, val: the two `FrameDataset`s; val may be empty.
    Raises UserError for everything that does not fit together: see `FrameDataset` and `splits`.
    """

    def __init__(self, settings: DataSettings, seed: int = 0):
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.stage = 0
        for name in ("train_batch_size", "validation_batch_size"):
            if min(getattr(settings, name)) < 1:
                raise UserError(f"setting '{name}' must hold numbers of at least 1")

        self.folder = DatasetFolder.open(settings.data_path)
        self.tracking = read_tracking(settings.tracking_results_path)
        available = self.folder.frame_ids()
        self.split = self._choose_split(available)
        check_split(self.split, available, settings.data_path)

        ids = self.split.frame_ids()
        check_files(self.folder, ids)
        store = FrameStore(self.folder, ids, settings.frame_cache)  # one for both parts
        self.train, self.val = (
            FrameDataset(self.folder, self.tracking, part, store=store)
            for part in (self.split.train, self.split.val)
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the frames in pixels."""
        return self.train.image_size

    @property
    def max_frame_id(self) -> int:
        """The largest id of a tracked frame: per-frame tables have one row more."""
        return int(self.tracking.frame.max())

    def setup(self, stage: str | None = None) -> None:
        # Frames come from memory-mapped arrays: worker processes would cost more than they gain.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")

    def train_dataloader(self) -> DataLoader:
        # A function of seed and epoch alone, so that a resumed run sees the frames in the same order; a
        # shuffling loader's order also depends on how often somebody asked it for an iterator.
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator).tolist()
        size = self.settings.train_batch_size[self.stage]
        if self.trainer and self.trainer.world_size > 1:
            order = own_part(order, size, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(self.train, size, sampler=order)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.val, self.settings.validation_batch_size[self.stage])

    def transfer_batch_to_device(
        self, batch: FrameBatch, device: torch.device, dataloader_idx: int
    ) -> FrameBatch:
        return batch.to(device)  # Lightning itself cannot move frozen dataclasses

    def _choose_split(self, available: list[int]) -> Split:
        if self.settings.split_config is not None:
            return read_split(self.settings.split_config)
        if self.folder.default_split.is_file():
            return read_split(self.folder.default_split)
        untracked = self.tracking.missing_frames(available)
        if len(untracked) == len(available):
            raise UserError(
                f"the tracking file has none of the frames of '{self.settings.data_path}'; track this dataset"
            )
        return default_split(set(available) - set(untracked))

    def _loader(self, frames: FrameDataset, batch_size: int, **options: Any) -> DataLoader:
        workers = min(self.settings.data_worker, os.cpu_count() or 1)
        return DataLoader(
            frames,
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=as_it_is,
            **options,
        )


def own_part(order: list[int], size: int, process: int, n_processes: int) -> list[int]:
    """The frames of one of several processes, so that their batches of `size` together are one of the whole.

    Every process gets as many: where the frames do not divide, the first ones of the order are seen twice.
    """
    order = order + order[: -len(order) % n_processes]
    part: list[int] = []
    for start in range(0, len(order), size * n_processes):
        whole = order[start : start + size * n_processes]
        own = len(whole) // n_processes
        part += whole[process * own : (process + 1) * own]
    return part
