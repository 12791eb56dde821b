"""Interpolation: values against a plain reference, gradients against finite differences and the reference."""

from __future__ import annotations

import pytest
import torch

from nha.core.types import Fragments
from nha.render.interpolate import covered_pixels, interpolate_vertices
from nha.render.rasterize import rasterize

IMAGE_SIZE = (29, 41)  # that of the random triangles


@pytest.fixture(scope="module")
def scene(random_triangles) -> tuple[torch.Tensor, torch.Tensor, Fragments]:
    screen, faces = random_triangles(seed=7)
    return screen.double(), faces, rasterize(screen, faces, IMAGE_SIZE, layers=2)


def _twin_faces(fragments: Fragments, face_values: torch.Tensor, layer: int = 0) -> torch.Tensor:
    """Reference: interpolation at every pixel of every image, without a list of covered pixels."""
    batch = len(fragments.face_index)
    face = fragments.face_index[..., layer]
    bary = fragments.barycentric[..., layer, :].to(face_values.dtype)
    face_values = face_values.expand(batch, -1, -1, -1)
    images = [(face_values[n][face[n]] * bary[n][..., None]).sum(-2) for n in range(batch)]
    return torch.where(face[..., None] >= 0, torch.stack(images), 0.0)


def _twin_vertices(fragments, vertex_values, faces, layer=0):
    return _twin_faces(fragments, vertex_values[:, faces], layer)


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("layer", [0, 1])
def test_faces_and_vertices_equal_the_reference(scene, sets, layer):
    screen, faces, fragments = scene
    face_values = torch.randn(sets, len(faces), 3, 4, dtype=torch.double)
    vertex_values = torch.randn(sets, screen.shape[1], 4, dtype=torch.double)
    covered = covered_pixels(fragments, layer)
    torch.testing.assert_close(
        covered.to_image(covered.from_faces(face_values)), _twin_faces(fragments, face_values, layer)
    )
    torch.testing.assert_close(
        interpolate_vertices(fragments, vertex_values, faces, layer),
        _twin_vertices(fragments, vertex_values, faces, layer),
    )


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_planes_and_lists_equal_the_reference(scene, sets, dtype):
    screen, faces, fragments = scene
    covered = covered_pixels(fragments)
    weights = torch.randn(2, 4, *IMAGE_SIZE, dtype=dtype)
    vertex_values = torch.randn(sets, screen.shape[1], 4, dtype=dtype, requires_grad=True)
    face_values = torch.randn(sets, len(faces), 3, 4, dtype=dtype, requires_grad=True)
    pairs = (
        (
            covered.draw_vertices(vertex_values, faces),
            _twin_vertices(fragments, vertex_values, faces),
            vertex_values,
        ),
        (covered.draw_faces(face_values), _twin_faces(fragments, face_values), face_values),
    )
    pairs += (
        (
            covered.to_image(covered.from_vertices(vertex_values, faces)).permute(0, 3, 1, 2),
            _twin_vertices(fragments, vertex_values, faces),
            vertex_values,
        ),
    )
    for fast, slow, values in pairs:
        slow = slow.permute(0, 3, 1, 2)
        torch.testing.assert_close(fast, slow)
        (fast_gradient,) = torch.autograd.grad((fast * weights).sum(), values)
        (slow_gradient,) = torch.autograd.grad((slow * weights).sum(), values)
        torch.testing.assert_close(fast_gradient, slow_gradient, atol=1e-5, rtol=1e-5)


def test_gradients_against_finite_differences(random_triangles):
    screen, faces = random_triangles(seed=8, faces=16)
    fragments = rasterize(screen, faces, (15, 20))
    covered = covered_pixels(fragments)
    assert len(covered.pixel) > 10
    vertex_values = torch.randn(2, screen.shape[1], 2, dtype=torch.double, requires_grad=True)
    face_values = torch.randn(1, len(faces), 3, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: interpolate_vertices(fragments, v, faces), vertex_values)
    assert torch.autograd.gradcheck(lambda v: covered.draw_vertices(v, faces), vertex_values)
    assert torch.autograd.gradcheck(covered.from_faces, face_values)
    assert torch.autograd.gradcheck(covered.draw_faces, face_values)


def test_nothing_covered(random_triangles):
    screen, faces = random_triangles(seed=9)
    fragments = rasterize(screen + 1000, faces, IMAGE_SIZE)
    values = torch.randn(2, screen.shape[1], 3, requires_grad=True)
    image = interpolate_vertices(fragments, values, faces)
    assert image.shape == (2, *IMAGE_SIZE, 3)
    assert (image == 0).all()
    planes = covered_pixels(fragments).draw_vertices(values, faces)
    assert planes.shape == (2, 3, *IMAGE_SIZE)
    planes.sum().backward()
    assert (values.grad == 0).all()


def test_shape_errors(scene):
    screen, faces, fragments = scene
    with pytest.raises(ValueError, match="vertex_values"):
        interpolate_vertices(fragments, torch.rand(3, screen.shape[1], 2), faces)
