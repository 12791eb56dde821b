"""Images from captured functions equal those of `HeadAvatar.render`; a twin stands in for CUDA graphs."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest
import torch

from nha.avatar import image_renderer
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.image_renderer import render_images, render_rgba
from nha.core.cuda_graphs import WARM_UPS, CapturedFunction
from nha.core.device import accelerator_path
from tests.avatar.conftest import camera, facing_params
from tests.graph_twin import GraphTwin
from tests.small import SMALL_BLEND


@pytest.fixture
def twin(monkeypatch) -> GraphTwin:
    """Records instead of CUDA graphs."""
    recorder = GraphTwin()
    captured = functools.partial(CapturedFunction, recorder=recorder)
    monkeypatch.setattr(image_renderer, "CapturedFunction", captured)
    return recorder


@pytest.fixture
def blend(head) -> BlendAvatar:
    torch.manual_seed(0)
    return BlendAvatar(head, SMALL_BLEND, max_frame_id=5).eval()


@pytest.mark.parametrize("model", ["avatar", "blend"])
def test_images_equal_those_of_render(model, request, twin) -> None:
    avatar = request.getfixturevalue(model)
    params = facing_params(avatar.head, WARM_UPS + 3)
    params = params.replace(translation=params.translation.clone())
    params.translation[-1, 2] = 0.5  # so near that the lists of pixels of the first images are too short
    view = camera(1, 96, 96)
    with accelerator_path(), torch.no_grad():
        for i in range(len(params)):
            ids = torch.tensor([i % 3])
            expected = avatar.render(params[i : i + 1], view, frame_ids=ids)
            found = render_images(avatar, params[i : i + 1], view, frame_ids=ids)
            torch.testing.assert_close(found.rgba, expected.rgba, rtol=0, atol=1e-5)
            torch.testing.assert_close(found.gbuffer["normals"], expected.gbuffer["normals"])
            rgba = render_rgba(avatar, params[i : i + 1], view, frame_ids=ids)
            torch.testing.assert_close(rgba, expected.rgba, rtol=0, atol=1e-5)
    assert twin.replayed >= 4


@pytest.mark.parametrize("model", ["avatar", "blend"])
def test_changed_weights_change_the_image(model, request, twin) -> None:
    avatar = request.getfixturevalue(model)
    params, view = facing_params(avatar.head, 1), camera(1)
    with accelerator_path(), torch.no_grad():
        for _ in range(WARM_UPS + 1):
            render_rgba(avatar, params, view)
        for parameter in avatar.parameters():
            parameter.add_(0.01)
        for _ in range(WARM_UPS + 1):
            found = render_rgba(avatar, params, view)
            torch.testing.assert_close(found, avatar.render(params, view).rgba, rtol=0, atol=1e-5)


def test_on_a_cpu_render_is_called(avatar) -> None:
    params, view = facing_params(avatar.head, 1), camera(1)
    assert torch.equal(render_rgba(avatar, params, view), avatar.render(params, view).rgba.detach())


def test_the_renderer_does_not_keep_the_avatar(head) -> None:
    avatar = BlendAvatar(head, SMALL_BLEND, max_frame_id=0).eval()
    render_rgba(avatar, facing_params(head, 1), camera(1))
    kept = weakref.ref(avatar)
    del avatar
    gc.collect()
    assert kept() is None
