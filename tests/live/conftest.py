"""A driving person whose landmarks are those of the head model itself, as a detector would find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nha.avatar.base import HeadAvatar
from nha.core.types import Camera, HeadParams
from nha.head.joint_limits import JAW_LIMITS_DEG, angles_from_params
from nha.head.model import HeadModel
from nha.live.base_poses import BasePoses, base_poses
from nha.live.detector import FaceLandmarks, face_landmarks
from nha.live.driver import LiveDriver
from nha.render.camera import project
from tests.export.conftest import make_avatar

SIZE = (480, 640)
FPS = 25.0
FOCAL = 2.5 * 640


@dataclass
class Actor:
    """Poses a head with a shape of its own, and returns its landmarks in place of a detector's.

    Attributes:
        params: the pose of the next image; None for an image without a face.
    """

    head: HeadModel
    params: HeadParams | None
    noise_px: float = 0.0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(5)
        intrinsics = torch.tensor([[[FOCAL, 0, SIZE[1] / 2], [0, FOCAL, SIZE[0] / 2], [0, 0, 1]]])
        self.camera = Camera(intrinsics, torch.eye(3, 4)[None], SIZE)

    def __call__(self, rgb: np.ndarray) -> FaceLandmarks | None:
        if self.params is None:
            return None
        points = self.head.plain_landmarks(self.params, torch.arange(70))
        pixels = project(points, self.camera)[0, :, :2].numpy()
        height = float(np.ptp(pixels[:68, 1]))
        pixels = pixels + self._random.normal(scale=self.noise_px, size=pixels.shape)
        return face_landmarks(pixels, np.ones(70), SIZE, height)


IMAGE = np.zeros((*SIZE, 3), np.uint8)


@pytest.fixture(scope="session")
def avatar(head) -> HeadAvatar:
    return make_avatar(head, 1e-3)


@pytest.fixture(scope="session")
def poses(avatar) -> BasePoses:
    with torch.no_grad():
        return base_poses(avatar, None)


@pytest.fixture
def actor(head) -> Actor:
    """Another person than the avatar's, at rest before the camera."""
    params = head.neutral_params(1)
    shape = torch.zeros_like(params.shape)
    shape[0, :3] = torch.tensor([1.0, -1.0, 0.8])
    facing = torch.tensor([[0.0, torch.pi, 0.0]])
    return Actor(
        head, params.replace(shape=shape, rotation=facing, translation=torch.tensor([[0.0, 0.0, 1.2]]))
    )


@pytest.fixture
def driver(avatar, poses, actor) -> LiveDriver:
    return LiveDriver(avatar, poses.neutral, poses.camera, detector=actor)


def calibrated(driver: LiveDriver, rest_s: float = 1.2) -> float:
    """Show the resting face until the calibration has ended and the motion has settled; returns the time."""
    time_s = 0.0
    while time_s < rest_s or driver.person is None:
        driver.update(IMAGE, time_s)
        time_s += 1 / FPS
        assert time_s < 5
    return time_s


def jaw_deg(params: HeadParams) -> float:
    """How far the jaw is open, in degrees."""
    return float(torch.rad2deg(angles_from_params(params.jaw, JAW_LIMITS_DEG))[0, 0])
