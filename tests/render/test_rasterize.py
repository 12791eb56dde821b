"""Rasterisation: the fast backends against the reference, and the reference against the definition of coverage."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from nha.core.errors import UserError
from nha.render import raster_numba, raster_reference
from nha.render.rasterize import chosen_raster_backend, raster_backend, rasterize, set_raster_backend

IMAGE_SIZE = (29, 41)  # that of the random triangles

BACK, FRONT, OUTSIDE = 2.0, 1.0, 5.0


def _covering_triangle(z: float) -> list[list[float]]:
    """Corners of a triangle over the whole image, counter-clockwise on screen."""
    return [[-100.0, 200.0, z], [200.0, 200.0, z], [20.0, -200.0, z]]


def _draw(triangles, backend="numba", **options):
    screen = torch.tensor(triangles).reshape(1, -1, 3)
    faces = torch.arange(screen.shape[1]).reshape(-1, 3)
    return rasterize(screen, faces, IMAGE_SIZE, backend=backend, **options)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cull_back_faces", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_numba_equals_reference_to_the_bit(layers, cull_back_faces, seed, random_triangles):
    screen, faces = random_triangles(seed)
    options = {"layers": layers, "cull_back_faces": cull_back_faces}
    fast = rasterize(screen, faces, IMAGE_SIZE, backend="numba", **options)
    slow = rasterize(screen, faces, IMAGE_SIZE, backend="reference", **options)
    assert (slow.face_index >= 0).float().mean() > 0.3
    assert torch.equal(fast.face_index, slow.face_index)
    assert torch.equal(fast.barycentric, slow.barycentric)
    assert torch.equal(fast.depth, slow.depth)


@pytest.mark.triton
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="the package triton is not installed")
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cull_back_faces", [False, True])
def test_triton_equals_reference_to_the_bit(layers, cull_back_faces, random_triangles):
    import triton  # only here: an optional package

    interpreted = triton.knobs.runtime.interpret
    if not interpreted and not torch.cuda.is_available():
        pytest.skip("Triton needs a CUDA device, or TRITON_INTERPRET=1")
    device = "cpu" if interpreted else "cuda"
    screen, faces = random_triangles(seed=2, faces=20)
    options = {"layers": layers, "cull_back_faces": cull_back_faces}
    fast = rasterize(screen.to(device), faces.to(device), IMAGE_SIZE, backend="triton", **options).to("cpu")
    slow = rasterize(screen, faces, IMAGE_SIZE, backend="reference", **options)
    assert torch.equal(fast.face_index, slow.face_index)
    assert torch.equal(fast.barycentric, slow.barycentric)
    assert torch.equal(fast.depth, slow.depth)


def test_pytorch3d_agrees_with_reference(random_triangles):
    pytest.importorskip("pytorch3d", reason="the optional package pytorch3d is not installed")
    screen, faces = random_triangles(seed=3)
    theirs = rasterize(screen, faces, IMAGE_SIZE, backend="pytorch3d")
    ours = rasterize(screen, faces, IMAGE_SIZE, backend="reference")
    same = theirs.face_index == ours.face_index
    assert same.float().mean() > 0.995  # rounding and ties decide pixels on edges
    torch.testing.assert_close(theirs.depth[same], ours.depth[same], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", ["numba", "reference"])
class TestMeaning:
    def test_barycentrics_reproduce_the_pixel_centre(self, backend, random_triangles):
        screen, faces = random_triangles(seed=4)
        drawn = rasterize(screen, faces, IMAGE_SIZE, layers=1, backend=backend)
        n, row, column, _ = (drawn.face_index >= 0).nonzero(as_tuple=True)
        corners = screen[n[:, None], faces[drawn.face_index[n, row, column, 0]]].double()  # [P, 3, 3]
        bary = drawn.barycentric[n, row, column, 0].double()
        # the weighted mean of the corners in space, (u z, v z, z), projects onto the pixel's centre
        depth = (bary * corners[..., 2]).sum(-1)
        projected = (bary[..., None] * corners[..., :2] * corners[..., 2:]).sum(1) / depth[:, None]
        centres = torch.stack((column, row), dim=-1) + 0.5
        large = _areas(corners) > 1  # slivers lose digits in float32
        torch.testing.assert_close(projected[large], centres[large].double(), atol=1e-2, rtol=0)
        torch.testing.assert_close(bary.sum(-1)[large], torch.ones(int(large.sum())).double())
        torch.testing.assert_close(drawn.depth[n, row, column, 0].double(), depth, atol=1e-5, rtol=1e-5)

    def test_nearest_first_and_background(self, backend):
        drawn = _draw([_covering_triangle(BACK), _covering_triangle(FRONT)], backend, layers=3)
        assert (drawn.face_index == torch.tensor([1, 0, -1])).all()
        torch.testing.assert_close(drawn.depth[0, 3, 5], torch.tensor([FRONT, BACK, -1.0]))
        assert (drawn.barycentric[..., 2, :] == 0).all()

    def test_equal_depth_lower_id_first(self, backend):
        drawn = _draw([_covering_triangle(FRONT)] * 3, backend, layers=2)
        assert (drawn.face_index == torch.tensor([0, 1])).all()

    def test_pixel_centre_on_an_edge_is_not_covered(self, backend):
        # All three sides of this right triangle pass through pixel centres; at 32 x 32 positions are exact.
        screen = torch.tensor([[[0.5, 0.5, 1.0], [8.5, 0.5, 1.0], [0.5, 8.5, 1.0]]])
        drawn = rasterize(screen, torch.tensor([[0, 1, 2]]), (32, 32), layers=1, backend=backend)
        covered = drawn.face_index[0, :, :, 0] >= 0
        row, column = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        assert torch.equal(covered, (row > 0) & (column > 0) & (row + column < 8))

    def test_faces_behind_or_without_area_or_nan_are_skipped(self, backend):
        touching = _covering_triangle(FRONT)
        touching[1] = [200.0, 200.0, 0.0]
        flat = [[0.0, 0.0, 1.0], [10.0, 10.0, 1.0], [20.0, 20.0, 1.0]]
        undefined = _covering_triangle(float("nan"))
        undefined_place = [[float("nan"), 1.0, 1.0], [5.0, 1.0, 1.0], [5.0, 9.0, 1.0]]
        drawn = _draw(
            [touching, flat, undefined, undefined_place, _covering_triangle(OUTSIDE)], backend, layers=1
        )
        assert (drawn.face_index == 4).all()

    def test_culling_keeps_counter_clockwise_on_screen(self, backend):
        front = _covering_triangle(BACK)
        back = [front[0], front[2], front[1]]
        nearer_back = [[u, v, FRONT] for u, v, _ in back]
        drawn = _draw([front, nearer_back], backend, layers=1, cull_back_faces=True)
        assert (drawn.face_index == 0).all()
        drawn = _draw([front, nearer_back], backend, layers=1)
        assert (drawn.face_index == 1).all()

    def test_no_faces(self, backend):
        drawn = rasterize(torch.rand(2, 4, 3), torch.zeros(0, 3).long(), IMAGE_SIZE, backend=backend)
        assert drawn.face_index.shape == (2, *IMAGE_SIZE, 2)
        assert (drawn.face_index == -1).all()
        assert (drawn.depth == -1).all()

    def test_gives_no_gradient(self, backend, random_triangles):
        screen, faces = random_triangles(seed=5)
        drawn = rasterize(screen.requires_grad_(), faces, IMAGE_SIZE, backend=backend)
        assert not drawn.barycentric.requires_grad
        assert not drawn.depth.requires_grad


def _areas(corners: torch.Tensor) -> torch.Tensor:
    (u1, v1), (u2, v2) = (corners[:, k, :2].sub(corners[:, 0, :2]).unbind(-1) for k in (1, 2))
    return (u1 * v2 - u2 * v1).abs()


class TestErrors:
    def test_unknown_backend_lists_the_known_ones(self):
        with pytest.raises(UserError, match=r"unknown raster backend 'opengl'.*numba.*triton"):
            _draw([_covering_triangle(1.0)], backend="opengl")

    @pytest.mark.parametrize("package", ["triton", "pytorch3d"])
    def test_missing_package_is_named(self, package, monkeypatch):
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name == package else find_spec(name, *rest),
        )
        with pytest.raises(UserError, match=f"needs the package {package}"):
            _draw([_covering_triangle(1.0)], backend=package)

    def test_wrong_device_for_numba(self):
        with pytest.raises(UserError, match="runs on the CPU"):
            rasterize(torch.rand(1, 3, 3, device="meta"), torch.zeros(1, 3).long(), (4, 4), backend="numba")

    def test_shapes(self):
        with pytest.raises(ValueError, match="screen must be"):
            rasterize(torch.rand(3, 3), torch.zeros(1, 3).long(), (4, 4))
        with pytest.raises(ValueError, match="faces must be"):
            rasterize(torch.rand(1, 3, 3), torch.zeros(1, 3), (4, 4))
        with pytest.raises(ValueError, match="layers"):
            rasterize(torch.rand(1, 3, 3), torch.zeros(1, 3).long(), (4, 4), layers=0)


def test_the_chosen_backend_is_used_and_restored(monkeypatch, random_triangles):
    used = []
    for module, function in ((raster_numba, "rasterize_numba"), (raster_reference, "rasterize_reference")):
        own = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *a, own=own, name=function: used.append(name) or own(*a))
    screen, faces = random_triangles(seed=3)
    with raster_backend("reference"):
        rasterize(screen, faces, IMAGE_SIZE)
        with raster_backend("numba"):
            rasterize(screen, faces, IMAGE_SIZE)
        rasterize(screen, faces, IMAGE_SIZE)
        rasterize(screen, faces, IMAGE_SIZE, backend="numba")  # an explicit argument takes precedence
    assert used == ["rasterize_reference", "rasterize_numba", "rasterize_reference", "rasterize_numba"]
    assert chosen_raster_backend() == "auto"
    with pytest.raises(UserError, match="unknown raster backend 'opengl'"):
        set_raster_backend("opengl")
    assert chosen_raster_backend() == "auto"
