"""Cameras and tables for the renderer's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.core.types import Camera, SurfaceTables

RASTER_SIZE = (29, 41)  # H != W, neither a multiple of a band


def _random_triangles(seed: int, batch: int = 2, faces: int = 60) -> tuple[Tensor, Tensor]:
    """Triangles that overlap, intersect, leave the image, lie behind the camera or have no area.

    Returns:
        screen [N, V, 3] pixels and camera z, faces [F, 3].
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = RASTER_SIZE
    vertices = faces // 2
    scale = torch.tensor([width * 1.6, height * 1.6, 2.0])
    shift = torch.tensor([width * 0.3, height * 0.3, -0.3])  # about one vertex in seven is behind the camera
    screen = torch.rand(batch, vertices, 3, generator=generator) * scale - shift
    index = torch.randint(0, vertices, (faces, 3), generator=generator)
    index[0] = index[0, 0]  # all corners the same: no area
    index[1, 2] = index[1, 1]
    index[3] = index[2]  # the same face twice: a tie in depth everywhere
    screen[0, index[4, 0]] = torch.tensor([1e9, -1e9, 1.0])  # far off screen
    return screen, index


@pytest.fixture(scope="session")
def random_triangles() -> Callable[..., tuple[Tensor, Tensor]]:
    """random_triangles(seed, batch=2, faces=60) returns screen [N, V, 3] and faces [F, 3] for a 29 x 41 image."""
    return _random_triangles


@pytest.fixture
def camera() -> Camera:
    """Two cameras, one of them turned and shifted, principal point off the centre, H != W."""
    intrinsics = torch.tensor([[60.0, 0.0, 19.0], [0.0, 55.0, 16.0], [0.0, 0.0, 1.0]]).repeat(2, 1, 1)
    angle = torch.tensor(0.2)
    turned = torch.tensor(
        [[angle.cos(), 0.0, -angle.sin()], [0.0, 1.0, 0.0], [angle.sin(), 0.0, angle.cos()]]
    )
    rotation = torch.stack((torch.eye(3), turned))
    translation = torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.05, 0.2]])[:, :, None]
    return Camera(intrinsics, torch.cat((rotation, translation), dim=-1), (29, 41))


class Golden:
    """One folder of reference numbers: arrays as tensors, and the inputs of the renderer."""

    def __init__(self, folder: Path):
        self._arrays = np.load(folder / "golden.npz")
        labels = json.loads((folder / "scalars.json").read_text())["labels"]
        self.camera = Camera(
            self["in_cam_intrinsic"], self["in_cam_extrinsic"], tuple(self["in_rgb"].shape[2:])
        )
        self.tables = SurfaceTables(
            faces=self["faces"],
            face_uvcoords=self["face_uvcoords"],
            face_uvmap=self["face_uvmap"],
            face_coords_normed=self["face_coords_normed"],
            hard_labels=self["vert_labels"].float(),
            soft_labels=self["blurred_vert_labels"].float(),
            part_names=tuple(labels),
        )

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self._arrays[name])

    @property
    def face_index(self) -> Tensor:
        """`pix_to_face` with ids local to each mesh, [N, H, W]."""
        packed = self["pix_to_face"]
        return torch.where(packed >= 0, packed % len(self.tables.faces), -1)


@pytest.fixture(scope="session", params=["a", "c"])
def golden(request, golden_dir: Path) -> Golden:
    return Golden(golden_dir / request.param)
