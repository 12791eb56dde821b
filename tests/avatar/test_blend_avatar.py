"""The blend model: linear offsets, mirrored sides, colours, coverage."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch

from nha.avatar import offset_smoothing
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.drive import LANDMARK_PAIRS, Drive, raw_drive
from nha.avatar.open import build_avatar, load_avatar, save_avatar
from nha.core.device import accelerator_path
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.head.load import load_head
from nha.nets.texture_net import TextureNet
from tests.avatar.conftest import camera, facing_params
from tests.small import SMALL_BLEND


@pytest.fixture
def blend(head) -> BlendAvatar:
    torch.manual_seed(0)
    avatar = BlendAvatar(head, SMALL_BLEND, max_frame_id=5).eval()
    with torch.no_grad():
        avatar.static_offsets.normal_(0, 2e-3)
        avatar.shapes.normal_(0, 2e-3)
        for texture in (avatar.head_texture, avatar.mouth_texture):
            for level in (*texture.mean.levels, *texture.basis.levels):
                level.add_(0.05 * torch.randn_like(level))
        avatar.light.normal_(0, 0.05)
        avatar.log_gain.normal_(0, 0.1)
    return avatar


def test_an_untrained_avatar_is_the_plain_head(head) -> None:
    avatar = BlendAvatar(head, SMALL_BLEND, max_frame_id=0).eval()
    surface = avatar.surface(facing_params(head, 2))
    assert torch.equal(surface.vertices, surface.plain_vertices)
    rendering = avatar.render(facing_params(head, 1), camera(1))
    inside = rendering.alpha[0, 0] == 1
    assert inside.any()
    torch.testing.assert_close(rendering.rgb01[0, :, inside], torch.full((3, int(inside.sum())), 0.5))


def test_offsets_are_morph_targets(blend) -> None:
    # static offsets plus weights times shapes, added in the rest pose: exactly what an engine does
    params = facing_params(blend.head, 3)
    params = params.replace(jaw=params.jaw + torch.linspace(0, 0.8, 3)[:, None])
    with torch.no_grad():
        coefficients = blend.shape_coefficients(blend.scaled_drive(params))
        zero = torch.zeros_like(coefficients[:1])
        static = blend.rest_offsets(zero)
        targets = torch.stack(
            [blend.rest_offsets(row[None])[0] - static[0] for row in torch.eye(coefficients.shape[1])]
        )
        expected = static + torch.einsum("ns,svc->nvc", coefficients, targets)
        surface = blend.surface(params)
        assert coefficients.std(0).max() > 0.01
        torch.testing.assert_close(surface.offsets, expected, rtol=1e-4, atol=1e-7)
        posed = blend.head.pose(params, rest_offsets=expected)
        torch.testing.assert_close(surface.vertices, posed.vertices, rtol=1e-5, atol=1e-6)


def test_shapes_move_their_region_only(blend) -> None:
    scalp = blend.head.soft_labels[blend.head.offset_vertices, blend.head.part("scalp")] >= 1
    neck = blend.head.soft_labels[blend.head.offset_vertices, blend.head.part("neck")] >= 1
    face, of_neck = blend.moved[:3, :, 0], blend.moved[3:, :, 0]
    assert (face[:, scalp | neck] == 0).all()
    assert (of_neck[:, neck & ~scalp] == 1).all()
    names = blend.drive.names
    assert (blend.driven[:3, names["view"]] == 0).all()
    assert (blend.driven[:, names["expression"]] == 0).all()


def test_both_sides_move_alike(blend) -> None:
    with torch.no_grad():
        blend.static_offsets.zero_()
        blend.static_offsets[40, :] = torch.tensor([0.001, 0.002, 0.003])
        offsets = blend.rest_offsets(torch.zeros(1, 5))[0, blend.head.offset_vertices]
    partner = blend.mirror_row[40]
    assert partner != 40
    assert blend.mirror_row[partner] == 40
    torch.testing.assert_close(offsets[partner] * torch.tensor([-1.0, 1, 1]), offsets[40])


def test_smoothing_keeps_constants_and_its_gradient_is_its_transpose(blend) -> None:
    n = len(blend.head.offset_vertices)
    torch.testing.assert_close(blend.smooth(torch.ones(1, n, 3)), torch.ones(1, n, 3))
    a, b = torch.randn(1, n, 3, requires_grad=True), torch.randn(1, n, 3)
    (blend.smooth(a) * b).sum().backward()
    torch.testing.assert_close(a.grad, blend.smooth(b))  # the matrix is symmetric


@pytest.mark.parametrize("largest_dense", [10_000, 0])
def test_all_ways_of_smoothing_are_equal(blend, monkeypatch, largest_dense) -> None:
    monkeypatch.setattr(offset_smoothing, "_LARGEST_DENSE", largest_dense)
    offsets = torch.randn(7, len(blend.head.offset_vertices), 3)  # more than one block of columns
    with accelerator_path():  # a dense matrix, or repeated sparse products
        expected = blend.smooth(offsets)
    torch.testing.assert_close(blend.smooth(offsets), expected)


def test_offsets_follow_changed_parameters(blend) -> None:
    coefficients = torch.randn(2, 5)
    for _ in range(2):
        expected = blend.rest_offsets(coefficients)  # with gradient: smoothed again
        with torch.no_grad():
            torch.testing.assert_close(blend.rest_offsets(coefficients), expected, rtol=1e-4, atol=1e-8)
            blend.shapes += 1e-3 * torch.randn_like(blend.shapes)
            blend.asymmetry += 1e-3 * torch.randn_like(blend.asymmetry)


def _speaking(blend) -> tuple:
    """Two poses with open mouths, in which both texture maps are seen, their cameras and frame ids."""
    params = facing_params(blend.head, 2)
    return params.replace(jaw=params.jaw + torch.tensor([1.0, 0, 0])), camera(2, 70, 64), torch.tensor([3, 9])


@pytest.fixture
def same_vertices(monkeypatch) -> None:
    """Vertices have the same rounding on both paths, of which the tests below compare what is drawn."""
    monkeypatch.setenv("NHA_FUSED_KERNELS", "0")
    monkeypatch.setattr(offset_smoothing, "_LARGEST_DENSE", 0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.usefixtures("same_vertices")
def test_kernels_of_the_cpu_give_the_images_and_gradients_of_plain_torch(blend, training) -> None:
    blend.train(training)
    params, view, frame_ids = _speaking(blend)
    with torch.no_grad():
        for level in blend.head_texture.mean.levels:
            level.add_(0.3 * torch.randn_like(level))  # colours below 0 and above 1, which are clamped
    weight = torch.randn(2, 4, 70, 64)
    results = []
    for path in (contextlib.nullcontext(), accelerator_path()):
        blend.zero_grad()
        with path:
            rendering = blend.render(params, view, frame_ids=frame_ids)
            (rendering.rgba * weight).sum().backward()
        assert (rendering.gbuffer["uvmap"] > 0).any()
        gradients = {name: p.grad.clone() for name, p in blend.named_parameters() if p.grad is not None}
        results.append((rendering.rgba.detach(), gradients))
    (image, gradients), (expected_image, expected) = results
    torch.testing.assert_close(image, expected_image, rtol=0, atol=1e-5)
    if not training:
        assert (image[:, :3] == 0).any()
        assert (image[:, :3] <= 1).all()
    assert gradients.keys() == expected.keys() >= {"light", "log_gain", "head_texture.mean.levels.0"}
    for name, gradient in gradients.items():
        scale = expected[name].abs().max().item() + 1e-6
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4 * scale, msg=name)


@pytest.mark.usefixtures("same_vertices")
def test_images_follow_changed_textures(blend) -> None:
    params, view, _ = _speaking(blend)
    with torch.no_grad():
        for texture in (blend.head_texture, blend.mouth_texture):
            before = blend.render(params, view).rgb01
            texture.basis.levels[-1].add_(1)
            assert not torch.equal(blend.render(params, view).rgb01, before)
        with accelerator_path():
            expected = blend.render(params, view).rgb01
        torch.testing.assert_close(blend.render(params, view).rgb01, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("same_vertices")
def test_channels_of_the_colours_are_drawn_when_they_are_read(blend) -> None:
    params, view, _ = _speaking(blend)
    gbuffer = blend.render(params, view, channels=("depth",)).gbuffer
    assert set(gbuffer.channels) == {"alpha", "depth", "normals", "uvcoords", "uvmap"}
    with accelerator_path():
        expected = blend.render(params, view, channels=("depth",)).gbuffer
    for name in expected.channels:
        torch.testing.assert_close(gbuffer[name], expected[name], rtol=0, atol=1e-5)
    with pytest.raises(KeyError, match="no channel 'soft_labels'"):
        gbuffer["soft_labels"]


def test_the_drive_vector_of_a_surface_is_that_of_its_parameters(blend) -> None:
    params, view, _ = _speaking(blend)
    turn = rotation_matrix(torch.tensor([[0.0, 0.3, 0.1]])).expand(2, 3, 3)
    turned = dataclasses.replace(view, extrinsics=torch.cat([turn, torch.zeros(2, 3, 1)], 2))
    surface = blend.surface(params)
    expected = blend.scaled_drive(params, turned)
    torch.testing.assert_close(blend._texture_drive(surface, turned, None), expected)
    assert blend.surface(params, offset_neck=params.neck).drive is None


def test_drive_vector(head) -> None:
    params = facing_params(head, 3)
    raw = raw_drive(head, params, camera(3))
    drive = Drive(head.n_expr)
    assert raw.shape == (3, len(drive))
    view = raw[:, drive.names["view"]]
    torch.testing.assert_close(view[:, 1], -torch.linspace(0, 0.4, 3), atol=1e-5, rtol=0)
    points = head.landmarks(head(params))
    a, b = LANDMARK_PAIRS[4]
    distance = (points[:, a] - points[:, b]).norm(dim=1)
    torch.testing.assert_close(raw[:, 4], distance, atol=1e-6, rtol=1e-4)


def test_view_is_measured_to_the_camera(head) -> None:
    params = facing_params(head, 1)
    turned = camera(1)
    turn = rotation_matrix(torch.tensor([[0.0, 0.3, 0.0]]))
    turned = dataclasses.replace(turned, extrinsics=torch.cat([turn, torch.zeros(1, 3, 1)], 2))
    view = Drive(head.n_expr).names["view"]
    difference = raw_drive(head, params, turned)[:, view] - raw_drive(head, params, camera(1))[:, view]
    assert difference.norm().item() == pytest.approx(0.3, abs=1e-4)
    assert rotation_vector(turn).norm().item() == pytest.approx(0.3, abs=1e-4)


def test_drive_is_scaled_and_clipped_to_the_training_frames() -> None:
    drive = Drive(4)
    raw = torch.randn(50, len(drive)) * 3 + 1
    drive.measure(raw)
    scaled = drive(raw)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(len(drive)), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(len(drive)), atol=1e-4, rtol=0)
    assert torch.equal(drive(raw, clip=True), scaled)
    far = drive(raw + 100, clip=True)
    assert (far <= drive(drive.high[None]) + 1e-5).all()


def test_gain_applies_to_known_frames_only(blend) -> None:
    params = facing_params(blend.head, 2)
    gain = blend._gain(torch.tensor([3, 77]))
    torch.testing.assert_close(gain[0], blend.log_gain[3].exp())
    assert torch.equal(gain[1], torch.ones(3))
    free = blend.render(params[:1], camera(1)).rgb01
    framed = blend.render(params[:1], camera(1), frame_ids=torch.tensor([3])).rgb01
    assert not torch.equal(free, framed)


def test_gradients_reach_everything(blend) -> None:
    blend.train()
    rendering = blend.render(facing_params(blend.head, 2), camera(2), frame_ids=torch.tensor([0, 1]))
    (rendering.rgb01.square().sum() + rendering.alpha.sum()).backward()
    names = {"static_offsets", "asymmetry", "shapes", "shape_weights", "light", "log_gain"}
    for name in names:
        assert getattr(blend, name).grad.abs().sum() > 0, name
    assert blend.frame_parameters.translation.grad.abs().sum() > 0  # through the antialiased silhouette


def test_frames_of_a_batch_do_not_mix(blend) -> None:
    params, view = facing_params(blend.head, 2), camera(2)
    with torch.no_grad():
        both = blend.render(params, view)
        second = blend.render(params[1:], view[1:])
    torch.testing.assert_close(both.rgb01[1:], second.rgb01, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both.alpha[1:], second.alpha, rtol=1e-4, atol=1e-4)


def test_it_is_saved_and_opened(blend, tmp_path) -> None:
    path = save_avatar(tmp_path / "avatar.ckpt", blend, load_head("procedural"), {"head": "procedural"})
    opened = load_avatar(path)
    assert isinstance(opened, BlendAvatar)
    params = facing_params(blend.head, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            opened.render(params, camera(1)).rgb01, blend.render(params, camera(1)).rgb01
        )


def test_its_networks_cannot_be_replaced() -> None:
    with pytest.raises(UserError, match="only the published model has networks"):
        build_avatar(load_head("procedural"), SMALL_BLEND, 0, texture_net=TextureNet(4, 13, 4, 1, 8, 4))
