"""A short clip of a moving head with known parameters, as a dataset folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.data.dataset_folder import DatasetFolder, Keypoints, write_keypoints, write_rgb
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.render.camera import project
from nha.tracking.appearance import LINEAR, AlbedoSpace
from nha.tracking.photometric import TrackerMesh, surface_colours, tracker_mesh, visible_pixels
from nha.tracking.state import Unknowns, start_unknowns

FRAME_IDS = (0, 1, 2, 4, 5, 6, 7)  # 3 is missing
IMAGE_SIZE = (72, 88)
TRUE_FOCAL = 2.4


@dataclass(frozen=True)
class Clip:
    """A dataset folder with what it shows."""

    folder: Path
    truth: Unknowns
    landmarks_px: torch.Tensor


@pytest.fixture(scope="session")
def head_assets() -> HeadAssets:
    return load_head("procedural")


@pytest.fixture(scope="session")
def head_mesh(head_assets) -> TrackerMesh:
    return tracker_mesh(head_assets)


def true_unknowns(mesh: TrackerMesh) -> Unknowns:
    """A head that turns from one side to the other while its mouth opens."""
    n = len(FRAME_IDS)
    generator = torch.Generator().manual_seed(3)
    start = start_unknowns(mesh.head, n, 0)
    phase = torch.tensor(FRAME_IDS) / 3.5 - 1  # steady in time
    rotation = torch.stack([0.1 * phase, math.pi + 0.5 * phase, torch.zeros(n)], 1)
    translation = torch.stack([0.02 * phase, 0.01 * phase, torch.full((n,), 0.75)], 1)
    shape = torch.zeros_like(start.shape)
    shape[:12] = torch.randn(12, generator=generator) * 0.7
    jaw = start.jaw.clone()
    jaw[:, 0] += 0.25 * (phase + 1)
    light = start.light.clone()
    light[1:4] = torch.tensor([[0.3], [0.4], [-0.8]])
    return start.replace(
        rotation=rotation,
        translation=translation,
        shape=shape,
        jaw=jaw,
        light=light,
        focal_and_centre=torch.tensor([TRUE_FOCAL, 0.5, 0.5]),
    )


def write_clip(folder: Path, mesh: TrackerMesh, truth: Unknowns) -> torch.Tensor:
    """Render the head with a blotchy skin; returns the landmarks [N, 70, 2]."""
    generator = torch.Generator().manual_seed(4)
    blotches = torch.nn.functional.interpolate(
        0.3 + 0.5 * torch.rand(1, 3, 24, 24, generator=generator), size=(64, 64), mode="bilinear"
    )
    albedo = AlbedoSpace(255 * blotches[0].permute(1, 2, 0), torch.zeros(64, 64, 3, 0))
    with torch.no_grad():
        vertices = mesh.head(truth.head_params())
        landmarks = project(mesh.head.landmarks(vertices), truth.camera(IMAGE_SIZE))[..., :2]
        visible = visible_pixels(vertices, mesh, truth, IMAGE_SIZE)
        colours = surface_colours(vertices, mesh, visible, truth, albedo, LINEAR)
        images = visible.to_image(colours.clamp(0, 1), background=0.2)
    dataset = DatasetFolder(folder)
    for row, frame_id in enumerate(FRAME_IDS):
        paths = dataset.paths(frame_id)
        paths.folder.mkdir(parents=True)
        write_rgb(paths.image, (images[row].numpy() * 255).astype(np.uint8))
        points = landmarks[row].numpy()
        write_keypoints(
            paths.keypoints,
            Keypoints(points[:68], np.zeros(68, np.float32), np.ones(68, np.float32), points[68:]),
        )
    return landmarks


@pytest.fixture
def clip(tmp_path: Path, head_mesh: TrackerMesh) -> Clip:
    truth = true_unknowns(head_mesh)
    return Clip(tmp_path / "clip", truth, write_clip(tmp_path / "clip", head_mesh, truth))
