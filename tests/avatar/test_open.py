"""Saving and opening of avatars."""

import dataclasses

import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import load_avatar, save_avatar
from nha.core.errors import UserError
from nha.head.load import load_head
from tests.avatar.conftest import camera, facing_params
from tests.small import SMALL
from tests.tiny_networks import ConstantOffsets, PointColours


def test_a_saved_avatar_renders_the_same_image(avatar, head, spaced_dir):
    path = save_avatar(spaced_dir / "avatar.ckpt", avatar, load_head("procedural"), {"head": "procedural"})
    again = load_avatar(path)
    params, frames = facing_params(head, 1), torch.tensor([3])
    assert torch.equal(again(params, camera(1), frames), avatar(params, camera(1), frames))
    assert again.settings == avatar.settings
    assert not again.training
    assert torch.load(path, weights_only=True)["hyper_parameters"]["head"] == "procedural"


def test_missing_or_other_file_gives_a_user_error(tmp_path):
    with pytest.raises(UserError):
        load_avatar(tmp_path / "nothing.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError):
        load_avatar(tmp_path / "text.ckpt")


def test_another_head_model_gives_a_user_error(avatar, tmp_path):
    avatar.vertex_features = torch.nn.Parameter(avatar.vertex_features[:, :-1].detach())
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, load_head("procedural"), {"head": "procedural"})
    with pytest.raises(UserError, match="another head model"):
        load_avatar(path)


def test_checkpoint_records_its_head_model(avatar, assets, tmp_path, caplog):
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    record = torch.load(path, weights_only=True)["head_model"]
    assert record["release"].startswith("procedural (generator version")
    load_avatar(path)
    assert "trained on" not in caplog.text
    other = dataclasses.replace(assets, template_vertices=assets.template_vertices + 0.001)
    save_avatar(tmp_path / "other.ckpt", avatar, other, {"head": "procedural"})
    with pytest.raises(
        UserError, match=r"other.ckpt' was trained on the head model 'procedural .*other template"
    ):
        load_avatar(tmp_path / "other.ckpt")


def test_state_of_a_training_run_is_no_avatar(avatar, assets, tmp_path):
    avatar.vertex_features = torch.nn.Parameter(avatar.vertex_features[:, :-1].detach())
    path = save_avatar(tmp_path / "last.ckpt", avatar, assets, {})
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": {}}, path)
    with pytest.raises(UserError, match="state of a training run; open avatar.ckpt"):
        load_avatar(path)


def test_avatar_with_other_networks_is_saved_and_opened(head, assets, tmp_path):
    torch.manual_seed(0)
    networks = {"texture_net": PointColours(3 + SMALL.texture_map_feats), "offset_net": ConstantOffsets()}
    avatar = NeuralHeadAvatar(head, SMALL, 5, **networks).eval()
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    params, frames = facing_params(head, 1), torch.tensor([3])
    again = load_avatar(
        path, texture_net=PointColours(3 + SMALL.texture_map_feats), offset_net=ConstantOffsets()
    )
    assert torch.equal(again(params, camera(1), frames), avatar(params, camera(1), frames))
    with pytest.raises(
        UserError, match=r"was trained with another texture_net, tests\.tiny_networks\.PointColours; open it"
    ):
        load_avatar(path)
    with pytest.raises(UserError, match="does not fit this avatar"):
        load_avatar(path, texture_net=PointColours(2), offset_net=ConstantOffsets())


def test_a_folder_stands_for_the_avatar_in_it(avatar, assets, tmp_path):
    save_avatar(tmp_path / "run" / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    assert load_avatar(tmp_path / "run").settings == avatar.settings
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"has no avatar\.ckpt: train an avatar"):
        load_avatar(tmp_path / "other")
    (tmp_path / "other" / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"has no avatar\.ckpt: it holds last\.ckpt; name one of them"):
        load_avatar(tmp_path / "other")


@pytest.mark.parametrize("rename", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "avatar.{}"])
def test_prefixes_of_wrappers_are_stripped(avatar, assets, tmp_path, rename):
    path = save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {rename.format(name): value for name, value in content["state_dict"].items()}
    torch.save(content, path)
    again = load_avatar(path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in avatar.state_dict().items())


def test_the_training_record_is_kept(avatar, assets, tmp_path):
    record = {
        "shape": [0.5, 1.0],
        "split": {"train": [0, 1], "val": [2]},
        "dataset": "../d",
        "tracking": "../t.npz",
    }
    path = save_avatar(tmp_path / "a.ckpt", avatar, assets, {"head": "procedural"}, record)
    opened = load_avatar(path)
    assert opened.trained_on == record
    again = load_avatar(save_avatar(tmp_path / "b.ckpt", opened, assets, {"head": "procedural"}))
    assert again.trained_on == record


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "is a web page, so its download failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"", "is empty; download it again"),
        ("half", "is truncated, so its download or copy stopped early"),
    ],
)
def test_failed_downloads_are_named(avatar, assets, tmp_path, content, message):
    path = save_avatar(tmp_path / "a.ckpt", avatar, assets, {"head": "procedural"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(UserError, match=message):
        load_avatar(path)


@pytest.mark.parametrize(("name", "message"), [("html.ckpt", "web page"), ("truncated.ckpt", "truncated")])
def test_failed_downloads_from_outside(shared_dir, name, message):
    with pytest.raises(UserError, match=f"{name} is .*{message}"):
        load_avatar(shared_dir / "cases" / name)
