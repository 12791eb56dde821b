"""Rendering of a frame: materials, light and background of every pixel."""

from __future__ import annotations

import numpy as np

from nha.core.conventions import Parsing
from nha.core.types import Camera
from nha.synthetic import materials
from nha.synthetic.light import Light, ambient_occlusion, cast_shadows, shade
from nha.synthetic.materials import Material, linear
from nha.synthetic.noise import fractal_noise
from nha.synthetic.scene import PosedScene, Scene, Surface
from nha.synthetic.subject import Subject
from nha.synthetic.visibility import VisiblePoints, visible_points


def surface_materials(scene: Scene, hits: VisiblePoints) -> Material:
    """The material of every visible point."""
    count = len(hits.pixel)
    whole = Material(np.zeros((count, 3)), np.zeros(count), np.ones(count), np.zeros(count, np.uint8))
    subject, anatomy = scene.subject, scene.anatomy
    inside = hits.from_inside & (hits.surface == Surface.SKIN)
    functions = {
        Surface.SKIN: lambda s: materials.skin_material(hits.coords[s], hits.parts[s], subject, anatomy),
        Surface.LEFT_EYE: lambda s: materials.eye_material(hits.coords[s], "left", subject, anatomy),
        Surface.RIGHT_EYE: lambda s: materials.eye_material(hits.coords[s], "right", subject, anatomy),
        Surface.TEETH: lambda s: materials.teeth_material(hits.coords[s], subject),
        Surface.TONGUE: lambda s: materials.tongue_material(hits.coords[s], subject),
        Surface.HAIR: lambda s: materials.hair_material(hits.coords[s], hits.tip[s], subject),
        Surface.CLOTH: lambda s: materials.cloth_material(hits.coords[s], subject),
    }
    groups = [
        (np.flatnonzero((hits.surface == kind) & ~inside), function) for kind, function in functions.items()
    ]
    groups.append((np.flatnonzero(inside), lambda s: materials.mouth_interior_material(len(s))))
    for chosen, function in groups:
        if len(chosen):
            part = function(chosen)
            for name in ("albedo", "specular", "exponent", "label"):
                getattr(whole, name)[chosen] = getattr(part, name)
    return whole


def background(subject: Subject, size: tuple[int, int]) -> np.ndarray:
    """A wall with soft spots, brighter on the side of the key light: [H, W, 3] linear colours. size: (H, W)."""
    height, width = size
    v, u = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / height, indexing="ij")
    cloud = fractal_noise(np.stack([u * 3.2, v * 3.2, 0 * u], -1), 3, subject.seed + 91)
    # World +x points to the left of the image.
    glow = np.exp(
        -(((u - 0.5 * width / height + 0.25 * subject.light_direction[0]) / 0.6) ** 2)
        - ((v - 0.40) / 0.65) ** 2
    )
    brightness = 0.42 + 0.45 * glow + 0.22 * (cloud - 0.5)
    return linear(subject.backdrop_color) * brightness[..., None]


def render_frame(
    scene: Scene, posed: PosedScene, camera: Camera, light: Light, wall: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Render one frame at the camera's image size.

    Args:
        scene, posed: the surfaces and their positions in this frame.
        camera: the camera, whose image is `supersampling` times larger than the video.
        light: the light of the scene.
        wall: [H, W, 3] the background.

    Returns:
        Linear colours [H, W, 3] (see `downsample`) and the pixels covered by the person, bool [H, W].
    """
    hits = visible_points(scene, posed, camera)
    material = surface_materials(scene, hits)
    open_to_light = cast_shadows(scene, posed, hits, light)
    occlusion = ambient_occlusion(hits, float(camera.intrinsics[0, 0, 0]) / 1000.0)
    color = shade(hits, material, light, open_to_light, occlusion)
    in_mouth = (material.label == Parsing.MOUTH)[:, None]
    color = np.where(in_mouth, color * 0.8, color)
    image = wall.reshape(-1, 3).copy()
    image[hits.pixel] = color
    return image.reshape(*camera.image_size, 3), np.isfinite(hits.depth)


def downsample(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor x factor linear colours and encode them with gamma 2.2: uint8 [H, W, 3]."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    mean = image.reshape(height, factor, width, factor, 3).clip(0, 1).mean((1, 3))
    return np.rint(mean ** (1 / 2.2) * 255).astype(np.uint8)
