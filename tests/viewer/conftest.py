from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from nha.avatar.open import save_avatar
from nha.data.tracking_file import TrackingResult, write_tracking
from nha.viewer.scene import AvatarScene
from tests.evaluation.conftest import make_tracking
from tests.export.conftest import make_avatar

FRAMES = (0, 1, 2, 5)


@pytest.fixture(scope="session")
def tracking(head) -> TrackingResult:
    """A head that turns and talks, seen by a camera that is beside the origin and turned to the side."""
    plain = make_tracking(head, FRAMES)
    angle = 0.3
    turn = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    extrinsics = np.concatenate([np.array(turn), [[0.3], [0.02], [-0.05]]], 1).astype(np.float32)
    return dataclasses.replace(plain, RT=extrinsics)


@pytest.fixture(scope="session")
def scene(head, tracking) -> AvatarScene:
    """An avatar with small random networks."""
    return AvatarScene(make_avatar(head, 1e-3), tracking)


@dataclasses.dataclass(frozen=True)
class Files:
    ckpt: Path
    tracking: Path


@pytest.fixture(scope="session")
def files(head, assets, tmp_path_factory) -> Files:
    """An avatar on disk and the tracking file of its video, in a folder with quotes and spaces in its name."""
    folder = tmp_path_factory.mktemp('an avatar\'s "folder"')
    paths = Files(folder / "avatar.ckpt", folder / "tracked_flame_params.npz")
    save_avatar(paths.ckpt, make_avatar(head, 1e-3), assets, {"head": "procedural"})
    write_tracking(paths.tracking, make_tracking(head, FRAMES))
    return paths
