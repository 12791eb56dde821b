"""Adam on rows, and Adam with one step size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import Adam

from nha.core.device import accelerator_path
from nha.optimization.adam_variants import RowAdam, UniformAdam
from op_counter import OpCounter


def test_rows_with_a_gradient_move_as_with_adam() -> None:
    torch.manual_seed(0)
    start = torch.randn(2, 3)
    table, twin = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    own, torchs = (
        RowAdam([table], lr=0.01, betas=(0.9, 0.99)),
        Adam([twin], lr=0.01, betas=(0.9, 0.99), eps=1e-12),
    )
    for _ in range(5):
        grad = torch.randn(2, 3)
        table.grad, twin.grad = grad.clone(), grad.clone()
        own.step()
        torchs.step()
    torch.testing.assert_close(table, twin)


def test_rows_without_a_gradient_stay() -> None:
    table = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = RowAdam([table], lr=0.1)
    table.grad = torch.tensor([[1.0, 1], [1, 1], [0, 0]])
    optimizer.step()
    before = table.detach().clone()
    table.grad = torch.tensor([[0.0, 0], [1, 1], [0, 0]])
    optimizer.step()
    assert torch.equal(table[0], before[0])
    assert not torch.equal(table[1], before[1])
    assert (table[2] == 0).all()
    assert optimizer.state[table]["steps"][:, 0].tolist() == [1, 2, 0]


def test_uniform_steps_keep_the_direction_of_the_gradient() -> None:
    tensor = torch.nn.Parameter(torch.zeros(4, 3))
    optimizer = UniformAdam([tensor], lr=0.5)
    grad = torch.randn(4, 3)
    tensor.grad = grad.clone()
    optimizer.step()
    torch.testing.assert_close(tensor.detach(), -0.5 * grad / grad.abs().max())


@pytest.mark.parametrize("kind", [RowAdam, UniformAdam])
def test_state_is_restored(kind) -> None:
    torch.manual_seed(0)
    tensor = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = kind([tensor], lr=0.1)
    grads = torch.randn(4, 3, 2)
    for grad in grads[:2]:
        tensor.grad = grad.clone()
        optimizer.step()
    twin = torch.nn.Parameter(tensor.detach().clone())
    restored = kind([twin], lr=0.1)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for grad in grads[2:]:
        tensor.grad, twin.grad = grad.clone(), grad.clone()
        optimizer.step()
        restored.step()
    assert torch.equal(tensor, twin)


def test_rows_of_a_centred_group_have_mean_zero() -> None:
    table = torch.nn.Parameter(torch.zeros(4, 2))
    optimizer = RowAdam([{"params": [table], "centred": True}], lr=0.1)
    for rows in ((0, 1), (1, 2)):
        table.grad = torch.zeros(4, 2)
        for row in rows:
            table.grad[row] = torch.tensor([1.0, -1 - row])
        optimizer.step()
    assert (table[3] == 0).all()  # a row that never moved, as those of held-out frames
    torch.testing.assert_close(table[:3].detach().mean(0), torch.zeros(2))
    assert table[0, 0] > table[1, 0]  # the second row moved twice


def stepped(kind, device: str = "cpu") -> list[torch.Tensor]:
    """Parameters and state after four steps in which different rows have gradients; the second group is centred."""
    torch.manual_seed(0)
    tensors = [torch.nn.Parameter(torch.randn(70, k).to(device)) for k in (3, 21)]
    rate = torch.tensor(0.1, device=device)
    optimizer = kind([{"params": tensors[:1]}, {"params": tensors[1:], "centred": True}], lr=rate)
    for i in range(4):
        for tensor in tensors:
            tensor.grad = torch.randn(tensor.shape).to(device) * (torch.arange(70) % (i + 1) == 0)[
                :, None
            ].to(device)
        optimizer.step()
    states = [value for tensor in tensors for value in optimizer.state[tensor].values()]
    return [tensor.detach().cpu() for tensor in (*tensors, *states)]


@pytest.mark.parametrize("kind", [RowAdam, UniformAdam])
def test_fused_steps_are_few_operations(kind) -> None:
    expected = stepped(kind)
    with accelerator_path():
        for ours, plain in zip(stepped(kind), expected, strict=True):
            torch.testing.assert_close(ours, plain)
        table = torch.nn.Parameter(torch.ones(3, 2))
        table.grad = torch.ones(3, 2)
        optimizer = kind([{"params": [table], "centred": True}], lr=torch.tensor(0.1))
        optimizer.step()  # makes the state
        with OpCounter() as counter:
            optimizer.step()
    assert counter.totals()["ops"] == (2 if kind is RowAdam else 6)


@pytest.mark.triton
@pytest.mark.parametrize("kind", [RowAdam, UniformAdam])
def test_kernels_step_as_plain_torch(kernel_device, kind) -> None:
    expected = stepped(kind)
    with accelerator_path():
        found = stepped(kind, kernel_device)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-6, rtol=2e-5)
