"""Errors of a tracking, or of an avatar's mesh, against the ground truth of a synthetic video.

A single camera leaves distance, size and focal length ambiguous: a longer focal length with a more distant head, or a
larger head at a larger distance, give the same image. Each error states which of these ambiguities it compensates:

rotation_deg           angle between the true and the tracked orientation of the head: global rotation times the
                       neck joint's, after the joint limits (the share of each is not observable)
translation_mm         distance between the true and the tracked position of the head, after the tracked depth (z)
                       is multiplied by true over tracked focal length. The position is the mean of the face's
                       vertices, because that of the root joint depends on the share of the neck's rotation. The
                       head's size is *not* compensated.
translation_scaled_mm  the same, after the whole tracked scene is scaled by one factor for the video, which gives
                       the tracked face its true size
landmark_px            mean distance of the 68 projected landmarks of the tracked mesh to the true ones, pixels of
                       the tracked images
vertex_mm              mean distance of corresponding vertices of the face, after the best rigid alignment of each
                       frame; the size is not compensated
vertex_scaled_mm       the same after the best similarity alignment
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.alignment import align
from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix
from nha.core.types import HeadParams
from nha.data.tracking_file import TrackingResult
from nha.evaluation.truth import Truth
from nha.head.assets import HeadAssets
from nha.head.joint_limits import neck_angles
from nha.head.model import HeadModel
from nha.render.camera import project

MM_PER_METRE = 1000.0
FACE_PART = "face"
NOT_FACE = ("left_eyeball", "right_eyeball", "mouth")
_BATCH_SIZE = 16

# Parameters of N heads as tracked, and their frame ids [N] -> corrected parameters, vertices [N, V, 3] metres.
Poser = Callable[[HeadParams, Tensor], tuple[HeadParams, Tensor]]


def tracking_errors(assets: HeadAssets, tracking: TrackingResult, truth: Truth) -> dict[str, np.ndarray]:
    """Errors of a tracking against the ground truth.

    Args:
        assets: the head model of both.
        tracking: F tracked frames.
        truth: ground truth of these frames.

    Returns:
        [F] for each of the errors in the module's docstring.

    Raises:
        UserError: if the truth has another head model, other frames or another aspect ratio.
    """
    head = HeadModel(assets, subdivisions=0, blur_sigma=None)
    return _errors(assets, head, lambda params, _: (params, head(params)), tracking, tracking.frame, truth)


def avatar_errors(
    assets: HeadAssets,
    avatar: HeadAvatar,
    tracking: TrackingResult,
    frame_ids: Sequence[int],
    truth: Truth,
) -> dict[str, np.ndarray]:
    """Errors of an avatar's mesh, with the learned corrections and vertex offsets, as in `tracking_errors`."""

    def pose(params: HeadParams, ids: Tensor) -> tuple[HeadParams, Tensor]:
        surface = avatar.surface(avatar.corrected(params, ids))
        return surface.params, surface.vertices

    return _errors(assets, avatar.head, pose, tracking, frame_ids, truth)


@torch.no_grad()
def _errors(
    assets: HeadAssets,
    head: HeadModel,
    pose: Poser,
    tracking: TrackingResult,
    frame_ids: Sequence[int],
    truth: Truth,
) -> dict[str, np.ndarray]:
    """Errors of the heads that `pose` returns, by name: [F] each."""
    frame_ids = [int(i) for i in frame_ids]
    rows = truth.tracking.rows_of(frame_ids)
    if not truth.tracking.fits_image_size(tracking.image_size):
        raise UserError(
            "the tracked images have another aspect ratio than the truth's: the video was cropped; track all of it"
        )
    tracked_face, true_face_columns = face_columns(assets, head.kept_vertices.cpu().numpy(), truth)
    true_params = truth.tracking.params_for(frame_ids)
    device = head.template.device

    rotation, faces, landmarks = [], [], []
    for start in range(0, len(frame_ids), _BATCH_SIZE):
        ids = frame_ids[start : start + _BATCH_SIZE]
        params, vertices = pose(tracking.params_for(ids).to(device), torch.tensor(ids, device=device))
        camera = tracking.camera_for(ids, tracking.image_size).to(device)
        points = head.landmarks(vertices)[:, :N_FACE_LANDMARKS]
        landmarks.append(project(points, camera)[..., :2].cpu().numpy())
        faces.append(vertices.cpu().numpy()[:, tracked_face].astype(np.float64))
        rotation.append(rotation_errors_deg(params.to("cpu"), true_params[start : start + len(ids)]).numpy())

    true_landmarks = truth.landmarks_px[rows, :N_FACE_LANDMARKS] * pixel_scale(tracking, truth)
    face, true_face = np.concatenate(faces), truth.vertices[rows][:, true_face_columns].astype(np.float64)
    return {
        "rotation_deg": np.concatenate(rotation),
        **position_errors_mm(face, true_face, focal_ratio(tracking, truth)),
        "landmark_px": np.linalg.norm(np.concatenate(landmarks) - true_landmarks, axis=-1).mean(1),
        **vertex_errors_mm(face, true_face),
    }


def rotation_errors_deg(tracked: HeadParams, true: HeadParams) -> Tensor:
    """Angle between the orientations of N heads, global rotation times neck: [N] degrees."""

    def orientation(p: HeadParams) -> Tensor:
        return rotation_matrix(p.rotation.double()) @ rotation_matrix(neck_angles(p.neck.double()))

    # |A - B| = 2 sqrt(2) sin(angle / 2): unlike the trace's arc cosine, exact for small angles
    chord = (orientation(tracked) - orientation(true)).flatten(1).norm(dim=1)
    return torch.rad2deg(2 * torch.arcsin((chord / 8**0.5).clamp(max=1)))


def position_errors_mm(
    tracked: np.ndarray, true: np.ndarray, true_over_tracked_focal: float
) -> dict[str, np.ndarray]:
    """`translation_mm` and `translation_scaled_mm` of faces [F, V, 3] metres, world."""
    tracked_position = tracked.mean(1) * [1, 1, true_over_tracked_focal]
    true_position = true.mean(1)
    size_ratio = np.median(align(tracked, true, with_scale=True).scale)
    return {
        "translation_mm": MM_PER_METRE * np.linalg.norm(tracked_position - true_position, axis=-1),
        "translation_scaled_mm": MM_PER_METRE
        * np.linalg.norm(size_ratio * tracked_position - true_position, axis=-1),
    }


def vertex_errors_mm(tracked: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """`vertex_mm` and `vertex_scaled_mm` of corresponding points [F, V, 3]."""
    return {
        name: MM_PER_METRE
        * np.linalg.norm(align(tracked, true, with_scale=scaled).apply(tracked) - true, axis=-1).mean(1)
        for name, scaled in (("vertex_mm", False), ("vertex_scaled_mm", True))
    }


def summarise(errors: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean, median, 95th percentile and maximum over frames, by error."""
    return {
        name: {
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "p95": float(np.percentile(values, 95)),
            "max": float(values.max()),
        }
        for name, values in errors.items()
    }


def face_columns(assets: HeadAssets, vertex_ids: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the face's K vertices in `vertex_ids` and in the truth's ids: two arrays [K] in the same order.

    The face is the part `face` without the eyeballs and without the faces that close the mouth.
    """
    if truth.head != assets.name:
        raise UserError(
            f"the truth is of the head model '{truth.head}', not of '{assets.name}'; track the video with "
            f"--head {truth.head}"
        )
    face = set(assets.parts[FACE_PART].tolist())
    for part in NOT_FACE:
        face -= set(assets.parts[part].tolist())
    true_columns = {vertex: column for column, vertex in enumerate(truth.vertex_ids.tolist())}
    pairs = [
        (column, true_columns[vertex])
        for column, vertex in enumerate(vertex_ids.tolist())
        if vertex in face and vertex in true_columns
    ]
    return tuple(np.array(pairs).T)


def pixel_scale(tracking: TrackingResult, truth: Truth) -> np.ndarray:
    """Pixels of the tracked images per pixel of the truth's, (x, y)."""
    (height, width), (true_height, true_width) = tracking.image_size, truth.tracking.image_size
    return np.array([width / true_width, height / true_height])


def focal_ratio(tracking: TrackingResult, truth: Truth) -> float:
    """True over tracked focal length."""
    size = truth.tracking.image_size
    return float(truth.tracking.intrinsics_for(size)[0, 0] / tracking.intrinsics_for(size)[0, 0])
