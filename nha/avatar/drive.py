"""The drive vector: the numbers of a pose that the blend model's shapes and textures depend on.

It consists of distances between landmarks of the head without offsets (mouth, lids, brows), the angles of jaw, eyes
and neck, the head's rotation to the camera, and the expression coefficients. Everything in it is computed from the
parameters, so that an exported avatar can be driven in the same way. `docs/method.md`, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nha.core.constants import constant
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.model import HeadModel

# iBUG landmarks between which distances are measured: inner lips (three heights), mouth width inside and outside, outer
# lips, both lids of each eye, brow and upper lid of each eye.
LANDMARK_PAIRS = (
    (61, 67),
    (62, 66),
    (63, 65),
    (60, 64),
    (48, 54),
    (51, 57),
    (37, 41),
    (38, 40),
    (43, 47),
    (44, 46),
    (19, 37),
    (24, 44),
)
# parts of the vector in their order -> size, and the smallest standard deviation by which values are divided
_PARTS = {
    "distances": (len(LANDMARK_PAIRS), 5e-4),  # metres
    "jaw": (3, 0.02),  # radians, as the next three
    "eyes": (4, 0.03),
    "neck": (3, 0.03),
    "view": (3, 0.05),
    "expression": (None, 0.3),
}
FACING_CAMERA = (0.0, torch.pi, 0.0)  # rotation of a head that looks at the camera
_CLIP_MARGIN = 0.15  # of the range in training, by which a driving pose may exceed it


class Drive(nn.Module):
    """Computes and scales the drive vector; its mean, scale and range are those of the training frames.

    Attributes:
        names: name of each part -> slice of the vector.
        mean, scale, low, high: [D] statistics of the training frames, see `measure`.
    """

    def __init__(self, n_expr: int) -> None:
        super().__init__()
        self.names: dict[str, slice] = {}
        smallest: list[float] = []
        for name, (size, deviation) in _PARTS.items():
            size = n_expr if size is None else size
            self.names[name] = slice(len(smallest), len(smallest) + size)
            smallest += [deviation] * size
        self.register_buffer("smallest_scale", torch.tensor(smallest), persistent=False)
        self.register_buffer("mean", torch.zeros(len(smallest)))
        self.register_buffer("scale", torch.ones(len(smallest)))
        self.register_buffer("low", torch.full((len(smallest),), -torch.inf))
        self.register_buffer("high", torch.full((len(smallest),), torch.inf))

    def __len__(self) -> int:
        return len(self.mean)

    def measure(self, vectors: Tensor) -> None:
        """Set the statistics from raw vectors [F, D] of the training frames."""
        self.mean.copy_(vectors.mean(0))
        deviation = vectors.std(0, correction=0)
        self.scale.copy_(torch.maximum(deviation, self.smallest_scale))
        low, high = vectors.amin(0), vectors.amax(0)
        margin = _CLIP_MARGIN * (high - low)
        self.low.copy_(low - margin)
        self.high.copy_(high + margin)

    def forward(self, raw: Tensor, clip: bool = False) -> Tensor:
        """Scaled vectors [N, D] with mean 0 and deviation 1 over the training frames.

        Args:
            raw: [N, D], see `raw_drive`.
            clip: move the values into the range of the training frames, as is done outside of training.
        """
        if clip:
            raw = torch.maximum(torch.minimum(raw, self.high), self.low)
        return (raw - self.mean) / self.scale


def raw_drive(head: HeadModel, params: HeadParams, camera: Camera | None = None) -> Tensor:
    """The drive vectors of N poses before scaling: [N, D], distances in metres and angles in radians.

    Args:
        head: the head model.
        params: N sets of head parameters, corrected.
        camera: N cameras, to which the head's rotation is measured; None for cameras with the world's axes.
    """
    n = len(params)
    pairs = constant(LANDMARK_PAIRS, params.expr, torch.long)
    points = head.plain_landmarks(params, pairs.reshape(-1)).unflatten(1, (-1, 2))  # [N, pairs, 2, 3]
    distances = torch.linalg.vector_norm(points[:, :, 0] - points[:, :, 1] + 1e-12, dim=-1)
    eyes = eyes_angles(params.eyes).unflatten(1, (2, 3))[..., :2].flatten(1)  # the eyes do not roll
    neck = neck_angles(params.neck)
    return torch.cat(
        [distances, jaw_angles(params.jaw), eyes, neck, _view(params, neck, camera), params.expr.view(n, -1)],
        1,
    )


def seen_by(raw: Tensor, view: slice, params: HeadParams, camera: Camera) -> Tensor:
    """Drive vectors [N, D] of `raw_drive` with the head's rotation to another camera.

    view: the part of the vector that is replaced; params: those of which the vectors were computed.
    """
    rotation = _view(params, neck_angles(params.neck), camera)
    return torch.cat([raw[:, : view.start], rotation, raw[:, view.stop :]], 1)


def _view(params: HeadParams, neck: Tensor, camera: Camera | None) -> Tensor:
    """Rotation vector [N, 3] of the head in the camera's axes, 0 where it looks at the camera."""
    world_from_head = rotation_matrix(params.rotation) @ rotation_matrix(neck)
    facing = rotation_matrix(constant((FACING_CAMERA,), params.rotation))
    if camera is not None:
        world_from_head = camera.extrinsics[:, :, :3].transpose(1, 2) @ world_from_head
    return rotation_vector(facing.transpose(1, 2) @ world_from_head)
