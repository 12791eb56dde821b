import dataclasses

import pytest
import torch

from nha.avatar.open import open_avatar, save_avatar
from nha.core.errors import UserError
from nha.head.load import load_head
from tests.avatar.conftest import camera, facing_params


def test_a_saved_avatar_draws_the_same_picture(avatar, head, spaced_dir):
    path = save_avatar(spaced_dir / "avatar.ckpt", avatar, load_head("procedural"), {"head": "procedural"})
    again = open_avatar(path)
    params, frames = facing_params(head, 1), torch.tensor([3])
    assert torch.equal(again(params, camera(1), frames), avatar(params, camera(1), frames))
    assert again.settings == avatar.settings
    assert not again.training
    assert torch.load(path, weights_only=True)["hyper_parameters"]["head"] == "procedural"


def test_a_missing_or_foreign_file_is_one_line(tmp_path):
    with pytest.raises(UserError):
        open_avatar(tmp_path / "nothing.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError):
        open_avatar(tmp_path / "text.ckpt")


def test_another_head_model_is_named(avatar, tmp_path):
    avatar.vertex_features = torch.nn.Parameter(avatar.vertex_features[:, :-1].detach())
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, load_head("procedural"), {"head": "procedural"})
    with pytest.raises(UserError, match="another head model"):
        open_avatar(path)


def test_a_checkpoint_remembers_its_head_model(avatar, assets, tmp_path, caplog):
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    record = torch.load(path, weights_only=True)["hyper_parameters"]["head_model"]
    assert record["release"].startswith("procedural (generator version")
    open_avatar(path)
    assert "trained on" not in caplog.text
    other = dataclasses.replace(assets, template_vertices=assets.template_vertices + 0.001)
    open_avatar(save_avatar(tmp_path / "other.ckpt", avatar, other, {"head": "procedural"}))
    warning = next(line for line in caplog.messages if "trained on" in line)
    assert "other.ckpt' was trained on the head model 'procedural" in warning
    assert "with template of its own" in warning


def test_the_state_of_a_training_run_is_told_from_an_avatar(avatar, assets, tmp_path):
    avatar.vertex_features = torch.nn.Parameter(avatar.vertex_features[:, :-1].detach())
    path = save_avatar(tmp_path / "last.ckpt", avatar, assets, {})
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": {}}, path)
    with pytest.raises(UserError, match="state of a training run; open avatar.ckpt"):
        open_avatar(path)
