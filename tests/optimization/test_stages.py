from pathlib import Path

import pytest

from nha.avatar.settings import AvatarSettings
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.stages import GEOMETRY_LOSSES, make_stages


@pytest.fixture
def published() -> OptimizationSettings:
    return OptimizationSettings(
        run=RunSettings(default_root_dir=Path()),
        data=None,
        schedule=ScheduleSettings(),
        losses=LossSettings(),
        avatar=AvatarSettings(),
    )


def test_the_stages_follow_one_another(published):
    stages = make_stages(published)
    assert [s.name for s in stages] == ["geometry", "texture", "joint"]
    assert [(s.first_epoch, s.end_epoch) for s in stages] == [(0, 150), (150, 200), (200, 250)]


def test_what_moves_in_each_stage(published):
    geometry, texture, joint = make_stages(published)
    assert set(geometry.moved) == {"shape", "expr", "rotation", "jaw", "neck", "translation"}
    assert set(joint.moved) == {*geometry.moved, "eyes"}
    assert texture.moved == ()
    assert [(s.offsets, s.texture) for s in (geometry, texture, joint)] == [
        (True, False),
        (False, True),
        (True, True),
    ]
    assert "shape" not in (*geometry.held_out, *joint.held_out)
    assert texture.held_out == ()


def test_losses_and_weights_of_each_stage(published):
    geometry, texture, joint = make_stages(published)
    assert set(geometry.losses) == set(GEOMETRY_LOSSES)
    assert set(texture.losses) == {"rgb", "perc"}
    assert set(joint.losses) == {*GEOMETRY_LOSSES, "rgb", "perc"}
    assert (geometry.paints, texture.paints, joint.paints) == (False, True, True)
    weights = geometry.weights_at(60)
    assert weights["semantic_hair"] == pytest.approx(0.082)
    assert weights["silh"] == pytest.approx(0.028)
    assert weights["lap"] == pytest.approx(0.05)
    assert weights["lmk"] == 1e-2
    assert texture.weights_at(170) == {"rgb": 1, "perc": 10}
    assert joint.weights_at(220)["rgb"] == 5e-2
    assert (joint.flame_lr, joint.offset_lr, joint.tex_lr) == (2e-4, 2e-6, 2e-5)


def test_without_a_feature_network_there_is_no_perceptual_term(published):
    import dataclasses

    stages = make_stages(dataclasses.replace(published, losses=LossSettings(perceptual="none")))
    assert all("perc" not in stage.losses for stage in stages)
