from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.data.tracking_file import TrackingOrigin, TrackingResult
from nha.head.assets import HeadAssets
from nha.head.model import HeadModel
from nha.optimization.conditions import measure_drive
from tests.evaluation.conftest import make_tracking
from tests.small import SMALL, SMALL_BLEND

FRAMES = (0, 1, 2, 5)


def moving_tracking(head: HeadModel, assets: HeadAssets) -> TrackingResult:
    """A head that turns, nods, moves its eyes and uses many expressions, with its own shape."""
    rng = np.random.default_rng(5)
    n, plain = len(FRAMES), make_tracking(head, FRAMES)
    expr = np.zeros_like(plain.expr)
    expr[:, :43] = rng.uniform(-0.5, 0.9, (n, 43))
    shape = np.zeros_like(plain.shape)
    shape[:55] = rng.normal(0, 0.7, 55)

    def spread(values: np.ndarray, width: float) -> np.ndarray:
        return (values + rng.uniform(-width, width, values.shape)).astype(np.float32)

    return dataclasses.replace(
        plain,
        shape=shape,
        expr=expr,
        neck_pose=spread(plain.neck_pose, 0.4),
        jaw_pose=spread(plain.jaw_pose, 0.2),
        eyes_pose=spread(plain.eyes_pose, 0.3),
        origin=TrackingOrigin(assets.identity),
    )


@pytest.fixture(scope="session")
def tracking(head, assets) -> TrackingResult:
    """`moving_tracking` of the procedural head."""
    return moving_tracking(head, assets)


def make_avatar(head: HeadModel, offset_size: float) -> NeuralHeadAvatar:
    """Small networks with random weights; offset_size: standard deviation of the offset network's last weights."""
    torch.manual_seed(0)
    avatar = NeuralHeadAvatar(head, SMALL, max_frame_id=5).eval()
    with torch.no_grad():
        avatar.offset_net.output.weight.normal_(0, offset_size)
        for table in avatar.frame_parameters.parameters():
            table.normal_(0, 0.02)
    return avatar.requires_grad_(False)


@pytest.fixture(scope="session")
def avatar(head) -> NeuralHeadAvatar:
    """An avatar whose offsets depend on the neck."""
    return make_avatar(head, 1e-3)


@pytest.fixture(scope="session")
def plain_avatar(head) -> NeuralHeadAvatar:
    """An avatar without offsets: only joints, skinning and blendshapes."""
    return make_avatar(head, 0.0)


def make_blend_avatar(head: HeadModel, tracking: TrackingResult, **settings: bool) -> BlendAvatar:
    """A blend model with random shapes, textures and light; its drive vector is scaled to a tracking."""
    torch.manual_seed(0)
    avatar = BlendAvatar(head, dataclasses.replace(SMALL_BLEND, **settings), max_frame_id=5).eval()
    frames = tracking.frame.tolist()
    with torch.no_grad():
        avatar.static_offsets.normal_(0, 2e-3)
        avatar.shapes.normal_(0, 2e-3)
        for texture in (avatar.head_texture, avatar.mouth_texture):
            texture.mean.levels[-1].normal_(0, 0.1)
            texture.basis.levels[-1].normal_(0, 0.1)
        avatar.light.normal_(0, 0.1)
        avatar.frame_parameters.expr.normal_(0, 0.02)
        if avatar.settings.blend_continue_unseen:
            avatar.unseen_offsets.normal_(0, 2e-3)
        measure_drive(avatar, tracking.params_for(frames), tracking.camera_for(frames, tracking.image_size))
    return avatar.requires_grad_(False)


@pytest.fixture(scope="session")
def blend_avatar(head, tracking) -> BlendAvatar:
    """A small blend model."""
    return make_blend_avatar(head, tracking)


@pytest.fixture(scope="session")
def still_avatar(head, tracking) -> BlendAvatar:
    """A blend model with a still torso, and with offsets on unseen surface."""
    return make_blend_avatar(head, tracking, blend_still_torso=True, blend_continue_unseen=True)


def make_calm_avatar(head: HeadModel, tracking: TrackingResult) -> BlendAvatar:
    """A blend model with small offsets, whose lids and lips lie as a person's do."""
    avatar = make_blend_avatar(head, tracking)
    with torch.no_grad():
        avatar.static_offsets.mul_(0.1)
        avatar.shapes.mul_(0.05)
        avatar.shape_weights.mul_(0.1)  # Blender limits shape keys to -10..10
    return avatar


@pytest.fixture(scope="session")
def calm_avatar(head, tracking) -> BlendAvatar:
    """`make_calm_avatar` on the procedural head."""
    return make_calm_avatar(head, tracking)
