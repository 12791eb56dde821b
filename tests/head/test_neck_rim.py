"""Skinning of the neck's lower rim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nha.head.derived.neck_rim import ROOT_JOINT, with_rim_of_torso
from nha.head.load import load_head
from nha.head.model import HeadModel


@pytest.fixture(scope="module", params=["procedural", "flame_like"])
def pair(request):
    folder = "procedural" if request.param == "procedural" else request.getfixturevalue("flame_like")
    assets = load_head(folder)
    return assets, with_rim_of_torso(assets)


def test_the_rim_of_the_rendered_mesh_follows_the_root_joint(pair):
    before, after = pair
    head = HeadModel(after, subdivisions=0, blur_sigma=None)
    neck = head.hard_labels[:, head.part("neck")] > 0.5
    faces = np.sort(head.faces.numpy(), 1)
    edges, count = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [0, 2]]]), 1),
        axis=0,
        return_counts=True,
    )
    border = np.unique(edges[count == 1])
    rim = border[neck[border].numpy()]
    assert len(rim) > 10
    weights = after.skinning_weights[head.kept_vertices.numpy()]
    np.testing.assert_allclose(weights[rim, ROOT_JOINT], 1, atol=1e-6)
    assert before.skinning_weights[head.kept_vertices.numpy()][rim, ROOT_JOINT].min() < 0.9


def test_the_head_above_the_neck_keeps_its_weights(pair):
    before, after = pair
    np.testing.assert_allclose(after.skinning_weights.sum(1), 1, atol=1e-5)
    assert after.skinning_weights.min() >= 0
    changed = (after.skinning_weights != before.skinning_weights).any(1)
    face = before.hard_labels()[:, before.part_names.index("face")]
    low = before.template_vertices[changed, 1].max()
    assert 0 < changed.mean() < 0.5
    assert low < before.template_vertices[face, 1].mean()
    fields = {f.name for f in dataclasses.fields(before)} - {"skinning_weights"}
    assert all(getattr(after, name) is getattr(before, name) for name in fields)


def test_trackings_of_the_head_model_still_fit(pair):
    before, after = pair
    assert after.identity == before.identity
