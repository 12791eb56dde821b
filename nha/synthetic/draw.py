"""From a posed scene to what each pixel sees, and from there to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.core.conventions import Parsing
from nha.core.types import Camera, Fragments
from nha.render.camera import project
from nha.render.interpolate import covered_pixels
from nha.render.rasterize import rasterize
from nha.synthetic import paint
from nha.synthetic.light import Light, ambient_occlusion, cast_shadows, shade
from nha.synthetic.noise import fractal_noise
from nha.synthetic.paint import Paint, linear
from nha.synthetic.scene import PAINTED_PARTS, PosedScene, Scene, Surface

_EYE_REGION_COLUMNS = {
    Surface.LEFT_EYE: PAINTED_PARTS.index("left_eye_region"),
    Surface.RIGHT_EYE: PAINTED_PARTS.index("right_eye_region"),
}


_PARTS_COLUMN = 12  # of the attributes: position, normal, tangent and coords come first


@dataclass(frozen=True)
class SeenPoints:
    """The nearest surface at each covered pixel (M of them) of an image of `size` = (H, W).

    pixel: [M] flat index; surface: [M]; position, normal (unit), tangent: [M, 3] world; coords: [M, 3];
    parts: [M, 6]; tip: [M]; from_inside: bool [M], the back of a face is seen; depth: [H, W] metres, inf where
    nothing is.
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


def see(scene: Scene, posed: PosedScene, camera: Camera) -> SeenPoints:
    """Rasterise a posed scene; the eyelid rule keeps lids in front of eyeballs (method, section 2)."""
    vertices = torch.from_numpy(posed.vertices)[None]
    faces = torch.from_numpy(scene.faces)
    fragments = rasterize(project(vertices, camera), faces, camera.image_size, layers=2)
    columns = (posed.vertices, posed.normals, posed.tangents, scene.coords, scene.parts, scene.tip[:, None])
    attributes = np.concatenate(columns, 1)
    near = covered_pixels(fragments)
    face = near.face.numpy().copy()
    values = near.from_vertices(torch.from_numpy(attributes)[None], faces).numpy()
    _let_lids_win(scene, values, face, near.pixel, fragments, attributes)

    position, normal = values[:, :3], values[:, 3:6]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    corner = posed.vertices[scene.faces[face]]
    flat_normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    centre = -camera.extrinsics[0, :, :3].numpy() @ camera.extrinsics[0, :, 3].numpy()
    from_inside = ((centre - position) * flat_normal).sum(1) < 0
    depth = np.full(camera.image_size[0] * camera.image_size[1], np.inf, np.float32)
    depth[near.pixel.numpy()] = position[:, 2]
    return SeenPoints(
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


def _let_lids_win(
    scene: Scene,
    values: np.ndarray,
    face: np.ndarray,
    pixel: torch.Tensor,
    fragments: Fragments,
    attributes: np.ndarray,
) -> None:
    """Where an eyeball pokes through the lid of its side, take the lid; changes `values` and `face`."""
    eyeball = np.flatnonzero(np.isin(scene.surface[face], list(_EYE_REGION_COLUMNS)))
    there = pixel[torch.from_numpy(eyeball)]
    second_face = fragments.face_index[..., 1].reshape(-1)[there].numpy()
    weights = fragments.barycentric[..., 1, :].reshape(-1, 3)[there].numpy()
    second = (attributes[scene.faces[second_face]] * weights[..., None]).sum(1)
    column = np.array([_EYE_REGION_COLUMNS[s] for s in scene.surface[face[eyeball]].tolist()], int)
    in_eye_region = second[np.arange(len(eyeball)), _PARTS_COLUMN + column] > 0
    lid = (second_face >= 0) & (scene.surface[second_face] == Surface.SKIN) & in_eye_region
    values[eyeball[lid]], face[eyeball[lid]] = second[lid], second_face[lid]


def paint_points(scene: Scene, seen: SeenPoints) -> Paint:
    """Colour, shine and label of every seen point."""
    count = len(seen.pixel)
    whole = Paint(np.zeros((count, 3)), np.zeros(count), np.ones(count), np.zeros(count, np.uint8))
    subject, anatomy = scene.subject, scene.anatomy
    inside = seen.from_inside & (seen.surface == Surface.SKIN)
    painters = {
        Surface.SKIN: lambda s: paint.paint_skin(seen.coords[s], seen.parts[s], subject, anatomy),
        Surface.LEFT_EYE: lambda s: paint.paint_eye(seen.coords[s], "left", subject, anatomy),
        Surface.RIGHT_EYE: lambda s: paint.paint_eye(seen.coords[s], "right", subject, anatomy),
        Surface.TEETH: lambda s: paint.paint_teeth(seen.coords[s], subject),
        Surface.TONGUE: lambda s: paint.paint_tongue(seen.coords[s], subject),
        Surface.HAIR: lambda s: paint.paint_hair(seen.coords[s], seen.tip[s], subject),
        Surface.CLOTH: lambda s: paint.paint_cloth(seen.coords[s], subject),
    }
    groups = [
        (np.flatnonzero((seen.surface == kind) & ~inside), painter) for kind, painter in painters.items()
    ]
    groups.append((np.flatnonzero(inside), lambda s: paint.paint_mouth_cave(len(s))))
    for chosen, painter in groups:
        if len(chosen):
            part = painter(chosen)
            for name in ("albedo", "shine", "gloss", "label"):
                getattr(whole, name)[chosen] = getattr(part, name)
    return whole


def backdrop(subject, size: tuple[int, int]) -> np.ndarray:
    """A softly mottled wall [H, W, 3], linear light, brighter on the side of the light."""
    height, width = size
    v, u = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / height, indexing="ij")
    cloud = fractal_noise(np.stack([u * 3.2, v * 3.2, 0 * u], -1), 3, subject.seed + 91)
    # World +x is the picture's left.
    glow = np.exp(
        -(((u - 0.5 * width / height + 0.25 * subject.light_direction[0]) / 0.6) ** 2)
        - ((v - 0.40) / 0.65) ** 2
    )
    brightness = 0.42 + 0.45 * glow + 0.22 * (cloud - 0.5)
    return linear(subject.backdrop_color) * brightness[..., None]


def picture(
    scene: Scene, posed: PosedScene, camera: Camera, light: Light, wall: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one frame at the camera's size: linear light [H, W, 3] (see `shrink`), covered pixels bool [H, W]."""
    seen = see(scene, posed, camera)
    painted = paint_points(scene, seen)
    open_to_light = cast_shadows(scene, posed, seen, light)
    occlusion = ambient_occlusion(seen, float(camera.intrinsics[0, 0, 0]) / 1000.0)
    color = shade(seen, painted, light, open_to_light, occlusion)
    cave = (painted.label == Parsing.MOUTH)[:, None]
    color = np.where(cave, color * 0.8, color)
    image = wall.reshape(-1, 3).copy()
    image[seen.pixel] = color
    return image.reshape(*camera.image_size, 3), np.isfinite(seen.depth)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Average factor x factor blocks of linear light and encode as sRGB uint8 [H, W, 3]."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    mean = image.reshape(height, factor, width, factor, 3).clip(0, 1).mean((1, 3))
    return np.rint(mean ** (1 / 2.2) * 255).astype(np.uint8)
