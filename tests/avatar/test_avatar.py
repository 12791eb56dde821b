"""The avatar: offsets, conditions, and rendering."""

import dataclasses

import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.drawn_parts import DRAWN_PARTS, drawn_tables
from nha.avatar.settings import AvatarSettings
from nha.core.device import accelerator_path
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.rotations import rotation_matrix
from nha.head.joint_limits import neck_angles
from tests.avatar.conftest import camera, facing_params
from tests.small import SMALL


def test_an_untrained_avatar_is_the_plain_head(head):
    avatar = NeuralHeadAvatar(head, SMALL, max_frame_id=3)
    params = avatar.corrected(facing_params(head, 2), torch.tensor([0, 3]))
    surface = avatar.surface(params)
    assert (surface.offsets == 0).all()
    torch.testing.assert_close(surface.vertices, head(facing_params(head, 2)))


def test_offsets_equal_a_blend_of_two_full_evaluations(avatar, head):
    neck = 0.5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    condition = rotation_matrix(neck_angles(neck)).flatten(1)
    points = torch.cat([head.template_normed[head.offset_vertices], avatar.vertex_features[0]], 1)
    dynamic = avatar.offset_net(points, condition)
    static = avatar.offset_net(points, torch.zeros_like(condition))
    weight = head.soft_labels[head.offset_vertices][:, head.part("neck"), None].clamp(0, 1)
    slow = torch.zeros(3, head.n_vertices, 3)
    slow[:, head.offset_vertices] = weight * dynamic + (1 - weight) * static
    torch.testing.assert_close(avatar.offsets(neck), slow, atol=1e-8, rtol=1e-5)
    assert (avatar.offsets(neck)[0] - avatar.offsets(neck)[1]).abs().max() > 0


def test_no_gradient_from_the_offsets_into_the_pose(avatar):
    neck = torch.zeros(1, 3, requires_grad=True)
    offsets = avatar.offsets(neck)
    assert not (torch.autograd.grad(offsets.sum(), neck, allow_unused=True)[0] is not None)


def test_image_is_white_outside_and_depends_on_every_network(avatar, head):
    params = facing_params(head, 2).detach()
    frames = torch.tensor([0, 1])
    rgba = avatar(params, camera(2), frames)
    assert rgba.shape == (2, 4, 48, 56)
    rgb, alpha = rgba[:, :3], rgba[:, 3:]
    assert 0.1 < alpha.mean() < 0.9
    assert (rgb[(alpha == 0).expand_as(rgb)] == 1).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    rgba[:, :3].sum().backward()
    for name, parameter in avatar.named_parameters():
        unused = name.startswith(("frame_parameters", "texture_net.mapping", "neural_texture.mouth"))
        assert unused or (parameter.grad is not None and parameter.grad.abs().sum() > 0), name


def test_mouth_features_carry_no_gradient(avatar, head):
    surface = avatar.surface(avatar.corrected(facing_params(head, 1), torch.tensor([0])))
    assert not avatar.mouth_features(surface).requires_grad


def test_free_posing_adds_only_the_learned_shape(avatar, head):
    tracked = facing_params(head, 1)
    free, frame = avatar.corrected(tracked, None), avatar.corrected(tracked, torch.tensor([2]))
    torch.testing.assert_close(free.shape, frame.shape)
    torch.testing.assert_close(free.expr, tracked.expr)
    assert not torch.equal(frame.expr, tracked.expr)
    unknown = avatar.corrected(tracked, torch.tensor([99]))
    torch.testing.assert_close(unknown.expr, tracked.expr)


def test_mouth_features_are_clipped_at_inference_only(avatar):
    features = torch.randn(2, 13)
    avatar.condition_ranges.set_range("mouth", torch.stack([features[0] - 0.1, features[0] + 0.1]))
    clipped = avatar.texture_condition(features)
    assert torch.equal(clipped[0], avatar.train().texture_condition(features)[0])
    assert not torch.allclose(clipped[1], avatar.texture_condition(features)[1])
    torch.testing.assert_close(clipped[1, :10], features[1].clamp(features[0] - 0.1, features[0] + 0.1)[:10])


def test_soft_clip_changes_only_the_rotation(avatar, head):
    features = torch.randn(1, 13)
    out = avatar.train().texture_condition(features)
    assert torch.equal(out[:, :10], features[:, :10])
    torch.testing.assert_close(out[:, 10:], torch.tanh(features[:, 10:] / (torch.pi / 4) * 0.1))
    avatar.settings = dataclasses.replace(SMALL, soft_clip_sigma=0.0)
    assert torch.equal(avatar.texture_condition(features), features)


def test_frames_of_a_batch_are_independent(avatar, head):
    params = facing_params(head, 2)
    both = avatar(params, camera(2), torch.tensor([0, 1]))
    one = avatar(params[1:], camera(1), torch.tensor([1]))
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=0)


def test_drawn_tables_hold_the_named_parts(head):
    tables = drawn_tables(head)
    assert tables.part_names == DRAWN_PARTS
    for column, name in enumerate(DRAWN_PARTS):
        assert torch.equal(tables.hard_labels[:, column], head.hard_labels[:, head.part(name)])


def test_published_settings_give_the_published_sizes(head):
    avatar = NeuralHeadAvatar(head, AvatarSettings(subdivide_mesh=0), max_frame_id=7)
    shapes = {name: tuple(value.shape) for name, value in avatar.state_dict().items()}
    assert shapes["offset_net.layers.0.weight"] == (128, 35)
    assert shapes["offset_net.mapping.output.weight"] == (1536, 256)
    assert shapes["texture_net.layers.0.weight"] == (256, 67)
    assert shapes["texture_net.dynamic_layer.weight"] == (128, 288)
    assert shapes["texture_net.mapping.output.weight"] == (4352, 256)
    assert shapes["normal_encoder.mapping.output.weight"] == (768, 256)
    assert shapes["neural_texture.head"] == (1, 64, 256, 256)
    assert shapes["frame_parameters.expr"] == (8, 100)


def test_head_without_mouth_features_is_an_error(head):
    from nha.core.errors import UserError

    assert head.has_mouth_features
    head.has_mouth_features = False
    try:
        with pytest.raises(UserError, match="no mouth features"):
            NeuralHeadAvatar(head, SMALL, max_frame_id=1)
    finally:
        head.has_mouth_features = True


def test_render_is_pose_rasterise_paint(avatar, head):
    params, cameras, frames = facing_params(head, 2), camera(2), torch.tensor([0, 3])
    rendering = avatar.render(params, cameras, frame_ids=frames, channels=("depth",))
    surface = avatar.surface(avatar.corrected(params, frames))
    gbuffer = avatar.rasterize(surface, cameras, ("normals", "depth"))
    assert torch.equal(rendering.surface.vertices, surface.vertices)
    assert torch.equal(rendering.gbuffer["depth"], gbuffer["depth"])
    assert torch.equal(rendering.rgb01, avatar.paint(gbuffer, avatar.mouth_features(surface)))
    assert torch.equal(rendering.rgba, avatar(params, cameras, frames))
    again = avatar.render(surface.params, cameras, corrected=True)
    assert torch.equal(again.rgb01, rendering.rgb01)
    other_neck = avatar.render(surface.params, cameras, corrected=True, offset_neck=surface.params.neck + 0.5)
    assert not torch.equal(other_neck.surface.offsets, surface.offsets)


def test_render_without_colours_has_only_the_requested_channels(avatar, head):
    rendering = avatar.render(facing_params(head, 1), camera(1), channels=("depth",), paint=False)
    assert rendering.rgb01 is None
    assert set(rendering.gbuffer.channels) == {"alpha", "depth"}


def test_render_paints_only_the_chosen_pixels(avatar, head):
    params, cameras = facing_params(head, 1), camera(1)

    def upper_half(covered):
        chosen = covered.clone()
        chosen[:, :, covered.shape[2] // 2 :] = False
        return chosen

    whole = avatar.render(params, cameras)
    half = avatar.render(params, cameras, choose_pixels=upper_half)
    painted = half.painted.expand_as(half.rgb01)
    assert 0 < half.painted.sum() < (whole.alpha > 0.5).sum()
    torch.testing.assert_close(half.rgb01[painted], whole.rgb01[painted])
    assert (half.rgb01[~painted] == 1).all()


def test_lists_of_fixed_length_give_the_same_image_and_gradients(avatar, monkeypatch):
    """The path of accelerators: padded lists of pixels, operations of plain torch."""
    monkeypatch.setenv("NHA_FUSED_KERNELS", "0")
    params = facing_params(avatar.head, 2)

    def drawn(lengths):
        avatar.zero_grad()
        with fixed_lengths(lengths):
            rendering = avatar.render(
                params, camera(2), channels=("screen_coords", "hard_labels", "soft_labels")
            )
        rendering.rgb01.square().mean().backward()
        gradients = [p.grad.clone() for p in avatar.texture_net.parameters()]
        return rendering, gradients

    exact, exact_gradients = drawn(None)
    with accelerator_path():
        padded, padded_gradients = drawn(ListLengths())
    assert 0.02 < exact.alpha.mean() < 0.98
    torch.testing.assert_close(padded.rgba, exact.rgba, atol=1e-6, rtol=0)
    for name in ("normals", "screen_coords", "hard_labels", "soft_labels"):
        torch.testing.assert_close(padded.gbuffer[name], exact.gbuffer[name], atol=1e-6, rtol=0)
    torch.testing.assert_close(padded_gradients, exact_gradients, atol=1e-7, rtol=1e-3)
