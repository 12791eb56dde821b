"""The three stages: parameters, terms, weights and epochs."""

from dataclasses import replace
from pathlib import Path

import pytest

from nha.avatar.settings import AvatarSettings
from nha.losses.terms import TERMS
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.stages import Stage, make_stages


@pytest.fixture
def published() -> OptimizationSettings:
    return OptimizationSettings(
        run=RunSettings(default_root_dir=Path()),
        data=None,
        schedule=ScheduleSettings(),
        losses=LossSettings(),
        avatar=AvatarSettings(),
    )


def names(stage: Stage) -> set[str]:
    return {term.name for term in stage.terms}


def test_stages_follow_each_other(published):
    stages = make_stages(published)
    assert [s.name for s in stages] == ["geometry", "texture", "joint"]
    assert [(s.first_epoch, s.end_epoch) for s in stages] == [(0, 150), (150, 200), (200, 250)]


def test_optimised_parameters_of_each_stage(published):
    geometry, texture, joint = make_stages(published)
    assert set(geometry.moved) == {"shape", "expr", "rotation", "jaw", "neck", "translation"}
    assert set(joint.moved) == {*geometry.moved, "eyes"}
    assert texture.moved == ()
    assert [s.optimizers for s in (geometry, texture, joint)] == [
        ("corrections", "offsets"),
        ("texture",),
        ("corrections", "offsets", "texture"),
    ]
    assert "shape" not in (*geometry.held_out, *joint.held_out)
    assert texture.held_out == ()


def test_losses_and_weights_of_each_stage(published):
    geometry, texture, joint = make_stages(published)
    published_terms = {name for name, term in TERMS.items() if not term.optional}
    assert names(geometry) == published_terms - {"rgb", "perc"}
    assert names(texture) == {"rgb", "perc"}
    assert names(joint) == published_terms
    assert (geometry.paints, texture.paints, joint.paints) == (False, True, True)
    weights = geometry.weights_at(60)
    assert weights["semantic_hair"] == pytest.approx(0.082)
    assert weights["silh"] == pytest.approx(0.028)
    assert weights["lap"] == pytest.approx(0.05)
    assert weights["lmk"] == 1e-2
    assert texture.weights_at(170) == {"rgb": 1, "perc": 10}
    assert joint.weights_at(220)["rgb"] == 5e-2
    assert (joint.flame_lr, joint.offset_lr, joint.tex_lr) == (2e-4, 2e-6, 2e-5)


def test_perceptual_none_drops_the_perceptual_term(published):
    stages = make_stages(replace(published, losses=LossSettings(perceptual="none")))
    assert all("perc" not in names(stage) for stage in stages)


def with_losses(settings: OptimizationSettings, **changes) -> OptimizationSettings:
    return replace(settings, losses=replace(settings.losses, **changes))


def test_description_lists_active_terms(published):
    geometry, texture, joint = (stage.describe_terms() for stage in make_stages(published))
    assert geometry.startswith(
        "geometry stage, 150 epochs: lap 0.05, edge 10, lmk 0.01, eye_closed 100000, norm 0.02"
    )
    assert "silh 0.01 to 0.1" in geometry
    assert "without" not in geometry
    assert texture == "texture stage, 50 epochs: rgb 1, perc 10"
    assert joint.startswith("joint stage, 50 epochs: rgb 0.05, perc 0.5, lap 0.05")
    assert joint.endswith("; without lmk (weight 0)")


def test_description_gives_reasons_for_inactive_terms(published):
    _, texture, joint = make_stages(with_losses(published, perceptual="none"))
    assert texture.describe_terms() == "texture stage, 50 epochs: rgb 1; without perc (--perceptual none)"
    assert joint.describe_terms().endswith("; without lmk (weight 0), perc (--perceptual none)")
    _, texture, _ = make_stages(with_losses(published, w_perc=(0, 0, 1)))
    assert texture.describe_terms() == "texture stage, 50 epochs: rgb 1; without perc (weight 0)"
    _, texture, _ = make_stages(with_losses(published, w_perc=(0, 0, 0), w_rgb=(0, 0, 0)))
    assert (
        texture.describe_terms()
        == "texture stage, 50 epochs: no loss; without rgb (weight 0), perc (weight 0)"
    )


def test_weight_that_starts_at_0_is_active(published):
    geometry, _, joint = make_stages(
        with_losses(published, w_silh=[(0, 50), (1, 100)], w_semantic_hair=[(1, 50), (0, 100)])
    )
    assert "silh 0 to 1" in geometry.describe_terms()
    assert "semantic_hair 1 to 0" in geometry.describe_terms()
    assert joint.describe_terms().endswith("; without lmk (weight 0), semantic_hair (weight 0)")


def test_blend_model_has_only_terms_with_a_weight(published):
    losses = LossSettings(
        perceptual="none", w_image=(0, 1, 1), w_cover=(1, 0, 0), w_rgb=(0, 0, 0), w_norm=(0, 0, 0)
    )
    settings = replace(published, avatar=AvatarSettings(model="blend"), losses=losses)
    geometry, texture, joint = make_stages(settings)
    assert names(texture) == {"image"}
    assert "cover" in names(geometry)
    assert not {"norm", "image", "rgb"} & names(geometry)
    assert {"image"} <= names(joint)
    assert "cover" not in names(joint)
    assert (geometry.held_out, joint.held_out) == ((), ())


@pytest.mark.parametrize(
    ("schedule_frames", "n_frames", "epochs"), [(0, 7, 24), (100, 100, 24), (100, 50, 48), (100, 400, 12)]
)
def test_epochs_follow_the_number_of_frames(schedule_frames, n_frames, epochs):
    schedule = ScheduleSettings(schedule_frames=schedule_frames, epochs_offset=24)
    assert schedule.for_frames(n_frames).epochs_offset == epochs
