"""The renderer against images of the published reference, with the tolerances of the golden README."""

from __future__ import annotations

import pytest
import torch

from nha.render.camera import project
from nha.render.gbuffer import draw_gbuffer
from nha.render.rasterize import raster_backend, rasterize
from nha.render.shading import phong_image

CHANNELS = ("normals", "screen_coords", "hard_labels", "depth")


@pytest.fixture(scope="module")
def drawn(golden):
    return draw_gbuffer(golden["verts"], golden.tables, golden.camera, CHANNELS)


@pytest.fixture(scope="module")
def same(golden, drawn):
    """Foreground pixels where both have the same face."""
    return (golden.face_index >= 0) & (drawn.fragments.face_index[..., 0] == golden.face_index)


def _check_most(difference: torch.Tensor) -> None:
    """99.9 % of foreground pixels [P, C] below 2e-4, none above 5e-3."""
    worst = difference.abs().amax(-1)
    assert (worst < 2e-4).float().mean() >= 0.999
    assert worst.max() < 5e-3


def test_faces(golden, drawn):
    assert (drawn.fragments.face_index[..., 0] != golden.face_index).sum() <= 4


def test_eyelid_rule_changes_the_faces(golden):
    screen = project(golden["verts"], golden.camera)
    nearest = rasterize(screen, golden.tables.faces, golden.camera.image_size, layers=1).face_index[..., 0]
    assert (nearest != golden.face_index).sum() > 10


def test_barycentrics_and_depth(golden, drawn, same):
    _check_most((drawn.fragments.barycentric[..., 0, :] - golden["bary"])[same])
    torch.testing.assert_close(drawn["depth"][:, 0][same], golden["zbuf"][same], atol=1e-5, rtol=0)


def test_screen_coords(golden, drawn, same):
    difference = drawn["screen_coords"].permute(0, 2, 3, 1) - golden["screen_coords"]
    assert difference[same].abs().max() < 1e-5


def test_normals_and_alpha(golden, drawn, same):
    _check_most((drawn["normals"] - golden["normals"][:, :3]).permute(0, 2, 3, 1)[same])
    assert (drawn.alpha != golden["normals"][:, 3:]).sum() <= 4


def test_labels(golden, drawn, same):
    difference = (drawn["hard_labels"] - golden["semantics"][:, :-1].float()).permute(0, 2, 3, 1)
    assert difference[same].abs().max() < 1e-3


def test_shaded(golden):
    image = phong_image(golden["verts"], golden.tables.faces, golden.camera)
    difference = (image - golden["shaded"]).abs()
    assert difference.mean() < 2e-5
    assert (difference.amax(1) > 5e-3).float().mean() <= 1e-4


def test_reference_backend_gives_the_same_gbuffer(golden, drawn):
    with raster_backend("reference"):
        again = draw_gbuffer(golden["verts"], golden.tables, golden.camera, ["depth"])
    assert torch.equal(again.fragments.face_index, drawn.fragments.face_index)
    assert torch.equal(again["depth"], drawn["depth"])
