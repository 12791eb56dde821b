"""`--pixels_per_image`: colours of a random subset of the pixels."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import build_head
from nha.core.errors import UserError
from nha.head.load import load_head
from nha.optimization import run
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.sampling import highest_scores, random_scores, step_generator
from tests.small import SMALL


def test_highest_scores_among_the_candidates_are_chosen():
    scores = torch.tensor([[[0.9, 0.2], [0.5, 0.7]], [[0.1, 0.2], [0.3, 0.4]]])
    among = torch.tensor([[[[False, True], [True, True]]], [[[True, False], [False, False]]]])
    chosen = highest_scores(scores, among, 2)
    assert chosen.tolist() == [[[[False, False], [True, True]]], [[[True, False], [False, False]]]]
    assert torch.equal(highest_scores(scores, among, 100), among)


def test_scores_are_positive():
    scores = random_scores(2, (50, 40), step_generator(0, 0))
    assert scores.shape == (2, 50, 40)
    assert scores.min() > 0
    assert scores.unique().numel() > 3900


def test_painted_pixels_have_the_colours_of_the_whole_image(make_settings):
    settings = make_settings()
    torch.manual_seed(0)
    data = FrameDataModule(settings.data)
    avatar = NeuralHeadAvatar(build_head(load_head("procedural"), SMALL), SMALL, data.max_frame_id)
    batch = data.train.batch([0, 1])
    whole = avatar.render(batch.tracked, batch.camera, frame_ids=batch.frame_id)
    scores = random_scores(2, batch.camera.image_size, step_generator(0, 0))
    some = avatar.render(
        batch.tracked,
        batch.camera,
        frame_ids=batch.frame_id,
        choose_pixels=lambda covered: highest_scores(scores, covered, 60),
    )
    assert some.painted.flatten(1).sum(1).tolist() == [60, 60]
    assert (some.gbuffer.alpha > 0.5)[some.painted].all()
    torch.testing.assert_close(some.rgb01 * some.painted, whole.rgb01 * some.painted, atol=1e-5, rtol=0)
    assert (some.rgb01[(~some.painted).expand_as(some.rgb01)] == 1).all()


def test_run_with_chosen_pixels_trains_the_texture(make_settings, monkeypatch):
    painted = []
    render = AvatarModule.render

    def watched(self, batch):
        rendering, partner = render(self, batch)
        painted.append(None if rendering.painted is None else int(rendering.painted.sum()))
        return rendering, partner

    monkeypatch.setattr(AvatarModule, "render", watched)
    result = run.optimize_avatar(make_settings((1, 1, 1), pixels_per_image=50))
    assert result.avatar_path.is_file()
    assert painted[0] is None  # the geometry stage does not paint
    assert set(painted[-2:]) <= {50, 100}


def test_chosen_pixels_with_the_perceptual_term_are_an_error(make_settings, monkeypatch):
    settings = make_settings(pixels_per_image=50)
    settings = dataclasses.replace(
        settings, losses=dataclasses.replace(settings.losses, perceptual="arcface")
    )
    monkeypatch.setattr(run, "arcface_for", lambda *_: lambda rgb: [rgb] * 4)
    with pytest.raises(UserError, match="whole images"):
        run.optimize_avatar(settings)
    assert not settings.run.default_root_dir.exists()
