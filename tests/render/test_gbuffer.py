"""The G-buffer: its channels, the eyelid rule, and where gradients flow."""

from __future__ import annotations

import pytest
import torch

from nha.core.mesh import vertex_normals
from nha.core.types import Camera, Fragments, SurfaceTables
from nha.render.camera import pixels_to_ndc, project
from nha.render.gbuffer import CHANNELS, _take_second, draw_gbuffer, visible_surface

PARTS = ("left_eye_region", "left_eyeball", "right_eye_region", "right_eyeball")


@pytest.fixture
def tetrahedra() -> torch.Tensor:
    """Two tetrahedra in front of the cameras, [2, 4, 3] metres."""
    vertices = torch.tensor([[0.0, 0.3, 2.0], [-0.3, -0.2, 1.9], [0.3, -0.2, 1.9], [0.0, 0.0, 2.4]])
    return torch.stack((vertices, vertices * 0.9 + torch.tensor([0.05, 0.0, 0.1])))


@pytest.fixture
def tables() -> SurfaceTables:
    generator = torch.Generator().manual_seed(0)
    return SurfaceTables(
        faces=torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]),
        face_uvcoords=torch.rand(4, 3, 3, generator=generator),
        face_uvmap=torch.tensor([1, 0, 1, 0]),
        face_coords_normed=torch.rand(4, 3, 3, generator=generator),
        hard_labels=torch.zeros(4, len(PARTS)),
        soft_labels=torch.rand(4, len(PARTS), generator=generator),
        part_names=PARTS,
    )


def test_channels_have_their_shapes_and_backgrounds(tetrahedra, tables, camera):
    drawn = draw_gbuffer(tetrahedra, tables, camera, CHANNELS)
    sizes = dict.fromkeys(CHANNELS, 3) | {"screen_coords": 2, "uvmap": 1, "depth": 1, "alpha": 1}
    sizes |= {"hard_labels": len(PARTS), "soft_labels": len(PARTS)}
    assert set(drawn.channels) == set(sizes)
    covered = drawn.alpha.bool().expand(2, 1, 29, 41)
    assert 20 < covered.sum() < 2 * 29 * 41 - 20
    for name, channels in sizes.items():
        assert drawn[name].shape == (2, channels, 29, 41)
        background = drawn[name][~covered.expand_as(drawn[name])]
        assert (background == (-1 if name == "depth" else 0)).all(), name
    assert drawn.fragments.face_index.shape == (2, 29, 41, 1)


def test_values_equal_a_plain_reference(tetrahedra, tables, camera):
    drawn = draw_gbuffer(tetrahedra, tables, camera, CHANNELS)
    n, row, column = drawn.alpha[:, 0].nonzero(as_tuple=True)
    face = drawn.fragments.face_index[n, row, column, 0]
    bary = drawn.fragments.barycentric[n, row, column, 0][..., None]
    normals = -vertex_normals(tetrahedra, tables.faces, 1e-6) @ camera.extrinsics[:, :, :3]
    ndc = pixels_to_ndc(project(tetrahedra, camera), camera.image_size)
    vertex_channels = {
        "normals": normals,
        "screen_coords": ndc,
        "hard_labels": tables.hard_labels.expand(2, -1, -1),
        "soft_labels": tables.soft_labels.expand(2, -1, -1),
    }
    for name, values in vertex_channels.items():
        expected = (values[n[:, None], tables.faces[face]] * bary).sum(1)
        torch.testing.assert_close(drawn[name][n, :, row, column], expected, msg=name)
    uvcoords = (tables.face_uvcoords[face] * bary).sum(1)
    torch.testing.assert_close(drawn["uvcoords"][n, :, row, column], uvcoords)
    assert torch.equal(drawn["uvmap"][n, 0, row, column], tables.face_uvmap[face].float())
    assert torch.equal(drawn["depth"][n, 0, row, column], drawn.fragments.depth[n, row, column, 0])


def test_screen_coordinates_have_the_gradient_of_the_corners(tetrahedra, tables, camera):
    vertices = tetrahedra.clone().requires_grad_()
    drawn = draw_gbuffer(vertices, tables, camera, ["screen_coords"])
    weights = torch.randn(drawn["screen_coords"].shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((drawn["screen_coords"] * weights).sum(), vertices)
    # the same sum with the barycentrics as constants
    twin = tetrahedra.clone().requires_grad_()
    n, row, column = drawn.alpha[:, 0].nonzero(as_tuple=True)
    face = drawn.fragments.face_index[n, row, column, 0]
    bary = drawn.fragments.barycentric[n, row, column, 0][..., None]
    corners = pixels_to_ndc(project(twin, camera), camera.image_size)[n[:, None], tables.faces[face]]
    (expected,) = torch.autograd.grad(((corners * bary).sum(1) * weights[n, :, row, column]).sum(), twin)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


def test_normals_point_to_the_camera_with_y_down(tables, camera):
    # a single face that points at the camera and slightly up (world y): its image normal has y < 0 and z > 0
    vertices = torch.tensor([[0.0, 0.3, 2.1], [0.3, -0.2, 1.9], [-0.3, -0.2, 1.9], [0.0, 0.0, 9.0]])[None]
    towards = torch.linalg.cross(vertices[0, 1] - vertices[0, 0], vertices[0, 2] - vertices[0, 0])
    order = [0, 1, 2] if towards[2] < 0 else [0, 2, 1]
    tables = tables.replace(
        faces=torch.tensor([order]), face_uvmap=torch.zeros(1), face_uvcoords=torch.zeros(1, 3, 3)
    )
    drawn = draw_gbuffer(vertices, tables, camera[:1], ["normals"])
    x, y, z = drawn["normals"][0][:, drawn.alpha[0, 0].bool()]
    assert (z > 0).all()
    assert (y < 0).all()
    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-6, rtol=0)


def test_only_requested_channels_are_drawn(tetrahedra, tables, camera):
    drawn = draw_gbuffer(tetrahedra, tables, camera, ["uvmap"])
    assert set(drawn.channels) == {"alpha", "uvmap"}
    with pytest.raises(ValueError, match=r"unknown G-buffer channels \['colour'\]"):
        draw_gbuffer(tetrahedra, tables, camera, ["colour"])


def test_gradients_reach_vertices_only_through_normals_and_screen_coords(tetrahedra, tables, camera):
    vertices = tetrahedra.requires_grad_()
    drawn = draw_gbuffer(vertices, tables, camera, CHANNELS)
    with_gradient = {name for name in drawn.channels if drawn[name].requires_grad}
    assert with_gradient == {"normals", "screen_coords"}
    for name in with_gradient:
        (gradient,) = torch.autograd.grad(drawn[name].square().sum(), vertices, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_channel_gradients_against_finite_differences(tetrahedra, tables, camera):
    camera = Camera(camera.intrinsics.double(), camera.extrinsics.double(), (7, 9))
    camera.intrinsics[:, :2] *= 0.22
    vertices = tetrahedra.double()
    step = 1e-6  # too small to move a pixel to another face; barycentrics are kept constant
    fixed = draw_gbuffer(vertices, tables, camera, ["normals", "screen_coords"])
    n, row, column = fixed.alpha[:, 0].nonzero(as_tuple=True)
    assert len(n) > 5
    corner = tables.faces[fixed.fragments.face_index[n, row, column, 0]]
    bary = fixed.fragments.barycentric[n, row, column, 0][..., None].double()

    def energy(v: torch.Tensor) -> torch.Tensor:
        normals = -vertex_normals(v, tables.faces, 1e-6) @ camera.extrinsics[:, :, :3]
        ndc = pixels_to_ndc(project(v, camera), camera.image_size)
        return sum((values[n[:, None], corner] * bary).sum(1).pow(3).sum() for values in (normals, ndc))

    moving = vertices.clone().requires_grad_()
    drawn = draw_gbuffer(moving, tables, camera, ["normals", "screen_coords"])
    (gradient,) = torch.autograd.grad(
        drawn["normals"].pow(3).sum() + drawn["screen_coords"].pow(3).sum(), moving
    )
    for index in [(0, 0, 0), (0, 1, 1), (1, 2, 2), (1, 0, 1)]:
        above, below = vertices.clone(), vertices.clone()
        above[index] += step
        below[index] -= step
        expected = (energy(above) - energy(below)) / (2 * step)
        torch.testing.assert_close(gradient[index], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("nearest", "second", "takes_second"),
    [
        (("left_eyeball",), ("left_eye_region",), True),
        (("right_eyeball",), ("right_eye_region",), True),
        (("left_eyeball",), ("right_eye_region",), False),
        (("left_eye_region",), ("left_eyeball",), False),
        (("left_eyeball",), (), False),
        ((), ("left_eye_region",), False),
        (("right_eyeball", "left_eyeball"), ("left_eye_region",), True),
    ],
)
def test_eyelid_rule(tables, nearest, second, takes_second):
    labels = torch.zeros(6, len(PARTS))
    for vertex, parts in ((2, nearest), (5, second)):  # one labelled corner is enough
        for part in parts:
            labels[vertex, PARTS.index(part)] = 1
    tables = tables.replace(faces=torch.tensor([[0, 1, 2], [3, 4, 5]]), hard_labels=labels)
    # Three pixels: both faces, only the nearest, none.
    two = Fragments(
        face_index=torch.tensor([[0, 1], [0, -1], [-1, -1]])[None, None],
        barycentric=torch.tensor(
            [[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [[0.2, 0.3, 0.5], [0, 0, 0]], [[0.0] * 3] * 2]
        )[None, None],
        depth=torch.tensor([[1.0, 2.0], [1.0, -1.0], [-1.0, -1.0]])[None, None],
    )
    before = two.face_index.clone()
    visible = visible_surface(two, tables)
    assert visible.face_index.flatten().tolist() == [1 if takes_second else 0, 0, -1]
    chosen = 1 if takes_second else 0
    assert torch.equal(visible.barycentric[0, 0, 0, 0], two.barycentric[0, 0, 0, chosen])
    assert visible.depth.flatten().tolist() == [1.0 + chosen, 1.0, -1.0]
    assert torch.equal(two.face_index, before)


def test_eyelid_rule_is_skipped_without_eye_parts(tables):
    tables = tables.replace(part_names=("a", "b", "c", "d"), hard_labels=torch.ones(4, 4))
    two = Fragments(torch.tensor([[[[0, 1]]]]), torch.rand(1, 1, 1, 2, 3), torch.tensor([[[[1.0, 2.0]]]]))
    assert visible_surface(two, tables).face_index.item() == 0


def test_the_second_layer_is_taken_where_marked():
    layers = torch.randn(2, 5, 6, 2, 3)
    where = torch.rand(2, 5, 6) > 0.7
    expected = torch.where(where[..., None, None], layers[:, :, :, 1:], layers[:, :, :, :1])
    assert torch.equal(_take_second(layers, where), expected)
    # the form of other devices
    on_meta = _take_second(layers.to("meta"), where.to("meta"))
    assert on_meta.shape == expected.shape
