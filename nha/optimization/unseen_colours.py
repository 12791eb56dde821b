"""Texels that no frame shows, continued over the mesh from those that frames show. `docs/method.md`, section 3.

Hair and skin are continued apart and meet at the hairline. Level and detail are continued apart, too: the level
smoothly from the border of what is seen, the detail of hair from hair that is seen. Both follow the other side of the
head where the frames show that.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from nha.avatar.hair_detail import HairPoints, mirrored_points
from nha.avatar.mesh_fill import continue_values
from nha.head.model import HeadModel
from nha.nets.blend_textures import PyramidImages
from nha.optimization.unseen_texels import SeenSurface, SurfaceTexels

_SEEN = 0.99  # of a texel that is kept
# Detail beyond these percentiles of the seen detail is limited: at the border of what is seen, texels hold single
# very bright or dark values.
_DETAIL_PERCENTILES = (5, 95)
# Far from what is seen, the level becomes the median of the seen hair or skin: at the border it is that of a grazing
# view. The distance in edges over which it does, and the number of vertices that a median needs.
_PULL_EDGES = 6.0
_FEWEST = 20
_FRINGE = 0.003  # metres on both sides of the continued hairline over which hair goes over to skin
_STRAND = 0.002  # metres by which strands of one standard deviation reach beyond it
_LONGEST_STRAND = 2.0  # standard deviations
_TINY = 1e-12


@torch.no_grad()
def continue_texels(
    head: HeadModel, images: PyramidImages, surface: SeenSurface, *, with_detail: bool
) -> None:
    """Replace texels of the head's map that no frame shows.

    Args:
        head: the head model.
        images: C images of the head's UV map.
        surface: what the frames show.
        with_detail: continue fine detail and follow the other side of the head, not only the smooth level.
    """
    before = images()
    flat = before.flatten(1).double().cpu().numpy()  # [C, R * R]
    texels = SurfaceTexels.of_head(head, images.size)
    own = flat[:, texels.place]
    share = np.clip(texels.interpolate(surface.kept), 0, 1)
    distance = texels.interpolate(surface.hair_distance)
    in_hair = distance > 0
    hair_level, skin_level = (
        _level(own, texels, share * group, surface, typical, with_detail)
        for group, typical in ((in_hair, surface.surely_hair), (~in_hair, surface.plain_skin))
    )
    hair, skin = texels.interpolate(hair_level), texels.interpolate(skin_level)
    if with_detail:
        hair_detail, skin_detail = _details(head, own, (hair, skin), texels, share, surface)
        hair, skin = hair + hair_detail, skin + skin_detail
        distance = distance + _STRAND * _strands(hair_detail)
    of_hair = np.clip(0.5 + distance / (2 * _FRINGE), 0, 1)
    after = flat.copy()
    after[:, texels.place] = share * own + (1 - share) * (of_hair * hair + (1 - of_hair) * skin)
    _continue_margin(flat, after, texels.place, share, images.size)
    images.replace(torch.from_numpy(after).view_as(before).to(before))


# --- level --------------------------------------------------------------------------------------------------


def _level(
    own: np.ndarray,
    texels: SurfaceTexels,
    weight: np.ndarray,
    surface: SeenSurface,
    typical: np.ndarray,
    follow_other_side: bool,
) -> np.ndarray:
    """[V, C] the mean of the kept texels around each vertex, continued where there are none.

    own: [C, P]; weight: [P] in 0..1 of each texel; typical: bool [V], vertices whose median is the level far away.
    """
    n_vertices = len(surface.kept)
    amount, total = np.zeros(n_vertices), np.zeros((n_vertices, len(own)))
    for corner in range(3):
        part = texels.barycentric[:, corner] * weight
        np.add.at(amount, texels.corners[:, corner], part)
        np.add.at(total, texels.corners[:, corner], part[:, None] * own.T)
    held = (surface.kept >= 0.5) & (amount >= _TINY)
    mean = total / np.maximum(amount, _TINY)[:, None]
    differences, guided = None, np.zeros(n_vertices, bool)
    if follow_other_side:
        guided = held[surface.mirrored]
        first, second = surface.edges.T
        both = (guided[first] & guided[second])[:, None]
        differences = np.where(both, mean[surface.mirrored[second]] - mean[surface.mirrored[first]], 0)
    known = held & (surface.kept == 1) & typical
    pull = None
    if known.sum() >= _FEWEST:
        pull = np.where(guided, 0, _PULL_EDGES**-2.0), np.median(mean[known], axis=0)
    return continue_values(mean, ~held, surface.edges, differences=differences, pull=pull)


# --- detail -------------------------------------------------------------------------------------------------


def _details(
    head: HeadModel,
    own: np.ndarray,
    levels: tuple[np.ndarray, np.ndarray],
    texels: SurfaceTexels,
    share: np.ndarray,
    surface: SeenSurface,
) -> list[np.ndarray]:
    """[C, P] the detail of continued texels, as hair and as skin.

    Where frames show it at a small angle, it is a texel's own, else that of the other side where frames show that;
    all other hair has the detail of seen hair.

    own: [C, P] texels; levels: theirs as hair and as skin; share: [P], how much of each texel is kept.
    """
    distance = texels.interpolate(surface.hair_distance)
    own_share = np.clip(texels.interpolate(surface.own_detail), 0, 1)
    row, alike = texels.other_side()
    sure = surface.surely_hair, surface.continued & (surface.hair_distance < 0)
    details = []
    for level, group, known in zip(levels, (distance > 0, distance <= 0), sure, strict=True):
        source = (share > _SEEN) & group & known[texels.corners].all(1)
        limited = _limited(own - level, source)
        there = (1 - own_share * group) * (share * group)[row] * alike
        detail = own_share * group * limited + there * limited[:, row]
        if known is surface.surely_hair and source.any():
            points = HairPoints.unrolled(texels.position, _ear_axis(head))
            seen, found = mirrored_points(points, source)
            detail += (1 - own_share * group - there) * found * limited[:, seen]
        details.append(detail)
    return details


def _limited(detail: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Detail [C, P] within the usual range of that of the texels in `source`, bool [P]; 0 where there are none."""
    if not source.any():
        return np.zeros_like(detail)
    low, high = np.percentile(detail[:, source], _DETAIL_PERCENTILES, axis=1)[:, :, None]
    return np.clip(detail, low, high)


def _strands(detail: np.ndarray) -> np.ndarray:
    """[P] the mean of detail [C, P] over the channels, in standard deviations."""
    mean = detail.mean(0)
    return np.clip(mean / max(mean.std(), _TINY), -_LONGEST_STRAND, _LONGEST_STRAND)


def _ear_axis(head: HeadModel) -> np.ndarray:
    """[3] the point between the ears of the resting head."""
    rest = head.template[head.kept_vertices].double().cpu().numpy()
    soft = head.soft_labels.cpu().numpy()
    ears = [rest[soft[:, head.part(name)] > 0.5].mean(0) for name in ("left_ear", "right_ear")]
    return np.mean(ears, axis=0)


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
