"""iResNet-18 against the published weights' names and shapes and the golden outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.losses.perceptual import perceptual_distance
from nha.nets.iresnet import RECOGNITION_HEAD_SHAPES, IResNet18, load_iresnet18
from parity_checks.deterministic import filled, waves

StateDict = dict[str, Tensor]


def image_pm1(n: int, height: int, width: int, shift: float) -> Tensor:
    """The golden README's test image, in -1..1."""
    return waves(n, 3, height, width, shift) * 2 - 1


@pytest.fixture(scope="module")
def published(golden_dir: Path) -> StateDict:
    shapes = json.loads((golden_dir / "networks/arcface_r18.json").read_text())["state_dict"]
    return {name: filled(name, tuple(shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def small_file_state() -> StateDict:
    """Every tensor that the features need, deterministic, without the recognition head."""
    return {name: filled(name, tuple(tensor.shape)) for name, tensor in IResNet18().state_dict().items()}


def test_names_and_shapes_are_the_published_ones(published: StateDict) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in IResNet18().state_dict().items()}
    assert ours | RECOGNITION_HEAD_SHAPES == {name: tuple(tensor.shape) for name, tensor in published.items()}


def test_golden_features_loss_and_gradient(published: StateDict, golden_dir: Path) -> None:
    golden = np.load(golden_dir / "networks/arcface_r18.npz")
    net = IResNet18()
    net.load_state_dict(published, strict=True)
    rendered = image_pm1(2, 112, 96, 0).requires_grad_()
    features = net(rendered)
    for i, tap in enumerate(features, start=1):
        expected = golden[f"relu{i}"]
        error = np.abs(tap.detach().mean((2, 3)).numpy() - expected).max()
        assert error < 1e-5 * np.abs(expected).max()
    loss = perceptual_distance(features, net(image_pm1(2, 112, 96, 1)))
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"].item(), rel=1e-6)
    gradient, expected = rendered.grad.numpy(), golden["grad"]
    # one unit of the second image is at a kink, where the reference rounded to the other side
    for item, tolerance in ((0, 1e-5), (1, 1e-3)):
        error = np.linalg.norm(gradient[item] - expected[item]) / np.linalg.norm(expected[item])
        assert error < tolerance


def test_any_size_and_no_gradient_for_weights(small_file_state: StateDict) -> None:
    net = IResNet18()
    net.load_state_dict(small_file_state)
    shapes = [tuple(tap.shape) for tap in net(torch.zeros(1, 3, 33, 50))]
    assert shapes == [(1, 64, 17, 25), (1, 128, 9, 13), (1, 256, 5, 7), (1, 512, 3, 4)]
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_train_does_not_change_the_statistics(small_file_state: StateDict) -> None:
    net = IResNet18()
    net.load_state_dict(small_file_state)
    torch.nn.Sequential(net).train()
    image = image_pm1(1, 32, 32, 0)
    before = net(image)[3]
    assert not any(module.training for module in net.modules())
    assert torch.equal(net(image)[3], before)


def test_loading_from_a_file(small_file_state: StateDict, spaced_dir: Path) -> None:
    path = spaced_dir / "backbone.pth"
    # as published, with the recognition head; loading must not change the given dictionary
    torch.save(small_file_state | {"features.weight": torch.ones(512)}, path)
    net = load_iresnet18(path)
    assert torch.equal(net.layer4[1].conv2.weight, small_file_state["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layer1.0.conv1.weight": None}, "'layer1.0.conv1.weight' is missing"),
        ({"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}, "'layer1.0.conv1.weight' is .* instead of"),
        ({"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}, "'layer1.2.conv1.weight' is not a tensor of"),
        ({"fc.weight": torch.zeros(512, 3)}, r"fc.weight has shape \(512, 3\)"),
    ],
    ids=["missing", "wrong shape", "deeper network", "other head"],
)
def test_other_networks_give_user_errors(
    small_file_state: StateDict, spaced_dir: Path, change: dict, complaint: str
) -> None:
    path = spaced_dir / "backbone.pth"
    state = {name: tensor for name, tensor in (small_file_state | change).items() if tensor is not None}
    torch.save(state, path)
    with pytest.raises(UserError, match=f"{complaint}.*; place backbone.pth of ms1mv3_arcface_r18_fp16 from"):
        load_iresnet18(path)
