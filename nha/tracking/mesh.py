"""The tracker's mesh: the head model without subdivision, with an open mouth and a shortened neck."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.head.assets import HeadAssets
from nha.head.model import HeadModel


@dataclass(frozen=True)
class TrackerMesh:
    """A head model and the part of its surface that the photometric term sees.

    head: vertices and landmarks of the whole mesh (landmarks need no drawn face);
    faces: [F, 3] the drawn ones; face_uv: [F, 3, 2] texture coordinates in -1..1, (-1, -1) the top left;
    """

    head: HeadModel
    faces: Tensor
    face_uv: Tensor


def tracker_mesh(assets: HeadAssets, *, ignore_lower_neck: bool = True) -> TrackerMesh:
    """Build the mesh that the tracker fits. Method, section 7.

    ignore_lower_neck: leave the listed faces out before normals and rasterisation; collars hide them.
    """
    head = HeadModel(assets, subdivisions=0, close_mouth=False, drop_lower_neck=False, blur_sigma=None)
    drawn = torch.ones(len(head.faces), dtype=torch.bool)
    if ignore_lower_neck:
        lower_neck = torch.as_tensor(assets.lower_neck_faces, dtype=torch.long)
        drawn[lower_neck[lower_neck < len(drawn)]] = False
    return TrackerMesh(head, head.faces[drawn], head.face_uvcoords[drawn][..., :2].contiguous())
