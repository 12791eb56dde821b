"""Masked L1 terms by fused kernels against plain torch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.core.device import accelerator_path
from nha.losses.normals import EXCLUDED, EYE_REGIONS, normal_term
from nha.losses.photometric import photometric_loss
from op_counter import OpCounter

HEIGHT, WIDTH = 50, 54  # an erosion by one pixel, more than one program and a part of one
PARTS = (*EXCLUDED, "neck", *EYE_REGIONS)


class SmallBuffer(dict):
    """The channels of a G-buffer that the normal term reads."""

    part_names = PARTS
    alpha = property(lambda self: self["alpha"])


def random_images(*channels: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, count, HEIGHT, WIDTH, generator=generator) for count in channels]


def with_gradients(loss: Tensor, image: Tensor, coords: Tensor) -> list[Tensor]:
    gradients = torch.autograd.grad(3 * loss, [image, coords])
    return [tensor.detach().cpu() for tensor in (loss, *gradients)]


def photometric(device: str = "cpu", *, empty: bool = False) -> list[Tensor]:
    """The term's value and gradients for an image with channels last, and pixels that have the target's colour."""
    image, target, choice = random_images(3, 3, 1)
    image[:, :, :9] = target[:, :, :9]
    image = image.permute(0, 2, 3, 1).contiguous().to(device).requires_grad_()
    coords = torch.zeros(2, HEIGHT, WIDTH, 2, device=device, requires_grad=True)
    mask = (choice > 2 if empty else choice > 0.3).to(device)
    loss = photometric_loss(image.permute(0, 3, 1, 2), target.to(device), mask, coords)
    return with_gradients(loss, image, coords)


def inputs_of_normals(device: str) -> tuple[SimpleNamespace, Tensor, Tensor]:
    """Inputs of the normal term, of which one frame's labels are not trusted, and its differentiable images."""
    posed, target, alpha, labels, choice = random_images(5, 3, 1, len(PARTS), 1)
    posed = (2 * posed - 1).to(device).requires_grad_()
    target = 2 * target - 1
    target[:, :, 20:23, 30:34] = 0.003  # unknown
    normals, coords = posed.split([3, 2], 1)  # not contiguous, as those of the avatar
    parsing = torch.where(choice[:, 0] > 0.1, int(Parsing.SKIN), int(Parsing.HAIR)).to(torch.uint8)
    gbuffer = SmallBuffer(
        normals=normals, alpha=(alpha > 0.1).float().to(device), hard_labels=(labels * 0.115).to(device)
    )
    inputs = SimpleNamespace(
        batch=SimpleNamespace(normals=target.to(device), parsing=parsing.to(device)),
        rendering=SimpleNamespace(gbuffer=gbuffer),
        screen_coords=coords.permute(0, 2, 3, 1),
        semantic_trust=torch.tensor([1.0, 0.2], device=device),
        hard=lambda *names: torch.cat([gbuffer["hard_labels"][:, [PARTS.index(n)]] for n in names], 1),
    )
    return inputs, normals, coords


def normal(device: str = "cpu") -> list[Tensor]:
    inputs, normals, coords = inputs_of_normals(device)
    return with_gradients(normal_term(inputs), normals, coords)


def assert_equal(found: list[Tensor], plain: list[Tensor]) -> None:
    for ours, wanted in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=2e-5, atol=2e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("empty", [False, True])
def test_fused_photometric_term_equals_plain(empty) -> None:
    with accelerator_path():
        found = photometric(empty=empty)
    assert_equal(found, photometric(empty=empty))
    assert (found[0] == 0) == empty


def test_fused_normal_term_equals_plain() -> None:
    with accelerator_path():
        found = normal()
    assert_equal(found, normal())
    changed = (found[1] != 0).any(1).float().mean((1, 2))
    assert changed[0] > changed[1] > 0  # fewer pixels where the labels are not trusted


def test_a_backward_pass_is_one_operation() -> None:
    image, target, mask = random_images(3, 3, 1)
    image.requires_grad_()
    coords = torch.zeros(2, HEIGHT, WIDTH, 2, requires_grad=True)
    with accelerator_path():
        loss = photometric_loss(image, target, mask > 0.5, coords)
    one = torch.ones(())
    with OpCounter() as counter:
        torch.autograd.grad(loss, [image, coords], one)
    assert counter.totals()["ops"] == 1


@pytest.mark.triton
@pytest.mark.parametrize("term", [photometric, normal])
def test_kernels_equal_plain(kernel_device, term) -> None:
    with accelerator_path():
        found = term(kernel_device)
    assert_equal(found, term())
