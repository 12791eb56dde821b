"""A dataset folder with its tracking file, for machines that have no data: a head that turns, in random colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench import FOCAL_SHARE, synthetic_batch
from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    write_keypoints,
    write_labels,
    write_normals,
    write_rgb,
)
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import write_tracking
from nha.data.tracking_from_params import tracking_from_params
from nha.head.load import load_head
from nha.head.model import HeadModel

CELLS = 16  # coloured squares along a side, so that images compress well


def write_dataset(folder: Path, head_name: str, frames: int, size: int) -> tuple[Path, Path]:
    """Write a dataset and its tracking file.

    Args:
        folder: an existing folder.
        head_name: of the head model, see `load_head`.
        frames: number of frames.
        size: side of the square images in pixels.

    Returns:
        The dataset folder, and the tracking file.
    """
    assets = load_head(head_name)
    head = HeadModel(assets, subdivisions=0, blur_sigma=None)
    batch = synthetic_batch(head, frames, size)
    dataset = DatasetFolder(folder / "dataset")
    cells = np.random.default_rng(0).integers(0, 256, (CELLS, CELLS, 3), np.uint8)
    place = np.arange(size) * CELLS // size
    image = cells[place[:, None], place[None, :]]
    for i in range(frames):
        paths = dataset.paths(i)
        paths.folder.mkdir(parents=True)
        write_rgb(paths.image, np.roll(image, i, 1))
        write_labels(paths.parsing, batch.parsing[i].numpy().astype(np.uint8))
        write_labels(paths.segmentation, batch.segmentation[i].numpy().astype(np.uint8))
        toward_camera = torch.zeros(size, size, 3)
        toward_camera[..., 2] = (batch.segmentation[i] > 0).float()
        write_normals(paths.normals, toward_camera.numpy())
        ones = np.ones(68, np.float32)
        landmarks, irises = batch.landmarks_px[i].numpy(), batch.iris_px[i].numpy()
        write_keypoints(paths.keypoints, Keypoints(landmarks, ones, ones, irises))
    path = folder / "tracked_flame_params.npz"
    intrinsics, origin = np.array([FOCAL_SHARE, 0.5, 0.5]), TrackingOrigin(assets.identity)
    result = tracking_from_params(
        batch.tracked, np.arange(frames), intrinsics, (size, size), "frame_{:04d}", origin
    )
    write_tracking(path, result)
    return dataset.root, path
