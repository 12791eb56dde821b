"""Stages as data, the fit of one stage, neighbours in time, settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.config import parse_settings
from nha.core.errors import UserError
from nha.render.interpolate import CoveredPixels
from nha.tracking.appearance import LINEAR, PUBLISHED, grey_albedo_space, shade
from nha.tracking.energy import landmark_distance, smoothness
from nha.tracking.frames import read_frames
from nha.tracking.photometric import sample_images
from nha.tracking.photometric_fit import PhotometricFit, TemporalContext
from nha.tracking.settings import TrackingSettings
from nha.tracking.stages import (
    appearance_stage,
    blur_sigma_at,
    first_frame_stage,
    joint_stage,
    next_frame_stage,
    refinement_stage,
)
from nha.tracking.state import PER_FRAME, SHARED, UNKNOWNS
from nha.tracking.timeline import Timeline, interpolate_gaps, neighbour_mean

PUBLISHED_INI = """
[dataset]
data_path = DATA
[model]
n_shape = 300
n_expr = 100
n_tex = 100
tex_res = 512
[training]
device = cuda
output_path = OUT
calibrated = false
ignore_lower_neck = true
img_log_freq = 50
energy_log_freq = 5
keyframes = []
[hyper params]
init_steps = 400
steps_per_frame = 10
sub_steps = 5
lr = 0.005
pos_lr = 0.001
light_lr = 0.005
cam_lr = 0.005
blur_sigma = [10, 1e-4]
sampling_scale = 4
w_lmk = 5
w_eyes_sym = 10
w_eyes_lmk = 2
w_photo = 30
w_expr_reg = 1e-3
w_shape_reg = 1e-3
w_tex_reg = 1e-3
w_pos_glob = 1e-2
w_pos_neck = 1e-2
w_pos_jaw = 1e-4
w_pos_eyes = 1e-4
w_pos_trans = 10
"""


@pytest.fixture
def settings(tmp_path) -> TrackingSettings:
    return TrackingSettings(data_path=Path("data"), output_path=tmp_path / "out")


def test_published_configuration_is_read(tmp_path):
    (tmp_path / "tracking.ini").write_text(PUBLISHED_INI)
    arguments = [
        "--config",
        str(tmp_path / "tracking.ini"),
        "--cutframes",
        "12",
        "30",
        "--keyframes",
        "[3, 7]",
    ]
    settings = parse_settings(TrackingSettings, arguments, description="test")
    assert settings.sequential.cutframes == [12, 30]
    assert settings.keyframes == [3, 7]
    assert settings.sequential.blur_sigma == (10, 1e-4)
    assert settings.weights == TrackingSettings(data_path=Path("a"), output_path=Path("b")).weights
    with pytest.raises(UserError, match="did you mean 'keyframes'"):
        parse_settings(TrackingSettings, ["--keyframe", "3"], description="test")


def test_published_stages(settings):
    first = first_frame_stage(settings)
    assert set(first.moving) == set(PER_FRAME + SHARED)
    assert first.moving["translation"] == 0.001
    assert (first.n_steps, first.sub_steps, first.sampling_scale) == (400, 5, 4.0)
    following = next_frame_stage(settings, after_cut=False)
    assert set(following.moving) == set(PER_FRAME)
    assert following.n_steps == 10
    assert next_frame_stage(settings, after_cut=True).n_steps == 400
    assert following.weights.w_smooth == 0


def test_blur_schedule():
    sigmas = [blur_sigma_at(step, 10, (10, 1e-4)) for step in range(12)]
    assert sigmas[0] == pytest.approx(10)
    assert sigmas[9] == sigmas[11] == pytest.approx(1e-4)
    ratios = np.divide(sigmas[1:10], sigmas[:9])
    assert ratios == pytest.approx(ratios[0])


def test_a_blur_of_0_is_no_blur():
    assert [blur_sigma_at(step, 3, (0, 0)) for step in range(3)] == [0, 0, 0]
    assert [blur_sigma_at(step, 3, (2, 0)) for step in range(3)] == [2, 0, 0]


def test_visibility_is_found_once_per_step_and_gradients_flow_in_every_sub_step(
    clip, head_mesh, settings, monkeypatch
):
    import nha.tracking.photometric_fit as module

    frames = read_frames(clip.folder)
    stage = refinement_stage(settings)
    seen = frames.observe([0, 1], torch.device("cpu"), with_masks=True)
    fitter = PhotometricFit(head_mesh, grey_albedo_space(), 300, 100)
    calls = []
    find = module.visible_pixels
    monkeypatch.setattr(module, "visible_pixels", lambda *a, **k: calls.append(1) or find(*a, **k))
    fitter.minimise(stage, seen, clip.truth.rows([0, 1]), TemporalContext())
    assert len(calls) == stage.n_steps == 4

    unknowns = clip.truth.rows([0, 1])
    rotation = unknowns.rotation.clone().requires_grad_()
    unknowns = unknowns.replace(rotation=rotation)
    visible, gradients = None, []
    for _ in range(2):
        terms, visible = fitter.terms(stage, seen, seen.images, unknowns, TemporalContext(), visible)
        gradients.append(torch.autograd.grad(terms["photo"], rotation)[0])
    assert float(gradients[0].norm()) > 0
    assert torch.equal(gradients[0], gradients[1])


def test_only_the_stages_moving_unknowns_move(clip, head_mesh, settings):
    frames = read_frames(clip.folder)
    stage = appearance_stage(settings)
    seen = frames.observe([0, 3], torch.device("cpu"), with_masks=True)
    start = clip.truth.rows([0, 3])
    found = PhotometricFit(head_mesh, grey_albedo_space(), 300, 100).minimise(
        stage, seen, start, TemporalContext()
    )
    moved = {name for name in UNKNOWNS if not torch.equal(getattr(found, name), getattr(start, name))}
    assert moved == {"light"}


@pytest.mark.parametrize("focal", [None, 2.4])
def test_joint_stage_moves_what_frames_share(clip, head_mesh, settings, focal):
    frames = read_frames(clip.folder)
    stage = joint_stage(replace(settings, focal=focal))
    seen = frames.observe([0, 3], torch.device("cpu"), with_masks=True)
    start = clip.truth.rows([0, 3])
    found = PhotometricFit(head_mesh, grey_albedo_space(), 12, 100).minimise(
        stage, seen, start, TemporalContext()
    )
    moved = {name for name in UNKNOWNS if not torch.equal(getattr(found, name), getattr(start, name))}
    assert moved == set(UNKNOWNS) - {"texture"} - ({"focal_and_centre"} if focal else set())
    assert found.focal_and_centre[1:].tolist() == [0.5, 0.5]
    assert torch.equal(found.shape[12:], start.shape[12:])


def test_results_of_a_stage_are_finite(clip, head_mesh, settings):
    frames = read_frames(clip.folder)
    seen = frames.observe([0, 1], torch.device("cpu"), with_masks=True)
    seen.images[0] = torch.nan
    start = clip.truth.rows([0, 1])
    fitter = PhotometricFit(head_mesh, grey_albedo_space(), 300, 100)
    few = replace(settings.sequential, steps_per_frame=2, sub_steps=2, sampling_scale=1.0)
    stage = next_frame_stage(replace(settings, sequential=few), after_cut=False)
    found = fitter.minimise(stage, seen, start, TemporalContext())
    assert bool(found.is_finite().all())


def test_unknown_landmarks_have_no_gradient():
    landmarks = torch.zeros(1, 2, 2, requires_grad=True)
    target = torch.tensor([[[torch.nan, 1.0], [4.0, 2.0]]])
    distance = landmark_distance(landmarks, target, torch.tensor([[0.0, 1.0]]), (20, 40))
    assert float(distance.detach()) == pytest.approx((4 / 20 + 2 / 10) / 2)
    distance.backward()
    assert landmarks.grad[0, 0].tolist() == [0, 0]


def test_sampling_takes_each_pixel_from_its_own_image():
    images = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 2.0)])
    image = torch.tensor([0, 0, 1])
    seen = CoveredPixels(
        pixel=torch.arange(3), image=image, face=image, barycentric=torch.zeros(3, 3), shape=(2, 4, 4)
    )
    assert sample_images(images, seen, torch.zeros(3, 2))[:, 0].tolist() == [1, 1, 2]


def test_colour_models():
    albedo, light = torch.tensor([[0.5, 0.25, 1.0]]), torch.zeros(9, 3)
    light[0] = np.sqrt(4 * np.pi)
    normals = torch.tensor([[0.0, 0.0, -1.0]])
    assert torch.allclose(shade(albedo, normals, light, LINEAR), albedo)
    assert torch.allclose(shade(albedo, normals, light, PUBLISHED), albedo)
    assert torch.allclose(shade(albedo, normals, 0 * light, PUBLISHED), -torch.ones(1, 3))
    with pytest.raises(ValueError, match="appearance"):
        shade(albedo, normals, light, "nice")


def test_gaps_are_interpolated_linearly_within_a_shot(clip):
    ids = np.array([0, 1, 2, 4, 5, 6, 7])
    values = torch.tensor([0.0, 9, 9, 4, 9, 60, 70])[:, None].expand(-1, 3).clone()
    unknowns = clip.truth.replace(translation=values)
    known = torch.tensor([True, False, False, True, False, True, True])
    timeline = Timeline(ids, np.array([0, 0, 0, 0, 0, 1, 1]))
    bridged = interpolate_gaps(unknowns, known, timeline).translation[:, 0]
    assert bridged.tolist() == [0, 1, 2, 4, 4, 60, 70]


def test_neighbours_respect_cuts_and_gaps(clip):
    ids = np.array([0, 1, 2, 4, 20, 21, 22])
    timeline = Timeline(ids, np.array([0, 0, 0, 0, 0, 0, 1]))
    part, closeness = timeline.position_and_closeness()
    assert closeness.tolist() == pytest.approx([0, 1, 2 / 3, 0, 0, 0, 0])
    assert float(part[2]) == pytest.approx(1 / 3)
    values = torch.arange(7.0)[:, None].expand(-1, 3)
    mean = neighbour_mean(clip.truth.replace(translation=values), timeline)
    assert mean.translation[:, 0].tolist() == pytest.approx([0, 1, 1 + 2 / 3, 3, 4, 5, 6])


def test_steady_motion_has_no_smoothness_cost(clip):
    steady = torch.arange(7.0)[:, None].expand(-1, 3) * 0.01
    still = {name: torch.zeros_like(getattr(clip.truth, name)) for name in PER_FRAME}
    unknowns = clip.truth.replace(**still).replace(translation=steady)
    before, after, inner = unknowns.rows([0]), unknowns.rows([6]), unknowns.rows(range(1, 6))
    half, one = torch.full((5,), 0.5), torch.ones(5)
    assert float(smoothness(inner, before, after, half, one)) == pytest.approx(0, abs=1e-9)
    jump = inner.replace(translation=inner.translation + torch.eye(5)[:, 2:3] * 0.004)
    # one unit off at one frame, half a unit seen by each of its neighbours, in three axes, over five frames
    assert float(smoothness(jump, before, after, half, one)) == pytest.approx(3 * 1.5 / 5, rel=1e-3)
