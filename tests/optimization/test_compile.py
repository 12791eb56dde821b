"""`--compile`: the compiled texture network has the same values and checkpoints."""

import dataclasses
import sys

import pytest
import torch

from nha.core.errors import UserError
from nha.nets.texture_net import TextureNet
from nha.optimization import run


@pytest.mark.filterwarnings("ignore")  # torch emits warnings while it traces
def test_compiled_network_has_the_same_values_and_gradients():
    torch.manual_seed(0)
    net = TextureNet(
        feature_size=4, condition_size=5, normal_encoding_size=3, hidden_layers=2, hidden_size=16
    )
    names = set(net.state_dict())
    inputs = [torch.randn(50, 7), torch.randn(50, 3), torch.randn(2, 5), torch.arange(50) % 2]
    mouth = torch.where(torch.arange(50) % 3 == 0, torch.rand(50), 0.0)

    def gradients() -> list[torch.Tensor]:
        net.zero_grad()
        painted = net(*inputs, mouth, 1 - mouth)
        painted.square().sum().backward()
        return [painted.detach(), *(p.grad.clone() for p in net.parameters())]

    plain = gradients()
    net.compile(dynamic=True, backend="aot_eager")  # traces without generating machine code
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert set(net.state_dict()) == names


def test_setting_compiles_the_texture_network(make_settings, monkeypatch):
    compiled = []
    monkeypatch.setattr(TextureNet, "compile", lambda self, **options: compiled.append(options))
    monkeypatch.setenv("CXX", sys.executable)  # any program that exists
    run.optimize_avatar(make_settings((1, 0, 0), compile=True))
    assert compiled == [{"dynamic": True}]


def test_missing_compiler_gives_a_user_error(make_settings, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = make_settings(compile=True)
    with pytest.raises(UserError, match="C\\+\\+ compiler"):
        run.optimize_avatar(settings)
    assert not settings.run.default_root_dir.exists()
    run.optimize_avatar(dataclasses.replace(settings, run=dataclasses.replace(settings.run, compile=False)))
