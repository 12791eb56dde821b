"""Shape and pose from the parsing: outlines, ears, matches, and their residuals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, Parsing
from nha.core.types import HeadParams
from nha.data.dataset_folder import DatasetFolder, Keypoints, write_keypoints, write_labels, write_rgb
from nha.render.camera import project
from nha.render.rasterize import rasterize
from nha.tracking.frames import read_frames
from nha.tracking.head_rig import POSE_WIDTHS, HeadRig
from nha.tracking.landmark_fit import LandmarkFit
from nha.tracking.landmark_stages import LandmarkStages
from nha.tracking.outline_match import LEFT_EAR, RIGHT_EAR, OutlineMatcher, face_parts, transport
from nha.tracking.outline_stage import head_yaw_deg
from nha.tracking.outlines import Edge, outline_of_labels
from nha.tracking.progress import RunFolder
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.settings import OutlineSettings, TrackingSettings
from nha.tracking.state import UNKNOWNS, start_unknowns
from nha.tracking.surface_points import SurfaceDistances, SurfaceTargets

N_SHAPE, N_EXPR = 12, 14


@pytest.fixture
def surface(head_mesh):
    """Random points of the surface in two frames, and unknowns: distances, own, shared."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    corners = head_mesh.faces[torch.randint(len(head_mesh.faces), (2, 9), generator=generator)]
    weights = torch.rand(2, 9, 3, generator=generator)
    targets = SurfaceTargets(
        corners=corners,
        barycentric=weights / weights.sum(-1, keepdim=True),
        target_px=50 * normal(2, 9, 2).double(),
        direction=torch.nn.functional.normalize(normal(2, 9, 2), dim=-1),
        inverse_sigma=torch.ones(2, 9).double(),
    )
    pose = [torch.tensor([[0.1, 3.0, 0.1], [0.0, 3.3, 0.2]]), torch.tensor([[0.01, 0.02, 1.0]] * 2)]
    own = torch.cat([0.5 * normal(2, N_EXPR), *pose, 0.3 * normal(2, 12)], 1).double()
    shared = torch.cat([0.5 * normal(N_SHAPE), torch.zeros(210), torch.tensor([0.9])]).double()
    return SurfaceDistances(HeadRig(head_mesh.head), N_SHAPE, N_EXPR, targets, 256), own, shared


def test_surface_points_are_those_of_the_head_model(head_mesh, surface):
    distances, own, shared = surface
    shape, expr = torch.zeros(2, head_mesh.head.n_shape), torch.zeros(2, head_mesh.head.n_expr)
    shape[:, :N_SHAPE], expr[:, :N_EXPR] = shared[:N_SHAPE].float(), own[:, :N_EXPR].float()
    vertices = head_mesh.head(HeadParams(shape, expr, *own[:, N_EXPR:].float().split(POSE_WIDTHS, 1)))
    targets = distances.targets
    corners = vertices[torch.arange(2)[:, None, None], targets.corners]
    points = (corners * targets.barycentric[..., None]).sum(2)
    projected = -256 * shared[-1].exp() * points[..., :2].double() / points[..., 2:].double()
    expected = ((projected - targets.target_px) * targets.direction).sum(-1)
    # skinning weights are interpolated inside a face, which moves a point by a fraction of a millimetre
    assert float((distances.residuals(own, shared) - expected).abs().max()) < 0.2


def test_derivatives_of_surface_distances(surface):
    distances, own, shared = surface
    at = distances.linearise(own, shared, with_shared=True)
    step = 1e-2  # the model is float32

    def numeric(function, at: torch.Tensor) -> torch.Tensor:
        steps = step * torch.eye(at.shape[-1], dtype=at.dtype)
        return torch.stack([(function(at + s) - function(at - s)) / (2 * step) for s in steps], -1)

    by_own = numeric(lambda own: distances.residuals(own, shared), own)
    by_shared = numeric(lambda shared: distances.residuals(own, shared), shared)
    assert float((at.by_own - by_own).abs().max()) < 1e-3 * float(by_own.abs().max())
    assert float((at.by_shared - by_shared).abs().max()) < 1e-3 * float(by_shared.abs().max())
    assert torch.equal(at.by_shared[..., N_SHAPE:-1], torch.zeros(2, 9, 210).double())


def test_outline_of_labels():
    labels = np.zeros((80, 60), np.uint8)
    labels[10:60, 15:45] = Parsing.SKIN
    labels[10:25, 15:45] = Parsing.HAIR
    labels[30:40, 45:50] = Parsing.L_EAR
    labels[60:80, 0:60] = Parsing.CLOTH
    outline = outline_of_labels(labels)
    assert set(outline.ears) == {"left_ear"}
    assert outline.ears["left_ear"].mean.tolist() == [47.5, 35.0]
    points, edges = outline.contour.points_px, outline.edges
    assert (edges[points[:, 1] < 20] == Edge.HAIR).all()
    assert (edges[(points[:, 1] > 28) & (points[:, 0] < 20)] == Edge.BARE).all()
    assert (edges[points[:, 0] > 48] == Edge.LEFT_EAR).all()
    assert points[:, 1].max() < 60 - 3  # nothing at the clothes
    left = points[:, 0] < 16
    assert (outline.contour.normals[left & (abs(points[:, 1] - 40) < 8)] @ [-1, 0] > 0.99).all()
    assert outline_of_labels(np.full((8, 8), Parsing.CLOTH, np.uint8)) is None


def test_transport_moves_a_covariance_onto_another():
    source, target = np.array([[4.0, 1.0], [1.0, 2.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    matrix = transport(source, target)
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(matrix @ source @ matrix, target)


def draw_parsing(mesh, unknowns, size) -> np.ndarray:
    """The labels of a bald head: ears, neck and face."""
    parts = face_parts(mesh)
    screen = project(mesh.head(unknowns.head_params()), unknowns.camera(size))
    face = rasterize(screen, mesh.faces, size, layers=1, cull_back_faces=True).face_index[..., 0].numpy()
    names = np.full(4, Parsing.SKIN, np.uint8)
    names[[LEFT_EAR, RIGHT_EAR]] = Parsing.L_EAR, Parsing.R_EAR
    return np.where(face >= 0, names[parts.part[face.clip(0)]], Parsing.BACKGROUND).astype(np.uint8)


@pytest.fixture
def shown(tmp_path, head_mesh, head_assets):
    """Landmarks and parsing of a person with large, high ears and a wide neck: stages(**settings), true unknowns."""
    size, names, yaw = (200, 200), list(head_assets.shape_names), torch.linspace(-0.6, 0.6, 7)
    truth = start_unknowns(head_mesh.head, len(yaw), 0)
    shape = truth.shape.clone()
    for name, value in {"ear_size": 2.0, "ear_height": 1.5, "ear_protrusion": 2.0, "neck_width": 1.5}.items():
        shape[names.index(name)] = value
    truth = truth.replace(
        rotation=truth.rotation + torch.stack([0.2 * yaw.cos(), yaw, 0 * yaw], 1),
        translation=torch.tensor([[0.0, -0.12, 1.0]]).repeat(len(yaw), 1),
        shape=shape,
        focal_and_centre=torch.tensor([2.9, 0.5, 0.5]),
    )
    points = project(head_mesh.head.landmarks(head_mesh.head(truth.head_params())), truth.camera(size))
    folder = DatasetFolder(tmp_path / "shown")
    for row, labels in enumerate(draw_parsing(head_mesh, truth, size)):
        paths, marks = folder.paths(row), points[row, :, :2].numpy()
        paths.folder.mkdir(parents=True)
        write_rgb(paths.image, np.zeros((*size, 3), np.uint8))
        write_labels(paths.parsing, labels)
        confidence = np.ones(68, np.float32)
        write_keypoints(paths.keypoints, Keypoints(marks[:68], 0 * confidence, confidence, marks[68:]))

    def stages(**settings) -> LandmarkStages:
        tracking = TrackingSettings(
            data_path=folder.root,
            output_path=tmp_path / "tracking",
            n_shape=60,
            n_expr=20,
            outline=OutlineSettings(**settings),
        )
        return LandmarkStages(RunFolder(tracking, read_frames(folder.root)), head_mesh, 0)

    return stages, truth


def resting_error_mm(mesh, found: torch.Tensor, true: torch.Tensor, part: str) -> float:
    """Mean distance between the vertices of a part of two resting heads, relative to the face."""
    rest = mesh.head.neutral_params(2).replace(shape=torch.stack([found, true]))
    vertices = mesh.head(rest)
    labels = mesh.head.hard_labels[:, mesh.head.part(part)] > 0
    face = mesh.head.hard_labels[:, mesh.head.part("eye_region")] > 0
    vertices = vertices - vertices[:, face].mean(1, keepdim=True)
    return 1000 * float((vertices[0, labels] - vertices[1, labels]).norm(dim=-1).mean())


def test_ears_and_neck_follow_the_parsing(head_mesh, shown):
    stages, truth = shown
    errors = {}
    for rounds in (0, 6):
        stage = stages(outline_rounds=rounds)
        stage.fit_keyframes(stage.place_rigidly())
        errors[rounds] = [
            resting_error_mm(head_mesh, stage.unknowns.shape, truth.shape, part)
            for part in ("left_ear", "right_ear", "neck")
        ]
    assert all(new < 0.7 * old for new, old in zip(errors[6], errors[0], strict=True)), errors


def test_without_parsing_nothing_changes(clip, head_mesh):
    frames, found = read_frames(clip.folder), []
    for rounds in (0, 6):
        settings = TrackingSettings(
            data_path=clip.folder,
            output_path=clip.folder / "tracking",
            outline=OutlineSettings(outline_rounds=rounds),
        )
        stage = LandmarkStages(RunFolder(settings, frames), head_mesh, 0)
        assert not stage.outlines.active
        stage.fit_keyframes(stage.place_rigidly())
        stage.fit_all_frames()
        found.append(stage.unknowns)
    assert all(torch.equal(getattr(found[0], name), getattr(found[1], name)) for name in UNKNOWNS)


def test_hair_keeps_the_surface_inside(head_mesh):
    size = (128, 128)
    unknowns = start_unknowns(head_mesh.head, 1, 0)
    unknowns = unknowns.replace(
        translation=torch.tensor([[0.0, -0.12, 1.0]])
    )  # the whole head is in the image
    labels = draw_parsing(head_mesh, unknowns, size)[0]
    top = int(np.flatnonzero((labels > 0).any(1))[0])
    hair = labels.copy()
    hair[: top + 25][hair[: top + 25] > 0] = Parsing.HAIR
    matcher = OutlineMatcher(head_mesh, OutlineSettings(hair_thickness_mm=10), face_height_px=50.0)

    def vertical_px(labels: np.ndarray) -> np.ndarray:
        targets = matcher.match(unknowns, [outline_of_labels(labels)], [1.0], size)
        counted = (targets.inverse_sigma[0] > 0) & (targets.direction[0, :, 1] < -0.9)
        distances = SurfaceDistances(HeadRig(head_mesh.head), 2, 2, targets, 128)
        own = torch.cat([torch.zeros(1, 2), unknowns.rotation, unknowns.translation, unknowns.neck], 1)
        own = torch.cat([own, unknowns.jaw, unknowns.eyes], 1).double()
        shared = torch.cat([torch.zeros(212), unknowns.focal_and_centre[:1].log()]).double()
        return (distances.residuals(own, shared) / targets.inverse_sigma)[0][counted].numpy()

    assert abs(vertical_px(labels)).max() < 1.0  # the outline of the bald head is the mesh's
    # under 10 mm of hair the surface should lie 10 mm lower: 2.5 pixels at this distance
    assert np.median(vertical_px(hair)) == pytest.approx(2.5, abs=0.5)


def test_landmarks_of_lids_and_lips_share_their_offset(head_mesh):
    size, head = (200, 200), head_mesh.head
    yaw = torch.linspace(-0.6, 0.6, 8)
    truth = start_unknowns(head, 8, 0)
    truth = truth.replace(rotation=truth.rotation + torch.stack([0 * yaw, yaw, 0 * yaw], 1))
    with torch.no_grad():
        pixels = project(head.landmarks(head(truth.head_params())), truth.camera(size))[..., :2]
    pairs = torch.tensor([*EYE_CLOSURE_PAIRS, *INNER_LIP_PAIRS])
    # a detector whose upper landmarks are lower and beside the lower ones
    pixels[:, pairs[:, 0]] += 1.0
    detected = DetectedLandmarks(pixels, torch.ones(8, 70), size, sigma_px=0.5, pair_sigma_px=0.15)
    _, found = LandmarkFit(head, 60, 20).fit_together(truth, detected, fixed_focal=True)
    difference = found.offsets[pairs[:, 0]] - found.offsets[pairs[:, 1]]
    assert float(difference[:, 1:].abs().max()) < 1e-3
    assert float(difference[:, 0].abs().median()) > 1e-3  # along the lids' line they are free


def test_landmarks_count_less_in_profile(shown):
    stages, truth = shown
    stage = stages().outlines
    assert float(head_yaw_deg(truth)[3]) < 10
    trust = stage._profile_trust(torch.tensor([0.0, 40.0, 50.0, 80.0]))
    assert trust.tolist() == pytest.approx([1.0, 1.0, 0.25, 0.04])
