"""Tracking, head model and avatar that do not belong together."""

import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.matching import shape_distances, tracking_for_avatar, tracking_for_head
from nha.avatar.training_record import recorded_file
from nha.core.errors import UserError
from nha.core.types import HeadParams
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import read_tracking
from nha.head.identity import same_head


def test_the_head_model_of_the_file_decides(make_tracking, head, assets, caplog):
    own = make_tracking(origin=TrackingOrigin(assets.identity))
    tracking_for_head(own, head)
    assert not caplog.messages
    tracking_for_head(make_tracking(), assets, "old.npz")
    assert "'old.npz' does not name the head model" in caplog.text
    other = dict(assets.identity, fingerprint="0123456789abcdef", release="FLAME 2023")
    with pytest.raises(
        UserError, match=r"tracked with the head model 'FLAME 2023' \(01234567\), not with 'proc"
    ):
        tracking_for_head(make_tracking(origin=TrackingOrigin(other)), head)


def test_identity_depends_on_template_and_directions(assets):
    changed = [
        dataclasses.replace(assets, **{name: getattr(assets, name) * 1.01})
        for name in ("template_vertices", "shape_directions", "expression_directions")
    ]
    for other in changed:
        assert other.identity["fingerprint"] != assets.identity["fingerprint"]
        assert same_head(other.identity, assets.identity) is False
    last_bits = dataclasses.replace(
        assets, template_vertices=assets.template_vertices * np.float32(1 + 2.4e-7)
    )
    assert last_bits.identity["fingerprint"] != assets.identity["fingerprint"]
    assert same_head(last_bits.identity, assets.identity)
    assert same_head({}, assets.identity) is None


def test_fewer_coefficients_are_padded_with_zeros(make_tracking, head, caplog):
    full = make_tracking()
    fewer = dataclasses.replace(full, shape=full.shape[:100], expr=full.expr[:, :50])
    padded = tracking_for_head(fewer, head, "emoca.npz")
    assert (padded.shape.shape, padded.expr.shape) == ((300,), (3, 100))
    assert np.array_equal(padded.expr[:, :50], fewer.expr)
    assert not padded.expr[:, 50:].any()
    assert "'emoca.npz' has 50 of 100 expression coefficients; the others are zero" in caplog.messages
    with pytest.raises(UserError, match="301 shape coefficients, the head model 300"):
        tracking_for_head(dataclasses.replace(full, shape=np.zeros(301, np.float32)), head)


def test_an_avatar_keeps_its_own_shape(make_tracking, head, caplog):
    tracking = make_tracking()
    record = {"shape": tracking.shape.tolist()}
    assert np.array_equal(tracking_for_avatar(tracking, head, record).shape, tracking.shape)
    assert "another head shape" not in caplog.text
    other = dataclasses.replace(
        tracking, shape=np.where(np.arange(300) < 10, tracking.shape, 0).astype(np.float32)
    )
    assert np.array_equal(tracking_for_avatar(other, head, record, "b.npz").shape, tracking.shape)
    distances = shape_distances(head, other.shape, tracking.shape)
    assert (
        f"'b.npz' has another head shape than the avatar was trained with, by {1000 * distances.mean():.1f}"
        in (caplog.text)
    )


def test_shape_distances_are_those_of_the_vertices(head):
    rest = head.neutral_params(2)
    shapes = torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    vertices = head(HeadParams(**{**vars(rest), "shape": shapes}))
    centred = vertices - vertices.mean(1, keepdim=True)
    expected = (centred[0] - centred[1]).norm(dim=-1)
    found = shape_distances(head, shapes[0].numpy(), shapes[1].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_files_are_found_from_the_checkpoint(tmp_path, monkeypatch, make_tracking):
    run = tmp_path / "run"
    (run / "avatar").mkdir(parents=True)
    (run / "tracking.npz").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    record, hyper = {"tracking": "../tracking.npz"}, {"tracking_results_path": "run/tracking.npz"}
    checkpoint = run / "avatar" / "avatar.ckpt"
    assert recorded_file(record, {}, "tracking", checkpoint).samefile(run / "tracking.npz")
    assert recorded_file({}, hyper, "tracking", checkpoint).samefile(run / "tracking.npz")
    monkeypatch.chdir(run)
    assert recorded_file({}, hyper, "tracking", checkpoint) is None
    assert recorded_file(record, hyper, "tracking", checkpoint).samefile(run / "tracking.npz")


def test_an_unknown_head_model_in_a_case_from_outside(shared_dir, head, caplog):
    path = shared_dir / "cases" / "procedural_one_frame.npz"
    tracking_for_head(read_tracking(path), head, path.name)
    assert "does not name the head model" in caplog.text
