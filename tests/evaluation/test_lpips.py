"""LPIPS against the class of torchmetrics, with random weights for AlexNet."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nha.core.errors import UserError
from nha.evaluation.lpips import load_lpips, read_weightings
from nha.nets.alexnet import TAP_CHANNELS, AlexNetFeatures


@pytest.fixture
def weights(tmp_path):
    """A file in torchvision's format with random weights, classifier included."""
    torch.manual_seed(0)
    state = AlexNetFeatures().state_dict()
    state = {name: torch.randn_like(value) * 0.05 for name, value in state.items()}
    state["classifier.6.bias"] = torch.zeros(1000)
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    return tmp_path / "alexnet-owt-7be5be79.pth"


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 70, 96, generator=generator), torch.rand(2, 3, 70, 96, generator=generator)


def test_agrees_with_torchmetrics(weights, images, monkeypatch):
    from torchmetrics.functional.image import lpips as reference

    lpips = load_lpips(weights)
    layers = lpips.features.features
    # torchmetrics takes the layers from torchvision, which is not installed
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_: nn.Sequential(*layers))
    expected_lpips = reference._LPIPS(net="alex", pretrained=True)
    with torch.no_grad():
        expected = expected_lpips(*images, normalize=True).flatten()
    assert (expected > 0.01).all()
    torch.testing.assert_close(lpips(*images), expected)
    assert lpips(images[0], images[0]).tolist() == [0, 0]


def test_weightings_are_those_of_five_maps_and_never_negative():
    weightings = read_weightings()
    assert tuple(map(len, weightings)) == TAP_CHANNELS
    assert all((weighting >= 0).all() for weighting in weightings)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79.pth of torchvision"):
        load_lpips(tmp_path / "alexnet-owt-7be5be79.pth")
