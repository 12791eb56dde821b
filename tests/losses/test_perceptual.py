"""The perceptual term with a small feature network; tests/nets checks the real one against its golden numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nha.core.errors import UserError
from nha.losses.perceptual import arcface_for, gram_matrix, perceptual_distance, perceptual_loss


class SmallFeatures(nn.Module):
    """Four taps, each at half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList()
        for n_in, n_out in ((3, 4), (4, 5), (5, 6), (6, 7)):
            layer = nn.Conv2d(n_in, n_out, 3, 2, padding=1, dtype=torch.float64)
            with torch.no_grad():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / 3)
            self.layers.append(layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        taps = []
        for layer in self.layers:
            x = torch.tanh(layer(x))
            taps.append(x)
        return taps


def images(n: int = 2, size: int = 16):
    return torch.rand(2, n, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def everywhere(image: Tensor) -> Tensor:
    return torch.ones_like(image[:, :1])


def test_identical_images_cost_nothing() -> None:
    rendered, _ = images()
    assert perceptual_loss(SmallFeatures(), rendered, rendered, everywhere(rendered)).item() == 0


def test_gram_matrix_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert gram_matrix(features)[0].tolist() == [[5 / 4, 11 / 4], [11 / 4, 25 / 4]]


def test_distance_by_hand() -> None:
    features = [torch.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0, 4.0)]
    zero = [torch.zeros(1, 1, 1, 1)] * 4
    assert perceptual_distance(features, zero).item() == 2 + (1 + 4 + 9 + 16)


def test_the_network_gets_values_in_minus_one_to_one() -> None:
    seen = []

    def features(x: Tensor) -> list[Tensor]:
        seen.append((x.min().item(), x.max().item()))
        return [x] * 4

    image = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).expand(1, 3, 2, 2)
    perceptual_loss(features, image, image, everywhere(image))
    assert seen == [(-1.0, 1.0)] * 2


def test_gradient() -> None:
    net = SmallFeatures().requires_grad_(False)
    rendered, target = images(n=1, size=8)
    assert torch.autograd.gradcheck(
        lambda x: perceptual_loss(net, x, target, everywhere(x)), rendered.clone().requires_grad_()
    )


def test_the_border_of_the_head_gets_no_gradient_and_the_value_is_the_same() -> None:
    net = SmallFeatures()
    rendered, target = images(n=1, size=100)  # erosion radius 2
    rendered.requires_grad_()
    target.requires_grad_()
    alpha = everywhere(rendered)
    alpha[:, :, 50:] = 0
    loss = perceptual_loss(net, rendered, target, alpha)
    loss.backward()
    assert loss.item() == perceptual_loss(net, rendered, target, torch.ones_like(alpha)).item()
    assert target.grad is None
    assert not rendered.grad[:, :, 48:].any()
    assert rendered.grad[:, :, :48].abs().amin(1).gt(0).all()  # outside the image counts as set


def test_a_batch_is_the_mean_of_its_frames() -> None:
    net = SmallFeatures()
    rendered, target = images()
    single = [
        perceptual_loss(net, rendered[i : i + 1], target[i : i + 1], everywhere(rendered[:1])).item()
        for i in (0, 1)
    ]
    assert perceptual_loss(net, rendered, target, everywhere(rendered)).item() == pytest.approx(
        sum(single) / 2
    )


def test_nothing_rendered_gives_no_gradient() -> None:
    rendered, target = images()
    rendered.requires_grad_()
    loss = perceptual_loss(SmallFeatures(), rendered, target, 0 * everywhere(rendered))
    loss.backward()
    assert loss.isfinite()
    assert not rendered.grad.any()


def test_missing_weights_need_a_zero_weight(spaced_dir: Path) -> None:
    missing = spaced_dir / "backbone.pth"
    assert arcface_for(missing, [0, 0, 0]) is None
    with pytest.raises(
        UserError, match="place backbone.pth of .* at this path, or leave .* --perceptual none"
    ) as error:
        arcface_for(missing, [0, 10, 0.5])
    assert "\n" not in str(error.value)
