"""Quick posing of one identity against `HeadModel.pose`."""

from __future__ import annotations

import torch

from nha.core.types import HeadParams
from nha.head.model import HeadModel
from nha.head.quick_pose import QuickPose


def random_params(head: HeadModel, n: int) -> HeadParams:
    neutral = head.neutral_params(n)
    return neutral.replace(
        shape=torch.randn(1, head.n_shape).expand(n, -1),
        expr=torch.randn(n, head.n_expr),
        rotation=torch.randn(n, 3),
        translation=torch.randn(n, 3),
        neck=neutral.neck + 0.3 * torch.randn(n, 3),
        jaw=neutral.jaw + 0.5 * torch.rand(n, 3),
        eyes=neutral.eyes + 0.3 * torch.randn(n, 6),
    )


def test_it_poses_as_the_head_model_does(head) -> None:
    torch.manual_seed(0)
    quick = QuickPose()
    for n in (3, 1):  # the second time with another identity
        params, offsets = random_params(head, n), 1e-3 * torch.randn(n, head.n_vertices, 3)
        posed, expected = quick.pose(head, params, offsets), head.pose(params, rest_offsets=offsets)
        torch.testing.assert_close(posed.vertices, expected.vertices, rtol=0, atol=2e-6)
        torch.testing.assert_close(posed.plain_vertices, expected.plain_vertices, rtol=0, atol=2e-6)


def test_different_identities_are_left_to_the_head_model(head) -> None:
    params = random_params(head, 2)
    params = params.replace(shape=torch.stack([params.shape[0], -params.shape[0]]))
    assert QuickPose().pose(head, params, torch.zeros(2, head.n_vertices, 3)) is None
