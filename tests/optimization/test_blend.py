"""Training of the blend model: parameters of each stage, fit of held-out frames, refused settings."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_avatar, build_head, load_avatar
from nha.core.cuda_graphs import WARM_UPS
from nha.core.errors import UserError
from nha.core.paths import PART_WEIGHTS
from nha.head.load import load_head
from nha.optimization.conditions import measure_drive
from nha.optimization.config import OptimizationSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.final_fit import fit_frames
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.run import optimize_avatar
from nha.optimization.stages import POSES, make_stages
from tests.graph_twin import GraphTwin
from tests.small import SMALL_BLEND

GEOMETRY = {"frame_parameters", "static_offsets", "asymmetry", "shapes", "shape_weights"}
COLOURS = {"head_texture", "mouth_texture", "texture_weights", "light", "log_gain"}


@pytest.fixture
def blend_settings(make_settings) -> OptimizationSettings:
    settings = make_settings((1, 1, 1))
    own = OptimizationSettings.from_ini(
        "blend",
        dataset=settings.data.data_path,
        tracking=settings.data.tracking_results_path,
        out=settings.run.default_root_dir,
    )
    schedule = dataclasses.replace(
        own.schedule, epochs_offset=1, epochs_texture=1, epochs_joint=1, held_out_steps=3
    )
    losses = dataclasses.replace(own.losses, perceptual="none")
    return dataclasses.replace(settings, schedule=schedule, losses=losses, avatar=SMALL_BLEND)


@pytest.fixture
def setup(blend_settings):
    data = FrameDataModule(blend_settings.data)
    torch.manual_seed(0)
    avatar = BlendAvatar(build_head(load_head("procedural"), SMALL_BLEND), SMALL_BLEND, 3)
    frames = data.train.batch(range(len(data.train)))
    measure_drive(avatar, frames.tracked, frames.camera)
    return data, avatar, Objective(avatar, PART_WEIGHTS, None)


def test_each_stage_changes_only_its_parameters(blend_settings, setup):
    data, avatar, objective = setup
    optimizers = make_optimizers(avatar)
    batch = data.train.batch([0, 1])
    expected = {"geometry": GEOMETRY, "texture": COLOURS, "joint": GEOMETRY | COLOURS}
    for stage in make_stages(blend_settings):
        active = begin_stage(avatar, optimizers, stage)
        before = {name: value.clone() for name, value in avatar.state_dict().items()}
        for _ in range(3):
            table = objective(stage.terms, avatar, render_batch(avatar, stage, batch), batch)
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            table.weighted_sum(stage.weights_at(stage.first_epoch)).backward()
            for optimizer in active:
                optimizer.step()
        moved = {name for name, value in avatar.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split(".")[0] for name in moved} == expected[stage.name]
        others = avatar.frame_parameters.expr[2:]  # frames that are not in the batch
        assert (others == 0).all()


def test_fit_of_frames_changes_only_their_poses_and_exposure(blend_settings, setup):
    data, avatar, objective = setup
    stage = make_stages(blend_settings)[2]
    required = [parameter.requires_grad for parameter in avatar.parameters()]
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    batch = data.val.batch([0])

    def loss() -> float:
        avatar.eval()
        with torch.no_grad():
            table = objective(stage.terms, avatar, render_batch(avatar, stage, batch), batch)
        return float(table.weighted_sum(stage.weights_at(stage.end_epoch - 1)))

    at_first = loss()
    fit_frames(avatar, objective, stage, [batch], steps=5)
    assert loss() < at_first
    after = avatar.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved <= {"log_gain", *(f"frame_parameters.{name}" for name in (*POSES, "eyes"))}
    frame = data.val.frame_ids[0]
    for name in moved:
        rows = (after[name] != before[name]).any(1).nonzero().flatten().tolist()
        assert rows == [frame]
    assert [parameter.requires_grad for parameter in avatar.parameters()] == required


def test_recorded_fit_of_finished_avatars_equals_single_steps(blend_settings):
    data = FrameDataModule(blend_settings.data)
    torch.manual_seed(0)
    first = build_avatar(load_head("procedural"), SMALL_BLEND, data.max_frame_id)
    second = copy.deepcopy(first)
    stage, recorder = make_stages(blend_settings)[2], GraphTwin()
    batches = [data.train.batch([0]), data.train.batch([1])]  # the optimisers serve both
    for avatar, twin in ((first, recorder), (second, None)):
        objective = Objective(avatar, PART_WEIGHTS, None)
        fit_frames(avatar, objective, stage, batches, steps=WARM_UPS + 2, recorder=twin)
    assert recorder.recorded == 1
    assert recorder.replayed == WARM_UPS + 4
    wanted = second.state_dict()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6, msg=name)
    assert first.frame_parameters.expr[data.train.frame_ids[:2]].abs().sum(1).min() > 0


def test_run_writes_an_avatar_with_fitted_held_out_frames(blend_settings):
    result = optimize_avatar(blend_settings)
    avatar = load_avatar(result.avatar_path)
    assert isinstance(avatar, BlendAvatar)
    data = FrameDataModule(blend_settings.data)
    batch = data.val.batch([0])
    rgba = avatar(batch.tracked, batch.camera, batch.frame_id)
    assert torch.isfinite(rgba).all()
    assert avatar.frame_parameters.rotation[batch.frame_id].abs().sum() > 0
    assert torch.isfinite(avatar.drive.low).all()


@pytest.mark.parametrize("options", [{"pixels_per_image": 100}, {"compile": True}])
def test_options_of_the_published_model_are_refused(blend_settings, options):
    run = dataclasses.replace(blend_settings.run, **options)
    with pytest.raises(UserError, match="are for the published model"):
        optimize_avatar(dataclasses.replace(blend_settings, run=run))
    assert not run.default_root_dir.exists()
