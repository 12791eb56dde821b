"""Device choice and seeds."""

import pytest
import torch

from nha.core.device import float32_products, pick_device, seed_everything, set_precision
from nha.core.errors import UserError
from nha.head import lbs


def test_pick_device():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps", "xpu")
    with pytest.raises(UserError, match="unknown"):
        pick_device("abacus")
    if not torch.accelerator.is_available():
        with pytest.raises(UserError, match="not available"):
            pick_device("cuda")


def test_seed_everything_repeats():
    seed_everything(3)
    first = torch.rand(3)
    seed_everything(3)
    assert torch.equal(first, torch.rand(3))


@pytest.fixture
def tf32_allowed():
    """The precision `high`."""
    set_precision("high")
    yield
    set_precision("highest")


def test_float32_products_hold_in_the_block_only(tf32_allowed):
    with float32_products():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "high"


def test_positions_are_computed_in_float32_at_every_precision(tf32_allowed, monkeypatch, head):
    seen = []

    def watched(function):
        def call(*arguments):
            seen.append(torch.get_float32_matmul_precision())
            return function(*arguments)

        return call

    for name in ("joint_transforms", "blend_transforms"):
        monkeypatch.setattr(lbs, name, watched(getattr(lbs, name)))
    params = head.neutral_params(1)
    head(params)
    head.plain_landmarks(params, slice(68))
    assert seen == ["highest"] * 4
    assert torch.get_float32_matmul_precision() == "high"
