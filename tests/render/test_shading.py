"""Shading: spherical harmonics against the written-out formula and an integral, Phong against one known pixel."""

from __future__ import annotations

import math

import pytest
import torch

from nha.core.types import Camera
from nha.render.shading import (
    AMBIENT,
    DIFFUSE,
    SURFACE_RGB01,
    phong_image,
    spherical_harmonics_basis,
)


def test_basis_written_out():
    x, y, z = 0.6, -0.48, 0.64
    first = 1 / math.sqrt(4 * math.pi)
    second = 2 * math.pi / 3 * math.sqrt(3 / (4 * math.pi))
    third = math.pi / 4 * 3 * math.sqrt(5 / (12 * math.pi))
    expected = [
        first,
        second * x,
        second * y,
        second * z,
        third * x * y,
        third * x * z,
        third * y * z,
        third / 2 * (x * x - y * y),
        math.pi / 8 * math.sqrt(5 / (4 * math.pi)) * (3 * z * z - 1),
    ]
    torch.testing.assert_close(spherical_harmonics_basis(torch.tensor([x, y, z])), torch.tensor(expected))


def test_basis_functions_are_orthogonal_over_the_sphere():
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=generator), dim=-1)
    basis = spherical_harmonics_basis(points)
    gram = basis.T @ basis / len(points)
    scale = gram.diagonal().sqrt()
    torch.testing.assert_close(gram / scale[:, None] / scale, torch.eye(9), atol=0.02, rtol=0)


def test_the_trackers_first_light_leaves_albedo_unchanged():
    light = torch.zeros(9, 3)
    light[0] = math.sqrt(4 * math.pi)
    normals = torch.nn.functional.normalize(torch.randn(2, 5, 6, 3), dim=-1)
    torch.testing.assert_close(spherical_harmonics_basis(normals) @ light, torch.ones(2, 5, 6, 3))


def _wall(camera: Camera, vertices: list[list[float]]) -> torch.Tensor:
    return phong_image(torch.tensor([vertices]), torch.tensor([[0, 1, 2]]), camera)[0]


def test_phong_of_a_wall_facing_the_camera(camera):
    front = [
        [3.0, -2.0, 2.0],
        [-3.0, -2.0, 2.0],
        [0.0, 4.0, 2.0],
    ]  # counter-clockwise on screen, n = (0, 0, -1)
    image = _wall(camera[:1], front)
    assert image.shape == (4, 29, 41)
    assert (image[3] == 1).all()
    diffuse = AMBIENT + DIFFUSE * math.sqrt(0.5)
    corner = image[:3, -1, 0]  # far from the highlight
    torch.testing.assert_close(corner, torch.tensor(SURFACE_RGB01) * diffuse, atol=1e-3, rtol=0)
    assert image.max() <= 1


def test_phong_culls_back_faces_to_white(camera):
    back = [[3.0, -2.0, 2.0], [0.0, 4.0, 2.0], [-3.0, -2.0, 2.0]]
    image = _wall(camera[:1], back)
    assert (image[:3] == 1).all()
    assert (image[3] == 0).all()


def test_phong_highlight_is_where_the_mirror_direction_meets_the_camera():
    # a wall whose normal bisects the angle between the light (from above and in front) and the camera
    intrinsics = torch.tensor([[[40.0, 0.0, 20.5], [0.0, 40.0, 20.5], [0.0, 0.0, 1.0]]])
    camera = Camera(intrinsics, torch.eye(3, 4)[None], (41, 41))
    tilt = math.radians(22.5)
    up = torch.tensor([0.0, math.cos(tilt), math.sin(tilt)])
    left = torch.tensor([1.0, 0.0, 0.0])
    centre = torch.tensor([0.0, 0.0, 2.0])
    corners = [centre + 4 * left - 3 * up, centre - 4 * left - 3 * up, centre + 5 * up]
    image = _wall(camera, [corner.tolist() for corner in corners])
    row, column = divmod(int(image[0].argmax()), 41)
    assert (row, column) == (20, 20)
    expected = SURFACE_RGB01[0] * (AMBIENT + DIFFUSE * math.cos(tilt)) + 0.3
    assert image[0, 20, 20].item() == pytest.approx(min(expected, 1.0), abs=1e-4)
