"""Antialiasing: meaning and gradients of the reference, the fast backends against it, and quality on a head."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from nha.core.errors import UserError
from nha.core.types import Fragments
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.render.antialias import EdgeTable, antialias
from nha.render.rasterize import raster_backend, rasterize

SIZE = (40, 44)  # H, W
NEAR, MIDDLE, FAR = 1.0, 1.5, 2.0


def sphere(subdivisions: int, centre=(21.3, 19.6), radius: float = 13.7) -> tuple[Tensor, Tensor]:
    """An icosphere on screen: screen [1, V, 3] and faces."""
    trimesh = pytest.importorskip("trimesh")  # a GPU machine need not have it
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    points = torch.from_numpy(mesh.vertices).float()
    # turned, so that no edge is parallel to the pixel grid
    points = points @ torch.linalg.matrix_exp(torch.tensor([[0, 0.3, 0.2], [-0.3, 0, 0.4], [-0.2, -0.4, 0]]))
    uv = points[:, :2] * radius + torch.tensor(centre)
    return torch.cat((uv, FAR + 0.5 * points[:, 2:]), dim=1)[None], torch.from_numpy(mesh.faces).long()


def sheet(lines: list[tuple[float, float]], top: float, bottom: float) -> tuple[Tensor, Tensor]:
    """A connected sheet of rectangles between vertical lines (u, z) from v = top to bottom."""
    screen = torch.tensor([[u, v, z] for u, z in lines for v in (top, bottom)])[None]
    faces = [
        face for k in range(0, 2 * len(lines) - 2, 2) for face in ((k, k + 1, k + 2), (k + 2, k + 1, k + 3))
    ]
    return screen, torch.tensor(faces)


def draw(screen: Tensor, faces: Tensor, size=SIZE) -> Fragments:
    return rasterize(screen, faces, size, layers=1)


def alpha_of(fragments: Fragments) -> Tensor:
    return (fragments.face_index[..., 0] >= 0).float()[:, None]


def alpha_image(screen: Tensor, faces: Tensor, backend="reference", size=SIZE) -> Tensor:
    """Antialiased alpha [N, H, W]."""
    fragments = draw(screen, faces, size)
    values = alpha_of(fragments).to(screen.dtype)
    return antialias(values, fragments, screen, faces, EdgeTable.from_faces(faces), backend=backend)[:, 0]


class TestEdgeTable:
    def test_neighbours_of_a_tetrahedron_and_an_open_strip(self):
        tetrahedron = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
        assert EdgeTable.from_faces(tetrahedron).neighbours.tolist() == [
            [1, 2, 3],
            [3, 2, 0],
            [1, 3, 0],
            [2, 1, 0],
        ]
        strip = torch.tensor([[0, 1, 2], [2, 1, 3]])
        assert EdgeTable.from_faces(strip).neighbours.tolist() == [[-1, 1, -1], [0, -1, -1]]

    def test_is_symmetric_on_a_closed_mesh(self):
        _, faces = sphere(3)
        neighbours = EdgeTable.from_faces(faces).neighbours
        assert (neighbours >= 0).all()
        assert (neighbours[neighbours] == torch.arange(len(faces))[:, None, None]).any(-1).all()

    def test_moves_and_accepts_no_faces(self):
        table = EdgeTable.from_faces(torch.zeros(0, 3).long())
        assert table.neighbours.shape == (0, 3)
        assert table.to("meta").neighbours.device.type == "meta"


@pytest.mark.parametrize("backend", ["reference", "numba"])
class TestMeaning:
    def test_rectangle_covers_parts_of_pixels(self, backend):
        screen, faces = sheet([(4.3, NEAR), (10.2, NEAR)], 6.4, 20.9)
        alpha = alpha_image(screen, faces, backend)[0]
        torch.testing.assert_close(alpha[10, 3:12], torch.tensor([0, 0.7, 1, 1, 1, 1, 1, 0.2, 0]))
        torch.testing.assert_close(alpha[5:8, 7], torch.tensor([0, 0.6, 1]))
        torch.testing.assert_close(alpha[19:22, 7], torch.tensor([1, 0.9, 0]))

    @pytest.mark.parametrize("subdivisions", [1, 2, 4])
    def test_sum_of_alpha_is_the_area_wherever_the_sphere_lies(self, backend, subdivisions):
        sums, plain = [], []
        for k in range(8):
            screen, faces = sphere(subdivisions, (21 + k / 8, 19.6 - k / 11))
            sums.append(alpha_image(screen, faces, backend).sum())
            plain.append(alpha_of(draw(screen, faces)).sum())
        area = ConvexHull(screen[0, :, :2].double().numpy()).volume  # of two dimensions
        error = (torch.stack(sums) / area - 1).abs().max()
        assert error < 1.5e-3
        assert error < 0.3 * (torch.stack(plain) / area - 1).abs().max()

    def test_nothing_changes_inside(self, backend):
        screen, faces = sphere(4)
        fragments = draw(screen, faces)
        values = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
        blended = antialias(values, fragments, screen, faces, EdgeTable.from_faces(faces), backend=backend)
        covered = alpha_of(fragments)
        near_rim = torch.nn.functional.max_pool2d(1 - covered, 3, 1, 1) - (1 - covered) > 0
        outside = torch.nn.functional.max_pool2d(covered, 3, 1, 1) == 0
        inside = (covered > 0) & ~near_rim
        assert inside.sum() > 300
        assert torch.equal(
            blended[(inside | outside).expand_as(values)], values[(inside | outside).expand_as(values)]
        )
        assert (blended != values).any(1).sum() > 60

    def test_layers_of_one_folded_surface_blend(self, backend):
        # An ear in front of a head: the sheet turns back at u = 30.4 and again at u = 12.6, and runs on in front.
        screen, faces = sheet([(3.0, FAR), (30.4, FAR), (12.6, MIDDLE), (40.2, NEAR)], -5.0, 60.0)
        fragments = draw(screen, faces)
        front = (fragments.face_index[..., 0] >= 4).float()[:, None]
        values = torch.cat((front, alpha_of(fragments)), dim=1)
        blended = antialias(values, fragments, screen, faces, EdgeTable.from_faces(faces), backend=backend)
        torch.testing.assert_close(blended[0, 0, 15, 11:15], torch.tensor([0, 0.4, 1, 1]))
        assert (
            blended[0, 1, 15, 4:39] == 1
        ).all()  # the boundary inside the silhouette does not change alpha

    def test_the_far_surface_blends_where_it_is_drawn_in_front(self, backend):
        # The eyelid rule shows the lid (faces 2, 3), although the eyeball lies in front of it.
        eyeball, faces = sheet([(3.2, NEAR), (30.4, NEAR)], 4.0, 30.0)
        lid, _ = sheet([(3.2, MIDDLE), (15.3, MIDDLE)], 4.0, 30.0)
        screen, faces = torch.cat((eyeball, lid), dim=1), torch.cat((faces, faces + 4))
        both = rasterize(screen, faces, SIZE, layers=2)
        lid_seen = (both.face_index[..., 1] >= 0).long()[..., None]  # [1, H, W, 1]
        fragments = Fragments(
            both.face_index.gather(3, lid_seen),
            both.barycentric.gather(3, lid_seen[..., None].expand(-1, -1, -1, -1, 3)),
            both.depth.gather(3, lid_seen),
        )
        is_lid = (fragments.face_index[..., 0] >= 2).float()[:, None]
        blended = antialias(is_lid, fragments, screen, faces, EdgeTable.from_faces(faces), backend=backend)
        torch.testing.assert_close(blended[0, 0, 15, 13:17], torch.tensor([1, 1, 0.3, 0]))

    def test_a_hole_in_one_pixel_does_not_exceed_the_values(self, backend):
        # four rectangles around a hole of 0.2 x 0.2 pixels: each gives the pixel a share of 0.4
        sheets = [
            sheet([(0.0, NEAR), (10.4, NEAR)], 0.0, 40.0),
            sheet([(10.6, NEAR), (30.0, NEAR)], 0.0, 40.0),
            sheet([(10.4, FAR), (10.6, FAR)], 0.0, 10.4),
            sheet([(10.4, FAR), (10.6, FAR)], 10.6, 40.0),
        ]
        screen = torch.cat([screen for screen, _ in sheets], dim=1)
        faces = torch.cat([faces + 4 * k for k, (_, faces) in enumerate(sheets)])
        fragments = draw(screen, faces)
        assert alpha_of(fragments)[0, 0, 10, 10] == 0
        alpha = alpha_image(screen, faces, backend)[0]
        assert alpha.max() <= 1
        assert alpha[10, 10] > 0.75

    def test_batch_is_independent(self, backend):
        (one, faces), (two, _) = sphere(2), sphere(2, (9.0, 30.2), 20.0)
        screen = torch.cat((one, two))
        together = alpha_image(screen, faces, backend)
        assert torch.equal(together[0], alpha_image(one, faces, backend)[0])
        assert torch.equal(together[1], alpha_image(two, faces, backend)[0])

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 2)])
    def test_small_and_empty_images(self, backend, size):
        screen, faces = sphere(1, (2.0, 2.0), 1.7)
        assert ((alpha_image(screen, faces, backend, size) - 0.5).abs() <= 0.5).all()
        away = screen + torch.tensor([100.0, 0, 0])
        assert (alpha_image(away, faces, backend, size) == 0).all()
        no_faces = torch.zeros(0, 3).long()
        assert (alpha_image(screen, no_faces, backend, size) == 0).all()

    def test_undefined_and_far_off_corners_give_finite_results(self, backend, random_triangles):
        screen, faces = random_triangles(seed=5)
        screen[0, faces[6, 0], 0] = torch.nan
        screen[1, faces[7, 0], 1] = torch.inf
        screen[1, faces[8, 1]] = torch.tensor([3e37, -3e37, 1.0])
        screen.requires_grad_()
        fragments = rasterize(screen, faces, SIZE, layers=1)
        values = torch.rand(2, 2, *SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        blended = antialias(values, fragments, screen, faces, EdgeTable.from_faces(faces), backend=backend)
        assert ((blended - 0.5).abs() <= 0.5).all()
        blended.square().sum().backward()
        assert values.grad.isfinite().all()
        assert screen.grad.isfinite().all()


class TestGradients:
    def test_reference_against_finite_differences(self):
        """With fixed fragments, in double precision, along random directions."""
        screen, faces = sphere(1, (6.3, 5.6), 4.1)
        fragments, edges = draw(screen, faces, (11, 12)), EdgeTable.from_faces(faces)
        generator = torch.Generator().manual_seed(2)
        values, weights = torch.rand(2, 1, 2, 11, 12, generator=generator).double()
        screen = screen.double()

        def weighted_sum(v: Tensor, s: Tensor) -> Tensor:
            return (weights * antialias(v, fragments, s, faces, edges, backend="reference")).sum()

        inputs = (values.requires_grad_(), screen.requires_grad_())
        gradients = torch.autograd.grad(weighted_sum(*inputs), inputs)
        assert gradients[1][..., :2].abs().max() > 0.1
        for _ in range(5):
            directions = [torch.randn(tensor.shape, generator=generator).double() for tensor in inputs]
            ahead, behind = (
                weighted_sum(*(x.detach() + sign * 1e-5 * d for x, d in zip(inputs, directions, strict=True)))
                for sign in (1, -1)
            )
            slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
            torch.testing.assert_close((ahead - behind) / 2e-5, slope, atol=1e-7, rtol=1e-7)

    @pytest.mark.parametrize("backend", ["reference", "numba"])
    @pytest.mark.parametrize("direction", ["u", "v", "radius"])
    def test_gradient_predicts_the_newly_drawn_image(self, backend, direction):
        """A weighted sum of alpha changes with the sphere as its gradient says, across changes of visibility."""
        weights = torch.linspace(0, 1, SIZE[1]) ** 2 + torch.linspace(1, 0, SIZE[0])[:, None] ** 2
        screen, faces = sphere(3)
        centre = torch.tensor([21.3, 19.6])
        motion = torch.zeros_like(screen)
        if direction == "radius":
            motion[..., :2] = (screen[..., :2] - centre) / 13.7
        else:
            motion[..., "uv".index(direction)] = 1
        step, slopes, changes = 0.15, [], []
        for k in range(10):
            at = screen + motion * (k * 0.3)
            moving = at.clone().requires_grad_()
            (weights * alpha_image(moving, faces, backend)).sum().backward()
            slopes.append((moving.grad * motion).sum())
            ahead, behind = (alpha_image(at + sign * step * motion, faces, backend) for sign in (1, -1))
            changes.append((weights * (ahead - behind)).sum() / (2 * step))
        slope, change = torch.stack(slopes), torch.stack(changes)
        assert change.abs().mean() > 3
        assert (slope - change).abs().mean() < 0.06 * change.abs().mean()

    def test_a_mask_moves_a_sphere_into_its_place(self):
        screen, faces = sphere(2, (18.0, 22.0), 11.0)
        wanted, _ = sphere(2, (24.3, 18.4), 14.2)
        mask, edges, start = (
            alpha_image(wanted, faces, "numba"),
            EdgeTable.from_faces(faces),
            torch.tensor([18.0, 22.0]),
        )
        shift, growth = torch.zeros(2, requires_grad=True), torch.ones(1, requires_grad=True)
        optimizer = torch.optim.Adam([{"params": [shift], "lr": 0.4}, {"params": [growth], "lr": 0.03}])
        for _ in range(100):
            moved = torch.cat(((screen[..., :2] - start) * growth + start + shift, screen[..., 2:]), dim=2)
            fragments = draw(moved.detach(), faces)
            alpha = antialias(alpha_of(fragments), fragments, moved, faces, edges)[:, 0]
            optimizer.zero_grad()
            (alpha - mask).square().sum().backward()
            optimizer.step()
        torch.testing.assert_close((start + shift).detach(), torch.tensor([24.3, 18.4]), atol=0.05, rtol=0)
        torch.testing.assert_close(11 * growth.detach(), torch.tensor([14.2]), atol=0.05, rtol=0)

    def test_area_of_a_rectangle(self):
        screen, faces = sheet([(4.3, NEAR), (10.2, NEAR)], 6.4, 20.9)
        screen.requires_grad_()
        alpha_image(screen, faces).sum().backward()
        left, right = screen.grad[0, :2, 0].sum(), screen.grad[0, 2:, 0].sum()
        torch.testing.assert_close(torch.stack((left, right)), torch.tensor([-15.0, 15.0]))  # rows 6 to 20
        assert (screen.grad[..., 2] == 0).all()


def random_scene(random_triangles, seed: int, faces: int = 60):
    screen, index = random_triangles(seed, faces=faces)
    return screen, index, rasterize(screen, index, (29, 41), layers=1)


def compare_with_reference(
    backend: str, device: str, screen: Tensor, faces: Tensor, fragments: Fragments
) -> None:
    edges, generator = EdgeTable.from_faces(faces), torch.Generator().manual_seed(3)
    batch, height, width = fragments.face_index.shape[:3]
    values = torch.rand(batch, 4, height, width, generator=generator)
    upstream = torch.randn(values.shape, generator=generator)
    results = []
    for name, where in (("reference", "cpu"), (backend, device)):
        v, s = (tensor.detach().to(where).requires_grad_() for tensor in (values, screen))
        blended = antialias(v, fragments.to(where), s, faces.to(where), edges.to(where), backend=name)
        gradients = torch.autograd.grad((blended * upstream.to(where)).sum(), (v, s))
        results.append([tensor.cpu() for tensor in (blended, *gradients)])
    (slow, slow_values, slow_screen), (fast, fast_values, fast_screen) = results
    assert (slow != values).any(1).sum() > 30
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=0)
    torch.testing.assert_close(fast_values, slow_values, atol=2e-6, rtol=0)
    torch.testing.assert_close(fast_screen, slow_screen, atol=1e-4, rtol=1e-5)
    assert slow_screen.abs().max() > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_numba_equals_reference_on_random_triangles(seed, random_triangles):
    compare_with_reference("numba", "cpu", *random_scene(random_triangles, seed))


@pytest.mark.parametrize("subdivisions", [1, 3])
def test_numba_equals_reference_on_spheres(subdivisions):
    (one, faces), (two, _) = sphere(subdivisions), sphere(subdivisions, (9.0, 30.2), 20.0)
    screen = torch.cat((one, two))
    compare_with_reference("numba", "cpu", screen, faces, draw(screen, faces))


@pytest.mark.triton
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="the package triton is not installed")
@pytest.mark.parametrize("scene", ["triangles", "sphere"])
def test_triton_equals_reference(scene, random_triangles):
    import triton  # only here: an optional package

    interpreted = triton.knobs.runtime.interpret
    if not interpreted and not torch.cuda.is_available():
        pytest.skip("Triton needs a CUDA device, or TRITON_INTERPRET=1")
    if scene == "triangles":
        screen, faces, fragments = random_scene(random_triangles, seed=7, faces=20)
    else:
        screen, faces = sphere(2, (9.3, 8.6), 6.7)
        fragments = draw(screen, faces, (17, 19))
    compare_with_reference("triton", "cpu" if interpreted else "cuda", screen, faces, fragments)


def test_values_in_double_and_half_precision_keep_their_type():
    screen, faces = sphere(2)
    fragments, edges = draw(screen, faces), EdgeTable.from_faces(faces)
    alpha = alpha_of(fragments)
    single = antialias(alpha, fragments, screen, faces, edges)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 1e-2)):
        other = antialias(alpha.to(dtype), fragments, screen, faces, edges)
        assert other.dtype == dtype
        torch.testing.assert_close(other.float(), single, atol=tolerance, rtol=0)


def test_the_chosen_raster_backend_is_used(monkeypatch):
    from nha.render import antialias_numba, antialias_reference

    used = []
    for module, function in (
        (antialias_numba, "antialias_numba"),
        (antialias_reference, "antialias_reference"),
    ):
        own = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *a, own=own, name=function: used.append(name) or own(*a))
    screen, faces = sphere(1)
    fragments, edges = draw(screen, faces), EdgeTable.from_faces(faces)
    with raster_backend("reference"):
        antialias(alpha_of(fragments), fragments, screen, faces, edges)
    antialias(alpha_of(fragments), fragments, screen, faces, edges)
    assert used == ["antialias_reference", "antialias_numba"]


def test_errors():
    screen, faces = sphere(1)
    fragments, edges, values = draw(screen, faces), EdgeTable.from_faces(faces), torch.zeros(1, 3, *SIZE)
    with pytest.raises(ValueError, match="values must be"):
        antialias(values[..., :-1], fragments, screen, faces, edges)
    with pytest.raises(ValueError, match="screen must be"):
        antialias(values, fragments, screen[0], faces, edges)
    with pytest.raises(ValueError, match="table of 80 faces"):
        antialias(values, fragments, screen, faces[:3], edges)
    with pytest.raises(UserError, match="unknown raster backend"):
        antialias(values, fragments, screen, faces, edges, backend="opengl")


def psnr(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10((image - truth).square().mean())


def test_head_comes_close_to_its_supersampled_image():
    """Depth-shaded heads at 64 x 64 against the mean of 8 x 8 samples per pixel."""
    head = HeadModel(load_head("procedural"))
    faces, side, samples = head.tables.faces, 64, 8
    params = head.neutral_params(2)
    params = params.replace(rotation=torch.tensor([[0.0, math.pi, 0.0], [0.0, math.pi + 0.7, 0.0]]))
    with torch.no_grad():
        points = head(params)
    points = points - points.mean(1, keepdim=True)
    uv = side / 2 + points[..., :2] * torch.tensor([-1.0, -1.0]) * side / 0.35
    screen = torch.cat((uv, 1 + points[..., 2:]), dim=2)

    def image_of(scale: int) -> tuple[Fragments, Tensor]:
        fragments = draw(screen * torch.tensor([scale, scale, 1.0]), faces, (side * scale, side * scale))
        alpha = alpha_of(fragments)
        shade = torch.where(alpha > 0, (fragments.depth[..., 0][:, None] - 0.85) * 2, 1.0)
        return fragments, torch.cat((shade, alpha), dim=1)

    truth = torch.nn.functional.avg_pool2d(image_of(samples)[1], samples)
    fragments, plain = image_of(1)
    blended = antialias(plain, fragments, screen, faces, EdgeTable.from_faces(faces))
    for channel, gain in ((0, 5), (1, 8)):  # shaded image, alpha
        gained = psnr(blended[:, channel], truth[:, channel]) - psnr(plain[:, channel], truth[:, channel])
        assert gained > gain
