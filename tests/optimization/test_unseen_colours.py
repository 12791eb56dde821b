"""Texels that no frame shows: level and detail of hair."""

from __future__ import annotations

import pytest
import torch

from nha.avatar.open import build_head
from nha.avatar.uv_texels import mesh_texels
from nha.core.mesh import unique_edges
from nha.head.load import load_head
from nha.nets.blend_textures import PyramidImages
from nha.optimization.unseen_colours import SeenSurface, continue_texels
from tests.small import SMALL_BLEND

SIZE = 128
HAIR, STRAND, UNSEEN = 0.3, 0.1, 0.9
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
        hair=hair.numpy(),
        surely_hair=(hair & front).numpy(),
        edges=edges.numpy(),
        edge_weights=(hair[edges[:, 0]] == hair[edges[:, 1]]).double().clamp_min(1e-3).numpy(),
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
