"""Every loss of the geometry stage, and gradients, against the published reference's numbers.

The golden folders hold the reference's meshes and rendered channels. The losses are computed from these, so
that no error of the head model or the renderer can hide one here.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.published_layout import to_published
from nha.core.mesh import vertex_normals
from nha.core.rotations import rotation_matrix
from nha.losses.hole_filling import SegmentationPair, hole_filling_loss
from nha.losses.landmarks import eye_closure_loss, landmark_loss
from nha.losses.masks import foreground_mask, whiten_background
from nha.losses.normals import normal_loss, normal_mask
from nha.losses.part_weights import part_weights, read_part_weights
from nha.losses.priors import frame_prior, shape_prior
from nha.losses.semantics import ear_pair, eye_pair, hair_pair, mouth_pair
from nha.losses.silhouette import silhouette_pair
from nha.losses.surface import (
    edge_length_loss,
    edges_touching_part,
    edges_without_part,
    laplacian_loss,
    surface_consistency_loss,
)
from nha.losses.table import LossTable

SIDES = ("left", "right")


@dataclasses.dataclass(frozen=True)
class Case:
    """One golden folder: arrays as tensors, scalars, image size and part names."""

    arrays: dict[str, Tensor]
    scalars: dict[str, float]
    image_size: tuple[int, int]
    parts: list[str]
    lap_weights: dict[str, float]
    checkpoint_xz: Path

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def in_part(self, *parts: str) -> Tensor:
        return self["vert_labels"][:, [self.parts.index(part) for part in parts]].bool().any(1)


@pytest.fixture(scope="module", params=["a", "c"])
def case(request: pytest.FixtureRequest, shared_dir: Path, golden_dir: Path) -> Case:
    folder = golden_dir / request.param
    lap_weights = read_part_weights(shared_dir / "published_configs/body_part_weights.json")
    about = json.loads((folder / "scalars.json").read_text())
    arrays = {}
    for name, array in np.load(folder / "golden.npz").items():
        tensor = torch.from_numpy(array)
        arrays[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return Case(
        arrays,
        about["scalars"],
        (about["H"], about["W"]),
        about["labels"],
        lap_weights,
        folder / "avatar.ckpt.xz",
    )


@pytest.fixture(scope="module")
def corrections(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The avatar's state under its published names; a correction is [frames, n], the shape's [1, n]."""
    path = tmp_path_factory.mktemp("golden") / "avatar.ckpt"
    path.write_bytes(lzma.decompress(case.checkpoint_xz.read_bytes()))
    return to_published(read_checkpoint(path).state)


def project_px(case: Case, points_world: Tensor) -> Tensor:
    intrinsics, extrinsics = case["in_cam_intrinsic"], case["in_cam_extrinsic"]
    x, y, z = (points_world @ extrinsics[:, :, :3] + extrinsics[:, None, :, 3]).unbind(-1)
    u = intrinsics[:, 0, 2, None] - intrinsics[:, 0, 0, None] * x / z
    v = case.image_size[0] - intrinsics[:, 1, 2, None] - intrinsics[:, 1, 1, None] * y / z
    return torch.stack([u, v], -1)


def interpolate(case: Case, vertex_values: Tensor) -> Tensor:
    """Vertex values [N, V, C] over the golden fragments: [N, H, W, C], 0 on the background."""
    faces, covered = case["faces"], case["pix_to_face"] >= 0
    corners = faces[torch.where(covered, case["pix_to_face"] % len(faces), 0)]  # [N, H, W, 3]
    frame = torch.arange(len(vertex_values))[:, None, None, None]
    values = (vertex_values[frame, corners] * case["bary"][..., None]).sum(-2)
    return values * covered[..., None]


def segmentation_pairs(case: Case) -> dict[str, SegmentationPair]:
    parsing, alpha = case["in_parsing"][:, 0].long(), case["normals"][:, 3:]
    hard = dict(zip(case.parts, case["semantics"][:, :-1].split(1, 1), strict=True))
    soft_labels = interpolate(case, case["blurred_vert_labels"].expand(2, -1, -1)).permute(0, 3, 1, 2)
    soft = dict(zip(case.parts, soft_labels.split(1, 1), strict=True))
    ears = [labels[f"{side}_ear"] for labels in (hard, soft) for side in SIDES]
    return {
        "silh": silhouette_pair(alpha, foreground_mask(case["in_seg"][:, 0])),
        "ear": ear_pair(*ears, parsing),
        "eye": eye_pair(hard["left_eyeball"], hard["right_eyeball"], parsing),
        "mouth": mouth_pair(hard["mouth"], parsing),
        "hair": hair_pair(alpha, hard["scalp"], hard["neck"], soft["scalp"], soft["neck"], parsing),
    }


def mask_of_normals(case: Case) -> Tensor:
    hard = dict(zip(case.parts, case["semantics"][:, :-1].split(1, 1), strict=True))
    return normal_mask(
        case["in_normal"],
        case["in_parsing"][:, 0],
        case["normals"][:, 3:],
        torch.cat([hard["mouth"], hard["left_eyeball"], hard["right_eyeball"]], 1),
        torch.cat([hard["left_eye_region"], hard["right_eye_region"]], 1),
        case["trust_semantics"],
    )


def losses_of(
    case: Case, vertices: Tensor, landmarks: Tensor, normals: Tensor, screen_coords: Tensor
) -> dict[str, Tensor]:
    """The losses that move the posed mesh, under the names of the weights' settings."""
    losses = {}
    for name, pair in segmentation_pairs(case).items():
        trust = case["trust_semantics"] if name in ("eye", "mouth") else None
        losses[name if name == "silh" else f"semantic_{name}"] = hole_filling_loss(pair, screen_coords, trust)
    losses["norm"] = normal_loss(normals, case["in_normal"], mask_of_normals(case), screen_coords)
    target_px, confidence = case["in_lmk2d"][..., :2], case["in_lmk2d"][..., 2]
    losses["lmk"] = landmark_loss(project_px(case, landmarks)[:, :68], target_px, confidence, case.image_size)
    edges = edges_without_part(case["faces"], case.in_part("left_eyeball", "right_eyeball"))
    weight = part_weights(case.lap_weights, case["vert_labels"].float(), case.parts, edges)
    losses["lap"] = laplacian_loss(vertices, case["verts_no_offsets"], edges, weight)
    edges = edges_touching_part(case["faces"], case.in_part("scalp"))
    losses["edge"] = edge_length_loss(vertices, edges)
    losses["surface_reg"] = surface_consistency_loss(case["offsets"], torch.tensor([1, 0]))
    return losses


def test_values_are_the_reference_s(case: Case) -> None:
    losses = losses_of(case, case["verts"], case["lmks"], case["normals"][:, :3], case["screen_coords"])
    for name, value in losses.items():
        expected = case.scalars[f"offset/{published_name(name)}"]
        absolute = 1e-6 if name == "edge" else 0.0
        assert value.item() == pytest.approx(expected, rel=1e-4, abs=absolute), name


def published_name(name: str) -> str:
    if name == "surface_reg":
        return name
    return name.replace("semantic", "semantic_loss") if "semantic" in name else f"{name}_loss"


def test_priors_are_the_reference_s(case: Case, corrections: dict[str, Tensor]) -> None:
    pose = [corrections[name] for name in ("_neck_pose", "_jaw_pose", "_eyes_pose")]
    values = {
        "shape_reg": shape_prior(corrections["_shape"]),
        "expr_reg": frame_prior(case["in_frame"], corrections["_expr"]),
        "pose_reg": frame_prior(case["in_frame"], *pose),
    }
    for name, value in values.items():
        assert value.item() == pytest.approx(case.scalars[f"offset/{name}"], rel=1e-4), name


def test_ious_are_the_reference_s(case: Case) -> None:
    for name, pair in segmentation_pairs(case).items():
        expected = case.scalars["offset/iou" if name == "silh" else f"offset/semantic_iou_{name}"]
        assert pair.iou().item() == pytest.approx(expected, rel=1e-6), name


def test_white_background_is_the_reference_s(case: Case) -> None:
    white01 = whiten_background((case["in_rgb"] + 1) / 2, case["in_seg"][:, 0])
    assert torch.allclose(white01 * 2 - 1, case["prep_rgb"], atol=1e-6)


def test_eye_closure_is_the_reference_s(case: Case, shared_dir: Path) -> None:
    landmarks = plain_landmarks(case, shared_dir / "flame_like")
    heights_px = case["in_eye_distance"].T  # stored as [left / right, frame]
    loss = eye_closure_loss(
        project_px(case, landmarks)[:, :68], heights_px, case["trust_semantics"], case.image_size[0]
    )
    assert loss.item() == pytest.approx(case.scalars["offset/eye_closed_loss"], rel=1e-4)


def plain_landmarks(case: Case, head_folder: Path) -> Tensor:
    """The landmarks of the mesh without offsets [N, 70, 3], by way of the un-subdivided head's files."""
    with (head_folder / "head_template_mesh_mouth.obj").open() as lines:
        corners = [line.split()[1:] for line in lines if line.startswith("f ")]
    faces = np.array([[int(corner.split("/")[0]) - 1 for corner in face] for face in corners])
    embedding = np.load(head_folder / "landmark_embedding_with_eyes.npy", allow_pickle=True)[()]
    template = np.load(head_folder / "generic_model.npz")["v_template"]

    row_of = {tuple(vertex): row for row, vertex in enumerate(case["v_template"].numpy().round(6).tolist())}
    corner_positions = template[faces[embedding["full_lmk_faces_idx"][0]]].astype(np.float32).round(6)
    rows = torch.tensor([[row_of[tuple(corner)] for corner in face] for face in corner_positions.tolist()])
    barycentric = torch.from_numpy(embedding["full_lmk_bary_coords"][0])[:, :, None]
    return (case["verts_no_offsets"][:, rows] * barycentric).sum(2).float()


def test_gradient_of_the_translation_is_the_reference_s(case: Case) -> None:
    # a motion of the head reaches every loss through positions and normals: masks, detaching and signs matter
    shift = torch.zeros(2, 3, requires_grad=True)
    vertices, landmarks = case["verts"] + shift[:, None], case["lmks"] + shift[:, None]
    gradient = gradient_of_total(case, vertices, landmarks, shift)
    expected = case["grad_offset_translation"][case["in_frame"]]
    assert (gradient - expected).norm() / expected.norm() < 2e-3


def test_gradient_of_the_rotation_is_the_reference_s(case: Case, corrections: dict[str, Tensor]) -> None:
    # unlike a translation it turns the normals, and the Laplacian against the detached plain mesh
    frames = case["in_frame"]
    rotation = (corrections["_rotation"][frames] + case["in_flame_pose"][:, :3]).requires_grad_()
    translation = (corrections["_translation"][frames] + case["in_flame_trans"])[:, None]
    turn = rotation_matrix(rotation)

    def posed(points_world: Tensor) -> Tensor:  # the same points, as a function of the rotation
        own_frame = (points_world - translation) @ turn.detach()
        return own_frame @ turn.transpose(1, 2) + translation

    gradient = gradient_of_total(case, posed(case["verts"]), posed(case["lmks"]), rotation)
    expected = case["grad_offset_rotation"][frames]
    assert (gradient - expected).norm() / expected.norm() < 2e-3


def gradient_of_total(case: Case, vertices: Tensor, landmarks: Tensor, parameter: Tensor) -> Tensor:
    """d(the geometry stage's total) / d parameter, eye closure and regularisers left out."""
    height, width = case.image_size
    screen_coords = interpolate(case, 1 - 2 * project_px(case, vertices) / torch.tensor([width, height]))
    assert torch.allclose(screen_coords, case["screen_coords"], atol=1e-5)
    camera_normals = vertex_normals(vertices, case["faces"], 1e-6) @ case["in_cam_extrinsic"][:, :, :3]
    normals = -interpolate(case, camera_normals).permute(0, 3, 1, 2)
    table = LossTable(losses_of(case, vertices, landmarks, normals, screen_coords))
    weights = {name: case.scalars[f"offset/weight/w_{name}"] for name in table.names}
    (gradient,) = torch.autograd.grad(table.weighted_sum(weights), parameter)
    return gradient
