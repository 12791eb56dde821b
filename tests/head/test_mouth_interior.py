"""Teeth and the inside of the mouth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.head import joint_limits
from nha.head.derived.mouth_interior import lip_ring, with_mouth_interior
from nha.head.load import load_head
from nha.head.model import HeadModel

LABELS = {"subdivisions": 0, "blur_sigma": None}
N_ROW = 39  # vertices of a row of teeth


@pytest.fixture(scope="module", params=["procedural", "flame_like"])
def pair(request):
    """A head model without and with a mouth interior."""
    folder = "procedural" if request.param == "procedural" else request.getfixturevalue("flame_like")
    assets = load_head(folder)
    return assets, with_mouth_interior(assets)


def posed(head: HeadModel, jaw_rad: float = 0.0) -> torch.Tensor:
    jaw = joint_limits.params_from_angles(torch.tensor([[jaw_rad, 0.0, 0.0]]), joint_limits.JAW_LIMITS_DEG)
    return head(head.neutral_params().replace(jaw=jaw))[0]


def upper_and_lower(head: HeadModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of the vertices of both rows of teeth, which are the last ones of the mesh."""
    return torch.arange(head.n_vertices).split((head.n_vertices - 2 * N_ROW, N_ROW, N_ROW))[1:]


def test_landmarks_and_mouth_distances_stay(pair):
    plain, with_teeth = (HeadModel(assets, **LABELS) for assets in pair)
    for jaw in (0.0, 0.3):
        before, after = posed(plain, jaw), posed(with_teeth, jaw)
        torch.testing.assert_close(
            with_teeth.landmarks(after[None]), plain.landmarks(before[None]), atol=2e-6, rtol=0
        )
        if plain.has_mouth_features:
            params = plain.neutral_params()
            torch.testing.assert_close(
                with_teeth.mouth_features(after[None], params),
                plain.mouth_features(before[None], params),
                atol=1e-4,
                rtol=0,
            )


def test_the_lips_stay_closed_by_the_cavity(pair):
    """Each edge of the line where the lips touch belongs to one face of the skin and to one of the cavity."""
    _, assets = pair
    head = HeadModel(assets, **LABELS)
    ring, _ = lip_ring(pair[0])
    row = {int(v): i for i, v in enumerate(head.kept_vertices)}
    edges = {(row[int(a)], row[int(b)]) for a, b in zip(ring, np.roll(ring, -1), strict=True)}
    found = {}
    for face, mouth in zip(head.faces.tolist(), head.face_uvmap.tolist(), strict=True):
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            if (a, b) in edges or (b, a) in edges:
                found.setdefault(frozenset((a, b)), []).append(((a, b) in edges, mouth))
    assert len(found) == len(edges)
    assert all(sorted(uses) == [(False, 0), (True, 1)] for uses in found.values())


def test_upper_teeth_stay_and_lower_teeth_follow_the_jaw(pair):
    head = HeadModel(pair[1], **LABELS)
    upper, lower = upper_and_lower(head)
    assert len(upper) == len(lower) > 0
    closed, open_ = posed(head), posed(head, 0.3)
    torch.testing.assert_close(open_[upper], closed[upper], atol=1e-6, rtol=0)
    assert (closed[lower, 1] - open_[lower, 1]).min() > 0.01


def test_closed_lips_hide_the_teeth(pair):
    """In the neutral pose every tooth lies behind the skin in front of it, except in the slit between the lips."""
    head = HeadModel(pair[1], **LABELS)
    vertices = posed(head)
    upper, lower = upper_and_lower(head)
    skin = head.faces[head.face_uvmap == 0].unique()
    slit_metres = 0.002
    line = vertices[
        torch.tensor([int((head.kept_vertices == v).nonzero()) for v in lip_ring(pair[0])[0]]), 1
    ].mean()
    for tooth in torch.cat([upper, lower]).tolist():
        if abs(float(vertices[tooth, 1] - line)) < slit_metres:
            continue
        near = (vertices[skin, :2] - vertices[tooth, :2]).norm(dim=1) < 0.006
        assert vertices[skin][near, 2].max() > vertices[tooth, 2]


def test_cavity_is_seen_from_inside_and_teeth_from_the_front(pair):
    head = HeadModel(pair[1], **LABELS)
    vertices = posed(head, 0.3)
    faces = head.faces[head.face_uvmap == 1]
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    in_teeth = (faces >= head.n_vertices - 2 * N_ROW).all(1)
    cavity = corners[~in_teeth].mean(1)
    to_middle = cavity.mean(0) - cavity
    assert ((normals[~in_teeth] * to_middle).sum(1) > 0).float().mean() > 0.97
    forward = torch.nn.functional.normalize(normals[in_teeth], dim=1)[:, 2]
    assert (forward > 0.5).float().mean() > 0.45  # the other half is the edges, which turn inwards
    assert (forward > -0.7).all()


def test_tables_of_the_files_stay(pair):
    plain, extended = pair
    n, f = len(plain.template_vertices), len(plain.closed.faces)
    assert extended.identity == plain.identity
    assert extended.open is plain.open
    np.testing.assert_array_equal(extended.template_vertices[:n], plain.template_vertices)
    np.testing.assert_array_equal(extended.closed.faces[:f], plain.closed.faces)
    assert not extended.expression_directions[n:].any()
    assert not extended.joint_regressor[:, n:].any()
    np.testing.assert_allclose(extended.skinning_weights[n:].sum(1), 1, atol=1e-6)
    uv = extended.closed.uvs[extended.closed.uv_faces[f:]]
    assert uv.min() > 0
    assert uv.max() < 1


def test_the_map_of_the_mouth_survives_subdivision(pair):
    coarse, fine = (HeadModel(pair[1], subdivisions=n, blur_sigma=None) for n in (0, 1))
    assert int(fine.face_uvmap.sum()) == 4 * int(coarse.face_uvmap.sum())


def test_heads_with_another_mouth(assets):
    openly = dataclasses.replace(assets, closed=assets.open)
    assert with_mouth_interior(openly) is openly
    last = assets.closed.faces[-1:]
    apart = np.concatenate([assets.open.faces, assets.open.faces[:1], last])  # two faces that do not touch
    closed = dataclasses.replace(assets.closed, faces=apart)
    with pytest.raises(UserError, match="no disc"):
        with_mouth_interior(dataclasses.replace(assets, closed=closed))
