"""Device choice and seeds."""

import pytest
import torch

from nha.core.device import pick_device, seed_everything
from nha.core.errors import UserError


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
