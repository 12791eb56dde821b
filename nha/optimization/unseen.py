"""At the end of a blend avatar's training: surface that no frame shows. `docs/method.md`, section 5.

A video seldom shows the crown and the back of the head. Their offsets and texels keep the initial values there, with
streaks at the border of what the frames show. Here they are replaced by values continued over the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.mesh_fill import continue_values
from nha.avatar.uv_texels import mesh_texels
from nha.core.conventions import Parsing
from nha.core.mesh import face_cross_products, unique_edges
from nha.core.types import FrameBatch
from nha.head.model import HeadModel
from nha.losses.masks import foreground_mask, parsing_mask
from nha.nets.blend_textures import PyramidImages
from nha.render.camera import project

# Parts whose colours are continued. Offsets are continued on the scalp only: hidden vertices of the neck shape its rim.
_CONTINUED_COLOURS = ("scalp", "neck", "left_ear", "right_ear")
_SEEN_PIXELS = 0.1  # of a vertex in its best frame, from which on its offset is held
# Cosine between normal and ray in the best frame: colours below the first are replaced, above the second are kept.
_GRAZING_COSINES = (0.25, 0.5)
_BEND = 4.0  # of the continued offsets, see `continue_values`
_HAIR_TO_SKIN = 1e-3  # weight of edges between hair and skin, which do not take each other's colour
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
    low, high = _GRAZING_COSINES
    kept = ((seen.cosine - low) / (high - low)).clamp(0, 1).cpu().numpy()
    kept[~_in_parts(avatar.head, _CONTINUED_COLOURS)] = 1
    edges = unique_edges(avatar.head.faces).cpu().numpy()
    is_hair = _is_hair(avatar.head, seen)
    weights = np.where(is_hair[edges[:, 0]] == is_hair[edges[:, 1]], 1.0, _HAIR_TO_SKIN)
    for images in (avatar.head_texture.mean, avatar.head_texture.basis):
        _continue_texels(avatar.head, images, kept, edges, weights)


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


def _is_hair(head: HeadModel, seen: Visibility) -> np.ndarray:
    """bool [V], vertices with hair; unseen ones of the scalp have hair if most of the seen ones do."""
    hair = (seen.hair > 0.5).cpu().numpy()
    scalp, is_seen = _scalp(head), (seen.pixels >= _SEEN_PIXELS).cpu().numpy()
    most = hair[scalp & is_seen].mean() > 0.5 if (scalp & is_seen).any() else False
    return np.where(is_seen, hair, scalp & most)


# --- shape and colours ------------------------------------------------------------------------------------


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


def _continue_texels(
    head: HeadModel, images: PyramidImages, kept: np.ndarray, edges: np.ndarray, edge_weights: np.ndarray
) -> None:
    """Replace texels of the head's map by values continued over the mesh.

    Args:
        head: the head model.
        images: C images of the head's UV map.
        kept: [V] in 0..1, 0 at vertices whose colours are replaced.
        edges, edge_weights: see `continue_values`.
    """
    before = images()
    flat = before.flatten(1).double().cpu().numpy()  # [C, R * R]
    texels = mesh_texels(head, 0, images.size)
    corners = head.faces[texels.face].cpu().numpy()  # [P, 3]
    barycentric, place = texels.barycentric.double().cpu().numpy(), texels.pixel.cpu().numpy()
    share = np.clip((kept[corners] * barycentric).sum(1), 0, 1)

    amount, total = np.zeros(head.n_vertices), np.zeros((head.n_vertices, len(flat)))
    for corner in range(3):
        weight = barycentric[:, corner] * share
        np.add.at(amount, corners[:, corner], weight)
        np.add.at(total, corners[:, corner], weight[:, None] * flat[:, place].T)
    at_vertices = total / np.maximum(amount, _TINY)[:, None]
    free = (kept < 0.5) | (amount < _TINY)
    at_vertices = continue_values(at_vertices, free, edges, edge_weights)
    continued = np.einsum("pkc,pk->cp", at_vertices[corners], barycentric)

    after = flat.copy()
    after[:, place] = share * flat[:, place] + (1 - share) * continued
    _continue_margin(flat, after, place, share, images.size)
    images.replace(torch.from_numpy(after).view_as(before).to(before))


def _continue_margin(
    before: np.ndarray, after: np.ndarray, place: np.ndarray, share: np.ndarray, size: int
) -> None:
    """Write to `after` [C, R * R] the texels beside the charts, which bilinear sampling reads, from the nearest ones.

    place, share: [P] the texels on the mesh, and how much of `before` is kept there.
    """
    covered, kept = np.zeros(size * size, bool), np.ones(size * size)
    covered[place], kept[place] = True, share
    row, column = distance_transform_edt(
        ~covered.reshape(size, size), return_distances=False, return_indices=True
    )
    nearest = (row * size + column).ravel()
    beside = ~covered & (kept[nearest] < 1)
    source = nearest[beside]
    after[:, beside] = kept[source] * before[:, beside] + (1 - kept[source]) * after[:, source]
