"""A folder of reference numbers: arrays, scalars, and the inputs that they were computed from."""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nha.avatar.checkpoint import AvatarCheckpoint, read_checkpoint
from nha.core import json_file
from nha.core.errors import UserError
from nha.core.types import Camera, FrameBatch, HeadParams
from nha.data.tracking_file import TrackingResult, read_tracking

INPUT_PREFIX = "in_"


class NumbersFolder:
    """golden.npz, scalars.json and tracked_flame_params.npz of a folder. Raises UserError where one is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("golden.npz", "scalars.json"):
            if not (folder / name).is_file():
                raise UserError(f"'{folder}' has no {name}; give a folder of reference numbers")
        self.arrays = read_arrays(folder / "golden.npz")
        self.content = read_json(folder / "scalars.json")
        self.scalars: dict[str, float | list] = self.content["scalars"]
        self.tracking: TrackingResult = read_tracking(folder)

    def tensor(self, name: str) -> Tensor:
        """An array of golden.npz. Raises UserError where it is not there."""
        if name not in self.arrays:
            raise UserError(
                f"'{self.folder / 'golden.npz'}' has no '{name}': it is no folder of reference numbers"
            )
        return torch.from_numpy(self.arrays[name])


class GoldenFolder(NumbersFolder):
    """The avatar's numbers: an annotated batch, a published checkpoint, and the reference's results for them."""

    @property
    def part_names(self) -> tuple[str, ...]:
        """Parts of the head, in the order of the columns of the labels."""
        return tuple(self.content["labels"])

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the batch."""
        return tuple(self.arrays["in_rgb"].shape[2:])

    @property
    def stage_names(self) -> list[str]:
        """Stages with losses in the folder, in its order."""
        return [name.removesuffix("/epoch") for name in self.scalars if name.endswith("/epoch")]

    @cached_property
    def checkpoint(self) -> AvatarCheckpoint:
        """The checkpoint; an .xz file is unpacked to a temporary folder."""
        plain, packed = self.folder / "avatar.ckpt", self.folder / "avatar.ckpt.xz"
        if plain.is_file() or not packed.is_file():
            return read_checkpoint(plain)
        with tempfile.TemporaryDirectory() as scratch:
            unpacked = Path(scratch) / plain.name
            try:
                with lzma.open(packed) as source, unpacked.open("wb") as target:
                    shutil.copyfileobj(source, target)
            except (lzma.LZMAError, EOFError) as error:
                raise UserError(f"'{packed}' is damaged ({error}); copy it again") from None
            return read_checkpoint(unpacked)

    def quantities(self) -> list[str]:
        """Names of all quantities in the folder that are not inputs."""
        arrays = [name for name in self.arrays if not name.startswith(INPUT_PREFIX)]
        return arrays + [name for name in self.scalars if not name.endswith("/epoch")]

    def params(self) -> HeadParams:
        """The tracked parameters of the batch."""
        pose = self.tensor("in_flame_pose")
        return HeadParams(
            shape=self.tensor("in_flame_shape"),
            expr=self.tensor("in_flame_expr"),
            rotation=pose[:, :3],
            translation=self.tensor("in_flame_trans"),
            neck=pose[:, 3:6],
            jaw=pose[:, 6:9],
            eyes=pose[:, 9:],
        )

    def batch(self) -> FrameBatch:
        """The training batch."""
        landmarks = self.tensor("in_lmk2d")
        return FrameBatch(
            frame_id=self.tensor("in_frame"),
            rgb01=(self.tensor("in_rgb") + 1) / 2,
            segmentation=self.tensor("in_seg")[:, 0].long(),
            parsing=self.tensor("in_parsing")[:, 0].long(),
            normals=self.tensor("in_normal"),
            landmarks_px=landmarks[..., :2],
            landmark_confidence=torch.ones(landmarks.shape[:2]),  # the third value is a depth
            iris_px=self.tensor("in_lmk2d_iris")[..., :2],
            eye_height_px=self.tensor("in_eye_distance").T.float(),
            tracked=self.params(),
            camera=Camera(self.tensor("in_cam_intrinsic"), self.tensor("in_cam_extrinsic"), self.image_size),
        )


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file. Raises UserError where it is damaged."""
    try:
        with open(path, "rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' is not an npz archive of plain arrays ({error}); copy it again") from None


def read_json(path: Path) -> dict:
    """A JSON file. Raises UserError where it is damaged."""
    try:
        return json_file.read_json(path, nan=True)
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}); copy it again") from None
