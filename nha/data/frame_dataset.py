"""Annotated, tracked frames of one dataset, as batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nha.core.errors import UserError
from nha.core.types import FrameBatch
from nha.data.cues import eye_heights
from nha.data.dataset_folder import DatasetFolder, Keypoints, read_keypoints
from nha.data.frame_store import FrameStore
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult


class FrameDataset(Dataset):
    """Frames of a dataset in the order of `frame_ids`, checked when it is made.

    dataset[i] is a `FrameBatch` of one frame, dataset.batch([i, j]) one of several; a DataLoader needs
    `collate_fn=as_it_is`, because batches come whole.
    frame_cache: see `FrameStore`.
    Raises UserError for frames or files that are missing (they are listed), pictures that cannot be read, and
    a tracking result that is not of this dataset.
    """

    def __init__(
        self,
        folder: DatasetFolder,
        tracking: TrackingResult,
        frame_ids: Sequence[int],
        frame_cache: str | Path = "auto",
        *,
        store: FrameStore | None = None,
    ):
        self.folder = folder
        self.tracking = tracking
        self.frame_ids = [int(i) for i in frame_ids]
        check_files(folder, self.frame_ids)
        self.store = store or FrameStore(folder, self.frame_ids, frame_cache)
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
        # PyTorch's loaders prefer this to a loop over __getitem__.
        return self.batch(indices)

    def batch(self, indices: Sequence[int]) -> FrameBatch:
        """The frames at these positions of `frame_ids`, N of them. See `FrameBatch` for shapes and units."""
        indices = list(indices)
        pictures = self.store.read([self._store_rows[i] for i in indices])
        parsing = torch.from_numpy(pictures.parsing)
        return FrameBatch(
            frame_id=torch.tensor([self.frame_ids[i] for i in indices]),
            rgb01=torch.from_numpy(pictures.rgb).float().div_(255),
            segmentation=torch.from_numpy(pictures.segmentation).long(),
            parsing=parsing.long(),
            normals=decode_normal_planes(torch.from_numpy(pictures.normals)),
            landmarks_px=self._stack_keypoints(indices, "landmarks_px"),
            landmark_confidence=self._stack_keypoints(indices, "confidence"),
            iris_px=self._stack_keypoints(indices, "iris_px"),
            eye_height_px=eye_heights(parsing),
            tracked=self._params[indices],
            camera=self.tracking.camera_for(indices, self.image_size),
        )

    def _stack_keypoints(self, indices: Sequence[int], name: str) -> Tensor:
        values: list[Keypoints] = [self._keypoints[i] for i in indices]
        return torch.from_numpy(np.stack([getattr(value, name) for value in values]))


def as_it_is(batch: FrameBatch) -> FrameBatch:
    """The collate function for loaders of a `FrameDataset`."""
    return batch


def decode_normal_planes(encoded: Tensor) -> Tensor:
    """`dataset_folder.decode_normals` for [N, 3, H, W]; five times as fast, for it runs for every batch.

    encoded: uint8. Returns float: x right, y down, z to the camera, 0 where unknown.
    """
    known = ((encoded - 127) > 1).any(1, keepdim=True)  # 126 and less wrap around to 255
    normals = encoded.float().mul_(2 / 255).sub_(1)
    normals[:, 1].neg_()
    return normals.mul_(known)


def check_files(folder: DatasetFolder, frame_ids: Sequence[int]) -> None:
    """Raise a UserError that lists the files which these frames lack."""
    missing = [path for i in frame_ids for path in folder.paths(i).missing()]
    if missing:
        names = [str(path.relative_to(folder.root)) for path in missing]
        raise UserError(
            f"'{folder.root}' lacks {len(missing)} file{'s' * (len(missing) > 1)}: {some_of(names, 5)}; "
            "run video_to_dataset.py again, or leave these frames out of the split"
        )


def check_tracking(
    tracking: TrackingResult, frame_ids: Sequence[int], image_size: tuple[int, int], folder: DatasetFolder
) -> None:
    """Raise a UserError where a tracking result cannot be of this dataset."""
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
