"""A mesh with one UV a vertex, as glTF and most engines want it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.head.model import HeadModel


@dataclass(frozen=True)
class SplitMesh:
    """The drawn mesh with one UV a vertex: vertex [W] which of the head's vertices each is; uvs [W, 2] v up;
    faces [F, 3] into the W."""

    vertex: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray


def split_at_seams(head: HeadModel) -> SplitMesh:
    """Repeat the vertices that have several UVs: other formats want vertex and UV to be one."""
    corners = torch.stack([head.faces, head.uv_faces], -1).reshape(-1, 2)
    pairs, index = torch.unique(corners, dim=0, return_inverse=True)
    return SplitMesh(
        pairs[:, 0].cpu().numpy(), head.uvs[pairs[:, 1]].cpu().numpy(), index.reshape(-1, 3).cpu().numpy()
    )
