"""Recorded training steps: with a twin of CUDA graphs they change an avatar as single steps do."""

from __future__ import annotations

import copy
import dataclasses
import functools

import pytest
import torch

from nha.avatar.open import build_avatar
from nha.core.cuda_graphs import WARM_UPS
from nha.core.derived import Derived
from nha.core.paths import PART_WEIGHTS
from nha.head.load import load_head
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.held_out import HeldOutFit
from nha.optimization.loss_means import LossMeans
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers, set_rates
from nha.optimization.run import optimize_avatar
from nha.optimization.stages import make_stages
from nha.optimization.training_step import StepValues, TrainingStep, draw_step
from tests.graph_twin import GraphTwin
from tests.small import SMALL, SMALL_BLEND


@pytest.fixture(scope="module")
def assets():
    return load_head("procedural")


def avatar_after_steps(assets, settings, stage_index: int, recorder, n_steps: int):
    """The avatar after some steps of a stage with falling rates, and the values of the steps."""
    data = FrameDataModule(settings.data)
    torch.manual_seed(0)
    avatar = build_avatar(assets, settings.avatar, data.max_frame_id)
    objective = Objective(avatar, PART_WEIGHTS, None)
    stage = dataclasses.replace(make_stages(settings)[stage_index], last_rate=0.1, epochs=n_steps)
    optimizers = make_optimizers(avatar)
    active = begin_stage(avatar.train(), optimizers, stage)
    step = TrainingStep(avatar, objective, stage, settings, active, recorder=recorder)
    seen = []
    for i in range(n_steps):
        set_rates(optimizers, stage, stage.first_epoch + i)
        batch = data.train.batch([i % 3, (i + 1) % 3])
        draws = draw_step(settings, stage, batch, i)
        values = step(batch, draws, stage.weights_at(stage.first_epoch + i))
        seen.append((values.names, values.values.clone()))
    return avatar, seen


@pytest.mark.parametrize(("stage", "sizes"), [(0, SMALL), (2, SMALL), (2, SMALL_BLEND)])
def test_recorded_steps_equal_single_steps(make_settings, assets, stage, sizes) -> None:
    settings = dataclasses.replace(make_settings((2, 2, 2)), avatar=sizes)
    recorder = GraphTwin()
    n = WARM_UPS + 3
    recorded, seen = avatar_after_steps(assets, settings, stage, recorder, n)
    single, expected = avatar_after_steps(assets, settings, stage, None, n)
    assert recorder.replayed == 3
    for (names, values), (expected_names, expected_values) in zip(seen, expected, strict=True):
        assert names == expected_names
        torch.testing.assert_close(values, expected_values, rtol=1e-4, atol=1e-6)
    wanted = single.state_dict()
    for name, value in recorded.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6)


def test_recorded_fit_of_held_out_frames_equals_single_steps(make_settings, assets) -> None:
    settings = make_settings((1, 1, 1))
    data = FrameDataModule(settings.data)
    torch.manual_seed(0)
    first = build_avatar(assets, settings.avatar, data.max_frame_id)
    second = copy.deepcopy(first)
    stage, batch = make_stages(settings)[2], data.val.batch([0])
    recorder = GraphTwin()
    for avatar, twin in ((first, recorder), (second, None)):
        fit = HeldOutFit(avatar, Objective(avatar, PART_WEIGHTS, None), stage, recorder=twin)
        for epoch in range(WARM_UPS + 2):
            fit([batch], epoch)
    assert recorder.replayed == 2
    assert first.frame_parameters.expr.abs().max() > 0
    torch.testing.assert_close(
        first.frame_parameters.expr, second.frame_parameters.expr, rtol=1e-4, atol=1e-7
    )


def test_the_fit_of_held_out_frames_keeps_nothing_that_training_changes(
    make_settings, assets, monkeypatch
) -> None:
    """A recorded step would read what was kept when it was recorded, also after the networks have changed."""
    settings = make_settings((1, 1, 1))
    data = FrameDataModule(settings.data)
    avatar = build_avatar(assets, settings.avatar, data.max_frame_id)
    computed, value = [], Derived.value

    def counted(self, sources, compute):
        return value(self, sources, lambda: computed.append(self) or compute())

    monkeypatch.setattr(Derived, "value", counted)
    fit = HeldOutFit(avatar, Objective(avatar, PART_WEIGHTS, None), make_stages(settings)[2])
    numbers = []
    for _ in range(2):
        fit([data.val.batch([0])], 0)
        numbers.append(len(computed))
    assert numbers[0] > 0
    assert numbers[1] == 2 * numbers[0]


def test_means_are_over_frames() -> None:
    means = LossMeans()
    means.add(StepValues(("rgb", "total"), torch.tensor([1.0, 2.0]), 1), 2)
    means.add(StepValues(("rgb", "total"), torch.tensor([4.0, 2.0]), 1), 1)
    means.add(StepValues(("total", "lmk"), torch.tensor([8.0, 5.0]), 0), 1)
    assert {name: value.item() for name, value in means.read().items()} == {
        "rgb": 2.0,
        "total": 3.5,
        "lmk": 5.0,
    }
    assert means.read() == {}


@pytest.mark.parametrize("sizes", [SMALL, SMALL_BLEND])
def test_a_run_with_recorded_steps_gives_the_same_avatar(make_settings, monkeypatch, sizes) -> None:
    plain = dataclasses.replace(make_settings((5, 0, 5), "plain"), avatar=sizes)
    expected = torch.load(optimize_avatar(plain).avatar_path, weights_only=True)["state_dict"]
    recorder = GraphTwin()
    monkeypatch.setattr(AvatarModule, "captures", True)
    recorded_step = functools.partial(TrainingStep, recorder=recorder)
    monkeypatch.setattr("nha.optimization.avatar_module.TrainingStep", recorded_step)
    settings = dataclasses.replace(make_settings((5, 0, 5), "recorded"), avatar=sizes)
    found = torch.load(optimize_avatar(settings).avatar_path, weights_only=True)["state_dict"]
    assert recorder.replayed > 0
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5, msg=name)
