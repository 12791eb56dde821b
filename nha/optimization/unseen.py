"""At the end of a blend avatar's training: surface that no frame shows. `docs/method.md`, section 5.

A video seldom shows the crown and the back of the head. Their offsets and texels keep the initial values there, with
streaks at the border of what the frames show. Here they are replaced by values continued over the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.mesh_fill import continue_values
from nha.avatar.offset_smoothing import mirrored_rows
from nha.core.conventions import Parsing
from nha.core.mesh import face_cross_products, unique_edges
from nha.core.types import FrameBatch
from nha.head.model import HeadModel
from nha.losses.masks import foreground_mask, parsing_mask
from nha.optimization.unseen_colours import continue_texels
from nha.optimization.unseen_hairline import hairline_distance
from nha.optimization.unseen_texels import SeenSurface
from nha.render.camera import project

# Parts whose colours are not continued. Offsets are continued on the scalp only: hidden vertices of the neck shape its
# rim.
_KEPT_COLOURS = ("nose", "lips", "mouth", "eye_region", "left_eyeball", "right_eyeball")
_SEEN_PIXELS = 0.1  # of a vertex in its best frame, from which on its offset is held
# Cosine between normal and ray in the best frame: colours below the first are replaced, above the second are kept.
_GRAZING_COSINES = (0.25, 0.5)
# The same for the fine detail of colours, which is right at smaller angles than their level.
_DETAIL_COSINES = (0.2, 0.4)
_SURELY_HAIR = 0.9  # share of hair in the pixels of a vertex and its neighbours whose detail other hair takes
_BEND = 4.0  # of the continued offsets, see `continue_values`
_TINY = 1e-12


@dataclass(frozen=True)
class Visibility:
    """How the training frames show each vertex.

    Attributes:
        pixels: [V] number of pixels that show the vertex in its best frame, shared with the corners of its faces.
        cosine: [V] in its best frame, the area that these pixels have on a plane facing the camera, divided by the
            vertex's area.
        hair: [V] share of its pixels that are hair in the parsing, 0 where it is not seen.
    """

    pixels: Tensor
    cosine: Tensor
    hair: Tensor


@torch.no_grad()
def continue_unseen(avatar: BlendAvatar, batches: Iterable[FrameBatch]) -> None:
    """Replace offsets and texels that no frame shows.

    Args:
        avatar: the trained avatar, built with `blend_continue_unseen`.
        batches: the training frames.
    """
    avatar.unseen_offsets.zero_()
    seen = visibility(avatar, batches)
    _continue_offsets(avatar, seen.pixels.cpu().numpy())
    surface = _seen_surface(avatar.head, seen)
    continue_texels(avatar.head, avatar.head_texture.mean, surface, with_detail=True)
    continue_texels(avatar.head, avatar.head_texture.basis, surface, with_detail=False)


def _seen_surface(head: HeadModel, seen: Visibility) -> SeenSurface:
    """What the frames show of the colours of each vertex."""
    kept, detail = (
        ((seen.cosine - low) / (high - low)).clamp(0, 1).cpu().numpy()
        for low, high in (_GRAZING_COSINES, _DETAIL_COSINES)
    )
    continued = _continued(head)
    kept[~continued] = 1
    edges = unique_edges(head.faces).cpu().numpy()
    rest = head.template[head.kept_vertices]
    mirrored = mirrored_rows(rest)[0].cpu().numpy()
    distance = _hair_distance(head, seen, mirrored, edges)
    other = (seen.hair <= _SURELY_HAIR).cpu().numpy()
    beside_other = np.zeros(len(other), bool)
    for start, end in (edges.T, edges.T[::-1]):
        beside_other[end[other[start]]] = True
    surely_hair = ~other & ~beside_other
    plain_skin = _in_parts(head, ("neck",)) & (distance < 0)
    return SeenSurface(kept, continued, detail, distance, surely_hair, plain_skin, mirrored, edges)


def _continued(head: HeadModel) -> np.ndarray:
    """bool [V], vertices whose colours are continued: the skin around nose, eyes and lips is seen, or is a fold."""
    on_skin = np.zeros(head.n_vertices, bool)
    on_skin[head.faces[head.face_uvmap == 0].flatten().cpu().numpy()] = True
    return on_skin & ~_in_parts(head, _KEPT_COLOURS)


def _hair_distance(head: HeadModel, seen: Visibility, mirrored: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[V] metres to the hairline, positive in hair; unseen vertices follow those of the other side of the head."""
    hair = (seen.hair > 0.5).cpu().numpy()
    known = (seen.pixels >= _SEEN_PIXELS).cpu().numpy()
    hair, known = np.where(known, hair, hair[mirrored]), known | known[mirrored]
    scalp = _scalp(head)
    usual = scalp if (scalp & known).any() and hair[scalp & known].mean() > 0.5 else scalp & False
    rest = head.template[head.kept_vertices].double().cpu().numpy()
    return hairline_distance(rest, hair, known, usual, edges)


# --- visibility -------------------------------------------------------------------------------------------


@torch.no_grad()
def visibility(avatar: BlendAvatar, batches: Iterable[FrameBatch]) -> Visibility:
    """See `Visibility`; only pixels inside the head masks count."""
    faces = avatar.head.faces
    pixels, cosine, total, hair = torch.zeros(4, avatar.head.n_vertices, device=avatar.device)
    for batch in batches:
        batch = batch.to(avatar.device)
        rendering = avatar.render(batch.tracked, batch.camera, frame_ids=batch.frame_id, paint=False)
        fragments, vertices = rendering.gbuffer.fragments, rendering.surface.vertices
        depth = project(vertices, batch.camera)[:, :, 2]
        focal = batch.camera.intrinsics.diagonal(dim1=1, dim2=2)[:, :2].prod(1)
        inside = foreground_mask(batch.segmentation)[:, 0]
        in_hair = parsing_mask(batch.parsing, Parsing.HAIR)[:, 0]
        for i in range(len(batch)):
            face = fragments.face_index[i, :, :, 0]
            chosen = inside[i] & (face >= 0)
            corners = faces[face[chosen]].flatten()
            share = fragments.barycentric[i, :, :, 0][chosen]
            count = _summed(share, corners, pixels)
            hair += _summed(share * in_hair[i][chosen][:, None], corners, pixels)
            total += count
            area = face_cross_products(vertices[i : i + 1], faces)[0].norm(dim=1) / 6  # of each corner
            own = _summed(area[:, None].expand(-1, 3), faces.flatten(), pixels)
            pixels = torch.maximum(pixels, count)
            cosine = torch.maximum(cosine, count * depth[i].square() / focal[i] / own.clamp_min(_TINY))
    return Visibility(pixels, cosine, hair / total.clamp_min(_TINY))


def _summed(values: Tensor, vertex: Tensor, like: Tensor) -> Tensor:
    """Sums [V] of values [..., 3] at the corners of faces, with their vertices."""
    return torch.zeros_like(like).index_add(0, vertex, values.flatten())


def _in_parts(head: HeadModel, names: Iterable[str]) -> np.ndarray:
    """bool [V], vertices that belong to one of the parts."""
    soft = head.soft_labels[:, [head.part(name) for name in names]]
    return (soft.sum(1) > 0.5).cpu().numpy()


def _scalp(head: HeadModel) -> np.ndarray:
    """bool [V], the scalp without the nape, which head models count as scalp too."""
    return _in_parts(head, ("scalp",)) & ~_in_parts(head, ("neck",))


# --- shape ------------------------------------------------------------------------------------------------


def _continue_offsets(avatar: BlendAvatar, pixels: np.ndarray) -> None:
    """Set `avatar.unseen_offsets` so that the static offsets of the unseen scalp continue the seen ones."""
    head = avatar.head
    free = np.zeros(head.n_vertices, bool)
    rows = head.offset_vertices.cpu().numpy()
    free[rows] = (_scalp(head) & (pixels < _SEEN_PIXELS))[rows]
    static = avatar.rest_offsets(torch.zeros(1, len(avatar.shapes), device=avatar.device))[0]
    before = static.cpu().numpy()
    after = continue_values(before, free, unique_edges(head.faces).cpu().numpy(), bend=_BEND)
    avatar.unseen_offsets.copy_(torch.from_numpy(after - before))
