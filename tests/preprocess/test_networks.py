"""Networks of the published estimators: names and shapes of weights, golden outputs, sizes, recurrent state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nha.core.errors import UserError
from nha.nets.weights import load_weights
from nha.preprocess.networks.bisenet import BiSeNet
from nha.preprocess.networks.mobilenet_v3 import MobileNetV3
from nha.preprocess.networks.resnet_unet import ResNetUNet, max_merge
from nha.preprocess.networks.robust_video_matting import (
    STATE_CHANNELS,
    RobustVideoMatting,
    _ConvGru,
    _half_size,
)
from parity_checks.deterministic import filled, waves

NETWORKS: dict[str, type[nn.Module]] = {
    "bisenet": BiSeNet,
    "face_normals": ResNetUNet,
    "rvm_mobilenetv3": RobustVideoMatting,
}
ROUNDING = 1e-4  # of the largest value; in float64 the reference and we differ as far from the truth


def filled_net(net_type: type[nn.Module]) -> nn.Module:
    """A network whose weights are functions of their names."""
    net = net_type()
    net.load_state_dict({name: filled(name, tuple(t.shape)) for name, t in net.state_dict().items()})
    return net


@pytest.fixture(scope="module")
def rvm() -> RobustVideoMatting:
    return filled_net(RobustVideoMatting)


# --- the published reference ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_the_published_ones(name: str, golden_dir: Path) -> None:
    shapes = json.loads((golden_dir / f"networks/{name}.json").read_text())["state_dict"]
    net = NETWORKS[name]()
    ours = {key: list(tensor.shape) for key, tensor in net.state_dict().items()}
    assert ours.items() <= shapes.items()
    # Loading drops what only training used, and takes nothing else that we do not have.
    net.load_state_dict({key: torch.zeros(shape) for key, shape in shapes.items()}, strict=True)
    with pytest.raises(RuntimeError, match="conv9"):
        net.load_state_dict(
            {key: torch.zeros(shape) for key, shape in shapes.items()} | {"conv9.weight": torch.ones(1)}
        )


@pytest.fixture
def golden(golden_dir: Path):
    """golden(name) gives the network with its deterministic weights, and the reference's outputs."""

    def load(name: str) -> tuple[nn.Module, dict[str, np.ndarray]]:
        shapes = json.loads((golden_dir / f"networks/{name}.json").read_text())["state_dict"]
        net = NETWORKS[name]()
        net.load_state_dict({key: filled(key, tuple(shape)) for key, shape in shapes.items()})
        with np.load(golden_dir / f"networks/{name}.npz") as arrays:
            return net, dict(arrays)

    return load


def assert_equal_to_rounding(ours: Tensor, golden: np.ndarray) -> None:
    assert ours.shape == golden.shape
    assert np.abs(ours.numpy() - golden).max() < ROUNDING * np.abs(golden).max()


def test_golden_parsing(golden) -> None:
    net, expected = golden("bisenet")
    assert_equal_to_rounding(net(waves(1, 3, 128, 96, 0) * 4 - 2)[..., ::4, ::4], expected["logits"])


def test_golden_normals(golden) -> None:
    net, expected = golden("face_normals")
    assert_equal_to_rounding(net(waves(1, 3, 256, 256, 0))[..., ::4, ::4], expected["normals"])


def test_golden_matting(golden) -> None:
    net, expected = golden("rvm_mobilenetv3")
    _, alpha, state = net(waves(1, 3, 128, 160, 0), None, 0.5)
    assert_equal_to_rounding(alpha[..., ::2, ::2], expected["alpha_0"])
    foreground, alpha, _ = net(waves(1, 3, 128, 160, 1), state, 0.5)
    assert_equal_to_rounding(alpha[..., ::2, ::2], expected["alpha_1"])
    assert_equal_to_rounding(foreground[..., ::4, ::4], expected["fgr_1"])


# --- without the reference --------------------------------------------------------------------------------


@pytest.mark.parametrize("net_type", NETWORKS.values(), ids=NETWORKS)
def test_a_network_stays_as_it_is(net_type: type[nn.Module]) -> None:
    net = net_type()
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("size", [(64, 64), (97, 45), (33, 130)])
def test_parsing_of_any_size(size: tuple[int, int]) -> None:
    net = BiSeNet()
    scores = net(waves(2, 3, *size, 0))
    assert scores.shape == (2, 19, *size)
    assert torch.isfinite(scores).all()
    # one image does not see the other
    torch.testing.assert_close(scores[1:], net(waves(2, 3, *size, 0)[1:]), rtol=1e-4, atol=1e-5)


def test_normals_need_multiples_of_32() -> None:
    net = ResNetUNet()
    assert net(waves(2, 3, 32, 64, 0)).shape == (2, 3, 32, 64)
    with pytest.raises(ValueError, match="multiples of 32"):
        net(waves(1, 3, 64, 65, 0))


def test_skips_take_the_maximum_of_the_last_channels() -> None:
    x = torch.tensor([5.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
    skip = torch.tensor([0.0, 4.0]).reshape(1, 2, 1, 1)
    assert max_merge(x, skip).flatten().tolist() == [5, 1, 4]


def test_the_matting_backbone_has_its_own_epsilon_and_dilation() -> None:
    net = RobustVideoMatting()
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.eps == (1e-3 if name.startswith("backbone") else 1e-5)
    dilated = {
        name.split(".")[1] for name, m in net.backbone.named_modules() if getattr(m, "dilation", (1,))[0] == 2
    }
    assert dilated == {"13", "14", "15"}
    taps = MobileNetV3().eval()(waves(1, 3, 37, 50, 0))
    assert [tuple(tap.shape[1:]) for tap in taps] == [(16, 19, 25), (24, 10, 13), (40, 5, 7), (960, 3, 4)]


@pytest.mark.parametrize(
    ("size", "ratio"), [((64, 96), 1.0), ((65, 51), 1.0), ((99, 70), 0.5), ((131, 64), 0.37)]
)
def test_mattes_of_any_size(rvm: RobustVideoMatting, size: tuple[int, int], ratio: float) -> None:
    foreground, alpha, state = rvm(waves(2, 3, *size, 0), None, ratio)
    assert foreground.shape == (2, 3, *size)
    assert alpha.shape == (2, 1, *size)
    for values in (foreground, alpha):
        assert values.min() >= 0
        assert values.max() <= 1
    small = [int(side * ratio) for side in size]
    for level, (channels, memory) in enumerate(zip(STATE_CHANNELS, state, strict=True), start=1):
        assert memory.shape == (1, channels, *(-(-side // 2**level) for side in small))


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_frames_together_are_frames_one_by_one(rvm: RobustVideoMatting, ratio: float) -> None:
    frames = torch.cat([waves(1, 3, 64, 48, shift) for shift in range(4)])
    _, together, last = rvm(frames, None, ratio)
    _, first_half, state = rvm(frames[:2], None, ratio)
    singles = [first_half]
    for frame in frames[2:].split(1):
        _, alpha, state = rvm(frame, state, ratio)
        singles.append(alpha)
    torch.testing.assert_close(torch.cat(singles), together, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_state_is_remembered_and_starts_at_zero(rvm: RobustVideoMatting) -> None:
    frame = waves(1, 3, 64, 48, 0)
    _, fresh, state = rvm(frame)
    _, later, _ = rvm(frame, state)
    assert (later - fresh).abs().max() > 1e-3
    _, again, _ = rvm(frame, tuple(torch.zeros_like(memory) for memory in state))
    assert torch.equal(again, fresh)


def test_the_recurrent_unit_by_hand() -> None:
    unit = _ConvGru(1)
    for parameter in unit.parameters():
        nn.init.zeros_(parameter)
    # centres of the kernels: (reset, update) from x and h; candidate from x and reset * h
    with torch.no_grad():
        unit.ih[0].weight[:, :, 1, 1] = torch.tensor([[0.0, 0.7], [0.4, 0.0]])
        unit.hh[0].weight[:, :, 1, 1] = torch.tensor([[0.5, 0.9]])
    x, h = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    reset, update = torch.sigmoid(torch.tensor(-0.7)), torch.sigmoid(torch.tensor(0.8))
    candidate = torch.tanh(0.5 * 2 + 0.9 * reset * -1)
    expected = (1 - update) * -1 + update * candidate
    frames, state = unit(x, h)
    assert frames.item() == pytest.approx(expected.item())
    assert state.item() == frames.item()


def test_an_odd_last_row_is_its_own_mean() -> None:
    image = torch.tensor([[1.0, 3.0, 5.0], [1.0, 3.0, 7.0], [4.0, 6.0, 9.0]])[None, None]
    assert _half_size(image)[0, 0].tolist() == [[2, 6], [5, 9]]


def test_the_refiner_works_only_on_scaled_images() -> None:
    net = filled_net(RobustVideoMatting)
    net.refiner.conv[-1].bias.fill_(torch.nan)
    frame = waves(1, 3, 64, 48, 0)
    assert torch.isfinite(net(frame)[1]).all()
    assert net(frame, None, 0.5)[1].isnan().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_loading_is_strict(name: str, spaced_dir: Path) -> None:
    net, path = NETWORKS[name](), spaced_dir / "model.pth"
    state = net.state_dict()
    gone = next(iter(state))
    torch.save({key: tensor for key, tensor in state.items() if key != gone}, path)
    with pytest.raises(UserError, match=f"model.pth' does not fit: '{gone}' is missing"):
        load_weights(net, path, "the right file")
    torch.save(state, path)
    load_weights(NETWORKS[name](), path, "the right file")
