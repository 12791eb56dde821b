from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import save_avatar
from nha.core.conventions import Segmentation
from nha.core.types import HeadParams
from nha.data.dataset_folder import DatasetFolder, write_labels, write_rgb
from nha.data.settings import DataSettings
from nha.data.tracking_file import TrackingResult, write_tracking
from nha.evaluation.truth import Truth
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.visualization.colours import to_uint8
from tests.small import SMALL

SIZE = (48, 48)
FRAMES = (0, 1, 2, 3)


@pytest.fixture
def avatar(head) -> NeuralHeadAvatar:
    """An untrained avatar with small networks and the frame ids 0 to 9: a head in greyish colours."""
    torch.manual_seed(0)
    return NeuralHeadAvatar(head, SMALL, max_frame_id=9).eval()


def make_tracking(head: HeadModel, frame_ids: tuple[int, ...]) -> TrackingResult:
    """A head at one metre that turns by 4 degrees and opens the jaw from frame to frame."""
    n = len(frame_ids)
    neutral = head.neutral_params(n)
    turn = np.pi + np.radians(4) * np.arange(n)
    zeros = np.zeros(n)
    expr = np.zeros((n, head.n_expr), np.float32)
    expr[:, 0] = np.linspace(0, 1, n)
    return TrackingResult(
        frame=np.array(frame_ids),
        rotation=np.stack([zeros, turn, zeros], 1).astype(np.float32),
        translation=np.tile(np.float32([0, -0.05, 1]), (n, 1)),
        neck_pose=neutral.neck.numpy(),
        jaw_pose=neutral.jaw.numpy() + np.linspace(0, 0.3, n, dtype=np.float32)[:, None],
        eyes_pose=neutral.eyes.numpy(),
        shape=np.zeros(head.n_shape, np.float32),
        expr=expr,
        texture=np.zeros(0, np.float32),
        light=np.zeros((n, 9, 3), np.float32),
        K=np.float32([2.9, 0.5, 0.5]),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=SIZE,
        view=tuple(map(str, frame_ids)),
        n_processed=n,
    )


@pytest.fixture
def tracking(head) -> TrackingResult:
    return make_tracking(head, (0, 1, 2, 5))


@pytest.fixture
def truth(head, tracking) -> Truth:
    """The ground truth for which `tracking` has no error."""
    return make_truth(head, tracking)


def make_truth(head: HeadModel, tracking: TrackingResult) -> Truth:
    params: HeadParams = tracking.params_for(tracking.frame)
    vertices = head(params)
    camera = tracking.camera_for(tracking.frame, tracking.image_size)
    landmarks = project(head.landmarks(vertices), camera)[..., :2]
    return Truth(
        tracking=dataclasses.replace(tracking),
        landmarks_px=landmarks.numpy(),
        vertices=vertices.numpy(),
        vertex_ids=head.kept_vertices.numpy(),
        head=head.name,
    )


@pytest.fixture
def settings(avatar, head, tiny_dataset) -> DataSettings:
    """A dataset whose images are rendered by the avatar; frame 3 is held out."""
    dataset = tiny_dataset(FRAMES, SIZE)
    tracking = make_tracking(head, FRAMES)
    write_tracking(dataset.tracking_path, tracking)
    ids = torch.tensor(FRAMES)
    with torch.no_grad():
        rendered = avatar(tracking.params_for(FRAMES), tracking.camera_for(FRAMES, SIZE), ids)
    folder = DatasetFolder(dataset.data_path)
    for i in FRAMES:
        paths = folder.paths(i)
        write_rgb(paths.image, to_uint8(rendered[i]))
        covered = rendered[i, 3].numpy() > 0
        write_labels(paths.segmentation, np.where(covered, np.uint8(Segmentation.HEAD), np.uint8(0)))
    return DataSettings(dataset.data_path, dataset.tracking_path, dataset.split_path, frame_cache="none")


@pytest.fixture
def checkpoint(avatar, assets, tmp_path):
    return save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})
