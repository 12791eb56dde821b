from __future__ import annotations

import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.types import Camera, HeadParams
from nha.head.model import HeadModel
from tests.small import SMALL


@pytest.fixture
def avatar(head) -> NeuralHeadAvatar:
    """Small networks, random weights everywhere (an untrained offset net would return zero)."""
    torch.manual_seed(0)
    avatar = NeuralHeadAvatar(head, SMALL, max_frame_id=5).eval()
    with torch.no_grad():
        avatar.offset_net.output.weight.normal_(0, 1e-3)
        for table in avatar.frame_parameters.parameters():
            table.normal_(0, 0.02)
    return avatar


def camera(n: int, height: int = 48, width: int = 56) -> Camera:
    intrinsics = torch.tensor([[120.0, 0, width / 2], [0, 120, height / 2], [0, 0, 1]])
    return Camera(
        intrinsics.expand(n, 3, 3),
        torch.cat([torch.eye(3), torch.zeros(3, 1)], 1).expand(n, 3, 4),
        (height, width),
    )


def facing_params(head: HeadModel, n: int) -> HeadParams:
    """n heads that look into the camera, slightly turned from one to the next."""
    turn = torch.linspace(0, 0.4, n)
    p = head.neutral_params(n)
    rotation = torch.stack([torch.zeros(n), torch.pi - turn, torch.zeros(n)], 1)
    return p.replace(rotation=rotation, translation=torch.tensor([[0.0, -0.05, 0.9]]).expand(n, 3))
