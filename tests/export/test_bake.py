"""Baked textures: positions, colours and visibility of texels, and the views from which they are baked."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.uv_texels import mesh_texels
from nha.core.mesh import vertex_normals
from nha.export.bake import bake, bake_textures, pad_charts
from nha.export.poses import neutral_params
from nha.export.textures import render_textured, sample_texture
from nha.export.views import (
    ORBIT_DEG,
    baking_views,
    frame_views,
    orbit_views,
    select_frames_by_yaw,
    tracked_views,
)
from nha.render.camera import project
from tests.export.conftest import FRAMES


@pytest.fixture
def view_independent(avatar):
    """An avatar whose colours do not depend on normals, so that they are the same in every view."""
    avatar = copy.deepcopy(avatar)
    avatar.texture_net.dynamic_head.weight.zero_()
    avatar.texture_net.static_head.weight.mul_(5)  # contrast
    avatar.neural_texture.head.normal_(0, 0.3)
    return avatar


@pytest.mark.parametrize("uv_map", [0, 1])
def test_texels_have_their_own_uvs(plain_avatar, uv_map):
    head, size = plain_avatar.head, 64
    texels = mesh_texels(head, uv_map, size)
    uvs = texels.from_faces(head.uvs[head.uv_faces][None]).numpy()
    row, column = np.divmod(texels.pixel.numpy(), size)
    expected = np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], 1)
    assert len(uvs) > size * size / 3
    assert np.abs(uvs - expected).max() < 1e-5
    assert (head.face_uvmap[texels.face] == uv_map).all()


def test_the_baked_mesh_looks_like_the_avatar(view_independent, tracking):
    """Rendered with the texture, the surface has the network's colours; with a flipped texture it does not."""
    views = tracked_views(view_independent, tracking, [0, 5])
    surface = view_independent.surface(views.params)
    features = view_independent.mouth_features(surface)
    gbuffer = view_independent.rasterize(surface, views.camera)
    # one condition for both images, as for the texture
    neural = view_independent.paint(gbuffer, features[:1].expand(2, -1))
    textures = bake_textures(view_independent, features[:1], views, 512)
    baked = render_textured(view_independent.head, surface.vertices, textures, views.camera)
    both = (gbuffer.alpha[:, 0] > 0) & (baked[:, 3] > 0)
    assert both.sum() > 500

    def difference(image: torch.Tensor) -> float:
        return float((image[:, :3] - neural).abs().mean(1)[both].mean())

    assert difference(baked) < 0.01
    upside_down = tuple(np.ascontiguousarray(texture[::-1]) for texture in textures)
    flipped = render_textured(view_independent.head, surface.vertices, upside_down, views.camera)
    assert difference(flipped) > 5 * difference(baked)


def test_hidden_texels_count_as_unseen(avatar, tracking):
    views = tracked_views(avatar, tracking, [0])
    surface = avatar.surface(views.params)
    features = avatar.mouth_features(surface)
    baked = bake(avatar, features, views, 64, 0)
    texels = mesh_texels(avatar.head, 0, 64)
    seen = baked.seen.reshape(-1)[texels.pixel.numpy()]
    normals = texels.from_vertices(vertex_normals(surface.vertices, avatar.head.faces), avatar.head.faces)
    away = (normals[:, 2] > 0.1).numpy()  # the camera looks along +z
    assert away.sum() > 100
    assert not seen[away].any()
    assert seen[(normals[:, 2] < -0.8).numpy()].mean() > 0.7
    assert np.array_equal(baked.covered.reshape(-1).nonzero()[0], texels.pixel.numpy())


def test_the_orbit_fills_what_the_frames_do_not_show(plain_avatar, tracking):
    tracking = dataclasses.replace(tracking, image_size=(160, 160))
    features = plain_avatar.mouth_features(plain_avatar.surface(neutral_params(plain_avatar, tracking)))
    frames = bake(plain_avatar, features, tracked_views(plain_avatar, tracking, [0, 5]), 64, 0)
    with_orbit = bake(plain_avatar, features, baking_views(plain_avatar, tracking, 2), 64, 0)
    without_tracking = bake(plain_avatar, features, baking_views(plain_avatar, None, 2), 64, 0)
    covered = with_orbit.covered.sum()
    assert frames.seen.sum() < 0.6 * covered
    # the rest is hidden: eye sockets, backs of the eyeballs, behind the lips
    assert with_orbit.seen.sum() > 0.95 * covered
    assert without_tracking.seen.sum() > 0.95 * covered


def test_the_given_condition_is_used_for_the_mouth(view_independent, tracking):
    views = baking_views(view_independent, tracking, 1)
    closed = view_independent.mouth_features(
        view_independent.surface(neutral_params(view_independent, tracking))
    )
    first, second = (bake(view_independent, features, views, 32, 1) for features in (closed, closed + 0.5))
    assert (first.rgb != second.rgb).any()
    outside, other = (
        bake(view_independent, features, views, 64, 0).rgb for features in (closed, closed + 0.5)
    )
    assert np.array_equal(outside[:16], other[:16])  # the top of the map is scalp and eyes


def test_a_frames_own_view_comes_first(avatar, tracking):
    shared = baking_views(avatar, tracking, 3)
    views = frame_views(avatar, tracking, 5, shared)
    assert views.priority[0] == 1
    assert (views.priority[1:] < 0.1).all()
    own = tracked_views(avatar, tracking, [5])
    torch.testing.assert_close(views.params.expr[:1], own.params.expr)
    assert len(views.camera) == len(views) == len(shared) + 1


def test_the_orbit_turns_the_head_by_its_angles(plain_avatar, tracking):
    views = orbit_views(plain_avatar, neutral_params(plain_avatar, tracking), tracking)
    vertices = plain_avatar.surface(views.params).vertices
    height, width = views.camera.image_size
    pixels = project(vertices, views.camera)
    assert (
        (pixels[..., :2] > 0) & (pixels[..., :2] < pixels.new_tensor([width, height]))
    ).all()  # the whole head is in the image
    nose = plain_avatar.head.landmarks(vertices)[:, 30] - vertices.mean(1)
    at = {turn: nose[i] for i, turn in enumerate(ORBIT_DEG)}
    assert at[0, 0][2] < -0.05  # towards the camera
    assert at[180, 0][2] > 0.05
    assert at[80, 0][0] * at[-80, 0][0] < 0
    assert at[0, 40][1] * at[0, -40][1] < 0


def test_frames_are_spread_over_the_yaw_angles(tracking):
    assert select_frames_by_yaw(tracking, 2) == [0, 5]
    assert select_frames_by_yaw(tracking, 100) == list(FRAMES)


def test_padding_takes_the_nearest_texel():
    rgb = np.zeros((5, 7, 3), np.uint8)
    covered = np.zeros((5, 7), bool)
    rgb[2, 1], rgb[2, 5] = (10, 20, 30), (90, 80, 70)
    covered[2, [1, 5]] = True
    padded = pad_charts(rgb, covered)
    assert (padded[:, :3] == (10, 20, 30)).all()
    assert (padded[:, 4:] == (90, 80, 70)).all()
    assert np.array_equal(pad_charts(rgb, np.zeros_like(covered)), rgb)


def test_sampling_is_bilinear_with_v_up():
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0], rgb[0, 1], rgb[1, 0], rgb[1, 1] = 0, 100, 200, 40
    at = torch.tensor([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.5, 0.5], [0.0, 1.0]])
    sampled = 255 * sample_texture(rgb, at)[:, 0]
    assert sampled.tolist() == pytest.approx([0, 100, 200, 85, 0], abs=1e-3)
