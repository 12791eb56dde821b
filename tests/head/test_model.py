import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.core.types import HeadParams
from nha.head import joint_limits, lbs
from nha.head.model import HeadModel
from nha.head.topology import build_topology


def random_params(head: HeadModel, n: int, seed: int = 0, scale: float = 0.5) -> HeadParams:
    generator = torch.Generator().manual_seed(seed)
    neutral = head.neutral_params(n)
    fields = {
        name: getattr(neutral, name) + scale * torch.randn(getattr(neutral, name).shape, generator=generator)
        for name in ("shape", "expr", "rotation", "translation", "neck", "jaw", "eyes")
    }
    return HeadParams(**fields)


def slow_pose(assets, params: HeadParams, i: int) -> np.ndarray:
    """Skinning of one head without subdivision, written out with scipy's rotations in float64."""
    get = lambda name: getattr(params, name)[i].double()  # noqa: E731
    angles = [
        get("rotation"),
        joint_limits.neck_angles(get("neck")),
        joint_limits.jaw_angles(get("jaw")),
        *joint_limits.eyes_angles(get("eyes")).split(3),
    ]
    rotations = [Rotation.from_rotvec(angle.numpy()).as_matrix() for angle in angles]
    shaped = (
        assets.template_vertices.astype(float)
        + assets.shape_directions @ get("shape").numpy()
        + assets.expression_directions @ get("expr").numpy()
    )
    joints = assets.joint_regressor @ shaped
    feature = np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
    posed = shaped + assets.pose_directions @ feature
    world = []
    for j, parent in enumerate(assets.joint_parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    moved = np.zeros_like(posed)
    for j, transform in enumerate(world):
        about_joint = (posed - joints[j]) @ transform[:3, :3].T + transform[:3, 3]
        moved += assets.skinning_weights[:, j : j + 1] * about_joint
    return moved - joints[0] + get("translation").numpy()


def test_vertices_equal_plain_skinning(assets):
    head = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    params = random_params(head, 2)
    ours = head(params)
    for i in range(2):
        np.testing.assert_allclose(ours[i].numpy(), slow_pose(assets, params, i), atol=2e-6)


def test_the_root_of_the_neutral_head_is_at_the_origin(assets, head):
    vertices = head(head.neutral_params(1))[0]
    root = head.joint_regressor[0] @ head.template
    torch.testing.assert_close(vertices, head.template[head.kept_vertices] - root, atol=1e-6, rtol=0)


def test_translation_and_rotation_are_rigid_about_the_root(head):
    still = random_params(head, 1)
    moved = still.replace(translation=still.translation + torch.tensor([[0.1, -0.2, 0.3]]))
    torch.testing.assert_close(head(moved), head(still) + torch.tensor([0.1, -0.2, 0.3]), atol=1e-6, rtol=0)
    upright = still.replace(rotation=torch.zeros(1, 3), translation=torch.zeros(1, 3))
    turned = upright.replace(rotation=torch.tensor([[0.0, 0.7, 0.0]]))
    matrix = lbs.joint_rotations(turned.rotation, *[torch.zeros(1, s) for s in (3, 3, 6)])[0, 0]
    torch.testing.assert_close(head(turned), head(upright) @ matrix.T, atol=1e-6, rtol=0)


def test_offsets_move_along_the_normal_and_do_not_change_the_plain_head(head):
    params = random_params(head, 1, scale=0.1)
    offsets = torch.zeros(1, head.n_vertices, 3)
    offsets[:, head.offset_vertices, 2] = 0.01
    posed = head.pose(params, offsets)
    moved = (posed.vertices - posed.plain_vertices).norm(dim=-1)[0]
    torch.testing.assert_close(
        moved[head.offset_vertices], torch.full((len(head.offset_vertices),), 0.01), rtol=0.02, atol=0
    )
    torch.testing.assert_close(posed.plain_vertices, head(params))
    # offsets point outwards, so the head becomes larger
    size = lambda v: (v.amax(1) - v.amin(1)).min()  # noqa: E731
    assert size(posed.vertices) > size(posed.plain_vertices) + 0.01


def test_gradients_of_parameters_and_offsets():
    from nha.head.load import load_head

    head = HeadModel(load_head("procedural"), subdivisions=0, blur_sigma=None).double()
    params = random_params(head, 1, scale=0.2)
    fields = ("rotation", "translation", "neck", "jaw", "eyes")
    leaves = [getattr(params, name).double().requires_grad_() for name in fields]
    offsets = (0.001 * torch.randn(1, head.n_vertices, 3).double()).requires_grad_()
    some = torch.arange(0, head.n_vertices, 997)
    base = HeadParams(
        shape=params.shape.double(),
        expr=params.expr.double(),
        **{f: getattr(params, f).double() for f in fields},
    )

    def picked(*values):
        return head(base.replace(**dict(zip(fields, values, strict=True))))[:, some]

    assert torch.autograd.gradcheck(picked, leaves)
    # tangent frames are detached, so offsets act linearly, only through skinning
    moved = lambda o: head(base, o)[:, some].sum()  # noqa: E731
    first = torch.autograd.grad(moved(offsets), offsets)[0]
    second = torch.autograd.grad(moved(offsets * 3), offsets)[0] / 3
    torch.testing.assert_close(first, second)
    assert first.abs().sum() > 0


def test_batch_members_are_independent(head):
    params = random_params(head, 3)
    torch.testing.assert_close(head(params)[1:2], head(params[1:2]), atol=1e-6, rtol=0)


def test_plain_landmarks_equal_the_full_pass(head):
    params = random_params(head, 2)
    ids = torch.tensor([37, 41, 0, 69])
    full = head.landmarks(head(params))[:, ids]
    torch.testing.assert_close(head.plain_landmarks(params, ids), full, atol=2e-6, rtol=0)


def test_rotations_that_are_known_are_not_computed_again(head, monkeypatch):
    params = random_params(head, 2)
    posed = head.pose(params)
    features = head.mouth_features(posed.vertices, params)
    landmarks = head.plain_landmarks(params, torch.arange(68))
    for place in ("nha.head.model.joint_rotations", "nha.head.model.head_rotation_vector"):
        monkeypatch.setattr(place, None)
    assert torch.equal(head.pose(params, rotations=posed.rotations).vertices, posed.vertices)
    assert torch.equal(head.plain_landmarks(params, slice(68), posed.rotations), landmarks)
    torch.testing.assert_close(head.mouth_features(posed.vertices, params, posed.rotations), features)


def test_tables_are_consistent(head):
    tables = head.tables
    assert tables.faces.max() == head.n_vertices - 1
    assert tables.faces.unique().numel() == head.n_vertices
    assert tables.face_uvcoords.shape == (len(tables.faces), 3, 3)
    assert (tables.face_uvcoords[..., 2] == 1).all()
    assert tables.face_uvcoords[..., :2].abs().max() <= 1
    assert tables.face_coords_normed.abs().max() <= 1
    assert tables.hard_labels.shape == (head.n_vertices, len(tables.part_names))
    assert list(tables.part_names) == sorted(tables.part_names)
    mouth = tables.hard_labels[:, head.part("mouth")].bool()
    assert torch.equal(mouth[tables.faces].all(1), tables.face_uvmap.bool())
    eyeballs = tables.hard_labels[:, [head.part("left_eyeball"), head.part("right_eyeball")]].any(1)
    assert not eyeballs[head.offset_vertices].any()
    assert len(head.offset_vertices) + int(eyeballs.sum()) == head.n_vertices


def test_eyeballs_are_not_subdivided_and_the_rest_is(assets):
    coarse = build_topology(assets, subdivisions=0, blur_sigma=None)
    fine = build_topology(assets, subdivisions=1, blur_sigma=None)
    ball = lambda t: t.is_eyeball[t.faces].all(1).sum()  # noqa: E731
    assert ball(coarse) == ball(fine)
    assert len(fine.faces) - ball(fine) == 4 * (len(coarse.faces) - ball(coarse))


def test_mouth_features_are_scaled_distances_and_a_rotation(head):
    params = head.neutral_params(1).replace(rotation=torch.tensor([[0.0, 3.0, 0.0]]))
    vertices = head(params)
    features = head.mouth_features(vertices, params)
    a, b = head.mouth_pairs[0]
    low, high = head.mouth_minimum[0], head.mouth_maximum[0]
    by_hand = ((vertices[0, a] - vertices[0, b]).norm() - low) / (high - low) * 2 - 1
    torch.testing.assert_close(features[0, 0], by_hand)
    torch.testing.assert_close(features[0, -3:], torch.tensor([0.0, 3.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("close_mouth", [True, False])
def test_the_trackers_mesh_has_an_open_mouth(assets, close_mouth):
    head = HeadModel(assets, subdivisions=0, close_mouth=close_mouth, drop_lower_neck=False, blur_sigma=None)
    mesh = assets.closed if close_mouth else assets.open
    assert torch.equal(head.faces, torch.from_numpy(mesh.faces))
    assert len(assets.closed.faces) > len(assets.open.faces)


def test_a_head_model_is_built_from_a_name_or_folder(assets):
    for source in ("procedural", str(assets.folder), assets.folder):
        built = HeadModel(source, subdivisions=0, blur_sigma=None)
        assert built.name == "procedural"
        assert np.array_equal(built.template.numpy(), assets.template_vertices)
