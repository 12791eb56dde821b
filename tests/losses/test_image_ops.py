"""The fused L1 terms of images: against the plain terms, and the kernels against their twins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.losses.coverage import composite_loss
from nha.losses.detail import feature_loss, gradient_loss
from op_counter import OpCounter

LOSSES = [composite_loss, feature_loss, gradient_loss]


def values_and_gradients(loss, size: tuple[int, int], share: float, device: str = "cpu") -> list[Tensor]:
    """The loss of random images, and its gradients in the rendered image and the screen coordinates."""
    generator = torch.Generator().manual_seed(3)
    painted = torch.rand(2, 4, *size, generator=generator)
    target = torch.rand(2, 3, *size, generator=generator)
    target[..., :3] = painted[:, 1:, :, :3]  # equal pixels have no gradient
    mask = torch.rand(2, 1, *size, generator=generator) < share
    painted, target, mask = painted.to(device), target.to(device), mask.to(device)
    coords = torch.zeros(2, 2, *size, device=device).requires_grad_()
    painted.requires_grad_()
    # images with an alpha in front, and coordinates in planes, as they are rendered
    value = loss(painted[:, 1:], target, mask, coords.permute(0, 2, 3, 1))
    return [t.cpu() for t in (value.detach(), *torch.autograd.grad(3 * value, [painted, coords]))]


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for value, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, reference, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size, share", [((20, 27), 0.8), ((19, 16), 1.0), ((6, 5), 0.0), ((1, 3), 1.0)])
def test_fused_terms_equal_the_plain_ones(loss, size, share) -> None:
    if min(size) < 2 and loss is gradient_loss:
        pytest.skip("the plain term needs two pixels in each direction")
    wanted = values_and_gradients(loss, size, share)
    with accelerator_path():
        assert_close(values_and_gradients(loss, size, share), wanted)


@pytest.mark.parametrize("loss", LOSSES)
def test_fused_terms_are_few_operations(loss) -> None:
    target, image = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8, requires_grad=True)
    mask, coords = torch.ones(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 8, 8, 2, requires_grad=True)
    one = torch.ones(())
    with accelerator_path(), OpCounter() as counter:
        value = loss(image, target, mask, coords)
        torch.autograd.grad(value, [image, coords], one)
    assert counter.totals()["syncs"] == 0
    assert counter.totals()["ops"] <= 9  # two kernels, a sum, three numbers, and the autograd engine's own


@pytest.mark.triton
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [(20, 27), (19, 16)])
def test_kernels_equal_the_plain_terms(kernel_device, loss, size) -> None:
    wanted = values_and_gradients(loss, size, 0.8)
    with accelerator_path():
        assert_close(values_and_gradients(loss, size, 0.8, kernel_device), wanted)
