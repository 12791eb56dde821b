"""An avatar of the published code: same sizes, further training, conversion back."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.open import build_head, load_avatar
from nha.avatar.published_layout import published_head_tables
from nha.core.config import parse_settings
from nha.data.splits import Split, write_split
from nha.head.load import load_head
from nha.losses.masks import whiten_background
from nha.optimization.config import OptimizationSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.run import optimize_avatar
from tests.golden_frames import write_golden_frames


@pytest.fixture(scope="module")
def published_file(golden_dir, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("published") / "avatar.ckpt"
    path.write_bytes(lzma.decompress((golden_dir / "a" / "avatar.ckpt.xz").read_bytes()))
    return path


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("whose", ["ours", "published"])
def test_configuration_gives_the_published_sizes(whose, published_file, shared_dir, repository, flame_like):
    folder = repository / "configs" if whose == "ours" else shared_dir / "published_configs"
    ini = str(folder / "optimize_avatar.ini")
    settings = parse_settings(OptimizationSettings, ["--config", ini], description="d")
    published = read_checkpoint(published_file)
    max_frame_id = published.hyper_parameters["max_frame_id"]
    avatar = NeuralHeadAvatar(
        build_head(load_head(flame_like), settings.avatar), settings.avatar, max_frame_id
    )
    assert shapes(avatar.state_dict()) == shapes(published.state)
    assert shapes(published_head_tables(flame_like)) == shapes(published.published_head_tables)


def photometric_error(avatar: NeuralHeadAvatar, data: FrameDataModule) -> float:
    batch = data.train.batch(range(len(data.train)))
    with torch.no_grad():
        rgba = avatar(batch.tracked, batch.camera, batch.frame_id)
    target = whiten_background(batch.rgb01, batch.segmentation)
    return ((rgba[:, :3] - target).abs() * rgba[:, 3:]).sum().item() / rgba[:, 3:].sum().item()


@pytest.mark.slow
def test_published_avatar_is_trained_further_and_converted_back(
    published_file, golden_dir, flame_like, tmp_path, run_script
):
    golden = np.load(golden_dir / "a" / "golden.npz")
    folder = write_golden_frames(golden, tmp_path / "data")
    write_split(tmp_path / "split.json", Split(train=tuple(golden["in_frame"].tolist()), val=()))
    options = {
        "data_path": folder.root,
        "tracking_results_path": golden_dir / "a",
        "split_config": tmp_path / "split.json",
        "default_root_dir": tmp_path / "run",
        "checkpoint_file": published_file,
        "head": flame_like,
        "device": "cpu",
        "perceptual": "none",
        "epochs_offset": 1,
        "epochs_texture": 4,
        "epochs_joint": 1,
        "frame_cache": "none",
    }
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    settings = parse_settings(OptimizationSettings, arguments, description="d")
    data = FrameDataModule(settings.data)
    first = read_checkpoint(published_file)
    before = photometric_error(load_avatar(published_file, flame_like), data)

    path = optimize_avatar(settings).avatar_path
    trained = read_checkpoint(path)
    assert shapes(trained.state) == shapes(first.state)
    moved = {name for name, value in first.state.items() if not torch.equal(value, trained.state[name])}
    assert {"frame_parameters.shape", "frame_parameters.expr", "vertex_features"} <= moved
    assert {"offset_net.output.weight", "texture_net.static_head.weight", "neural_texture.head"} <= moved
    # training starts from the published weights: a few steps at these rates change little
    for name in ("offset_net.layers.1.weight", "texture_net.layers.1.weight"):
        assert (trained.state[name] - first.state[name]).abs().max() < 1e-3, name
    expr, trained_expr = (state["frame_parameters.expr"] for state in (first.state, trained.state))
    untouched = torch.tensor([row for row in range(len(expr)) if row not in golden["in_frame"]])
    assert torch.equal(trained_expr[untouched], expr[untouched])
    avatar = load_avatar(path)
    assert photometric_error(avatar, data) < before

    back = tmp_path / "published.ckpt"
    done = run_script("convert_checkpoint.py", "--to", "published", path, back)
    assert done.returncode == 0, done.stderr
    again = read_checkpoint(back)
    assert all(torch.equal(again.state[name], value) for name, value in trained.state.items())
    for name, table in first.published_head_tables.items():
        assert torch.equal(again.published_head_tables[name], table), name
    batch = data.train.batch([0])
    images = [x(batch.tracked, batch.camera, batch.frame_id) for x in (avatar, load_avatar(back, flame_like))]
    assert torch.equal(*images)
