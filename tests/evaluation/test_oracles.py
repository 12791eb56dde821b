"""Oracles: each one repairs the error that it is for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.data.frame_dataset import FrameSplits
from nha.evaluation import oracles
from nha.evaluation.metrics import mean_squared_error
from nha.evaluation.oracles import (
    CHANNELS,
    align,
    align_affinely,
    correct_coverage,
    flow_to_prediction,
    joined,
    relight,
    retexture,
    separated,
    texture_error,
)
from nha.evaluation.rendered_frames import RenderedFrames, render_batch
from nha.render.lazy_channels import LazyChannels


@pytest.fixture
def rendered(avatar, settings) -> RenderedFrames:
    """Three frames that the avatar renders almost without an error."""
    return render_batch(avatar, FrameSplits(settings).train.batch(range(3)), channels=CHANNELS)


def error(frames: RenderedFrames, mask: torch.Tensor | None = None) -> float:
    return float(mean_squared_error(frames.prediction, frames.target, mask).mean())


def with_prediction(frames: RenderedFrames, prediction, alpha=None) -> RenderedFrames:
    alpha = frames.rendering.alpha if alpha is None else alpha
    return dataclasses.replace(frames, prediction=prediction, rendering=frames.rendering.replace(alpha=alpha))


def test_coverage_is_filled_and_cut(rendered):
    hole = rendered.rendering.alpha.clone()
    hole[..., 20:24, 20:28] = 0
    alpha = torch.where(hole > 0, 1.0, 0.0)
    alpha[..., :2] = 1  # beyond the head
    prediction = torch.where(hole > 0, rendered.prediction, 1.0)
    prediction[..., :2] = 0.2
    damaged = with_prediction(rendered, prediction, alpha)
    corrected = correct_coverage(damaged)
    assert error(corrected) < error(damaged) / 20
    assert bool((corrected.prediction[~rendered.mask.expand_as(corrected.prediction)] == 1).all())
    assert torch.equal(corrected.rendering.alpha > 0.5, rendered.mask)
    # the filled pixel nearest to the rim of the hole has that pixel's colour
    assert torch.equal(corrected.prediction[..., 20, 23], damaged.prediction[..., 19, 23])


def test_an_empty_frame_stays_as_it_is(rendered):
    empty = with_prediction(rendered, torch.ones_like(rendered.prediction), 0 * rendered.rendering.alpha)
    for oracle in (correct_coverage, align, align_affinely, relight):
        assert torch.isfinite(oracle(empty).prediction).all()


def test_alignment_undoes_a_shift(rendered):
    shifted = with_prediction(
        rendered, *(torch.roll(x, (1, 2), (2, 3)) for x in (rendered.prediction, rendered.rendering.alpha))
    )
    for oracle in (align, align_affinely):
        aligned = oracle(shifted)
        assert error(aligned) < error(shifted) / 4
        assert float((aligned.rendering.alpha - rendered.rendering.alpha).abs().mean()) < 0.02


def test_the_affine_part_of_an_affine_flow_is_the_flow():
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    flow = np.stack([0.1 * columns - 0.2 * rows + 1, 0.05 * rows - 2], -1)[None]
    mask = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    mask[..., 5:15, 5:20] = True
    broken = flow.copy()
    broken[0, 5:7, 5:20] += 9  # a part that moves otherwise
    assert np.abs(oracles.affine_part(broken, mask) - flow).max() < 1e-3


def test_the_flow_of_equal_images_is_zero(rendered):
    same = with_prediction(rendered, rendered.target)
    assert np.abs(flow_to_prediction(same)).max() < 0.2


def test_light_undoes_gain_and_shading(rendered):
    covered = rendered.mask & (rendered.rendering.alpha > 0)
    normals = torch.nn.functional.normalize(rendered.rendering.gbuffer["normals"], dim=1)
    shading = 0.8 + 0.15 * normals[:, :1] - 0.1 * normals[:, 1:2]
    dark = with_prediction(rendered, torch.where(covered, rendered.prediction * shading, rendered.prediction))
    assert error(relight(dark), covered) < error(dark, covered) / 50
    # it is fitted to each frame
    gains = torch.tensor([0.7, 0.9, 0.8])[:, None, None, None]
    dark = with_prediction(rendered, torch.where(covered, rendered.prediction * gains, rendered.prediction))
    assert error(relight(dark), covered) < error(dark, covered) / 50


def test_texture_error_is_found_in_some_frames_and_added_to_others(rendered):
    texel = oracles.texel_of_pixels(rendered, 4)
    inside = rendered.mask & (rendered.rendering.alpha > 0)
    change = 0.2 * (texel % 3 - 1)[:, None] * inside
    wrong = with_prediction(rendered, (rendered.target - change).clamp(0, 1))
    first, *others = separated(wrong)
    repaired = retexture(joined(others), texture_error(first, 4))
    seen = torch.isin(oracles.texel_of_pixels(joined(others), 4), texel[:1])[:, None] & inside[1:]
    assert error(repaired, seen) < error(joined(others), seen) / 10


def test_frames_are_separated_and_joined(rendered):
    again = joined(separated(rendered))
    assert torch.equal(again.prediction, rendered.prediction)
    assert torch.equal(again.rendering.gbuffer["normals"], rendered.rendering.gbuffer["normals"])
    assert again.batch.frame_id.tolist() == rendered.batch.frame_id.tolist()
    assert again.rendering.gbuffer.image_size == rendered.rendering.gbuffer.image_size


def test_batches_whose_channels_are_drawn_later_are_joined(rendered):
    gbuffer = rendered.rendering.gbuffer
    images = dict(gbuffer.channels)
    later = tuple(name for name in images if name != "alpha")
    lazy = LazyChannels(
        {"alpha": images["alpha"]}, later, lambda names: {name: images[name] for name in names}
    )
    rendering = rendered.rendering.replace(gbuffer=gbuffer.replace(channels=lazy))
    twice = joined([dataclasses.replace(rendered, rendering=rendering)] * 2)
    assert len(twice.rendering.gbuffer["normals"]) == 2 * len(rendered.target)
    assert twice.rendering.gbuffer.covered is None
