"""Bound on the effect of float32 rounding on offset vertices, from a float64 evaluation.

A vertex's offset lies in a frame along its normal, and the normal is a sum of cross products. In tight folds (inner
lips, eyelids, nostrils) that sum nearly cancels, so the rounding of the posed vertices turns the frame by 1e-4 radians
and more. The direction depends on the order of sums in the processor's matrix product: the published reference itself
deviates from float64 by 2e-5 m at such a vertex (golden/a).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from nha.core.mesh import face_cross_products, sum_rows
from nha.core.types import HeadParams, map_tensors
from nha.head import lbs
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.model import HeadModel

UNIT_ROUNDOFF = 2.0**-24  # of float32
UP = (0.0, 1.0, 0.0)  # the offsets' frame is built from the normal and this axis


@torch.no_grad()
def offset_rounding_m(head: HeadModel, params: HeadParams, offsets: Tensor) -> Tensor:
    """First-order bound on the error of offset vertices when each posed coordinate is rounded once to float32.

    A face's cross product changes by at most the rounding times the lengths of its edges; the normal turns by the sum
    of these changes over the length of the summed cross products; the vertex moves by that angle times the offset, and
    through e_x, the normalised product with `UP`, by another 1 / |UP x normal| of it.

    Args:
        head: the head model.
        params: N sets of corrected parameters.
        offsets: [N, V, 3] metres.

    Returns:
        [N, V] metres.
    """
    head = copy.deepcopy(head).cpu().double()
    params, offsets = (map_tensors(value, lambda t: t.detach().cpu().double()) for value in (params, offsets))
    coefficients = torch.cat([params.shape, params.expr], 1)
    feature = lbs.pose_feature(
        lbs.joint_rotations(
            params.rotation, neck_angles(params.neck), jaw_angles(params.jaw), eyes_angles(params.eyes)
        )
    )
    posed = (
        head.template
        + torch.einsum("nk,vck->nvc", coefficients, head.directions)
        + torch.einsum("nk,vck->nvc", feature, head.pose_directions)
    )
    faces = head.all_faces
    corners = posed[:, faces]  # [N, F, 3, 3]
    perimeter = (corners - corners.roll(1, dims=2)).norm(dim=-1).sum(-1, keepdim=True)  # [N, F, 1]
    target = faces.reshape(-1)
    cross = face_cross_products(posed, faces)
    around, summed = (
        sum_rows(values.repeat_interleave(3, dim=1), target, posed.shape[1])[:, head.kept_vertices]
        for values in (perimeter, cross)
    )
    length = summed.norm(dim=-1)
    normals = summed / length[..., None]
    sideways = torch.linalg.cross(normals.new_tensor(UP).expand_as(normals), normals).norm(dim=-1)
    rounding = UNIT_ROUNDOFF * posed.abs().max()
    return offsets.norm(dim=-1) * rounding * around[..., 0] / length * (1 + 1 / sideways)
