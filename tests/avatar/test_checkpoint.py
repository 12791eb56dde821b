"""Checkpoints: published and native files, conversion between them, and files that cannot be used."""

from __future__ import annotations

import dataclasses
import lzma
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nha.avatar.checkpoint import AvatarCheckpoint, load_state, read_checkpoint, write_checkpoint
from nha.avatar.conditioning import ConditionRanges
from nha.avatar.frame_parameters import FrameParameters
from nha.avatar.published_layout import from_published, published_head_tables, to_published
from nha.core.errors import UserError
from nha.core.torch_file import load_torch
from nha.nets.neural_texture import NeuralTexture
from nha.nets.normal_encoder import NormalEncoder
from nha.nets.offset_net import OffsetNet
from nha.nets.texture_net import TextureNet


class SmallAvatar(nn.Module):
    """The learned parts of an avatar, without a head model."""

    def __init__(self, n_vertices: int = 7, texture_layers: int = 2):
        super().__init__()
        self.frame_parameters = FrameParameters(4, n_shape=6, n_expr=5)
        self.vertex_features = nn.Parameter(torch.randn(1, n_vertices, 3))
        self.offset_net = OffsetNet(3, 9, 2, 8)
        self.texture_net = TextureNet(4, 13, 3, texture_layers, 8, 6)
        self.normal_encoder = NormalEncoder(3, 2, 4)
        self.neural_texture = NeuralTexture(4, 8, 4)
        self.condition_ranges = ConditionRanges(5, 13)


def small_checkpoint(**hyper_parameters) -> AvatarCheckpoint:
    torch.manual_seed(0)
    avatar = SmallAvatar()
    for parameter in avatar.parameters():
        nn.init.normal_(parameter)
    return AvatarCheckpoint(dict(avatar.state_dict()), hyper_parameters)


def assert_same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


# -- published files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_file(golden_dir, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("published") / "avatar.ckpt"
    path.write_bytes(lzma.decompress((golden_dir / "a" / "avatar.ckpt.xz").read_bytes()))
    return path


def test_published_checkpoint_is_read(published_file):
    checkpoint = read_checkpoint(published_file)
    assert checkpoint.state["vertex_features"].shape == (1, 15135, 32)
    assert checkpoint.published_head_tables["dynamic_lmk_faces_idx"].shape == (79, 17)
    assert checkpoint.hyper_parameters["max_frame_id"] == 7
    assert checkpoint.hyper_parameters["tracking_results_path"] == "data/person_0/tracking.npz"
    assert checkpoint.state["frame_parameters.neck"].shape == (8, 3)
    assert checkpoint.state["texture_net.mapping.output.weight"].shape == (4352, 256)
    assert not any(name.startswith("_") for name in checkpoint.state)


def test_published_checkpoint_is_unchanged_after_two_conversions(published_file, tmp_path, run_script):
    ours, back = tmp_path / "ours.ckpt", tmp_path / "back.ckpt"
    for arguments in (("nha", published_file, ours), ("published", ours, back)):
        result = run_script("convert_checkpoint.py", "--to", *arguments)
        assert result.returncode == 0, result.stderr
    first, last = read_checkpoint(published_file), read_checkpoint(back)
    assert_same_state(last.state, first.state)
    assert last.hyper_parameters == first.hyper_parameters
    # every tensor of the published file, under its published name
    plain = torch.load(back, weights_only=True)
    assert_same_state(plain["state_dict"], load_torch(published_file)["state_dict"])
    assert plain["hparams_name"] == "kwargs"
    converted = torch.load(ours, weights_only=True)
    assert "offset_net.output.weight" in converted["state_dict"]
    assert (converted["format"], converted["format_version"]) == ("nha-avatar", 2)


def test_head_tables_are_read_from_flame_files(published_file, shared_dir):
    tables = read_checkpoint(published_file).published_head_tables
    assert_same_state(published_head_tables(shared_dir / "flame_like"), tables)


# -- names and files -----------------------------------------------------------------------------------------


def test_names_are_one_to_one():
    own = SmallAvatar(texture_layers=12).state_dict()
    published = to_published(own)
    assert len(published) == len(own)
    assert_same_state(from_published(published), own)
    assert published["_texture._SIREN.network.11.layer.weight"] is own["texture_net.layers.11.weight"]
    assert (
        published["_offset_mlp._SIREN.mapping_network.network.4.bias"]
        is own["offset_net.mapping.hidden.2.bias"]
    )


@pytest.mark.parametrize("layout", ["nha", "published"])
def test_checkpoint_is_read_as_it_was_written(spaced_dir, layout):
    @dataclass
    class Settings:
        epochs: tuple[int, int]
        folder: Path

    checkpoint = small_checkpoint(
        avatar=Settings((1, 2), Path("a") / "b"), lr=np.float32(0.5), ids=np.arange(2)
    )
    path = spaced_dir / "out" / "avatar.ckpt"
    write_checkpoint(path, checkpoint, layout=layout)
    back = read_checkpoint(path)
    assert_same_state(back.state, checkpoint.state)
    assert back.hyper_parameters == {"avatar": {"epochs": [1, 2], "folder": "a/b"}, "lr": 0.5, "ids": [0, 1]}
    torch.load(path, weights_only=True)
    avatar = SmallAvatar()
    load_state(avatar, back)
    assert_same_state(avatar.state_dict(), checkpoint.state)


def test_state_of_a_training_run_is_read(tmp_path):
    checkpoint = small_checkpoint()
    state = {f"avatar.{name}": value for name, value in checkpoint.state.items()}
    torch.save({"state_dict": {**state, "perceptual.conv1.weight": torch.ones(1)}}, tmp_path / "last.ckpt")
    assert_same_state(read_checkpoint(tmp_path / "last.ckpt").state, checkpoint.state)


def test_loss_networks_are_dropped(tmp_path):
    checkpoint = small_checkpoint()
    state = {**to_published(checkpoint.state), "_perceptual_loss.conv1.weight": torch.ones(1)}
    torch.save({"state_dict": state}, tmp_path / "avatar.ckpt")
    assert_same_state(read_checkpoint(tmp_path / "avatar.ckpt").state, checkpoint.state)


def test_first_format_is_read(tmp_path):
    """Format 1 has the head tables among the tensors and the head record among the hyper-parameters."""
    checkpoint = small_checkpoint()
    tables = {"parents": torch.tensor([-1, 0, 1, 1, 1])}
    record = {"release": "procedural", "triangles": "0", "template": "1"}
    content = {
        "format": "nha-avatar-1",
        "state_dict": {**checkpoint.state, "published_head.parents": tables["parents"]},
        "hyper_parameters": {"lr": 0.5, "head_model": record, "derived_head_tables": ["UV map"]},
    }
    torch.save(content, tmp_path / "avatar.ckpt")
    back = read_checkpoint(tmp_path / "avatar.ckpt")
    assert_same_state(back.state, checkpoint.state)
    assert_same_state(back.published_head_tables, tables)
    assert back.hyper_parameters == {"lr": 0.5}
    assert back.head_model == {**record, "derived": ["UV map"]}


def test_newer_format_version_is_an_error(tmp_path):
    write_checkpoint(tmp_path / "avatar.ckpt", small_checkpoint())
    content = torch.load(tmp_path / "avatar.ckpt", weights_only=True)
    torch.save({**content, "format_version": 3}, tmp_path / "avatar.ckpt")
    with pytest.raises(
        UserError, match=r"format version 3, this program reads versions up to 2; update the program"
    ):
        read_checkpoint(tmp_path / "avatar.ckpt")


def test_published_layout_cannot_hold_other_networks(tmp_path):
    checkpoint = dataclasses.replace(small_checkpoint(), networks={"texture_net": "my.Net"})
    with pytest.raises(UserError, match=r"other networks \(texture_net my\.Net\)"):
        write_checkpoint(tmp_path / "avatar.ckpt", checkpoint, layout="published")
    assert list(tmp_path.iterdir()) == []


# -- files that cannot be used -------------------------------------------------------------------------------


class Attack:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return eval, (f"open({str(self.trace)!r}, 'w').close()",)


def test_code_in_a_checkpoint_is_not_executed(tmp_path, run_script):
    trace, path, out = tmp_path / "trace", tmp_path / "avatar.ckpt", tmp_path / "out.ckpt"
    content = {"state_dict": small_checkpoint().state, "hyper_parameters": {"lr": Attack(trace)}}
    torch.save(content, path)
    result = run_script("convert_checkpoint.py", "--to", "nha", path, out)
    assert result.returncode == 2
    assert "refers to builtins.eval, which is not allowed" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not trace.exists()
    assert not out.exists()


def test_other_files_give_user_errors(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"conv1.weight": torch.ones(1)}}, path)
    with pytest.raises(UserError, match="not those of an avatar"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="not an avatar checkpoint"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(UserError, match=r"x\.ckpt is damaged or not a file of this kind"):
        read_checkpoint(path)


def test_unknown_tensor_name_is_an_error():
    with pytest.raises(UserError, match=r"'_texture\._SIREN\.dynamic_head\.1\.layer\.weight'"):
        from_published({"_texture._SIREN.dynamic_head.1.layer.weight": torch.ones(1)})


def test_tensors_of_another_size_are_an_error():
    with pytest.raises(UserError, match=r"vertex_features is \[1, 7, 3\], not \[1, 8, 3\]"):
        load_state(SmallAvatar(n_vertices=8), small_checkpoint())
    with pytest.raises(UserError, match=r"texture_net.layers.2.weight is missing.* and \d+ more"):
        load_state(SmallAvatar(texture_layers=3), small_checkpoint())


def test_published_layout_needs_the_head_tables(tmp_path, run_script):
    path, out = tmp_path / "avatar.ckpt", tmp_path / "out.ckpt"
    write_checkpoint(path, small_checkpoint())
    result = run_script("convert_checkpoint.py", "--to", "published", path, out)
    assert result.returncode == 2
    assert "pass --head" in result.stderr
    assert not out.exists()


def test_published_layout_reads_the_head_tables_from_a_folder(tmp_path, run_script, shared_dir):
    path, out = tmp_path / "avatar.ckpt", tmp_path / "out.ckpt"
    write_checkpoint(path, small_checkpoint())
    result = run_script(
        "convert_checkpoint.py", "--to", "published", "--head", shared_dir / "flame_like", path, out
    )
    assert result.returncode == 0, result.stderr
    assert "_flame.neck_limits" in torch.load(out, weights_only=True)["state_dict"]


def test_published_layout_cannot_hold_derived_tables(tmp_path, run_script, shared_dir):
    path, out = tmp_path / "avatar.ckpt", tmp_path / "out.ckpt"
    write_checkpoint(path, dataclasses.replace(small_checkpoint(), head_model={"derived": ["UV map"]}))
    flame = shared_dir / "flame_like"
    result = run_script("convert_checkpoint.py", "--to", "published", "--head", flame, path, out)
    assert result.returncode == 2
    assert "derived: UV map" in result.stderr
    assert not out.exists()


def test_only_plain_settings_are_written(tmp_path):
    path = tmp_path / "avatar.ckpt"
    with pytest.raises(TypeError, match="Linear"):
        write_checkpoint(path, small_checkpoint(net=nn.Linear(1, 1)))
    assert list(tmp_path.iterdir()) == []
