"""Values that are kept until the tensors that they depend on change."""

from __future__ import annotations

import torch

from nha.core.derived import Derived, recomputed


class Counted:
    """The double of a parameter, and how often it was computed."""

    def __init__(self) -> None:
        self.source = torch.nn.Parameter(torch.ones(3))
        self.derived, self.count = Derived(), 0

    def __call__(self) -> torch.Tensor:
        return self.derived.value([self.source], self._double)

    def _double(self) -> torch.Tensor:
        self.count += 1
        return 2 * self.source


@torch.no_grad()
def test_a_value_is_computed_again_only_after_a_change() -> None:
    double = Counted()
    assert double() is double()
    assert double.count == 1
    double.source += 1
    assert torch.equal(double(), torch.full((3,), 4.0))
    optimizer = torch.optim.Adam([double.source], lr=1.0)
    double.source.grad = torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(double(), torch.full((3,), 2.0))
    double.source.data = torch.zeros(3)  # as `Module.to` does
    assert torch.equal(double(), torch.zeros(3))
    assert double.count == 4


def test_gradients_reach_the_sources() -> None:
    double = Counted()
    with torch.no_grad():
        double()
    double().sum().backward()
    assert torch.equal(double.source.grad, torch.full((3,), 2.0))
    double.source.requires_grad_(False)
    assert not double().requires_grad


def test_a_value_of_inference_mode_serves_training_later() -> None:
    double = Counted()
    with torch.inference_mode():
        kept = double()
    (kept * torch.ones(3, requires_grad=True)).sum().backward()


def test_recomputed_values_are_neither_kept_nor_taken():
    source, kept, numbers = torch.ones(1), Derived(), []
    with recomputed():
        for _ in range(2):
            kept.value([source], lambda: numbers.append(0))
    assert len(numbers) == 2
    for _ in range(2):
        kept.value([source], lambda: numbers.append(0))
    assert len(numbers) == 3
    with recomputed():
        kept.value([source], lambda: numbers.append(0))
    assert len(numbers) == 4
