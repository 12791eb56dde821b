"""The training batch of the reference numbers as a dataset folder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nha.data import dataset_folder as df


def write_golden_frames(golden: Mapping[str, np.ndarray], path: Path) -> df.DatasetFolder:
    """Write the `in_*` frames of a golden.npz; images are rounded to 8 bits."""
    folder = df.DatasetFolder(path)
    for row, frame_id in enumerate(golden["in_frame"].tolist()):
        paths = folder.paths(frame_id)
        rgb = np.rint((golden["in_rgb"][row] + 1) * 127.5).clip(0, 255).astype(np.uint8)
        df.write_rgb(paths.image, rgb.transpose(1, 2, 0))
        df.write_labels(paths.parsing, golden["in_parsing"][row, 0])
        df.write_labels(paths.segmentation, golden["in_seg"][row, 0])
        df.write_normals(paths.normals, golden["in_normal"][row].transpose(1, 2, 0))
        ones = np.ones(68, np.float32)
        landmarks, irises = golden["in_lmk2d"][row][:, :2], golden["in_lmk2d_iris"][row][:, :2]
        df.write_keypoints(paths.keypoints, df.Keypoints(landmarks, ones, ones, irises))
    return folder
