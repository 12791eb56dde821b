"""Lightning data module: batches of the current stage, in an order that a resumed run reproduces."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, Sampler

from nha.core.types import FrameBatch
from nha.data.frame_dataset import FrameDataset, FrameSplits, frame_loader
from nha.data.settings import DataSettings
from nha.data.tracking_file import TrackingResult
from nha.head.mouth_features import head_rotation_vector
from nha.optimization.device_frames import DeviceFrames, fits

POSE_WIDTH_RAD = 0.15  # heads whose rotations differ by less show nearly the same


class FrameDataModule(lightning.LightningDataModule):
    """Loaders for the frames of `FrameSplits`; `stage` selects the batch sizes.

    Args:
        settings: dataset, tracking file, split, batch sizes and cache.
        seed: seed of the order of the training frames.
        prepare: see `FrameSplits`.

    Attributes:
        stage: 0 geometry, 1 texture, 2 joint; set it before each stage.
        device: of the training; an accelerator keeps the frames in its memory if they fit.
        splits: the training and held-out frames.

    Raises:
        UserError: see `FrameSplits`.
    """

    def __init__(
        self,
        settings: DataSettings,
        seed: int = 0,
        prepare: Callable[[TrackingResult], TrackingResult] | None = None,
    ):
        super().__init__()
        self.settings = settings
        self.splits = FrameSplits(settings, prepare)
        self.seed = seed
        self.stage = 0
        self.device = torch.device("cpu")
        self._val_loader: tuple[int, DataLoader] | None = None
        self._on_device: dict[int, DeviceFrames] = {}  # by the id of their dataset
        self._frame_weights = None
        if settings.pose_balance and len(self.train):
            tracked = self.splits.tracking.params_for(self.train.frame_ids)
            view = head_rotation_vector(tracked.rotation, tracked.neck)
            self._frame_weights = pose_weights(view.double().numpy(), settings.pose_balance)

    @property
    def train(self) -> FrameDataset:
        return self.splits.train

    @property
    def val(self) -> FrameDataset:
        return self.splits.val

    @property
    def image_size(self) -> tuple[int, int]:
        return self.splits.image_size

    @property
    def max_frame_id(self) -> int:
        return self.splits.max_frame_id

    def setup(self, stage: str | None = None) -> None:
        # frames are read from memory-mapped arrays, for which worker processes cost more than they gain
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")

    def train_dataloader(self) -> DataLoader:
        """The loader of a stage for all its epochs: worker processes are started once, not for every epoch."""
        batch_size = self.settings.train_batch_size[self.stage]
        order = EpochOrder(len(self.train), self.seed, batch_size, self._frame_weights)
        if self.trainer:
            order.set_epoch(self.trainer.current_epoch)
            if self.trainer.world_size > 1:
                order.rank, order.world_size = self.trainer.global_rank, self.trainer.world_size
        return self._loader(self.train, batch_size, order)

    def val_dataloader(self) -> DataLoader:
        """The loader of the held-out frames, the same object for a whole stage."""
        if self._val_loader is None or self._val_loader[0] != self.stage:
            batch_size = self.settings.validation_batch_size[self.stage]
            self._val_loader = (self.stage, self._loader(self.val, batch_size))
        return self._val_loader[1]

    def _loader(self, frames: FrameDataset, batch_size: int, order: EpochOrder | None = None) -> DataLoader:
        """A loader of frames: from the memory of the device where they fit there, else from the cache."""
        if id(frames) not in self._on_device and fits(frames, self.device):
            self._on_device[id(frames)] = DeviceFrames(frames, self.device)
        if id(frames) in self._on_device:
            return frame_loader(self._on_device[id(frames)], batch_size, order=order)
        return frame_loader(frames, batch_size, workers=self.settings.data_worker, order=order)

    def transfer_batch_to_device(
        self, batch: FrameBatch, device: torch.device, dataloader_idx: int
    ) -> FrameBatch:
        return batch.to(device)  # Lightning itself cannot move frozen dataclasses


class EpochOrder(Sampler[int]):
    """The order of the training frames in an epoch, which Lightning sets with `set_epoch` before each epoch.

    Args:
        n_frames: number of training frames.
        seed: seed of the order.
        batch_size: frames in a batch of one process.
        weights: see `epoch_order`.

    Attributes:
        epoch: epoch of the run.
        rank, world_size: index of this process and number of processes.
    """

    def __init__(self, n_frames: int, seed: int, batch_size: int, weights: np.ndarray | None = None) -> None:
        self.n_frames, self.seed, self.batch_size, self.weights = n_frames, seed, batch_size, weights
        self.epoch, self.rank, self.world_size = 0, 0, 1

    def set_epoch(self, epoch: int) -> None:
        """Use the order of this epoch of the run from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self.n_frames, self.seed, self.epoch, self.weights)
        if self.world_size > 1:
            order = order_of_rank(order, self.batch_size, self.rank, self.world_size)
        return iter(order)

    def __len__(self) -> int:
        return -(-self.n_frames // self.world_size)


def epoch_order(n_frames: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> list[int]:
    """Random order of the training frames in an epoch.

    It depends only on seed and epoch, so a resumed run uses the same order. The order of a shuffling loader also
    depends on the number of its earlier iterators.

    Args:
        n_frames: number of frames, and of entries of the order.
        seed: seed of the run.
        epoch: epoch of the run.
        weights: [n_frames] expected number of uses of each frame, see `pose_weights`; None for one use each.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(n_frames, generator=generator)
    if weights is not None:
        # systematic sampling: frame i is used floor(w_i) or ceil(w_i) times
        start = float(torch.rand((), generator=generator))
        drawn = np.searchsorted(np.cumsum(weights[order.numpy()]), np.arange(n_frames) + start)
        order = order[torch.from_numpy(drawn.clip(max=n_frames - 1))]
        order = order[torch.randperm(n_frames, generator=generator)]
    return order.tolist()


def pose_weights(view: np.ndarray, balance: float) -> np.ndarray:
    """Expected number of uses of each frame in an epoch, higher for poses that few frames show.

    Args:
        view: [F, 3] rotation vectors of the heads in radians.
        balance: 0 for equal weights, 1 for weights inverse to the density of the poses.

    Returns:
        [F] with mean 1.
    """
    distance = np.linalg.norm(view[:, None] - view[None], axis=-1)
    density = np.exp(-0.5 * (distance / POSE_WIDTH_RAD) ** 2).sum(1)
    weights = density**-balance
    return weights / weights.mean()


def order_of_rank(order: list[int], batch_size: int, rank: int, world_size: int) -> list[int]:
    """The part of an epoch's order for one of several processes.

    Together the batches of all processes hold the same frames as those of a single process with a batch size of
    `world_size * batch_size`. Every process gets the same number of frames; if they do not divide evenly, the first
    frames of the order are used twice.
    """
    order = order + order[: -len(order) % world_size]
    part: list[int] = []
    for start in range(0, len(order), batch_size * world_size):
        batch = order[start : start + batch_size * world_size]
        n_own = len(batch) // world_size
        part += batch[rank * n_own : (rank + 1) * n_own]
    return part
