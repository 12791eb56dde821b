"""The optimisers of each stage, and the fit of held-out frames."""

import dataclasses
from unittest import mock

import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import build_head
from nha.core.paths import PART_WEIGHTS
from nha.head.load import load_head
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.callbacks import HeldOutPoses
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.held_out import HeldOutFit
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import CORRECTIONS, make_stages


@pytest.fixture
def setup(make_settings):
    settings = make_settings()
    data = FrameDataModule(settings.data)
    torch.manual_seed(0)
    avatar = NeuralHeadAvatar(build_head(load_head("procedural"), settings.avatar), settings.avatar, 3)
    return settings, data, avatar, Objective(avatar, PART_WEIGHTS, None)


GROUPS = {
    "geometry": {"frame_parameters", "offset_net", "vertex_features"},
    "texture": {"texture_net", "normal_encoder", "neural_texture"},
}
GROUPS["joint"] = GROUPS["geometry"] | GROUPS["texture"]


def test_each_stage_changes_only_its_parameters(setup):
    settings, data, avatar, objective = setup
    optimizers = make_optimizers(avatar)
    batch = data.train.batch([0, 1])
    for stage in make_stages(settings):
        stage = dataclasses.replace(stage, offset_lr=1e-4)
        active = begin_stage(avatar, optimizers, stage)
        before = {name: value.clone() for name, value in avatar.state_dict().items()}
        for _ in range(2):
            rendering = render_batch(avatar, stage, batch)
            table = objective(stage.terms, avatar, rendering, batch)
            assert all(torch.isfinite(value) for value in table.losses.values())
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            table.weighted_sum(stage.weights_at(stage.first_epoch)).backward()
            for optimizer in active:
                optimizer.step()
        moved = {name for name, value in avatar.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split(".")[0] for name in moved} == GROUPS[stage.name]
        assert ("frame_parameters.eyes" in moved) == (stage.name == "joint")
        held_out = avatar.frame_parameters.expr[3]
        assert (held_out == 0).all()


def test_translation_has_a_tenth_of_the_learning_rate(setup):
    settings, _, avatar, _ = setup
    optimizers = make_optimizers(avatar)
    begin_stage(avatar, optimizers, make_stages(settings)[0])
    rates = {group["name"]: group["lr"] for group in optimizers[CORRECTIONS].param_groups}
    assert rates["translation"] == pytest.approx(1e-4)
    assert rates["expr"] == pytest.approx(1e-3)


def test_held_out_fit_changes_only_poses_of_held_out_frames(setup):
    settings, data, avatar, objective = setup
    stage = make_stages(settings)[0]
    required = [parameter.requires_grad for parameter in avatar.parameters()]
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    step = HeldOutFit(avatar, objective, stage)([data.val.batch([0])], epoch=0)
    assert torch.isfinite(step.values[: step.n_weighted + 1]).all()
    after = avatar.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert moved <= {f"frame_parameters.{name}" for name in stage.held_out}
    frame = data.val.frame_ids[0]
    for name in moved:
        rows = (after[name] != before[name]).any(1).nonzero().squeeze(1)
        assert rows.tolist() == [frame], name
    assert required == [parameter.requires_grad for parameter in avatar.parameters()]
    assert all(parameter.grad is None for parameter in avatar.parameters())


def test_texture_stage_fits_no_held_out_frame(setup):
    settings, data, avatar, objective = setup
    stage = make_stages(settings)[1]
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    module = AvatarModule(avatar, objective, stage, settings)
    HeldOutPoses(data, 1).on_train_epoch_end(mock.Mock(current_epoch=0), module)
    assert all(torch.equal(value, before[name]) for name, value in avatar.state_dict().items())
