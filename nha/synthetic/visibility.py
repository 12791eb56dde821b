"""Rasterisation of a posed scene: the surface point at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.core.types import Camera, Fragments
from nha.render.camera import project
from nha.render.interpolate import covered_pixels
from nha.render.rasterize import rasterize
from nha.synthetic.scene import LABELLED_PARTS, PosedScene, Scene, Surface

_EYE_REGION_COLUMNS = {
    Surface.LEFT_EYE: LABELLED_PARTS.index("left_eye_region"),
    Surface.RIGHT_EYE: LABELLED_PARTS.index("right_eye_region"),
}


_PARTS_COLUMN = 12  # in the attributes, after position, normal, tangent and coords


@dataclass(frozen=True)
class VisiblePoints:
    """The nearest surface points at the M covered pixels of an image.

    Attributes:
        size: (H, W).
        pixel: [M] index into the flattened image.
        surface: [M] `Surface`.
        position, normal, tangent: [M, 3] world metres and unit vectors.
        coords, parts, tip: [M, 3], [M, 6] and [M] as in `Scene`.
        from_inside: bool [M], True if the back of a face is visible.
        depth: [H, W] metres, inf at uncovered pixels.
    """

    size: tuple[int, int]
    pixel: np.ndarray
    surface: np.ndarray
    position: np.ndarray
    normal: np.ndarray
    tangent: np.ndarray
    coords: np.ndarray
    parts: np.ndarray
    tip: np.ndarray
    from_inside: np.ndarray
    depth: np.ndarray


def visible_points(scene: Scene, posed: PosedScene, camera: Camera) -> VisiblePoints:
    """Rasterise a posed scene; eyelids are kept in front of eyeballs (`docs/method.md`, section 2)."""
    vertices = torch.from_numpy(posed.vertices)[None]
    faces = torch.from_numpy(scene.faces)
    fragments = rasterize(project(vertices, camera), faces, camera.image_size, layers=2)
    columns = (posed.vertices, posed.normals, posed.tangents, scene.coords, scene.parts, scene.tip[:, None])
    attributes = np.concatenate(columns, 1)
    near = covered_pixels(fragments)
    face = near.face.numpy().copy()
    values = near.from_vertices(torch.from_numpy(attributes)[None], faces).numpy()
    _put_lids_in_front(scene, values, face, near.pixel, fragments, attributes)

    position, normal = values[:, :3], values[:, 3:6]
    normal = normal / np.maximum(np.sqrt(np.einsum("mk,mk->m", normal, normal))[:, None], 1e-9)
    corner = posed.vertices[scene.faces[face]]
    flat_normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    centre = -camera.extrinsics[0, :, :3].numpy() @ camera.extrinsics[0, :, 3].numpy()
    from_inside = np.einsum("mk,mk->m", centre - position, flat_normal) < 0
    depth = np.full(camera.image_size[0] * camera.image_size[1], np.inf, np.float32)
    depth[near.pixel.numpy()] = position[:, 2]
    return VisiblePoints(
        size=camera.image_size,
        pixel=near.pixel.numpy(),
        surface=scene.surface[face],
        position=position,
        normal=np.where(from_inside[:, None], -normal, normal),
        tangent=values[:, 6:9],
        coords=values[:, 9:12],
        parts=values[:, _PARTS_COLUMN:-1],
        tip=values[:, -1],
        from_inside=from_inside,
        depth=depth.reshape(camera.image_size),
    )


def _put_lids_in_front(
    scene: Scene,
    values: np.ndarray,
    face: np.ndarray,
    pixel: torch.Tensor,
    fragments: Fragments,
    attributes: np.ndarray,
) -> None:
    """Replace an eyeball in front of the lid of its side by the lid, in place in `values` and `face`."""
    eyeball = np.flatnonzero(np.isin(scene.surface[face], list(_EYE_REGION_COLUMNS)))
    there = pixel[torch.from_numpy(eyeball)]
    second_face = fragments.face_index[..., 1].reshape(-1)[there].numpy()
    weights = fragments.barycentric[..., 1, :].reshape(-1, 3)[there].numpy()
    second = (attributes[scene.faces[second_face]] * weights[..., None]).sum(1)
    column = np.array([_EYE_REGION_COLUMNS[s] for s in scene.surface[face[eyeball]].tolist()], int)
    in_eye_region = second[np.arange(len(eyeball)), _PARTS_COLUMN + column] > 0
    lid = (second_face >= 0) & (scene.surface[second_face] == Surface.SKIN) & in_eye_region
    values[eyeball[lid]], face[eyeball[lid]] = second[lid], second_face[lid]
