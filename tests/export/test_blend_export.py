"""Export of the blend model: personal shapes as morph targets, its textures without baking views, all formats."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

import nha
from nha.avatar.convert import convert_checkpoint
from nha.avatar.open import save_avatar
from nha.core.errors import UserError
from nha.data.tracking_file import write_tracking
from nha.export.glb_file import GlbFile
from nha.export.model_textures import model_textures
from nha.export.poses import frame_params, neutral_params
from nha.export.textures import render_textured
from nha.export.views import baking_views, tracked_views
from nha.viewer.scene import AvatarScene, ControlState
from nha.viewer.scene_mesh import SceneMesh
from tests.export.conftest import FRAMES, make_blend_avatar
from tests.export.glb_twin import GlbTwin, rows
from tests.export.test_rigged_glb import write


@pytest.mark.parametrize("model", ["blend_avatar", "still_avatar"])
def test_the_animation_moves_the_file_exactly_as_the_avatar(model, request, tracking, tmp_path):
    """Also the personal shapes, which the tracked poses drive."""
    blend_avatar = request.getfixturevalue(model)
    twin, rig = write(tmp_path / "avatar.glb", blend_avatar, tracking)
    row = rows(blend_avatar.head)
    params = frame_params(blend_avatar, tracking, FRAMES)
    expected = blend_avatar.surface(params)
    without_shapes = blend_avatar.posed_with(
        params, blend_avatar.rest_offsets(torch.zeros_like(blend_avatar.shape_target_weights(params)))
    )
    moved = (expected.vertices - without_shapes).norm(dim=2)
    assert moved.amax(1).min() > 1e-3
    assert rig.morphs.names[-5:] == tuple(f"shape_{i:02d}" for i in range(5))
    for k in range(len(FRAMES)):
        _, *pose = twin.key(k)
        assert np.abs(twin.vertices(*pose) - expected.vertices[k].numpy()[row]).max() < 3e-6


def test_the_file_holds_only_the_vertices_that_a_target_moves(blend_avatar, tracking, tmp_path):
    twin, rig = write(tmp_path / "avatar.glb", blend_avatar, tracking)
    row = rows(blend_avatar.head)
    dense = len(row) * len(rig.morphs.names) * 24  # positions and normals
    assert (tmp_path / "avatar.glb").stat().st_size < 0.5 * dense
    accessors = twin.gltf.accessors
    stored = [target for primitive in twin.mesh.primitives for target in primitive.targets]
    targets = [accessors[target[name]] for target in stored for name in ("POSITION", "NORMAL")]
    assert sum(accessor.sparse is not None for accessor in targets) > len(targets) / 2


def test_a_sparse_accessor_holds_any_values(tmp_path):
    file, rng = GlbFile(), np.random.default_rng(0)
    some = np.zeros((300, 3), np.float32)
    some[[3, 299]] = rng.normal(0, 1, (2, 3))
    tables = [some, np.zeros((300, 3), np.float32), rng.normal(0, 1, (300, 3)).astype(np.float32)]
    ids = [file.sparse_accessor(table) for table in tables]
    file.save(tmp_path / "file.glb")
    data = (tmp_path / "file.glb").read_bytes()
    written = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])["accessors"]
    assert "sparse" in written[0]
    assert not {"bufferView", "byteOffset"} & written[0].keys()  # the offset needs a buffer view
    reader = GlbTwin.__new__(GlbTwin)
    reader.gltf = type(file.gltf)().load_binary(str(tmp_path / "file.glb"))
    reader.blob = reader.gltf.binary_blob()
    for index, table in zip(ids, tables, strict=True):
        assert np.array_equal(reader.values(index), table)


def test_textures_are_the_avatars_own_in_the_pose(blend_avatar, tracking):
    """On the surface of the frame they give the colours that the avatar draws there, but for the light's resolution."""
    tracking = dataclasses.replace(tracking, image_size=(160, 160))
    views = tracked_views(blend_avatar, tracking, [5])
    surface = blend_avatar.surface(views.params)
    textures = model_textures(blend_avatar, surface, views.camera, views, 256)
    assert [texture.shape for texture in textures] == [(256, 256, 3), (64, 64, 3)]
    own = blend_avatar.render(views.params, views.camera, corrected=True)
    baked = render_textured(blend_avatar.head, surface.vertices, textures, views.camera)
    inside = (own.alpha[:, 0] == 1) & (baked[:, 3] > 0)
    assert inside.sum() > 2000
    difference = (own.rgb01 - baked[:, :3]).abs().mean(1)[inside]
    assert difference.mean() < 0.01
    neutral = model_textures(blend_avatar, surface, None, views, 256)
    assert np.abs(neutral[0].astype(int) - textures[0]).mean() > 1  # another light and another drive vector


def test_a_neutral_head_faces_the_light(blend_avatar, tracking):
    neutral = neutral_params(blend_avatar, tracking)
    facing = neutral.replace(rotation=torch.tensor([[0.0, torch.pi, 0.0]]))
    views = baking_views(blend_avatar, tracking, 0)
    camera = tracking.camera_for([0], tracking.image_size)
    given = model_textures(blend_avatar, blend_avatar.surface(neutral), None, views, 32)
    posed = model_textures(blend_avatar, blend_avatar.surface(facing), camera, views, 32)
    assert np.abs(given[0].astype(int) - posed[0]).max() <= 1


def test_textures_for_lit_materials_have_no_light(blend_avatar, tracking):
    neutral = neutral_params(blend_avatar, tracking)
    surface, views = blend_avatar.surface(neutral), baking_views(blend_avatar, tracking, 0)
    lit, plain = (model_textures(blend_avatar, surface, None, views, 32, light) for light in (True, False))
    weights = blend_avatar.basis_weights(
        blend_avatar.scaled_drive(neutral.replace(rotation=torch.tensor([[0.0, torch.pi, 0.0]])))
    )
    centres = (2 * torch.arange(32) + 1) / 32 - 1
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)[None]
    expected = blend_avatar.head_texture(grid, weights[0])[0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(plain[0] / 255 - expected).max() < 0.003
    assert np.abs(plain[0].astype(int) - lit[0]).mean() > 1


@pytest.fixture(scope="module")
def files(head, assets, tracking, tmp_path_factory):
    """The checkpoint of a small blend model and its tracking file."""
    folder = tmp_path_factory.mktemp("blend")
    ckpt, tracked = folder / "avatar.ckpt", folder / "tracked_flame_params.npz"
    save_avatar(ckpt, make_blend_avatar(head, tracking), assets, {"head": "procedural"})
    write_tracking(tracked, tracking)
    return ckpt, tracked


def test_every_format_is_written(files, tmp_path):
    ckpt, tracked = files
    out = tmp_path / "out"
    options = {"frames": (5,), "texture_size": 32, "report": True, "device": "cpu"}
    written = nha.export(ckpt, out, tracking=tracked, **options)
    names = {path.name for path in written}
    assert {"avatar.glb", "frame_0005.obj", "frame_0005.ply", "head_parameters.npz"} <= names


def test_the_viewer_shows_it(blend_avatar, tracking):
    scene = AvatarScene(blend_avatar, tracking)
    image = scene.render(ControlState({"jaw_open": 10.0}), scene.viewpoint, (48, 48))
    assert (image < 250).any()
    assert SceneMesh(scene, 32).update(ControlState({"jaw_open": 10.0}))[:4] == b"glTF"


def test_the_published_layout_is_refused(files, tmp_path):
    with pytest.raises(UserError, match="blend model"):
        convert_checkpoint(files[0], tmp_path / "out.ckpt", to="published", head="procedural")
    assert not (tmp_path / "out.ckpt").exists()
