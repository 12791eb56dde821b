"""Data types of the interfaces between packages: frozen dataclasses of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from nha.core.errors import UserError

T = TypeVar("T")


def map_tensors(value: T, function) -> T:
    """Apply `function` to every tensor of a (nested) dataclass or mapping and return a new one."""
    if isinstance(value, Tensor):
        return function(value)
    if dataclasses.is_dataclass(value):
        changed = {f.name: map_tensors(getattr(value, f.name), function) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    return value


class _Movable:
    """Methods for dataclasses of tensors."""

    def to(self, device: torch.device | str):
        """A copy with every tensor on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))

    def detach(self):
        """A copy with every tensor detached."""
        return map_tensors(self, lambda tensor: tensor.detach())

    def replace(self, **changes: Any):
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        """The shapes of the tensors, not their values."""
        texts = (f"{field.name}={_summary(getattr(self, field.name))}" for field in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(texts)})"


def _summary(value: Any) -> str:
    """The shape of a tensor, the names in a mapping (whose values may not be computed yet), or the value itself."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    if isinstance(value, Mapping):
        return f"{{{', '.join(value)}}}"
    is_other = dataclasses.is_dataclass(value) and not isinstance(value, _Movable)
    return type(value).__name__ if is_other else repr(value)


@dataclass(frozen=True, repr=False)
class Camera(_Movable):
    """N pinhole cameras in PyTorch3D's world coordinates: +x left, +y up, +z into the scene.

    See `docs/method.md`, section 2.

    Attributes:
        intrinsics: [N, 3, 3] in pixels. The centre of pixel (0, 0) is at (0.5, 0.5) from the top left corner; the cy of
            the principal point is measured from the *bottom* edge.
        extrinsics: [N, 3, 4] camera from world: x_camera = x_world @ extrinsics[:, :, :3] + extrinsics[:, :, 3], with
            row vectors in metres.
        image_size: (height, width) in pixels.
    """

    intrinsics: Tensor
    extrinsics: Tensor
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.intrinsics)

    def __getitem__(self, index) -> Camera:
        return Camera(self.intrinsics[index], self.extrinsics[index], self.image_size)


@dataclass(frozen=True, repr=False)
class HeadParams(_Movable):
    """Parameters of N heads, see `docs/method.md`, section 1.

    Attributes:
        shape: [N, S] identity coefficients.
        expr: [N, E] expression coefficients.
        rotation: [N, 3] rotation of the head, axis-angle in radians.
        translation: [N, 3] metres.
        neck: [N, 3] unbounded; the joint limits (`nha.head.joint_limits`) map it to axis-angle in radians.
        jaw: [N, 3] unbounded, as `neck`.
        eyes: [N, 6] unbounded, left eye and right eye (FLAME's joints 3 and 4), as `neck`.
    """

    shape: Tensor
    expr: Tensor
    rotation: Tensor
    translation: Tensor
    neck: Tensor
    jaw: Tensor
    eyes: Tensor

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, index) -> HeadParams:
        return map_tensors(self, lambda tensor: tensor[index])

    def replace(self, **changes: Tensor) -> HeadParams:
        """A copy with some parameters replaced; each has as many coefficients as before.

        Raises:
            UserError: a value is no tensor of that shape.
        """
        for name, value in changes.items():
            width = getattr(self, name).shape[-1]
            if not isinstance(value, Tensor):
                raise UserError(f"'{name}' must be a tensor [N, {width}], not {type(value).__name__}")
            if value.dim() == 0 or value.shape[-1] != width:
                raise UserError(f"'{name}' must have the shape [N, {width}], not {list(value.shape)}")
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, repr=False)
class SurfaceTables(_Movable):
    """Tables of a mesh for the renderer (F faces, V vertices, P parts).

    Attributes:
        faces: [F, 3] vertex ids, counter-clockwise seen from outside.
        face_uvcoords: [F, 3, 3] texture coordinates (2u-1, -(2v-1), 1); (-1, -1) is the top left of the texture.
        face_uvmap: [F] 1 for faces with the mouth's texture map, else 0.
        face_coords_normed: [F, 3, 3] corner positions on the template, scaled per axis to -1..1.
        hard_labels: [V, P] 0 or 1.
        soft_labels: [V, P] in 0..1.
        part_names: P names, sorted.
    """

    faces: Tensor
    face_uvcoords: Tensor
    face_uvmap: Tensor
    face_coords_normed: Tensor
    hard_labels: Tensor
    soft_labels: Tensor
    part_names: tuple[str, ...]

    @cached_property
    def eyelid_faces(self) -> tuple[Tensor, Tensor]:
        """The faces with a corner in an eyeball, and those with one in an eye region: uint8 [F + 1] each.

        Bit 1 is the left side, bit 2 the right; a side whose parts are missing has none. The last entry is 0, for face
        index -1 (no face).
        """
        return self._sides_touched("eyeball"), self._sides_touched("eye_region")

    def _sides_touched(self, part: str) -> Tensor:
        sides = torch.zeros(len(self.hard_labels), dtype=torch.uint8, device=self.faces.device)
        for bit, side in ((1, "left"), (2, "right")):
            if f"{side}_{part}" in self.part_names:
                sides |= (self.hard_labels[:, self.part_names.index(f"{side}_{part}")] > 0) * bit
        a, b, c = sides[self.faces].unbind(1)
        return torch.cat((a | b | c, sides.new_zeros(1)))


@dataclass(frozen=True, repr=False)
class Fragments(_Movable):
    """The faces at each pixel of N meshes, L layers, nearest first.

    Attributes:
        face_index: [N, H, W, L] id of the face in its own mesh (0..F-1), -1 for no face.
        barycentric: [N, H, W, L, 3] perspective-correct barycentric coordinates, 0 for no face.
        depth: [N, H, W, L] camera z in metres, -1 for no face.
    """

    face_index: Tensor
    barycentric: Tensor
    depth: Tensor


@dataclass(frozen=True, repr=False)
class GBuffer(_Movable):
    """Named images of one rasterisation: `gbuffer["normals"]` is [N, C, H, W]; `alpha` is [N, 1, H, W].

    fragments: the visible face of each pixel; image_size: (height, width);
    part_names: the parts whose labels are the channels of "hard_labels" and "soft_labels", in that order;
    covered: the list of the covered pixels (`nha.render.interpolate.CoveredPixels`), where it is kept;
    screen: [N, V, 3] the vertices as `nha.render.camera.project` returns them, where they are kept.
    """

    fragments: Fragments
    image_size: tuple[int, int]
    channels: Mapping[str, Tensor]
    part_names: tuple[str, ...] = ()
    covered: Any = None
    screen: Tensor | None = None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.channels:
            raise KeyError(f"the G-buffer has no channel '{name}', only {sorted(self.channels)}")
        return self.channels[name]

    @property
    def alpha(self) -> Tensor:
        return self.channels["alpha"]

    def label(self, channel: str, part: str) -> Tensor:
        """The label of one part: [N, 1, H, W] in 0..1; channel: "hard_labels" or "soft_labels"."""
        column = self.part_names.index(part)
        return self[channel][:, column : column + 1]


@dataclass(frozen=True, repr=False)
class Surface(_Movable):
    """N posed heads of an avatar.

    params: the parameters that were posed, learned corrections included;
    offsets: [N, V, 3] metres in the vertices' tangent frames (x, y along the surface, z along the normal);
    vertices: [N, V, 3] with and plain_vertices: [N, V, 3] without offsets, metres, world;
    rotations: [N, 5, 3, 3] of the joints, where they are kept;
    drive: [N, D] what the blend model computes from `params` (`nha.avatar.drive.raw_drive`), where it is kept.
    """

    params: HeadParams
    offsets: Tensor
    vertices: Tensor
    plain_vertices: Tensor
    drive: Tensor | None = None
    rotations: Tensor | None = None


@dataclass(frozen=True, repr=False)
class Rendering(_Movable):
    """N rendered images of an avatar and all that was computed for them.

    rgb01: [N, 3, H, W] in 0..1 on white, None where no colours were asked for;
    alpha: [N, 1, H, W], 1 where the mesh is seen, else 0;
    gbuffer: the one rasterisation; surface: the posed heads;
    painted: bool [N, 1, H, W], the pixels that have colours; None where all covered pixels have.
    """

    rgb01: Tensor | None
    alpha: Tensor
    gbuffer: GBuffer
    surface: Surface
    painted: Tensor | None = None

    @property
    def rgba(self) -> Tensor:
        """Colours on white and alpha, [N, 4, H, W] in 0..1."""
        return torch.cat([self.rgb01, self.alpha], 1)


@dataclass(frozen=True, repr=False)
class FrameBatch(_Movable):
    """N annotated frames of one dataset.

    Attributes:
        frame_id: [N].
        rgb01: [N, 3, H, W] in 0..1.
        segmentation: [N, H, W] labels, see `conventions.Segmentation`.
        parsing: [N, H, W] labels, see `conventions.Parsing`.
        normals: [N, 3, H, W], x right, y down, z to the camera; 0 where unknown.
        landmarks_px: [N, 68, 2] pixels from the top left corner.
        landmark_confidence: [N, 68] in 0..1.
        iris_px: [N, 2, 2] pixels, in the order of the mesh's iris landmarks; -1 where not found.
        eye_height_px: [N, 2] heights of the left and right eye in the parsing; 0 where not found.
        tracked: the tracked head parameters.
        camera: the tracked camera at this image size.
    """

    frame_id: Tensor
    rgb01: Tensor
    segmentation: Tensor
    parsing: Tensor
    normals: Tensor
    landmarks_px: Tensor
    landmark_confidence: Tensor
    iris_px: Tensor
    eye_height_px: Tensor
    tracked: HeadParams
    camera: Camera

    def __len__(self) -> int:
        return len(self.frame_id)
