"""The learned corrections of the tracked parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nha.avatar.frame_parameters import FrameParameters
from nha.core.types import HeadParams


def tracked_params(n: int) -> HeadParams:
    torch.manual_seed(1)
    sizes = {"shape": 6, "expr": 5, "rotation": 3, "translation": 3, "neck": 3, "jaw": 3, "eyes": 6}
    return HeadParams(**{name: torch.randn(n, size) for name, size in sizes.items()})


def filled_frame_parameters() -> FrameParameters:
    torch.manual_seed(0)
    frames = FrameParameters(4, n_shape=6, n_expr=5)
    for parameter in frames.parameters():
        nn.init.normal_(parameter)
    return frames


def test_corrections_start_at_zero():
    frames = FrameParameters(4, n_shape=6, n_expr=5)
    tracked = tracked_params(2)
    corrected = frames.corrected(tracked, torch.tensor([0, 4]))
    assert all(torch.equal(getattr(corrected, name), getattr(tracked, name)) for name in vars(tracked))
    assert {name: tuple(p.shape) for name, p in frames.named_parameters()} == {
        "shape": (1, 6), "expr": (5, 5), "neck": (5, 3), "jaw": (5, 3), "eyes": (5, 6), "translation": (5, 3),
        "rotation": (5, 3),
    }  # fmt: skip


def test_corrections_are_added_by_frame_id():
    frames, tracked = filled_frame_parameters(), tracked_params(3)
    corrected = frames.corrected(tracked, torch.tensor([4, 0, 4]))
    torch.testing.assert_close(corrected.shape, tracked.shape + frames.shape)
    for name in ("expr", "neck", "jaw", "eyes", "translation", "rotation"):
        expected = getattr(tracked, name) + getattr(frames, name)[torch.tensor([4, 0, 4])]
        torch.testing.assert_close(getattr(corrected, name), expected)
    corrected.neck.sum().backward()
    torch.testing.assert_close(frames.neck.grad[:, 0], torch.tensor([1.0, 0, 0, 0, 2]))


@pytest.mark.parametrize("frame_id", [None, torch.tensor([5, -1])])
def test_unknown_frames_get_only_the_shape(frame_id):
    frames, tracked = filled_frame_parameters(), tracked_params(2)
    corrected = frames.corrected(tracked, frame_id)
    torch.testing.assert_close(corrected.shape, tracked.shape + frames.shape)
    for name in ("expr", "neck", "jaw", "eyes", "translation", "rotation"):
        assert torch.equal(getattr(corrected, name), getattr(tracked, name))


def test_known_frame_beside_an_unknown_one_gets_its_correction():
    frames, tracked = filled_frame_parameters(), tracked_params(2)
    corrected = frames.corrected(tracked, torch.tensor([9, 2]))
    torch.testing.assert_close(corrected.expr[1], tracked.expr[1] + frames.expr[2])
    assert torch.equal(corrected.expr[0], tracked.expr[0])
