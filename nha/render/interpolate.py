"""Interpolation of face and vertex values at the pixels that the mesh covers.

Values are gathered at covered pixels only, weighted by the detached barycentrics, and written into an image that is 0
on the background. Gradients reach the values, never the barycentrics. On the CPU this uses numba kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.device import uses_cpu_kernels
from nha.core.pixel_lists import chosen_rows
from nha.core.types import Fragments
from nha.render.interpolate_numba import DrawRows, SumRows


@dataclass(frozen=True)
class CoveredPixels:
    """The P pixels that a mesh covers, as flat lists.

    Attributes:
        pixel: [P] long, position in the flattened [N * H * W] image; N * H * W for the padding of a list of fixed
            length (see `nha.core.pixel_lists`), whose barycentrics are 0.
        image: [P] long, the index of the image.
        face: [P] long, the face's id.
        barycentric: [P, 3] perspective-correct, detached.
        shape: (N, H, W).
        padded: whether there may be padding.
    """

    pixel: Tensor
    image: Tensor
    face: Tensor
    barycentric: Tensor
    shape: tuple[int, int, int]
    padded: bool = False

    def only(self, chosen: Tensor) -> CoveredPixels:
        """The subset of the pixels where `chosen`, bool [N, 1, H, W], is set."""
        end = math.prod(self.shape)
        kept = chosen_rows(
            "chosen pixels", chosen.flatten()[self.pixel.clamp_max(end - 1)] & (self.pixel < end)
        )
        pixel, barycentric = self.pixel[kept.source], self.barycentric[kept.source]
        if kept.padded:
            is_padding = kept.place == len(self.pixel)
            pixel = torch.where(is_padding, end, pixel)
            barycentric = torch.where(is_padding[:, None], 0.0, barycentric)
        return CoveredPixels(
            pixel, self.image[kept.source], self.face[kept.source], barycentric, self.shape, kept.padded
        )

    def row_and_column(self) -> tuple[Tensor, Tensor]:
        """The row and the column of each pixel in its image, [P] long each; those of a covered pixel for padding."""
        height, width = self.shape[1:]
        pixel = (
            torch.where(self.pixel < math.prod(self.shape), self.pixel, self.pixel[:1])
            if self.padded
            else self.pixel
        )
        in_image = pixel - self.image * (height * width)
        row = in_image.div(width, rounding_mode="floor")
        return row, in_image - row * width

    def to_image(self, values: Tensor, background: float = 0.0) -> Tensor:
        """Values [P, C] as an image [N, H, W, C]; other pixels get the background value."""
        end = math.prod(self.shape)
        canvas = values.new_full((end + self.padded, values.shape[-1]), background)
        return canvas.index_copy(0, self.pixel, values)[:end].view(*self.shape, values.shape[-1])

    def from_faces(self, face_values: Tensor) -> Tensor:
        """Interpolate face corner values [N or 1, F, 3, C] to [P, C]."""
        return self._sum_rows(*self._face_rows(face_values))

    def from_vertices(self, vertex_values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate vertex values [N or 1, V, C] to [P, C]."""
        return self._sum_rows(*self._vertex_rows(vertex_values, faces))

    def draw_faces(self, face_values: Tensor) -> Tensor:
        """Interpolate face corner values [N or 1, F, 3, C] into planes [N, C, H, W]."""
        return self._draw_rows(*self._face_rows(face_values))

    def draw_vertices(self, vertex_values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate vertex values [N or 1, V, C] into planes [N, C, H, W]."""
        return self._draw_rows(*self._vertex_rows(vertex_values, faces))

    def _face_rows(self, face_values: Tensor) -> tuple[Tensor, Tensor]:
        """Corner values flattened to a table [R, C], and the three rows of each pixel in it [P, 3]."""
        count, channels = face_values.shape[1], face_values.shape[-1]
        face = self.face if len(face_values) == 1 else self.face + self.image * count
        return face_values.reshape(-1, channels), torch.add(constant((0, 1, 2), face), face[:, None], alpha=3)

    def _vertex_rows(self, vertex_values: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Vertex values flattened to a table [R, C], and the three rows of each pixel in it [P, 3]."""
        count, channels = vertex_values.shape[1], vertex_values.shape[-1]
        rows = self._corners(faces)
        if len(vertex_values) > 1:
            rows = rows + (self.image * count)[:, None]
        return vertex_values.reshape(-1, channels), rows

    def _corners(self, faces: Tensor) -> Tensor:
        """The vertices [P, 3] of each pixel's face, kept for further calls with the same faces."""
        known = self.__dict__.get("_known_corners")
        if known is None or known[0] is not faces:
            known = self.__dict__["_known_corners"] = (faces, faces.index_select(0, self.face))
        return known[1]

    def _sum_rows(self, table: Tensor, rows: Tensor) -> Tensor:
        weights = self.barycentric.to(table.dtype)
        if uses_cpu_kernels(table.device):
            return SumRows.apply(table, rows, weights)
        # embedding_bag gathers and sums three weighted rows in one pass, and its backward pass adds into the rows
        return torch.nn.functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    def _draw_rows(self, table: Tensor, rows: Tensor) -> Tensor:
        if self.padded or not uses_cpu_kernels(table.device):
            return self.to_image(self._sum_rows(table, rows)).permute(0, 3, 1, 2).contiguous()
        position = self.pixel - self.image * (self.shape[1] * self.shape[2])
        return DrawRows.apply(table, rows, self.barycentric.to(table.dtype), self.image, position, self.shape)


def covered_pixels(fragments: Fragments, layer: int = 0) -> CoveredPixels:
    """The pixels that are covered in a layer of the fragments."""
    face_index = fragments.face_index[..., layer]
    batch, height, width = face_index.shape
    flat = face_index.reshape(-1)
    rows = chosen_rows("covered pixels", flat >= 0)
    # the method differentiates neither visibility nor barycentrics
    barycentric = fragments.barycentric[..., layer, :].reshape(-1, 3).index_select(0, rows.source).detach()
    face = flat.index_select(0, rows.source)
    if rows.padded:
        barycentric = barycentric * (rows.place < len(flat))[:, None]
        face = face.clamp_min(0)  # where no pixel is covered at all
    image = rows.source.div(height * width, rounding_mode="floor")
    return CoveredPixels(rows.place, image, face, barycentric, (batch, height, width), rows.padded)


def interpolate_vertices(
    fragments: Fragments, vertex_values: Tensor, faces: Tensor, layer: int = 0
) -> Tensor:
    """Interpolated vertex values as an image.

    Args:
        fragments: the rasterised meshes.
        vertex_values: [N or 1, V, C].
        faces: [F, 3] long, the rasterised faces.
        layer: index of the layer.

    Returns:
        [N, H, W, C], 0 on the background; differentiable in vertex_values.

    Raises:
        ValueError: vertex_values does not have one of these shapes.
    """
    _check_batch("vertex_values", vertex_values, 3, fragments)
    covered = covered_pixels(fragments, layer)
    return covered.to_image(covered.from_vertices(vertex_values, faces))


def _check_batch(name: str, values: Tensor, ndim: int, fragments: Fragments) -> None:
    batch = len(fragments.face_index)
    if values.ndim != ndim or len(values) not in (1, batch):
        raise ValueError(f"{name} must have {ndim} axes and {batch} or 1 sets, got {list(values.shape)}")
