"""From what the pixels see to a picture."""

from __future__ import annotations

import numpy as np

from nha.core.conventions import Parsing
from nha.core.types import Camera
from nha.synthetic import paint
from nha.synthetic.light import Light, ambient_occlusion, cast_shadows, shade
from nha.synthetic.noise import fractal_noise
from nha.synthetic.paint import Paint, linear
from nha.synthetic.scene import PosedScene, Scene, Surface
from nha.synthetic.seen import SeenPoints, see
from nha.synthetic.subject import Subject


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


def backdrop(subject: Subject, size: tuple[int, int]) -> np.ndarray:
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
