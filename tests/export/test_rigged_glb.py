"""GLB files, compared by a reference reader that follows the glTF specification."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.mesh import vertex_normals
from nha.export.accuracy import posed_tests, vertex_errors_mm
from nha.export.glb_mesh import material_parts, split_at_seams
from nha.export.poses import frame_params, neutral_params, pose_avatar
from nha.export.rig import left_out_expressions_metres, make_rig, rig_motion
from nha.export.rigged_glb import AnimationClip, write_rigged_glb
from nha.render.camera import project
from tests.export.conftest import FRAMES
from tests.export.glb_twin import GlbTwin, rows

FLAT = (np.full((8, 8, 3), 90, np.uint8), np.full((4, 4, 3), 200, np.uint8))


def write(path, avatar, tracking, bind_frame=None, morphs=50, textures=FLAT):
    """Write a GLB with the tracked motion; returns its reference reader and its rig."""
    bind = pose_avatar(avatar, tracking, bind_frame).surface
    poses = frame_params(avatar, tracking, FRAMES)
    rig = make_rig(avatar, bind, morphs, poses)
    head = avatar.head
    clip = AnimationClip(rig_motion(avatar, rig, poses), np.array(FRAMES) / 25)
    camera = tracking.camera_for([0], tracking.image_size)
    initial = rig_motion(avatar, rig, bind.params)
    write_rigged_glb(path, head, rig, initial, textures, clip=clip, camera=camera, extras={"licence": "ours"})
    return GlbTwin(path), rig


def test_without_offsets_the_file_moves_exactly_as_the_avatar(plain_avatar, tracking, spaced_dir):
    twin, rig = write(spaced_dir / "avatar.glb", plain_avatar, tracking)
    row = rows(plain_avatar.head)
    assert rig.morphs.corrective  # the tracked neck and eye rotations need some
    expected = plain_avatar.surface(frame_params(plain_avatar, tracking, FRAMES)).vertices.numpy()
    for k, frame in enumerate(FRAMES):
        time_s, *pose = twin.key(k)
        assert time_s == pytest.approx(frame / 25)
        assert np.abs(twin.vertices(*pose) - expected[k][row]).max() < 3e-6


@pytest.mark.parametrize("bind_frame", [None, 2])
def test_in_its_bind_pose_the_file_equals_the_avatar_with_all_offsets(avatar, tracking, bind_frame, tmp_path):
    twin, rig = write(tmp_path / "avatar.glb", avatar, tracking, bind_frame, morphs=7)
    surface = pose_avatar(avatar, tracking, bind_frame).surface
    assert surface.offsets.abs().max() > 1e-3
    row = rows(avatar.head)
    difference = twin.vertices(*twin.initial()) - surface.vertices[0].numpy()[row]
    assert np.abs(difference).max() < 3e-6
    assert len(rig.morphs.expression) == 7


def test_the_reported_error_is_that_of_the_file(avatar, tracking, tmp_path):
    twin, rig = write(tmp_path / "avatar.glb", avatar, tracking, morphs=7)
    params = frame_params(avatar, tracking, FRAMES)
    reported = vertex_errors_mm(avatar, rig, params).numpy()
    expected = avatar.surface(params).vertices.numpy()
    row = rows(avatar.head)
    for k in range(len(FRAMES)):
        _, *pose = twin.key(k)
        measured = 1000 * np.linalg.norm(twin.vertices(*pose) - expected[k][row], axis=1)
        assert measured.max() > 0.1  # seven expressions are not all of them
        assert np.allclose(measured, reported[k][row], atol=0.005)


def test_manual_posing_leaves_out_correctives(plain_avatar, tracking):
    neutral = neutral_params(plain_avatar, tracking)
    poses = posed_tests(neutral)
    rig = make_rig(plain_avatar, plain_avatar.surface(neutral), 50, poses)
    assert vertex_errors_mm(plain_avatar, rig, poses).max() < 3e-3
    manual = vertex_errors_mm(plain_avatar, rig, poses, manual=True)
    assert manual[3].max() > 0.5  # the lids follow the eyes
    assert manual.mean() < 0.2


def test_morph_targets_are_the_most_used_expressions_by_name(plain_avatar, tracking, tmp_path, monkeypatch):
    twin, rig = write(tmp_path / "avatar.glb", plain_avatar, tracking, morphs=3)
    head = plain_avatar.head
    params = frame_params(plain_avatar, tracking, FRAMES)
    size = head.directions[head.kept_vertices][..., head.n_shape :].norm(dim=1).amax(0)
    use = size * params.expr.square().mean(0).sqrt()
    assert set(rig.morphs.expression) == set(use.topk(3).indices.tolist())
    names = twin.mesh.extras["targetNames"]
    assert list(rig.morphs.names) == names
    assert len(names) == len(twin.mesh.primitives[0].targets) == len(twin.mesh.weights)
    named = dict(enumerate(head.expression_names))
    assert names[:3] == [named.get(k, f"expression_{k:03d}") for k in rig.morphs.expression]
    monkeypatch.setattr(head, "expression_names", ())
    unnamed = make_rig(plain_avatar, plain_avatar.surface(params[:1]), 3, params).morphs
    assert unnamed.names[:3] == tuple(f"expression_{k:03d}" for k in rig.morphs.expression)


def test_what_left_out_expressions_would_move_is_known(plain_avatar, tracking):
    params = frame_params(plain_avatar, tracking, FRAMES)
    rig = make_rig(plain_avatar, plain_avatar.surface(params[:1]), 7, params)
    some = params.expr[:1].expand_as(params.expr).clone()
    some[:, list(rig.morphs.expression)] = params.expr[:, list(rig.morphs.expression)]
    at_rest = {"rotation": 0 * params.rotation, "neck": 0 * params.neck, "jaw": 0 * params.jaw}
    whole, stored = (plain_avatar.surface(params.replace(expr=e, **at_rest)) for e in (params.expr, some))
    moved = (whole.vertices - stored.vertices).norm(dim=2).max()
    measured = left_out_expressions_metres(plain_avatar.head, rig, params)
    assert measured > 1e-3
    assert measured == pytest.approx(
        float(moved), rel=0.05
    )  # the joints of eyes and jaw move with expressions
    every = make_rig(plain_avatar, plain_avatar.surface(params[:1]), 500, params)
    assert left_out_expressions_metres(plain_avatar.head, every, params) < 1e-6


def test_without_a_tracking_file_the_first_expressions_are_taken(plain_avatar):
    surface = plain_avatar.surface(neutral_params(plain_avatar, None))
    assert make_rig(plain_avatar, surface, 4, surface.params).morphs.expression == (0, 1, 2, 3)
    every = make_rig(plain_avatar, surface, 500, surface.params).morphs
    assert every.expression == tuple(range(43))  # the other directions move nothing
    none = make_rig(plain_avatar, surface, 0, surface.params).morphs
    assert none.deltas.shape == (0, plain_avatar.head.n_vertices, 3)


def test_a_file_without_morph_targets_and_motion(plain_avatar, tmp_path):
    surface = plain_avatar.surface(neutral_params(plain_avatar, None))
    rig = make_rig(plain_avatar, surface, 0, surface.params)
    path = tmp_path / "static.glb"
    write_rigged_glb(path, plain_avatar.head, rig, rig_motion(plain_avatar, rig, surface.params), FLAT)
    twin = GlbTwin(path)
    row = rows(plain_avatar.head)
    tracks, _ = twin.initial()
    assert np.abs(twin.vertices(tracks, np.zeros(0)) - surface.vertices[0].numpy()[row]).max() < 3e-6
    assert not twin.gltf.animations
    assert [p.name for p in tmp_path.iterdir()] == ["static.glb"]


def test_neighbouring_keys_have_quaternions_of_one_hemisphere(plain_avatar, tracking, tmp_path):
    twin, _ = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    for joint in twin.skin.joints:
        turns = np.stack([twin.key(k)[1][joint, "rotation"] for k in range(len(FRAMES))])
        assert ((turns[1:] * turns[:-1]).sum(1) > 0).all()
        assert np.allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)


def test_two_animations_hold_the_range_of_the_weights(plain_avatar, tracking, tmp_path):
    """Blender cuts weights off that lie outside 0..1 and outside an animation's first key (see rigged_glb.py)."""
    twin, rig = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    assert [a.name for a in twin.gltf.animations] == ["video", "lowest_weights", "highest_weights"]
    (_, _, lowest), (_, _, highest) = (twin.key(0, f"{end}_weights") for end in ("lowest", "highest"))
    weights = np.stack([twin.key(k)[2] for k in range(len(FRAMES))])
    assert weights.min() < -0.1
    assert np.array_equal(lowest, weights.min(0))
    assert np.array_equal(highest, weights.max(0))


def test_joints_are_named_and_nested_as_the_models(plain_avatar, tracking, tmp_path):
    twin, _ = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    nodes = twin.gltf.nodes
    names = [nodes[i].name for i in twin.skin.joints]
    assert names == ["root", "neck", "jaw", "left_eye", "right_eye"]
    parents = [twin.parent.get(i) for i in twin.skin.joints]
    assert [nodes[p].name for p in parents] == ["avatar_rig", "root", "neck", "neck", "neck"]
    # at rest the head looks along +z, +y is up, its left is at +x
    initial, _ = twin.initial()
    place = {nodes[i].name: twin.world(i, initial)[:3, 3] for i in twin.skin.joints}
    assert np.allclose(place["root"], 0)
    assert place["left_eye"][0] > 0.02 > -0.02 > place["right_eye"][0]
    assert place["left_eye"][1] > place["jaw"][1] > 0


def test_triangles_are_the_heads_faces_in_materials_by_part(plain_avatar, tracking, tmp_path):
    head = plain_avatar.head
    twin, _ = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    split = split_at_seams(head)
    parts = material_parts(head, split)
    names = [twin.gltf.materials[primitive.material].name for primitive in twin.mesh.primitives]
    assert names == [part.name for part in parts]
    assert set(names) == {"face", "eyes", "neck", "scalp", "mouth"}
    written: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for number, part in enumerate(parts):
        assert (twin.texture(number) == FLAT[part.uv_map][0, 0]).all()
        written[part.uv_map].append(split.vertex[part.rows][twin.triangles(number)])
    for uv_map, triangles in written.items():
        found, expected = np.concatenate(triangles), head.faces[head.face_uvmap == uv_map].numpy()
        assert np.array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))
        assert len(found) == len(expected)
    eyes = split.vertex[parts[names.index("eyes")].rows]
    balls = [head.hard_labels[:, head.part(f"{side}_eyeball")] > 0 for side in ("left", "right")]
    assert set(eyes.tolist()) == set((balls[0] | balls[1]).nonzero()[:, 0].tolist())


def test_names_and_facts_are_where_programs_look(plain_avatar, tracking, tmp_path):
    twin, _ = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    nodes = twin.gltf.nodes
    (root,) = [i for i, node in enumerate(nodes) if node.name == "avatar_rig"]
    (camera,) = [i for i, node in enumerate(nodes) if node.camera is not None]
    assert twin.mesh.name == "avatar"
    assert set(nodes[root].children) == {twin.skin.joints[0], twin.body}
    assert twin.gltf.scenes[0].nodes == [root, camera]
    assert twin.gltf.asset.copyright is None
    assert twin.gltf.asset.extras == nodes[root].extras == {"licence": "ours"}


def test_morph_targets_change_normals_as_they_change_the_shape(blend_avatar, tracking, tmp_path):
    twin, rig = write(tmp_path / "avatar.glb", blend_avatar, tracking, morphs=5)
    head, row = blend_avatar.head, rows(blend_avatar.head)
    initial = torch.from_numpy(np.array(twin.mesh.weights)).double()
    for k in (0, len(rig.morphs.names) - 1):
        step = torch.zeros_like(initial)
        step[k] = 1
        shapes = [rig.rest + torch.tensordot(w, rig.morphs.deltas, 1) for w in (initial, initial + step)]
        before, after = (vertex_normals(shape[None], head.faces)[0].numpy() for shape in shapes)
        assert np.abs(after - before).max() > 0.01
        assert np.abs(twin.target(k, "NORMAL") - (after - before)[row]).max() < 1.1e-3


def test_lit_materials_have_no_unlit_extension(plain_avatar, tmp_path):
    surface = plain_avatar.surface(neutral_params(plain_avatar, None))
    rig = make_rig(plain_avatar, surface, 0, surface.params)
    initial = rig_motion(plain_avatar, rig, surface.params)
    for lit in (False, True):
        write_rigged_glb(tmp_path / "a.glb", plain_avatar.head, rig, initial, FLAT, lit=lit)
        gltf = GlbTwin(tmp_path / "a.glb").gltf
        assert all(("KHR_materials_unlit" in (m.extensions or {})) != lit for m in gltf.materials)
        assert ("KHR_materials_unlit" in gltf.extensionsUsed) != lit
        rough = {m.name: m.pbrMetallicRoughness.roughnessFactor for m in gltf.materials}
        assert (rough["eyes"] < rough["face"]) == lit


def test_the_camera_sees_the_head_where_the_tracker_did(plain_avatar, tracking, tmp_path):
    twin, _ = write(tmp_path / "avatar.glb", plain_avatar, tracking)
    (node,) = [i for i, n in enumerate(twin.gltf.nodes) if n.camera is not None]
    perspective = twin.gltf.cameras[0].perspective
    initial, _ = twin.initial()
    point = np.array([0.03, 0.05, 1.1, 1])  # x to the camera's left, y up, in front of it
    x, y, z, _ = np.linalg.inv(twin.world(node, initial)) @ point
    height, width = tracking.image_size
    v = height / 2 - height / 2 * (y / -z) / np.tan(perspective.yfov / 2)
    u = width / 2 + width / 2 * (x / -z) / (np.tan(perspective.yfov / 2) * perspective.aspectRatio)
    camera = tracking.camera_for([0], tracking.image_size)
    expected = project(torch.tensor(point[:3], dtype=torch.float32)[None, None], camera)[0, 0]
    assert (u, v) == pytest.approx(expected[:2].tolist(), abs=1e-3)


def gradient(size: int) -> np.ndarray:
    """An image that encodes its coordinates: red is u, green is v (1 at the top)."""
    along = (np.arange(size) + 0.5) / size
    return np.rint(255 * np.stack(np.broadcast_arrays(along[None, :], 1 - along[:, None], 0.0), -1)).astype(
        np.uint8
    )


def test_a_coordinate_image_has_the_right_orientation_on_the_mesh(plain_avatar, tracking, tmp_path):
    head, size = plain_avatar.head, 256
    twin, _ = write(
        tmp_path / "avatar.glb", plain_avatar, tracking, textures=(gradient(size), gradient(size))
    )
    middles = head.uvs[head.uv_faces].mean(1).numpy()
    own = {tuple(corners): uv for corners, uv in zip(head.faces.tolist(), middles, strict=True)}
    for number, part in enumerate(material_parts(head, split_at_seams(head))):
        middle = twin.attribute("TEXCOORD_0", number)[twin.triangles(number)].mean(1)
        # glTF: (0, 0) is the image's top left corner
        row, column = (np.minimum((middle[:, axis] * size).astype(int), size - 1) for axis in (1, 0))
        sampled = twin.texture(number)[row, column] / 255
        vertices = split_at_seams(head).vertex[part.rows][twin.triangles(number)]
        expected = np.array([own[tuple(corners)] for corners in vertices.tolist()])
        assert np.abs(sampled[:, :2] - expected).max() < 1.5 / size
