"""An overview image of a head model: surface with landmarks, parts, UV map, each in three views."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import LANDMARK_GROUPS
from nha.core.types import Camera, SurfaceTables
from nha.head.joint_limits import JAW_LIMITS_DEG, params_from_angles
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.render.gbuffer import draw_gbuffer
from nha.render.shading import phong_image
from nha.visualization.colours import label_palette, to_uint8
from nha.visualization.layout import grid, with_caption

VIEWS_DEG = {"front": 0.0, "three-quarter": 40.0, "side": 90.0}
TILE_PIXELS = 420
LEGEND_PIXELS = 230
CHECKERS = 24  # squares along one side of a UV map
OPEN_JAW_RAD = 0.35
_DISTANCE_METRES = 1.2
_SMALLEST_DEPTH_GAP_METRES = 0.004  # a landmark further behind the surface is hidden
_BARE_RGB = (205, 205, 205)
_LANDMARK_RGB = {
    "jaw": (0, 90, 200),
    "right_brow": (150, 60, 0),
    "left_brow": (150, 60, 0),
    "nose": (0, 120, 60),
    "right_eye": (140, 0, 140),
    "left_eye": (140, 0, 140),
    "outer_mouth": (200, 0, 0),
    "inner_mouth": (255, 120, 0),
    "iris": (0, 0, 0),
}


def draw_head_overview(head: HeadModel) -> np.ndarray:
    """Draw a head model in the neutral pose and with an open jaw.

    The first row shows the surface with its visible landmarks, the second the parts with a legend (smaller parts
    are drawn over larger ones), the third a checkered UV map with the jaw open and the mouth's map in red.

    Args:
        head: the head model.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    closed, open_ = _posed(head, 0.0), _posed(head, OPEN_JAW_RAD)
    camera = _camera(closed)
    rows: list[list[np.ndarray]] = [[], [], []]
    for i, name in enumerate(VIEWS_DEG):
        at_rest, jaw_open, view = closed[i : i + 1], open_[i : i + 1], camera[i : i + 1]
        rows[0].append(with_caption(_surface_image(head, at_rest, view), f"{name}: landmarks"))
        rows[1].append(with_caption(_parts_image(head.tables, at_rest, view), f"{name}: parts"))
        rows[2].append(with_caption(_uv_image(head.tables, jaw_open, view), f"{name}: UV map, jaw open"))
    rows[1].append(_legend(head))
    return grid(rows, gap=4)


def _posed(head: HeadModel, jaw_rad: float) -> Tensor:
    """One head for each view, rotated about its centre in front of the camera: [3, V, 3] metres."""
    params = head.neutral_params(1)
    jaw = params_from_angles(params.jaw.new_tensor([[jaw_rad, 0.0, 0.0]]), JAW_LIMITS_DEG)
    vertices = head(params.replace(jaw=jaw))[0]
    middle = (head(params)[0].amin(0) + head(params)[0].amax(0)) / 2
    turned = []
    for yaw_deg in VIEWS_DEG.values():
        # head and camera both face +z: half a turn lets the head face the camera
        angle = math.pi + math.radians(yaw_deg)
        sin, cos = math.sin(angle), math.cos(angle)
        about_y = vertices.new_tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        turned.append((vertices - middle) @ about_y.T)
    return torch.stack(turned) + vertices.new_tensor([0, 0, _DISTANCE_METRES])


def _camera(vertices: Tensor) -> Camera:
    """One camera for each view; all have the largest focal length at which every view fits."""
    reach = (vertices[..., :2].abs() / vertices[..., 2:]).amax()
    focal, centre = 0.47 * TILE_PIXELS / float(reach), TILE_PIXELS / 2
    intrinsics = vertices.new_tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    n = len(vertices)
    return Camera(intrinsics.expand(n, 3, 3), torch.eye(3, 4).expand(n, 3, 4), (TILE_PIXELS, TILE_PIXELS))


def _surface_image(head: HeadModel, vertices: Tensor, camera: Camera) -> np.ndarray:
    image = to_uint8(phong_image(vertices, head.faces, camera)[0])
    depth = draw_gbuffer(vertices, head.tables, camera, ("depth",))["depth"][0, 0]
    points = project(head.landmarks(vertices), camera)[0]
    for group, ids in LANDMARK_GROUPS.items():
        for u, v, z in points[list(ids)].tolist():
            column, row = (min(max(int(x), 0), TILE_PIXELS - 1) for x in (u, v))
            seen = float(depth[row, column])
            if seen < 0 or z < seen + _SMALLEST_DEPTH_GAP_METRES:
                # coordinates in sixteenths of a pixel (4 fractional bits)
                cv2.circle(
                    image, (round(16 * u), round(16 * v)), 40, _LANDMARK_RGB[group], -1, cv2.LINE_AA, 4
                )
    return image


def _by_size(labels: Tensor) -> list[int]:
    """Columns of a label table [V, P], the largest part first."""
    return labels.sum(0).argsort(descending=True, stable=True).tolist()


def _part_colours(n: int) -> np.ndarray:
    """One colour for each of n parts: uint8 [n, 3]."""
    return label_palette(n + 1)[1:]  # the first is black, for no part


def _parts_image(tables: SurfaceTables, vertices: Tensor, camera: Camera) -> np.ndarray:
    buffer = draw_gbuffer(vertices, tables, camera, ("hard_labels", "normals"))
    labels = buffer["hard_labels"][0].numpy()
    colours = _part_colours(len(tables.part_names))
    rgb = np.full((TILE_PIXELS, TILE_PIXELS, 3), _BARE_RGB, np.float32)
    for column in _by_size(tables.hard_labels):
        rgb[labels[column] > 0.5] = colours[column]
    return _lit(rgb, buffer["normals"][0].numpy(), buffer.alpha[0, 0].numpy())


def _uv_image(tables: SurfaceTables, vertices: Tensor, camera: Camera) -> np.ndarray:
    buffer = draw_gbuffer(vertices, tables, camera, ("uvcoords", "uvmap", "normals"))
    u, v = (buffer["uvcoords"][0, :2].numpy() + 1) / 2
    dark = (np.floor(u * CHECKERS) + np.floor(v * CHECKERS)) % 2 > 0
    hue = np.stack([90 + 150 * u, 220 - 60 * u, 90 + 150 * v], -1)
    rgb = np.where(buffer["uvmap"][0, 0].numpy()[..., None] > 0.5, (200.0, 30.0, 30.0), hue)
    rgb = rgb * np.where(dark, 0.6, 1.0)[..., None]
    return _lit(rgb, buffer["normals"][0].numpy(), buffer.alpha[0, 0].numpy())


def _lit(rgb: np.ndarray, normals: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] in 0..255 under a light at the camera, white where alpha [H, W] is 0: uint8."""
    light = 0.55 + 0.45 * np.clip(normals[2], 0, 1)[..., None]
    return np.where(alpha[..., None] > 0, np.rint(rgb * light), 255).astype(np.uint8)


def _legend(head: HeadModel) -> np.ndarray:
    """The names and colours of the parts, smallest part first."""
    sheet = np.full((TILE_PIXELS, LEGEND_PIXELS, 3), 255, np.uint8)
    colours = _part_colours(len(head.part_names))
    line = min(20, (TILE_PIXELS - 10) // max(len(head.part_names), 1))
    for i, column in enumerate(reversed(_by_size(head.hard_labels))):
        top = 5 + i * line
        cv2.rectangle(sheet, (4, top), (18, top + line - 5), colours[column].tolist(), -1)
        text, at = head.part_names[column], (24, top + line - 7)
        cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet
