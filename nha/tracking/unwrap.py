"""The person's own albedo, unwrapped from tracked images.

An albedo space learned from other people reproduces a face only roughly, and the remaining difference biases pose
and shape. Once landmarks and keyframes have placed the head, the images give the albedo directly: colour divided by
shading, accumulated in texture space over many frames. The refinement compares images with that albedo.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.images import gaussian_blur
from nha.core.mesh import vertex_normals
from nha.render.interpolate import CoveredPixels
from nha.render.shading import spherical_harmonics_basis
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.frames import Observation
from nha.tracking.photometric import TrackerMesh, visible_pixels
from nha.tracking.state import Unknowns

RESOLUTION = 128
_MIN_SHADING = 0.1  # the albedo is colour over shading, which noise dominates in darker places
# In units of pixels that face the camera; texels with little weight keep some of the albedo space's own albedo.
_PRIOR_WEIGHT = 0.05
_GRAZING_POWER = 2
_HOLE_SIGMAS = (0.8, 2.0)


@dataclass
class AlbedoAccumulator:
    """Sums over the pixels of tracked frames in texture space; batches are added one after the other.

    Attributes:
        colour: [1, 3, R, R], albedo times weight.
        weight: [1, 1, R, R].
    """

    colour: Tensor
    weight: Tensor

    @classmethod
    def empty(cls, device: torch.device) -> AlbedoAccumulator:
        """An accumulator without any pixels."""
        size = (RESOLUTION, RESOLUTION)
        return cls(torch.zeros(1, 3, *size, device=device), torch.zeros(1, 1, *size, device=device))

    @torch.no_grad()
    def add(self, mesh: TrackerMesh, unknowns: Unknowns, observation: Observation) -> None:
        """Add the pixels of N tracked frames to the texels that they show."""
        vertices = mesh.head(unknowns.head_params())
        visible = visible_pixels(vertices, mesh, unknowns, observation.image_size)
        normals = visible.from_vertices(vertex_normals(vertices, mesh.faces, eps=1e-6), mesh.faces)  # [P, 3]
        shading = (spherical_harmonics_basis(normals) @ unknowns.light).clamp_min(_MIN_SHADING)
        to_camera = torch.nn.functional.normalize(-visible.from_vertices(vertices, mesh.faces), dim=1)
        facing = (normals * to_camera).sum(1).clamp(0, 1)
        colour = _pixel_values(observation.images, visible)
        weight = facing**_GRAZING_POWER
        if observation.face_masks is not None:
            weight = weight * _pixel_values(observation.face_masks, visible)[:, 0]
        uv = visible.from_faces(mesh.face_uv[None])
        self._splat(uv, colour / shading, weight)

    def _splat(self, uv: Tensor, albedo: Tensor, weight: Tensor) -> None:
        """Add albedo [P, 3] and weight [P] to the four texels around each position uv [P, 2], bilinearly."""
        position = (uv + 1) / 2 * RESOLUTION - 0.5
        corner = position.floor()
        fraction = position - corner
        for dx in (0, 1):
            for dy in (0, 1):
                part = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (
                    fraction[:, 1] if dy else 1 - fraction[:, 1]
                )
                column = (corner[:, 0] + dx).long().clamp(0, RESOLUTION - 1)
                row = (corner[:, 1] + dy).long().clamp(0, RESOLUTION - 1)
                texel = row * RESOLUTION + column
                self.weight.view(-1).index_add_(0, texel, weight * part)
                self.colour.view(3, -1).index_add_(1, texel, (albedo * (weight * part)[:, None]).T)

    def albedo_space(self, space: AlbedoSpace, texture: Tensor) -> AlbedoSpace:
        """The accumulated albedo as a space without directions; unseen texels have the albedo of `space`."""
        prior = torch.nn.functional.interpolate(
            space.albedo01(texture), size=(RESOLUTION, RESOLUTION), mode="bilinear", align_corners=False
        )
        albedo = prior
        # the wide blur first, which fills holes; the narrow one then replaces what was seen
        for sigma in reversed(_HOLE_SIGMAS):
            colour, weight = gaussian_blur(self.colour, sigma), gaussian_blur(self.weight, sigma)
            albedo = (colour + _PRIOR_WEIGHT * albedo) / (weight + _PRIOR_WEIGHT)
        mean = 255 * albedo[0].permute(1, 2, 0)
        return AlbedoSpace(mean, mean.new_zeros(*mean.shape, len(texture)))


def _pixel_values(images: Tensor, visible: CoveredPixels) -> Tensor:
    """Values [P, C] of images [N, C, H, W] at the covered pixels themselves."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).index_select(0, visible.pixel)
