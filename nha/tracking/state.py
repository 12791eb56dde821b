"""The tracker's unknowns: parameters of each frame, and those that all frames of a video share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.types import Camera, HeadParams, map_tensors
from nha.head.model import HeadModel

PER_FRAME = ("expr", "rotation", "translation", "neck", "jaw", "eyes")
SHARED = ("shape", "texture", "light", "focal_and_centre")
UNKNOWNS = PER_FRAME + SHARED

# The published initial focal length; the calibration from landmarks replaces it.
START_FOCAL = 2.0


@dataclass(frozen=True)
class Unknowns:
    """Everything that the energy of N frames depends on. `docs/method.md`, section 7.

    Attributes:
        expr: [N, E].
        rotation: [N, 3] axis-angle in radians.
        translation: [N, 3] metres.
        neck, jaw: [N, 3], unbounded (before the joint limits).
        eyes: [N, 6], unbounded, left eye first.
        shape: [S].
        texture: [T] coefficients of the albedo space.
        light: [9, 3] spherical harmonics of each colour channel.
        focal_and_centre: [3] = (focal length / max(H, W), cx / W, cy / H), cy from the bottom edge.
    """

    expr: Tensor
    rotation: Tensor
    translation: Tensor
    neck: Tensor
    jaw: Tensor
    eyes: Tensor
    shape: Tensor
    texture: Tensor
    light: Tensor
    focal_and_centre: Tensor

    def __len__(self) -> int:
        return len(self.rotation)

    def replace(self, **changes: Tensor) -> Unknowns:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def with_focal(self, focal: float) -> Unknowns:
        """A copy with another focal length, in units of the longer side."""
        camera = self.focal_and_centre.clone()
        camera[0] = focal
        return self.replace(focal_and_centre=camera)

    def to(self, device: torch.device | str) -> Unknowns:
        """A copy on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))

    def rows(self, index: Iterable[int] | Tensor) -> Unknowns:
        """The unknowns of some frames; the shared ones are the same tensors."""
        index = torch.as_tensor(list(index) if not isinstance(index, Tensor) else index, dtype=torch.long)
        index = index.to(self.rotation.device)
        return self.replace(**{name: getattr(self, name)[index] for name in PER_FRAME})

    def with_rows(self, index: Iterable[int], found: Unknowns) -> Unknowns:
        """A copy in which frames `index` and the shared unknowns are those of `found`."""
        rows = torch.as_tensor(list(index), dtype=torch.long, device=self.rotation.device)
        changes = {name: getattr(self, name).index_copy(0, rows, getattr(found, name)) for name in PER_FRAME}
        return self.replace(**changes, **{name: getattr(found, name) for name in SHARED})

    def head_params(self) -> HeadParams:
        """The head model's parameters of the N frames."""
        return HeadParams(
            shape=self.shape.expand(len(self), -1),
            expr=self.expr,
            rotation=self.rotation,
            translation=self.translation,
            neck=self.neck,
            jaw=self.jaw,
            eyes=self.eyes,
        )

    def camera(self, image_size: tuple[int, int]) -> Camera:
        """N cameras at the world's origin for images of (height, width), intrinsics with gradients."""
        height, width = image_size
        focal, centre_x, centre_y = self.focal_and_centre.unbind(0)
        focal_px = focal * max(image_size)
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        rows = (focal_px, zero, centre_x * width, zero, focal_px, centre_y * height, zero, zero, one)
        intrinsics = torch.stack(rows).reshape(1, 3, 3).expand(len(self), -1, -1)
        extrinsics = torch.eye(3, 4, dtype=focal.dtype, device=focal.device).expand(len(self), -1, -1)
        return Camera(intrinsics, extrinsics, (int(height), int(width)))

    def is_finite(self) -> Tensor:
        """Bool [N]: frames all of whose unknowns, the shared ones included, are finite."""
        shared = all(bool(torch.isfinite(getattr(self, name)).all()) for name in SHARED)
        own = torch.stack([torch.isfinite(getattr(self, name)).all(1) for name in PER_FRAME]).all(0)
        return own & shared


def start_unknowns(head: HeadModel, n_frames: int, n_texture: int) -> Unknowns:
    """The tracker's initial unknowns of N frames: neutral head, ambient light, centred camera.

    The head faces the camera (rotation (0, pi, 0)) at a distance of one metre.
    """
    rest = head.neutral_params(n_frames)
    device = rest.rotation.device
    light = torch.zeros(9, 3, device=device)
    light[0] = math.sqrt(4 * math.pi)
    return Unknowns(
        expr=rest.expr.clone(),
        rotation=torch.tensor([0.0, math.pi, 0.0], device=device).repeat(n_frames, 1),
        translation=torch.tensor([0.0, 0.0, 1.0], device=device).repeat(n_frames, 1),
        neck=rest.neck.clone(),
        jaw=rest.jaw.clone(),
        eyes=rest.eyes.clone(),
        shape=torch.zeros(head.n_shape, device=device),
        texture=torch.zeros(n_texture, device=device),
        light=light,
        focal_and_centre=torch.tensor([START_FOCAL, 0.5, 0.5], device=device),
    )
