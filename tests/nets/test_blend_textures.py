"""Blended textures: pyramids, sampling and weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nha.nets.blend_textures import BlendTexture, BlendWeights, PyramidImages


def random_texture(size: int = 32, n_basis: int = 3) -> BlendTexture:
    torch.manual_seed(0)
    texture = BlendTexture(size, n_basis)
    with torch.no_grad():
        for parameter in texture.parameters():
            parameter.normal_()
    return texture


def test_a_pyramid_is_the_sum_of_its_enlarged_levels() -> None:
    torch.manual_seed(0)
    pyramid = PyramidImages(2, 64)
    assert [tuple(level.shape) for level in pyramid.levels] == [(2, 16, 16), (2, 32, 32), (2, 64, 64)]
    with torch.no_grad():
        for level in pyramid.levels:
            level.normal_()
    expected = sum(
        F.interpolate(
            F.interpolate(level[None], size=min(64, 2 * level.shape[-1]), mode="bilinear"),
            size=64,
            mode="bilinear",
        )
        for level in pyramid.levels
    )
    torch.testing.assert_close(pyramid(), expected[0])


def test_initial_value_fills_the_image() -> None:
    assert (PyramidImages(3, 40, 0.5)() == 0.5).all()
    assert PyramidImages(3, 40)().shape == (3, 40, 40)


def test_samples_of_mean_and_basis_add_up() -> None:
    # a shader that samples the mean and every basis image separately gets the same colours
    texture = random_texture()
    uv = torch.rand(2, 5, 7, 2) * 2 - 1
    weights = torch.randn(2, 3)
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    mean = F.grid_sample(texture.mean()[None].expand(2, -1, -1, -1), uv, **options)
    basis = texture.basis_images()
    assert basis.shape == (3, 3, 16, 16)
    blended = sum(
        weights[:, k, None, None, None] * F.grid_sample(basis[k : k + 1].expand(2, -1, -1, -1), uv, **options)
        for k in range(3)
    )
    torch.testing.assert_close(texture(uv, weights), mean + blended, rtol=1e-4, atol=1e-5)


def test_frames_of_a_batch_do_not_mix() -> None:
    texture = random_texture()
    uv, weights = torch.rand(2, 5, 7, 2) * 2 - 1, torch.randn(2, 3)
    both = texture(uv, weights)
    for i in (0, 1):
        torch.testing.assert_close(both[i : i + 1], texture(uv[i : i + 1], weights[i : i + 1]))


def test_corner_of_the_map_is_the_top_left_texel() -> None:
    texture = random_texture()
    with torch.no_grad():
        expected = texture.mean()[:, 0, 0]
        got = texture(torch.full((1, 1, 1, 2), -1.0), torch.zeros(1, 3))[0, :, 0, 0]
    torch.testing.assert_close(got, expected)


def test_gradient_reaches_every_level_and_the_weights() -> None:
    texture = random_texture()
    weights = torch.randn(1, 3, requires_grad=True)
    texture(torch.rand(1, 8, 8, 2) * 2 - 1, weights).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in texture.parameters())
    assert weights.grad.abs().sum() > 0


def test_weights_network() -> None:
    torch.manual_seed(0)
    net = BlendWeights(5, 8, 4)
    drive = torch.randn(3, 5)
    assert net(drive).shape == (3, 4)
    hidden = torch.tanh(drive @ net.hidden.weight.T + net.hidden.bias)
    assert net(drive)[1, 2].item() == pytest.approx(
        (hidden[1] @ net.output.weight[2] + net.output.bias[2]).item(), rel=1e-5
    )


def test_maps_with_gradient_equal_those_of_the_basis_images() -> None:
    texture = BlendTexture(64, 3)
    for level in texture.basis.levels:
        level.data.normal_()
    weights = torch.randn(2, 3)
    mean, own = texture.maps(weights)  # the levels are summed first
    assert own.requires_grad
    expected = torch.einsum("nk,kchw->nchw", weights, texture.basis_images())
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for kept, recorded in zip(texture.maps(weights), (mean, own), strict=True):
            torch.testing.assert_close(kept, recorded, rtol=1e-4, atol=1e-5)
