"""Export of a tracking in the layouts of other programs; the inverse of the readers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nha.avatar.matching import tracking_for_head
from nha.core.conventions import Segmentation
from nha.core.errors import UserError
from nha.core.json_file import write_json
from nha.core.output_folder import own_folder
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.system import atomic_path, get_logger, require_writable
from nha.data.dataset_folder import DatasetFolder, read_labels, read_rgb, write_labels, write_rgb
from nha.data.splits import default_split, read_split
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.tracking.exchange.arkit import write_arkit_csv
from nha.tracking.exchange.placement import OPENCV_TO_OURS, OPENGL_TO_OURS, root_joint
from nha.tracking.exchange.settings import TrackingExportSettings

_HEAD_LABELS = (
    Segmentation.HEAD,
    Segmentation.HAIR,
    Segmentation.BEARD,
    Segmentation.HEADWEAR,
    Segmentation.GLASSES,
)
_OPENGL_CAMERA_M = np.array([0.0, 0.0, 1.0])  # where VHAP puts its camera

_logger = get_logger(__name__)


@dataclass(frozen=True)
class FlameMotion:
    """Poses of F frames as FLAME places them, p = R (v - J) + J + t, in the axes of a camera at the origin.

    rotation [F, 3], translation [F, 3] metres, neck and jaw [F, 3], eyes [F, 6]: axis-angle in radians.
    """

    rotation: np.ndarray
    translation: np.ndarray
    neck: np.ndarray
    jaw: np.ndarray
    eyes: np.ndarray


def flame_motion(tracking: TrackingResult, head: HeadModel, axes_to_ours: np.ndarray) -> FlameMotion:
    """The poses of a tracking in the axes of another program's camera.

    Args:
        tracking: see `tracking_for_head`.
        head: its head model.
        axes_to_ours: [3, 3], such as `OPENCV_TO_OURS`.
    """
    params = tracking.params_for(tracking.frame)
    turn, offset = tracking.RT[:, :3].T.astype(float), tracking.RT[:, 3].astype(float)
    ours = np.einsum("ij,fjk->fik", turn, rotation_matrix(params.rotation.double()).numpy())
    position = tracking.translation.astype(float) @ turn.T + offset
    rotation = np.einsum("ij,fjk->fik", axes_to_ours.T, ours)
    translation = position @ axes_to_ours - root_joint(head, params.shape, params.expr).double().numpy()
    return FlameMotion(
        rotation=rotation_vector(torch.from_numpy(rotation)).float().numpy(),
        translation=translation.astype(np.float32),
        neck=neck_angles(params.neck).numpy(),
        jaw=jaw_angles(params.jaw).numpy(),
        eyes=eyes_angles(params.eyes).numpy(),
    )


def export_tracking(settings: TrackingExportSettings) -> list[Path]:
    """Write a tracking in another program's layout.

    Returns:
        The written files; of a folder of many, its index.

    Raises:
        UserError: the tracking cannot be read, or belongs to another head model.
    """
    tracking = read_tracking(settings.tracking)
    model = HeadModel(load_head(settings.head), subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    tracking = tracking_for_head(tracking, model, settings.tracking)
    if "flame" not in model.name.lower() and settings.to != "arkit-csv":
        _logger.warning(
            "the coefficients are those of the head model '%s': programs for FLAME read the file, but give them other "
            "shapes; track with --head flame for them",
            model.name,
        )
    with own_folder(settings.out):
        return [_write(settings, tracking, model)]


def _write(settings: TrackingExportSettings, tracking: TrackingResult, model: HeadModel) -> Path:
    """Write the chosen format and return its main file."""
    out = settings.out
    if settings.to == "vhap":
        return write_vhap(out, tracking, model)
    if settings.to == "gaussianavatars":
        return write_gaussian_avatars(out, tracking, model, settings.dataset)
    if settings.to == "flame-npz":
        return write_flame_npz(out, tracking, model)
    return write_arkit_csv(out / "arkit.csv", tracking, model, settings.frame_rate)


def write_vhap(out: Path, tracking: TrackingResult, head: HeadModel) -> Path:
    """VHAP's archive; its camera is in the middle of the image."""
    motion = flame_motion(tracking, head, OPENGL_TO_OURS)
    focal, cx, cy = _normed_intrinsics(tracking)
    if max(abs(cx - 0.5), abs(cy - 0.5)) > 0.01:
        _logger.warning("VHAP has no principal point: that of this tracking (%.2f, %.2f) is lost", cx, cy)
    return _save(
        out / "tracked_flame_params_0.npz",
        **_vhap_face(tracking, motion),
        translation=motion.translation + np.float32(_OPENGL_CAMERA_M),
        timestep_id=np.array([f"{i:05d}" for i in tracking.frame.tolist()]),
        n_processed_frames=np.array(len(tracking) - 1),
        focal_length=np.float32([focal]),
        image_size=np.array(tracking.image_size),
    )


def write_gaussian_avatars(
    out: Path, tracking: TrackingResult, head: HeadModel, dataset: Path | None = None
) -> Path:
    """A dataset folder for GaussianAvatars; images and masks are written where the dataset is given."""
    motion = flame_motion(tracking, head, OPENGL_TO_OURS)
    centre = motion.translation.mean(0) + np.float32(_OPENGL_CAMERA_M)
    face = {
        **_vhap_face(tracking, motion),
        "translation": motion.translation + np.float32(_OPENGL_CAMERA_M) - centre,
    }
    offsets = np.zeros((1, len(head.template), 3), np.float32)
    parameters = require_writable(out / "flame_param")
    for row in range(len(tracking)):
        one = {key: value if key == "shape" else value[[row]] for key, value in face.items()}
        _save(parameters / f"{row:05d}.npz", **one, static_offset=offsets)
    rest = {key: value if key == "shape" else np.zeros_like(value[:1]) for key, value in face.items()}
    rest["jaw_pose"] = np.float32([[0.3, 0, 0]])  # an open mouth, as in VHAP's own files
    _save(out / "canonical_flame_param.npz", **rest, static_offset=offsets)
    camera = _camera_entries(tracking, _OPENGL_CAMERA_M - centre)
    frames = [_frame_entry(row, frame_id, camera) for row, frame_id in enumerate(tracking.frame.tolist())]
    if dataset is not None:
        _write_images(out, tracking, DatasetFolder.open(dataset))
    split = default_split(tracking.frame.tolist())
    if dataset is not None and DatasetFolder(dataset).default_split.is_file():
        split = read_split(DatasetFolder(dataset).default_split)
    parts = {"": set(tracking.frame.tolist()), "_train": set(split.train), "_val": set(split.val)}
    parts["_test"] = parts["_val"]
    for suffix, ids in parts.items():
        chosen = [frame for frame in frames if int(frame["timestep_id"]) in ids]
        indices = [frame["timestep_index"] for frame in chosen]
        content = {**camera, "frames": chosen, "timestep_indices": indices, "camera_indices": [0]}
        write_json(out / f"transforms{suffix}.json", content)
    return out / "transforms.json"


def write_flame_npz(out: Path, tracking: TrackingResult, head: HeadModel) -> Path:
    """FLAME parameters under smplx's names, in the coordinates of an OpenCV camera at the origin."""
    motion = flame_motion(tracking, head, OPENCV_TO_OURS)
    height, width = tracking.image_size
    focal, cx, cy = _normed_intrinsics(tracking)
    focal_px = focal * max(height, width)
    matrix = np.array([[focal_px, 0, cx * width], [0, focal_px, (1 - cy) * height], [0, 0, 1]], np.float32)
    return _save(
        out / "flame_parameters.npz",
        betas=tracking.shape,
        expression=tracking.expr,
        global_orient=motion.rotation,
        transl=motion.translation,
        neck_pose=motion.neck,
        jaw_pose=motion.jaw,
        leye_pose=motion.eyes[:, :3],
        reye_pose=motion.eyes[:, 3:],
        frame=tracking.frame,
        intrinsics=matrix,
        image_size=np.array(tracking.image_size),
    )


def _vhap_face(tracking: TrackingResult, motion: FlameMotion) -> dict[str, np.ndarray]:
    return {
        "rotation": motion.rotation,
        "neck_pose": motion.neck,
        "jaw_pose": motion.jaw,
        "eyes_pose": motion.eyes,
        "shape": tracking.shape,
        "expr": tracking.expr,
    }


def _normed_intrinsics(tracking: TrackingResult) -> tuple[float, float, float]:
    """Focal length / longer side, cx / W, cy / H from the bottom edge."""
    height, width = tracking.image_size
    matrix = tracking.intrinsics_for(tracking.image_size)
    return float(matrix[0, 0]) / max(height, width), float(matrix[0, 2]) / width, float(matrix[1, 2]) / height


def _camera_entries(tracking: TrackingResult, position: np.ndarray) -> dict[str, Any]:
    height, width = tracking.image_size
    focal, cx, cy = _normed_intrinsics(tracking)
    focal_px = focal * max(height, width)
    world_from_camera = np.eye(4)
    world_from_camera[:3, 3] = position
    return {
        "cx": cx * width,
        "cy": (1 - cy) * height,
        "fl_x": focal_px,
        "fl_y": focal_px,
        "h": height,
        "w": width,
        "camera_angle_x": 2 * math.atan(width / (2 * focal_px)),
        "camera_angle_y": 2 * math.atan(height / (2 * focal_px)),
        "transform_matrix": world_from_camera.tolist(),
    }


def _frame_entry(row: int, frame_id: int, camera: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestep_index": row,
        "timestep_index_original": row,
        "timestep_id": f"{frame_id:05d}",
        "camera_index": 0,
        "camera_id": "0",
        **camera,
        "file_path": f"images/{row:05d}_00.png",
        "fg_mask_path": f"fg_masks/{row:05d}_00.png",
        "flame_param_path": f"flame_param/{row:05d}.npz",
    }


def _write_images(out: Path, tracking: TrackingResult, folder: DatasetFolder) -> None:
    for name in ("images", "fg_masks"):
        require_writable(out / name)
    for row, frame_id in enumerate(tracking.frame.tolist()):
        paths, name = folder.paths(frame_id), f"{row:05d}_00.png"
        image = read_rgb(paths.image)
        if image.shape[:2] != tuple(tracking.image_size):
            raise UserError(
                f"'{folder.root}' has images of another size than the tracking; export without --dataset, or track "
                "it again"
            )
        write_rgb(out / "images" / name, image)
        mask = np.isin(read_labels(paths.segmentation), _HEAD_LABELS)
        write_labels(out / "fg_masks" / name, np.where(mask, np.uint8(255), np.uint8(0)))


def _save(path: Path, **arrays: np.ndarray) -> Path:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return path
