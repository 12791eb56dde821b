"""Lighting: spherical harmonics, soft shadows of the key light, ambient occlusion and highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.render.rasterize import rasterize
from nha.render.shading import spherical_harmonics_basis
from nha.synthetic.materials import Material
from nha.synthetic.noise import smooth_step
from nha.synthetic.scene import PosedScene, Scene, Surface
from nha.synthetic.subject import Subject
from nha.synthetic.visibility import VisiblePoints

_AMBIENT, _KEY, _FILL = 0.40, 0.78, 0.16
_SHADOW_MAP_PX, _SHADOW_MAP_METRES = 320, 0.72
_SHADOW_BIAS_METRES = 0.006
_FAR_METRES = 50.0  # added to depths in the shadow map, whose projection is parallel, to make them positive
_VIEW = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class Light:
    """The light of a scene, in world coordinates.

    Attributes:
        full, without_key: [9, 3] spherical harmonics with and without the key light, in the basis of the tracker.
        direction: [3] unit vector towards the key light.
        color: [3] linear colour of the key light.
    """

    full: np.ndarray
    without_key: np.ndarray
    direction: np.ndarray
    color: np.ndarray


def make_light(subject: Subject) -> Light:
    """A key light, a weaker fill light from the other side, and ambient light that is brighter from above."""
    direction, color = np.array(subject.light_direction), np.array(subject.light_color)
    index = np.arange(600) + 0.5  # evenly spread directions (Fibonacci)
    polar, turn = np.arccos(1 - 2 * index / 600), np.pi * (1 + 5**0.5) * index
    normals = np.stack([np.cos(turn) * np.sin(polar), np.cos(polar), np.sin(turn) * np.sin(polar)], -1)
    fill_direction = direction * [-1, 0.2, 1] / np.linalg.norm(direction * [-1, 0.2, 1])
    ambient = _AMBIENT * (1.0 + 0.25 * normals[:, 1:2]) * np.array([0.98, 1.0, 1.03])
    fill = _FILL * np.clip(normals @ fill_direction, 0, None)[:, None] * np.ones(3)
    key = _KEY * np.clip(normals @ direction, 0, None)[:, None] * color
    basis = spherical_harmonics_basis(torch.from_numpy(normals)).numpy()
    fit = np.linalg.lstsq(basis, np.concatenate([ambient + fill + key, ambient + fill], 1), rcond=None)[0]
    return Light(fit[:, :3], fit[:, 3:], direction, color)


def cast_shadows(scene: Scene, posed: PosedScene, hits: VisiblePoints, light: Light) -> np.ndarray:
    """The share [M] in 0..1 of the key light that reaches each visible point, from a blurred shadow map."""
    back = -light.direction  # the direction of the rays
    side = np.cross([0.0, 1.0, 0.0], back)
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(back, side), back])
    centre = hits.position[hits.surface != Surface.CLOTH].mean(0)
    scale = _SHADOW_MAP_PX / _SHADOW_MAP_METRES

    def to_map(points: np.ndarray) -> np.ndarray:
        local = (points - centre) @ axes.T
        local[:, :2] = local[:, :2] * scale + _SHADOW_MAP_PX / 2
        local[:, 2] += _FAR_METRES
        return local.astype(np.float32)

    size = (_SHADOW_MAP_PX, _SHADOW_MAP_PX)
    screen = torch.from_numpy(to_map(posed.vertices))[None]
    fragments = rasterize(screen, torch.from_numpy(scene.faces), size, layers=1)
    nearest = fragments.depth[0, ..., 0].numpy()
    nearest = np.where(nearest < 0, np.inf, nearest)
    here = to_map(hits.position)
    reach = np.zeros(len(here))
    offsets = [(dx, dy) for dx in (-4.5, -2.2, 0, 2.2, 4.5) for dy in (-4.5, -2.2, 0, 2.2, 4.5)]
    for dx, dy in offsets:
        column = np.clip(here[:, 0] + dx, 0, _SHADOW_MAP_PX - 1).astype(int)
        row = np.clip(here[:, 1] + dy, 0, _SHADOW_MAP_PX - 1).astype(int)
        slack = _SHADOW_BIAS_METRES + 0.0012 * np.hypot(dx, dy)
        reach += here[:, 2] - slack < nearest[row, column]
    return reach / len(offsets)


def ambient_occlusion(hits: VisiblePoints, pixels_per_mm_at_1m: float) -> np.ndarray:
    """Ambient visibility [M] in 0..1 of each visible point; it is low in cavities of the depth image."""
    height, width = hits.size
    depth = np.where(np.isfinite(hits.depth), hits.depth, 9.0) * 1000.0
    mean_depth_metres = float(hits.position[:, 2].mean())
    occlusion = np.zeros((height, width))
    radii_mm = (6.0, 16.0, 34.0)
    for radius in radii_mm:
        pixels = radius * pixels_per_mm_at_1m / mean_depth_metres
        for angle in np.pi * np.arange(4) / 4:
            dx, dy = round(pixels * np.cos(angle)), round(pixels * np.sin(angle))
            if dx == 0 and dy == 0:
                continue
            pad = max(abs(dx), abs(dy))
            padded = np.pad(depth, pad, mode="edge")
            ahead = padded[pad + dy : pad + dy + height, pad + dx : pad + dx + width]
            behind = padded[pad - dy : pad - dy + height, pad - dx : pad - dx + width]
            rise = np.clip(depth - ahead, -radius, radius) + np.clip(depth - behind, -radius, radius)
            occlusion += np.clip(rise / (2 * radius), 0, 1)
    openness = 1 - np.clip(occlusion / (4 * len(radii_mm)) * 1.6, 0, 0.7)
    return openness.reshape(-1)[hits.pixel]


def shade(
    hits: VisiblePoints, material: Material, light: Light, open_to_light: np.ndarray, openness: np.ndarray
) -> np.ndarray:
    """Linear colours [M, 3] of the visible points. open_to_light, openness: [M] in 0..1, shadow and occlusion."""
    basis = spherical_harmonics_basis(torch.from_numpy(hits.normal)).numpy()
    lit, unlit = basis @ light.full.astype(np.float32), basis @ light.without_key.astype(np.float32)
    shadow = (1 - open_to_light)[:, None]
    # Subsurface scattering makes the shadow's edge on skin reddish; teeth receive light reflected by the lips.
    is_skin, is_tooth = hits.surface == Surface.SKIN, hits.surface == Surface.TEETH
    strength = np.where(is_skin[:, None], [0.72, 0.84, 0.86], 0.8)
    strength[is_tooth] = 0.45
    irradiance = np.clip(lit + (unlit - lit) * shadow * strength, 0.02, None)
    hollow = np.where(is_skin[:, None], [0.85, 1.05, 1.1], 1.0)
    hollow[is_tooth] = 0.35
    color = material.albedo * irradiance * openness[:, None] ** hollow
    reach = open_to_light * openness
    half = light.direction + _VIEW
    half /= np.linalg.norm(half)
    is_hair = (hits.surface == Surface.HAIR) & (material.specular > 0)
    cosine = np.clip(hits.normal @ half, 0, 1)
    highlight = material.specular * cosine**material.exponent * reach
    edge = np.clip(1 + hits.normal[:, 2], 0, 1) ** 3  # stronger at grazing angles
    highlight = highlight + material.specular * 0.25 * edge * openness * is_skin
    highlight = np.where(is_hair, 0.0, highlight)
    color = color + highlight[:, None] * light.color * 0.6
    if is_hair.any():
        along = hits.tangent[is_hair] @ half
        sine = np.sqrt(np.clip(1 - along**2, 0, 1))
        facing = smooth_step(hits.normal[is_hair] @ light.direction, -0.2, 0.5)
        strength = material.specular[is_hair] * reach[is_hair] * facing
        white, tinted = (strength * sine**60)[:, None] * 0.14, (strength * sine**14)[:, None]
        color[is_hair] += white * light.color + tinted * material.albedo[is_hair] * 1.6
    return color
