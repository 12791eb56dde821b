"""The pose of a head in another program's conventions, and its conversion to those of this project.

Every supported program places the vertices v of a head, which are skinned with the root joint at rest at J, in the
camera's coordinates as

    p = A (v - J) + M J + c

with matrices A and M and a vector c for each frame. In this project p = R (v - J) + t, so R = A and t = M J + c.
Camera coordinates of this project are +x left, +y up, +z into the scene (`nha.core.types.Camera`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.core.over_time import continuous_rotations
from nha.core.rotations import rotation_vector
from nha.core.types import HeadParams
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG, Limits, params_from_angles
from nha.head.model import HeadModel

OPENGL_TO_OURS = np.diag([-1.0, 1.0, -1.0])
"""From +x right, +y up, camera looking along -z."""

OPENCV_TO_OURS = np.diag([-1.0, -1.0, 1.0])
"""From +x right, +y down, camera looking along +z."""

FACING = torch.tensor([0.0, np.pi, 0.0], dtype=torch.float64)
"""Rotation of a head that looks into the camera; vectors of others are chosen near it, without jumps at pi."""


@dataclass(frozen=True)
class Placement:
    """One reading of a file's poses and camera.

    Attributes:
        name: the convention, for messages.
        rotation: A, [F, 3, 3].
        joint_map: M, [F, 3, 3].
        offset: c, [F, 3] metres.
        intrinsics: [3], focal length / longer side, cx / W, cy / H with cy from the bottom edge; None if unknown.
        unbounded: whether neck, jaw and eyes are the parameters of this project rather than axis-angle in radians.
    """

    name: str
    rotation: np.ndarray
    joint_map: np.ndarray
    offset: np.ndarray
    intrinsics: np.ndarray | None
    unbounded: bool = False


@dataclass(frozen=True)
class ForeignTracking:
    """The content of another program's tracking of F frames.

    Attributes:
        program: its name.
        ids: int64 [F], numbers of the frames in the file.
        shape: [S], identity coefficients.
        expr: [F, E], expression coefficients.
        neck, jaw: [F, 3].
        eyes: [F, 6], left then right.
        image_size: (height, width) in pixels of the tracked images; None if unknown.
        placements: the program's own convention first, then others that its files are known to occur with.
        notes: sentences about content that has no place in this project's files.
    """

    program: str
    ids: np.ndarray
    shape: np.ndarray
    expr: np.ndarray
    neck: np.ndarray
    jaw: np.ndarray
    eyes: np.ndarray
    image_size: tuple[int, int] | None
    placements: tuple[Placement, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def head_params(foreign: ForeignTracking, placement: Placement, head: HeadModel) -> HeadParams:
    """The head parameters [F] of a placement. Missing coefficients are zero."""
    n = len(foreign)
    shape = torch.zeros(n, head.n_shape)
    expr = torch.zeros(n, head.n_expr)
    shape[:, : len(foreign.shape)] = _tensor(foreign.shape)
    expr[:, : foreign.expr.shape[1]] = _tensor(foreign.expr)
    root = root_joint(head, shape, expr).double().numpy()
    translation = np.einsum("fij,fj->fi", placement.joint_map, root) + placement.offset

    def joint(angles: np.ndarray, limits: Limits) -> torch.Tensor:
        return _tensor(angles) if placement.unbounded else params_from_angles(_tensor(angles), limits)

    return HeadParams(
        shape=shape,
        expr=expr,
        rotation=continuous_rotations(rotation_vector(torch.from_numpy(placement.rotation)), FACING).float(),
        translation=_tensor(translation),
        neck=joint(foreign.neck, NECK_LIMITS_DEG),
        jaw=joint(foreign.jaw, JAW_LIMITS_DEG),
        eyes=joint(foreign.eyes, EYES_LIMITS_DEG),
    )


def root_joint(head: HeadModel, shape: torch.Tensor, expr: torch.Tensor) -> torch.Tensor:
    """Rest positions [N, 3] in metres of the root joint for coefficients [N, S] and [N, E]."""
    coefficients = torch.cat([shape, expr], 1)
    return head.joint_template[0] + coefficients @ head.joint_directions[:, 0]


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
