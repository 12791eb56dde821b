"""Weight files: strict loading, and errors that name file, tensor and origin."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from nha.core.errors import UserError
from nha.nets.weights import FrozenNet, load_weights

ORIGIN = "net.pth of the project Example"


class SmallNet(FrozenNet):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.freeze(unused=r"head_\w+\..*")


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, 3) for name, tensor in SmallNet().state_dict().items()}


@pytest.fixture
def path(spaced_dir: Path) -> Path:
    return spaced_dir / "net.pth"


def test_all_tensors_are_loaded_and_unused_parts_dropped(state, path):
    torch.save(OrderedDict(state | {"head_train.weight": torch.zeros(7)}), path)
    net = SmallNet()
    load_weights(net, path, ORIGIN)
    assert all((tensor == 3).all() for tensor in net.state_dict().values())


def test_the_container_of_old_pytorch_is_read(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    net = SmallNet()
    load_weights(net, path, ORIGIN)
    assert (net.body[0].weight == 3).all()


def test_a_network_inside_another_one_drops_its_unused_parts_too(state):
    outer = nn.ModuleDict({"inner": SmallNet()})
    outer.load_state_dict({f"inner.{name}": tensor for name, tensor in state.items()} | {"inner.head_a.b": 0})
    with pytest.raises(RuntimeError, match=r"head_a\.b"):
        outer.load_state_dict(
            {f"inner.{name}": tensor for name, tensor in state.items()} | {"head_a.b": torch.zeros(1)}
        )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"body.0.bias": None}, "'body.0.bias' is missing"),
        (
            {"body.0.weight": torch.zeros(4, 3, 1, 1)},
            r"'body.0.weight' is \[4, 3, 1, 1\] instead of \[4, 3, 3, 3\]",
        ),
        ({"tail.weight": torch.zeros(1)}, "'tail.weight' is not a tensor of this network"),
        ({"head.weight": torch.zeros(1)}, "'head.weight' is not a tensor of this network"),
    ],
    ids=["missing", "shape", "unexpected", "nearly unused"],
)
def test_wrong_tensors_are_named(state, path, change, complaint):
    torch.save({name: tensor for name, tensor in (state | change).items() if tensor is not None}, path)
    with pytest.raises(UserError, match=complaint) as error:
        load_weights(SmallNet(), path, ORIGIN)
    assert_one_line_with_advice(error.value, path)


class Malicious:
    """A pickle that would create a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_other_files_give_user_errors(state, path, spaced_dir):
    def assert_error(complaint: str) -> None:
        with pytest.raises(UserError, match=complaint) as error:
            load_weights(SmallNet(), path, ORIGIN)
        assert_one_line_with_advice(error.value, path)

    assert_error("does not exist")
    for content in (b"not a checkpoint", b"a page that says no", b"<!DOCTYPE html>\n<html>"):
        path.write_bytes(content)
        assert_error("cannot read weights")
    path.write_bytes(b"")
    assert_error("cannot read weights")
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:700])
    assert_error("cannot read weights")
    torch.save([1, 2], path)
    assert_error("holds no state dict")
    torch.save({"epoch": 3, "state_dict": state}, path)
    assert_error("holds no state dict")
    marker = spaced_dir / "executed"
    torch.save({"body.0.weight": Malicious(marker)}, path)
    assert_error("cannot read weights")
    assert not marker.exists()


def assert_one_line_with_advice(error: UserError, path: Path) -> None:
    assert "\n" not in str(error)
    assert str(path) in str(error)
    assert ORIGIN in str(error)


def test_frozen_network_stays_in_evaluation_mode():
    net = SmallNet()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    nn.Sequential(net).train()
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    net.body(torch.randn(4, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
