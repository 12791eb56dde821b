"""Surface that no training frame shows."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head
from nha.avatar.uv_texels import mesh_texels
from nha.core.conventions import Parsing, Segmentation
from nha.core.types import FrameBatch
from nha.head.load import load_head
from nha.optimization import unseen
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.unseen import continue_unseen, visibility
from tests.small import SMALL_BLEND

SETTINGS = dataclasses.replace(SMALL_BLEND, blend_continue_unseen=True, blend_texture_size=64)
HAIR, SKIN = 0.2, 0.8


@pytest.fixture(scope="module")
def front(subject) -> FrameBatch:
    """A frame whose labels are those of the rendered head: hair on the scalp."""
    from tests.optimization.conftest import settings_of

    data = FrameDataModule(settings_of(subject, subject[0].parent / "unused").data)
    return data.train.batch([0])


@pytest.fixture(scope="module")
def trained(front) -> tuple[BlendAvatar, FrameBatch]:
    """An avatar that has learned hair, skin and a hair style 8 mm thick where the frame shows them."""
    torch.manual_seed(0)
    head = build_head(load_head("procedural"), SETTINGS)
    avatar = BlendAvatar(head, SETTINGS, max_frame_id=3).eval()
    scalp = head.soft_labels[:, head.part("scalp")] > 0.5
    with torch.no_grad():
        rendering = avatar.render(front.tracked, front.camera, channels=("hard_labels",))
        inside = rendering.alpha[:, 0] > 0.5
        hair = rendering.gbuffer.label("hard_labels", "scalp")[:, 0] > 0.5
        batch = dataclasses.replace(
            front,
            segmentation=torch.where(inside, int(Segmentation.HEAD), int(Segmentation.BACKGROUND)).to(
                front.segmentation
            ),
            parsing=torch.where(hair, int(Parsing.HAIR), int(Parsing.SKIN)).to(front.parsing),
        )
        seen = visibility(avatar, [batch])
        thick = (scalp & (seen.pixels >= 0.1))[head.offset_vertices].float()
        avatar.smooth.times = 0
        avatar.asymmetry[:, 1] = 0.008 * thick
        texels = mesh_texels(head, 0, 64)
        corners = head.faces[texels.face]
        colour = torch.where(scalp[corners].any(1), HAIR, SKIN)
        shown = (seen.pixels[corners] > 0).any(1)
        image = torch.full((3, 64 * 64), 0.5)
        image[:, texels.pixel[shown]] = colour[shown]
        avatar.head_texture.mean.replace(image.view(3, 64, 64))
        avatar.head_texture.basis.replace(torch.randn(6, 32, 32))
    return avatar, batch


@pytest.fixture(scope="module")
def continued(trained):
    """(avatar, its visibility, image and state before)."""
    avatar, batch = trained
    seen = visibility(avatar, [batch])
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    with torch.no_grad():
        image = avatar.head_texture.mean().clone()
        continue_unseen(avatar, [batch])
    return avatar, batch, seen, image, before


def test_vertices_that_face_the_camera_are_seen_and_those_behind_are_not(continued):
    avatar, _, seen, _, _ = continued
    head = avatar.head
    rest = head.template[head.kept_vertices]
    behind = rest[:, 2] < rest[:, 2].min() + 0.02
    forehead = head.soft_labels[:, head.part("forehead")] > 0.9
    assert seen.pixels[behind].max() == 0
    assert seen.cosine[forehead].median() > 0.5
    assert seen.hair[forehead].median() < 0.5
    assert ((seen.hair >= 0) & (seen.hair <= 1 + 1e-5)).all()


def test_hair_continues_over_the_back_of_the_head(continued):
    avatar, _, seen, _, _ = continued
    head = avatar.head
    rest = head.template[head.kept_vertices]
    scalp = (head.soft_labels[:, head.part("scalp")] > 0.9) & (head.soft_labels[:, head.part("neck")] < 0.1)
    behind = scalp & (rest[:, 2] < -0.05) & (seen.pixels == 0)
    offsets = avatar.rest_offsets(torch.zeros(1, len(avatar.shapes)))[0]
    assert behind.sum() > 50
    assert avatar.unseen_offsets[behind].norm(dim=1).max() > 0.002
    assert offsets[behind, 1].mean() > 0.001
    texels = mesh_texels(head, 0, 64)
    at_back = behind[head.faces[texels.face]].all(1)
    colours = avatar.head_texture.mean().flatten(1)[:, texels.pixel[at_back]]
    assert (colours - HAIR).abs().max() < 0.15


def test_what_the_frame_shows_stays(continued):
    avatar, batch, seen, image, before = continued
    assert avatar.unseen_offsets[seen.pixels >= 0.1].abs().max() == 0
    head = avatar.head
    texels = mesh_texels(head, 0, 64)
    kept = (seen.cosine[head.faces[texels.face]] > 0.5).all(1)
    after = avatar.head_texture.mean().flatten(1)[:, texels.pixel[kept]]
    torch.testing.assert_close(after, image.flatten(1)[:, texels.pixel[kept]], rtol=0, atol=1e-6)
    changed = {name for name, value in avatar.state_dict().items() if not torch.equal(value, before[name])}
    finest = [f"head_texture.{part}.levels.{n}" for part, n in (("mean", 2), ("basis", 1))]
    assert changed == {"unseen_offsets", *finest}


def test_the_same_state_gives_the_same_bits(continued):
    avatar, batch, _, _, before = continued
    expected = {name: value.clone() for name, value in avatar.state_dict().items()}
    avatar.load_state_dict(before)
    continue_unseen(avatar, [batch])
    assert all(torch.equal(value, expected[name]) for name, value in avatar.state_dict().items())


def test_offsets_do_not_depend_on_those_of_an_earlier_call(continued):
    avatar, batch, _, _, _ = continued
    expected = avatar.unseen_offsets.clone()
    continue_unseen(avatar, [batch])
    assert torch.equal(avatar.unseen_offsets, expected)


def test_a_fold_of_the_cheek_is_continued_and_lips_are_not(trained, monkeypatch):
    avatar, batch = trained
    head, state = avatar.head, {name: value.clone() for name, value in avatar.state_dict().items()}
    seen = visibility(avatar, [batch])
    soft = {name: head.soft_labels[:, head.part(name)] for name in ("face", "lips", "nose", "eye_region")}
    cheek = (soft["face"] > 0.9) & (soft["lips"] + soft["nose"] + soft["eye_region"] < 0.1)
    rest = head.template[head.kept_vertices]
    fold = cheek & ((rest - rest[cheek & (rest[:, 0] > 0)].mean(0)).norm(dim=1) < 0.03)
    lips = soft["lips"] > 0.5
    hidden = dataclasses.replace(seen, cosine=torch.where(fold | lips, 0, seen.cosine))
    monkeypatch.setattr(unseen, "visibility", lambda *_: hidden)
    texels = mesh_texels(head, 0, 64)
    corners = head.faces[texels.face]
    places = [texels.pixel[vertices[corners].all(1)] for vertices in (fold, lips)]
    with torch.no_grad():
        avatar.head_texture.basis.replace(torch.zeros(6, 32, 32))
        image = avatar.head_texture.mean().flatten(1).clone()
        for place in places:
            assert len(place) > 3
            image[:, place] = 0.0
        avatar.head_texture.mean.replace(image.view(3, 64, 64))
    continue_unseen(avatar, [batch])
    after = avatar.head_texture.mean().detach().flatten(1)
    avatar.load_state_dict(state)
    assert (after[:, places[0]] - SKIN).abs().max() < 0.1
    assert after[:, places[1]].abs().max() < 1e-5
