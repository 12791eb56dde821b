"""Slopes of the drawn against the annotated openings of mouth and eyes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.data.frame_dataset import FrameSplits
from nha.evaluation.landmark_motion import Openings, joined_openings, openings, slopes
from nha.evaluation.rendered_frames import render_batch
from nha.render.camera import project


@pytest.fixture
def rendered(avatar, settings):
    return render_batch(avatar, FrameSplits(settings).train.batch(range(3)))


def with_landmarks(rendered, landmarks_px, confidence=1.0):
    batch = dataclasses.replace(
        rendered.batch,
        landmarks_px=landmarks_px,
        landmark_confidence=torch.full(landmarks_px.shape[:2], confidence),
    )
    return dataclasses.replace(rendered, batch=batch)


def own_landmarks(rendered, head):
    points = head.landmarks(rendered.rendering.surface.vertices)[:, :68]
    return project(points, rendered.batch.camera)[..., :2]


def test_the_mesh_opens_as_far_as_its_own_landmarks(rendered, head):
    measured = openings(with_landmarks(rendered, own_landmarks(rendered, head)), head)
    result = slopes(measured)
    assert result["lip_slope"] == pytest.approx(1)
    assert result["lip_correlation"] == pytest.approx(1)
    # in another image size the openings are the same, because their unit is the eye distance
    doubled = openings(with_landmarks(rendered, 2 * own_landmarks(rendered, head)), head)
    np.testing.assert_allclose(doubled.annotated["lip"], measured.annotated["lip"], rtol=1e-5)


def test_frames_without_landmarks_are_left_out(rendered, head):
    measured = openings(with_landmarks(rendered, own_landmarks(rendered, head), confidence=0.0), head)
    assert np.isnan(measured.annotated["lip"]).all()
    assert np.isnan(slopes(measured)["lip_slope"])


def test_slope_and_correlation():
    annotated = np.array([0.0, 0.1, 0.2, 0.3, np.nan])
    drawn = np.array([0.5, 0.55, 0.6, 0.65, 9.0])
    still = np.full(5, 0.1)
    measured = Openings({"lip": drawn, "lid": still}, {"lip": annotated, "lid": annotated})
    result = slopes(joined_openings([measured, measured]))
    assert result["lip_slope"] == pytest.approx(0.5)
    assert result["lip_correlation"] == pytest.approx(1)
    assert result["lid_slope"] == pytest.approx(0)
    assert result["lid_correlation"] == pytest.approx(0)
    result = slopes(Openings({"lip": drawn, "lid": drawn}, {"lip": still, "lid": annotated}))
    assert np.isnan(result["lip_slope"]), "an opening that does not change has no slope"
