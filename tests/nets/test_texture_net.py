"""The texture network, the neural texture and the normal encoder against plain references."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nha.nets.neural_texture import NeuralTexture
from nha.nets.normal_encoder import NormalEncoder
from nha.nets.texture_net import TextureNet


def slow_colours(
    net: TextureNet,
    points: Tensor,
    normal_encoding: Tensor,
    mouth_features: Tensor,
    image_index: Tensor,
    mouth_weight: Tensor,
    rest_weight: Tensor,
) -> Tensor:
    """Reference: every pixel gets all frequencies and phases of its two conditions."""
    conditions = torch.stack([mouth_features[image_index], torch.zeros_like(mouth_features)[image_index]], 1)
    frequency, phase = net.mapping(conditions)  # [P, 2, S]
    weights = torch.stack([mouth_weight, rest_weight], 1)[:, :, None]
    frequency, phase = (weights * frequency).sum(1), (weights * phase).sum(1)  # [P, S]
    x, start = points, 0
    for layer in net.layers:
        now = slice(start, start + layer.out_features)
        x = torch.sin(frequency[:, now] * layer(x) + phase[:, now])
        start += layer.out_features
    dynamic = torch.cat([x, normal_encoding], 1)
    dynamic = torch.sin(frequency[:, start:] * net.dynamic_layer(dynamic) + phase[:, start:])
    return torch.tanh(net.static_head(x) + net.dynamic_head(dynamic))


def texture_case(mouth_weights: str) -> tuple[TextureNet, dict[str, Tensor]]:
    torch.manual_seed(0)
    net = TextureNet(4, 5, 3, hidden_layers=3, hidden_size=8, dynamic_size=6).double()
    n_pixels = 40
    mouth_weight = {
        "no mouth": torch.zeros(n_pixels),
        "only mouth": torch.ones(n_pixels),
        "both": torch.cat([torch.zeros(20), torch.ones(10), torch.rand(10)]),
    }[mouth_weights].double()
    alpha = torch.ones(n_pixels, dtype=torch.float64)
    alpha[3] = 0.5  # a partly covered pixel
    inputs = {
        "points": torch.randn(n_pixels, 7, dtype=torch.float64, requires_grad=True),
        "normal_encoding": torch.randn(n_pixels, 3, dtype=torch.float64, requires_grad=True),
        "mouth_features": torch.randn(3, 5, dtype=torch.float64, requires_grad=True),
        "image_index": torch.randint(3, (n_pixels,)),
        "mouth_weight": mouth_weight,
        "rest_weight": (alpha - mouth_weight).clamp(min=0),
    }
    return net, inputs


@pytest.mark.parametrize("mouth_weights", ["no mouth", "only mouth", "both"])
def test_texture_values_and_gradients_equal_the_reference(mouth_weights):
    net, inputs = texture_case(mouth_weights)
    fast, slow = net(**inputs), slow_colours(net, **inputs)
    torch.testing.assert_close(fast, slow)
    moving = (*(x for x in inputs.values() if x.requires_grad), *net.parameters())
    upstream = torch.randn_like(fast)
    ours, theirs = (torch.autograd.grad(y, moving, upstream, allow_unused=True) for y in (fast, slow))
    for x, own, other in zip(moving, ours, theirs, strict=True):
        zero = torch.zeros_like(x)  # without mouth pixels no gradient reaches the mouth features
        torch.testing.assert_close(zero if own is None else own, zero if other is None else other)


def test_blend_weights_get_no_gradient():
    net, inputs = texture_case("both")
    inputs["mouth_weight"].requires_grad_()
    net(**inputs).sum().backward()
    assert inputs["mouth_weight"].grad is None


def test_texture_of_no_pixels():
    net, inputs = texture_case("both")
    nothing = {name: x if name == "mouth_features" else x[:0] for name, x in inputs.items()}
    assert net(**nothing).shape == (0, 3)


def bytes_kept_for_backward(net: TextureNet, n_pixels: int) -> int:
    """Memory that a forward pass over pixels outside the mouth keeps for the backward pass; each block counts once."""
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)  # kept alive, otherwise a later block could reuse the address
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(
            torch.randn(n_pixels, 67),
            torch.randn(n_pixels, 32),
            torch.randn(2, 13),
            torch.zeros(n_pixels, dtype=torch.long),
            torch.zeros(n_pixels),
            torch.ones(n_pixels),
        )
    return sum(kept.values())


def test_texture_keeps_little_for_the_backward_pass():
    """For each pixel one number per hidden unit (8 x 256) besides the inputs and the two heads."""
    net = TextureNet()
    per_pixel = (bytes_kept_for_backward(net, 600) - bytes_kept_for_backward(net, 200)) / 400 / 4
    assert 8 * 256 <= per_pixel < 8 * 256 + 3 * 128


def test_heads_start_like_sinusoidal_layers():
    torch.manual_seed(0)
    net = TextureNet()
    for layer, fan_in in ((net.static_head, 256), (net.dynamic_layer, 288), (net.dynamic_head, 128)):
        bound = math.sqrt(6 / fan_in) / 25
        assert layer.in_features == fan_in
        assert bound * 0.95 < layer.weight.abs().max() <= bound


# -- neural texture ------------------------------------------------------------------------------------------


def slow_sample(texture: Tensor, uv: Tensor) -> Tensor:
    """texture [F, H, W], uv [2] in -1..1 -> [F], one point at a time."""
    height, width = texture.shape[1:]
    x = ((uv[0] + 1) / 2 * (width - 1)).clamp(0, width - 1)
    y = ((uv[1] + 1) / 2 * (height - 1)).clamp(0, height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - left, y - top
    upper = texture[:, top, left] * (1 - fx) + texture[:, top, left + 1] * fx
    lower = texture[:, top + 1, left] * (1 - fx) + texture[:, top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def test_neural_texture_equals_the_reference():
    torch.manual_seed(0)
    texture = NeuralTexture(3, head_size=5, mouth_size=4).double()
    uvs = torch.rand(20, 2, dtype=torch.float64) * 2.4 - 1.2  # some beyond the border
    uvs[0] = torch.tensor([-1.0, -1.0])
    uv_map = (torch.arange(20) % 3 == 1).long()
    fast = texture(uvs, uv_map)
    maps = (texture.head[0], texture.mouth[0])
    slow = torch.stack([slow_sample(maps[which], uv) for uv, which in zip(uvs, uv_map, strict=True)])
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(fast[0], texture.head[0, :, 0, 0])
    upstream = torch.randn_like(fast)
    parameters = tuple(texture.parameters())
    slow_gradients = torch.autograd.grad(slow, parameters, upstream)
    for ours, theirs in zip(torch.autograd.grad(fast, parameters, upstream), slow_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_neural_texture_is_initialised_with_small_values():
    torch.manual_seed(0)
    texture = NeuralTexture()
    assert texture.head.shape == (1, 64, 256, 256)
    assert texture.mouth.shape == (1, 64, 64, 64)
    assert texture.head.std().item() == pytest.approx(0.01, rel=0.01)
    assert texture.mouth.std().item() == pytest.approx(0.01, rel=0.02)


# -- normal encoder ------------------------------------------------------------------------------------------


def slow_encoding(net: NormalEncoder, normals: Tensor) -> Tensor:
    """Reference: frequencies and phases as images, with explicit border replication."""

    def padded(image: Tensor) -> Tensor:
        image = torch.cat([image[:, :, :1], image, image[:, :, -1:]], 2)
        return torch.cat([image[..., :1], image, image[..., -1:]], 3)

    frequency, phase = net.mapping(net.condition)
    x, start = normals, 0
    for layer in net.layers:
        now = slice(start, start + layer.out_channels)
        x = nn.functional.conv2d(padded(x), layer.weight, layer.bias)
        x = torch.sin(frequency[:, now, None, None] * x + phase[:, now, None, None])
        start += layer.out_channels
    return nn.functional.conv2d(padded(x), net.output.weight, net.output.bias)


def test_normal_encoder_values_and_gradients_equal_the_reference():
    torch.manual_seed(0)
    net = NormalEncoder(4, 2, 6, condition_size=5).double()
    normals = torch.randn(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    fast, slow = net(normals), slow_encoding(net, normals)
    torch.testing.assert_close(fast, slow)
    inputs = (normals, *net.parameters())
    upstream = torch.randn_like(fast)
    slow_gradients = torch.autograd.grad(slow, inputs, upstream)
    for ours, theirs in zip(torch.autograd.grad(fast, inputs, upstream), slow_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rows, columns", [((0, 4), (3, 7)), ((6, 13), (8, 15)), ((5, 6), (5, 6))])
def test_encoding_of_some_pixels_equals_the_whole_image(rows, columns):
    torch.manual_seed(0)
    net = NormalEncoder(4, 2, 6).double()
    normals = torch.randn(2, 3, 14, 16, dtype=torch.float64)
    image_index = torch.randint(2, (30,))
    row, column = torch.randint(*rows, (30,)), torch.randint(*columns, (30,))
    expected = net(normals)[image_index, :, row, column]
    torch.testing.assert_close(net.at_pixels(normals, image_index, row, column), expected)
    assert net.at_pixels(normals, image_index[:0], row[:0], column[:0]).shape == (0, 4)


def test_normal_encoder_has_the_published_sizes_and_start():
    torch.manual_seed(0)
    net = NormalEncoder()
    assert net.mapping.output.out_features == 768
    assert net.condition.shape == (1, 100)
    for layer, bound in ((net.layers[0], 1 / 27), (net.layers[1], math.sqrt(6 / 1152) / 25)):
        assert bound * 0.95 < layer.weight.abs().max() <= bound
    assert net.output.weight.abs().max() <= math.sqrt(6 / 1152) / 25
