"""Ground truth of a synthetic video: head parameters, landmarks and vertices."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.data.tracking_file import TrackingResult, read_tracking


@dataclass(frozen=True)
class Truth:
    """Ground truth of F frames of a synthetic video; rows are in the order of `tracking.frame`.

    Attributes:
        tracking: true parameters and camera.
        landmarks_px: [F, 70, 2] in pixels of `tracking.image_size`, in the mesh's order.
        vertices: [F, V, 3] metres, world, of the head without hair.
        vertex_ids: [V] their ids in the head model's files.
        head: the head model's name.
    """

    tracking: TrackingResult
    landmarks_px: np.ndarray
    vertices: np.ndarray
    vertex_ids: np.ndarray
    head: str


def read_truth(folder: str | Path) -> Truth:
    """Read the folder `truth` that `nha synthetic` writes beside its video.

    Raises:
        UserError: if a file is missing or the files do not fit each other.
    """
    folder = Path(folder)
    tracking = read_tracking(folder)
    vertices = _load(folder / "vertices.npz", ("vertices", "vertex_ids", "frame", "head"))
    landmarks = _load(folder / "landmarks.npz", ("landmarks_px", "frame"))
    for name, arrays in (("vertices", vertices), ("landmarks", landmarks)):
        if arrays["frame"].tolist() != tracking.frame.tolist():
            raise UserError(
                f"'{folder}': {name}.npz and the tracking file have different frames; make it again"
            )
    return Truth(
        tracking=tracking,
        landmarks_px=landmarks["landmarks_px"],
        vertices=vertices["vertices"],
        vertex_ids=vertices["vertex_ids"],
        head=str(vertices["head"]),
    )


def _load(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise UserError(
            f"'{path}' is missing or lacks {', '.join(keys)}; make the video again with `nha synthetic`"
        ) from None
