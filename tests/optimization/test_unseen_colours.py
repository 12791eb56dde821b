"""Texels that no frame shows: level and detail of hair and skin, and the hairline."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.offset_smoothing import mirrored_rows
from nha.avatar.open import build_head
from nha.avatar.uv_texels import mesh_texels
from nha.core.mesh import unique_edges
from nha.head.load import load_head
from nha.nets.blend_textures import PyramidImages
from nha.optimization.unseen_colours import continue_texels
from nha.optimization.unseen_hairline import FARTHEST, hairline_distance
from nha.optimization.unseen_texels import SeenSurface, SurfaceTexels
from tests.small import SMALL_BLEND

SIZE = 128
HAIR, STRAND, UNSEEN, SKIN = 0.3, 0.1, 0.9, 0.7
BORDER = 0.02  # metres in front of the root: hair behind it is not seen


@pytest.fixture(scope="module")
def striped():
    """A head whose hair has strands from the hairline to the nape and is seen at the front only."""
    head = build_head(load_head("procedural"), SMALL_BLEND)
    rest = head.template[head.kept_vertices]
    hair = (head.soft_labels[:, head.part("scalp")] > 0.5) & (head.soft_labels[:, head.part("neck")] < 0.1)
    front = rest[:, 2] > BORDER
    texels = mesh_texels(head, 0, SIZE)
    corners = head.faces[texels.face]
    position = (rest[corners] * texels.barycentric[:, :, None]).sum(1)
    strands = STRAND * torch.sign(torch.sin(position[:, 0] * (2 * torch.pi / 0.02)))
    colours = torch.full((3, SIZE * SIZE), HAIR)
    hidden = (hair & ~front)[corners].all(1)
    colours[:, texels.pixel] += torch.where(hidden, UNSEEN - HAIR, strands)
    images = PyramidImages(3, SIZE)
    images.replace(colours.view(3, SIZE, SIZE))
    edges = unique_edges(head.faces)
    surface = SeenSurface(
        kept=(front | ~hair).float().numpy(),
        continued=hair.numpy(),
        own_detail=(front | ~hair).float().numpy(),
        hair_distance=torch.where(hair, FARTHEST, -FARTHEST).double().numpy(),
        surely_hair=(hair & front).numpy(),
        plain_skin=np.zeros(len(hair), bool),
        mirrored=mirrored_rows(rest)[0].numpy(),
        edges=edges.numpy(),
    )
    behind = hidden & (position[:, 2] < BORDER - 0.01)
    return head, images, surface, texels.pixel[behind], strands[behind]


def continued(striped, **options) -> torch.Tensor:
    head, images, surface, place, _ = striped
    own = PyramidImages(3, SIZE)
    own.load_state_dict(images.state_dict())
    continue_texels(head, own, surface, **options)
    return own().detach().flatten(1)[:, place]


def test_strands_go_on_where_no_frame_shows_hair(striped):
    colours = continued(striped, with_detail=True)
    strands = striped[-1]
    assert len(strands) > 300
    assert ((colours - HAIR).abs() < 1.5 * STRAND).float().mean() > 0.98
    assert colours[0].std() > 0.5 * STRAND
    assert torch.corrcoef(torch.stack([colours[0], strands]))[0, 1] > 0.4


def test_the_level_alone_is_smooth(striped):
    colours = continued(striped, with_detail=False)
    assert (colours.mean() - HAIR).abs() < 0.05
    assert colours[0].std() < 0.3 * STRAND


def test_images_without_any_seen_hair_are_continued_without_detail(striped):
    head, images, surface, place, strands = striped
    bald = SeenSurface(**{**vars(surface), "surely_hair": surface.surely_hair & False})
    colours = continued((head, images, bald, place, strands), with_detail=True)
    assert colours[0].std() < 0.3 * STRAND


def one_sided(
    striped, continued: torch.Tensor, seen: torch.Tensor
) -> tuple[SeenSurface, PyramidImages, SurfaceTexels]:
    """Skin with random texels; of the parts whose colours are continued, frames show the vertices `seen`."""
    head, _, surface, _, _ = striped
    images = PyramidImages(3, SIZE)
    texels = SurfaceTexels.of_head(head, SIZE)
    random = torch.Generator().manual_seed(0)
    images.replace(SKIN + STRAND * torch.randn(3, SIZE, SIZE, generator=random).clamp(-1, 1))
    kept = (seen | ~continued).float().numpy()
    surface = dataclasses.replace(
        surface,
        kept=kept,
        own_detail=kept,
        continued=continued.numpy(),
        hair_distance=np.full(len(kept), -FARTHEST),
        surely_hair=np.zeros(len(kept), bool),
        plain_skin=(continued & seen).numpy(),
    )
    return surface, images, texels


def test_skin_follows_the_other_side_of_the_head(striped):
    head = striped[0]
    rest = head.template[head.kept_vertices]
    neck = head.soft_labels[:, head.part("neck")] > 0.5
    surface, images, texels = one_sided(striped, neck, rest[:, 0] > 0)
    before = images().detach().flatten(1)[:, texels.place].numpy().copy()
    continue_texels(head, images, surface, with_detail=True)
    after = images().detach().flatten(1)[:, texels.place].numpy()
    unseen = (texels.interpolate(surface.kept) < 1e-9) & (texels.position[:, 0] < -0.01)
    other = texels.other_side()[0]
    assert unseen.sum() > 300
    assert np.corrcoef(after[:, unseen].ravel(), before[:, other[unseen]].ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(after[:, unseen].ravel(), before[:, unseen].ravel())[0, 1]) < 0.2


def test_far_from_what_is_seen_the_level_is_the_usual_one(striped):
    head = striped[0]
    rest = head.template[head.kept_vertices]
    neck = head.soft_labels[:, head.part("neck")] > 0.5
    surface, images, texels = one_sided(striped, neck, rest[:, 2] > 0)
    border = texels.position[:, 2] < 0.02  # and everything else around the unseen neck
    flat = images().detach().flatten(1).clone()
    surface = dataclasses.replace(surface, plain_skin=(neck & (rest[:, 2] > 0.025)).numpy())
    flat[:, texels.place[border]] = 0.2  # dark where the view is grazing
    behind = (texels.interpolate(surface.kept) < 1e-9) & (texels.position[:, 2] < -0.05)
    assert behind.sum() > 100
    images.replace(flat.view(3, SIZE, SIZE))
    continue_texels(head, images, surface, with_detail=False)
    level = images().detach().flatten(1)[:, texels.place[behind]]
    assert level.mean() > 0.25  # 0.2 without the pull towards the usual level


def nape() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of 41 x 21 points, 5 mm apart: positions, edges, and whether frames show them (not in the middle)."""
    column, row = np.meshgrid(np.arange(41), np.arange(21), indexing="ij")
    position = 0.005 * np.stack([column, row, 0 * row], -1).reshape(-1, 3)
    index = np.arange(41 * 21).reshape(41, 21)
    pairs = ((index[:-1], index[1:]), (index[:, :-1], index[:, 1:]))
    edges = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])
    return position, edges, (position[:, 0] < 0.03) | (position[:, 0] > 0.17)


def test_the_hairline_between_two_seen_sides_joins_them():
    position, edges, known = nape()
    usual = position[:, 1] > 0.0475
    distance = hairline_distance(position, position[:, 1] > 0.0675, known, usual, edges)
    middle = np.abs(position[:, 0] - 0.1) < 0.03
    border = position[middle & (np.abs(distance) < 0.004), 1]
    assert len(border)
    assert abs(border.mean() - 0.0675) < 0.005  # 2 cm above the usual one
    assert (distance[position[:, 1] > 0.09] > 0.01).all()
    assert (distance[position[:, 1] < 0.03] < -0.01).all()


def test_without_known_vertices_the_hairline_is_the_usual_one_and_bald_heads_have_none():
    position, edges, known = nape()
    usual = position[:, 1] > 0.0475
    distance = hairline_distance(position, usual, known & False, usual, edges)
    assert ((distance > 0) == usual).all()
    assert (hairline_distance(position, usual & False, known, usual & False, edges) < 0).all()
