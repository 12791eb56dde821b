"""Annotated, tracked frames of a dataset as batches of tensors, split into training and held-out frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nha.core.errors import UserError
from nha.core.types import Camera, FrameBatch, HeadParams
from nha.data.cues import eye_heights
from nha.data.dataset_folder import DatasetFolder, Keypoints, read_keypoints
from nha.data.frame_store import FrameImages, FrameStore
from nha.data.messages import some_of
from nha.data.settings import DataSettings
from nha.data.splits import Split, check_split, choose_split
from nha.data.tracking_file import TrackingResult, read_tracking


class FrameDataset(Dataset):
    """Frames of a dataset in the order of `frame_ids`, checked on construction.

    `dataset[i]` is a `FrameBatch` of one frame, `dataset.batch([i, j])` one of several. Batches come whole from
    the dataset: load them with `frame_loader`, or with a DataLoader that has `collate_fn=identity_collate`.

    Args:
        folder: the dataset folder.
        tracking: tracking result of the same dataset.
        frame_ids: ids of the frames, each of which must be annotated and tracked.
        store: images of these frames, and possibly of others.

    Raises:
        UserError: frames have not been tracked (they are listed), keypoints cannot be read, or the tracking result
            belongs to another dataset.
    """

    def __init__(
        self,
        folder: DatasetFolder,
        tracking: TrackingResult,
        frame_ids: Sequence[int],
        store: FrameStore,
    ):
        self.folder = folder
        self.tracking = tracking
        self.frame_ids = [int(i) for i in frame_ids]
        self.store = store
        self.image_size = self.store.image_size
        check_tracking(tracking, self.frame_ids, self.image_size, folder)

        rows = {paths.folder.name: row for row, paths in enumerate(self.store.paths)}
        self._store_rows = [rows[folder.paths(i).folder.name] for i in self.frame_ids]
        self._keypoints = [read_keypoints(folder.paths(i).keypoints) for i in self.frame_ids]
        self._params = tracking.params_for(self.frame_ids)

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, index: int) -> FrameBatch:
        return self.batch([range(len(self))[index]])

    def __getitems__(self, indices: Sequence[int]) -> FrameBatch:
        # DataLoader calls this instead of __getitem__ for every index.
        return self.batch(indices)

    def batch(self, indices: Sequence[int]) -> FrameBatch:
        """The frames at N positions of `frame_ids`. See `FrameBatch` for shapes and units."""
        indices = list(indices)
        images = self.images(indices)
        return FrameBatch(
            rgb01=torch.from_numpy(images.rgb).float().div_(255),
            segmentation=torch.from_numpy(images.segmentation).long(),
            parsing=torch.from_numpy(images.parsing).long(),
            normals=decode_normal_planes(torch.from_numpy(images.normals)),
            tracked=self.tracked(indices),
            camera=self.camera(indices),
            **self.annotations(indices, images),
        )

    def images(self, indices: Sequence[int]) -> FrameImages:
        """The images of the frames at N positions, as in their files."""
        return self.store.read([self._store_rows[i] for i in indices])

    def annotations(self, indices: Sequence[int], images: FrameImages) -> dict[str, Tensor]:
        """The fields of `FrameBatch` that are neither images nor tracked; images: of the same frames."""
        indices = list(indices)
        return {
            "frame_id": torch.tensor([self.frame_ids[i] for i in indices]),
            "landmarks_px": self._stack_keypoints(indices, "landmarks_px"),
            "landmark_confidence": self._stack_keypoints(indices, "confidence"),
            "iris_px": self._stack_keypoints(indices, "iris_px"),
            "eye_height_px": eye_heights(torch.from_numpy(images.parsing)),
        }

    def tracked(self, indices: Sequence[int]) -> HeadParams:
        """The tracked parameters of the frames at N positions."""
        return self._params[list(indices)]

    def camera(self, indices: Sequence[int]) -> Camera:
        """The cameras of the frames at N positions."""
        return self.tracking.camera_for(list(indices), self.image_size)

    def _stack_keypoints(self, indices: Sequence[int], name: str) -> Tensor:
        values: list[Keypoints] = [self._keypoints[i] for i in indices]
        return torch.from_numpy(np.stack([getattr(value, name) for value in values]))


class FrameSplits:
    """Training and held-out frames of one dataset, opened and checked on construction.

    For the split see `nha.data.splits.choose_split`.

    Args:
        settings: dataset, tracking file, split, batch sizes and cache.
        prepare: checks the tracking, and may replace it; for example `nha.avatar.matching.tracking_for_head`.
        own_split: the split where `settings.split_config` names none, such as that of a checkpoint.

    Attributes:
        folder: the dataset folder.
        tracking: its tracking result.
        split: ids of the training and held-out frames.
        train: `FrameDataset` of the training frames.
        val: `FrameDataset` of the held-out frames; may be empty.

    Raises:
        UserError: settings, dataset, tracking and split do not fit together, see `FrameDataset` and `splits`.
    """

    def __init__(
        self,
        settings: DataSettings,
        prepare: Callable[[TrackingResult], TrackingResult] | None = None,
        own_split: Split | None = None,
    ):
        self.settings = settings
        for name in ("train_batch_size", "validation_batch_size"):
            if min(getattr(settings, name)) < 1:
                raise UserError(f"setting '{name}' must hold numbers of at least 1")

        self.folder = DatasetFolder.open(settings.data_path)
        self.tracking = read_tracking(settings.tracking_results_path)
        check_video(self.tracking, self.folder)
        if prepare is not None:
            self.tracking = prepare(self.tracking)
        available = self.folder.frame_ids()
        self.split = choose_split(settings, self.folder, self.tracking.missing_frames(available), own_split)
        check_split(self.split, available, settings.data_path)

        # One store for both parts.
        store = FrameStore(self.folder, self.split.frame_ids(), settings.frame_cache)
        self.train, self.val = (
            FrameDataset(self.folder, self.tracking, part, store)
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


def frame_loader(
    frames: FrameDataset,
    batch_size: int,
    *,
    workers: int = 0,
    order: Sequence[int] | Sampler[int] | None = None,
) -> DataLoader:
    """A loader of `FrameBatch`es of up to `batch_size` frames.

    Args:
        frames: the dataset.
        batch_size: frames in a batch; the last one may be smaller.
        workers: processes that load, at most one per CPU core; 0 loads in this process.
        order: positions in `frames`, in the order to load them, or a sampler that yields them; by default the
            dataset's own order.
    """
    workers = min(workers, os.cpu_count() or 1)
    return DataLoader(
        frames,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=identity_collate,
    )


def identity_collate(batch: FrameBatch) -> FrameBatch:
    """Collate function for loaders of a `FrameDataset`, which returns whole batches."""
    return batch


def decode_normal_planes(encoded: Tensor) -> Tensor:
    """`dataset_folder.decode_normals` for tensors; five times as fast, because it runs for every batch.

    Args:
        encoded: uint8 [N, 3, H, W].

    Returns:
        float [N, 3, H, W]: x right, y down, z towards the camera; 0 where unknown.
    """
    known = ((encoded - 127) > 1).any(1, keepdim=True)  # 126 and less wrap around to 255
    normals = encoded.float().mul_(2 / 255).sub_(1)
    normals[:, 1].neg_()
    return normals.mul_(known)


def check_tracking(
    tracking: TrackingResult, frame_ids: Sequence[int], image_size: tuple[int, int], folder: DatasetFolder
) -> None:
    """Raise a UserError if a tracking result cannot be of this dataset."""
    if untracked := tracking.missing_frames(frame_ids):
        raise UserError(
            f"the tracking file does not match '{folder.root}': it has no frame {some_of(untracked, 20)}; "
            "track this dataset, or leave these frames out of the split"
        )
    if not tracking.fits_image_size(image_size):
        (height, width), (tracked_height, tracked_width) = image_size, tracking.image_size
        raise UserError(
            f"the tracking file does not match '{folder.root}': it was made from images of {tracked_width} x "
            f"{tracked_height} pixels, these have {width} x {height}; track this dataset"
        )


def check_video(tracking: TrackingResult, folder: DatasetFolder) -> None:
    """Raise a UserError if a tracking result was made from other images than those of this dataset."""
    if tracking.origin.is_of(folder) is False:
        differing = tracking.origin.differing_frames(folder) or []
        raise UserError(
            f"the tracking file was made from another video than '{folder.root}': the images of frame "
            f"{some_of(differing)} are others; track this dataset, or name its own tracking file"
        )
