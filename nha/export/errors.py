"""What an export costs: millimetres between rig and avatar, decibels between baked and neural pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.types import Camera, HeadParams, Surface
from nha.data.tracking_file import TrackingResult
from nha.export.poses import frame_params
from nha.export.rig import Rig, motion_of, pose_rig
from nha.export.textured import draw_textured
from nha.export.views import spread_frames
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG, params_from_angles

Textures = tuple[np.ndarray, np.ndarray]  # uint8 [R, R, 3] of the head's and the mouth's map

_PICTURE_FRAMES = 8
_BATCH = 4  # heads at a time

# Angles in degrees of poses by which a rig is judged: (neck, jaw, one eye).
TRIAL_POSES_DEG = {
    "neck 30 degrees to the side": ((0, 30, 0), (0, 0, 0), (0, 0, 0)),
    "neck 20 degrees down": ((20, 0, 0), (0, 0, 0), (0, 0, 0)),
    "jaw open by 20 degrees": ((0, 0, 0), (20, 0, 0), (0, 0, 0)),
    "eyes 20 degrees down": ((0, 0, 0), (0, 0, 0), (20, 0, 0)),
}


def trial_poses(neutral: HeadParams) -> HeadParams:
    """The poses of TRIAL_POSES_DEG on a head at rest [1]."""
    n = len(TRIAL_POSES_DEG)
    angles = torch.deg2rad(
        neutral.neck.new_tensor([list(pose) for pose in TRIAL_POSES_DEG.values()])
    )  # [n, 3, 3]
    params = HeadParams(**{name: value.expand(n, -1) for name, value in vars(neutral).items()})
    return params.replace(
        neck=params_from_angles(angles[:, 0], NECK_LIMITS_DEG),
        jaw=params_from_angles(angles[:, 1], JAW_LIMITS_DEG),
        eyes=params_from_angles(torch.cat([angles[:, 2], angles[:, 2]], 1), EYES_LIMITS_DEG),
    )


@torch.no_grad()
def rig_report(
    avatar: NeuralHeadAvatar, rig: Rig, moved: HeadParams | None, rest: HeadParams
) -> dict[str, Any]:
    """Vertex errors of the rig: in its bind pose, over the tracked frames (as the animation plays them, and as posed
    by hand), and in the poses of TRIAL_POSES_DEG by hand.

    moved: all tracked frames or None; rest: the head at rest [1].
    """
    report = {"bind_pose": in_numbers(vertex_errors_mm(avatar, rig, rig.bind))}
    if moved is not None:
        for name, by_hand in (("tracked_frames", False), ("tracked_frames_by_hand", True)):
            errors = [
                vertex_errors_mm(avatar, rig, moved[i : i + _BATCH], by_hand)
                for i in range(0, len(moved), _BATCH)
            ]
            report[name] = in_numbers(torch.cat(errors))
    trials = vertex_errors_mm(avatar, rig, trial_poses(rest), by_hand=True)
    return report | {name: in_numbers(errors) for name, errors in zip(TRIAL_POSES_DEG, trials, strict=True)}


@torch.no_grad()
def picture_report(
    avatar: NeuralHeadAvatar, rig: Rig, tracking: TrackingResult, textures: Textures, backend: str = "auto"
) -> dict[str, dict[str, float]]:
    """Means over some tracked frames of `picture_errors`, at the tracked size.

    texture_only: the baked texture on the avatar's own surface; texture_and_rig: on the rig's.
    """
    frames = spread_frames(tracking, _PICTURE_FRAMES)
    scores: dict[str, list[dict[str, float]]] = {"texture_only": [], "texture_and_rig": []}
    for start in range(0, len(frames), _BATCH):
        ids = frames[start : start + _BATCH]
        params = frame_params(avatar, tracking, ids)
        camera = tracking.camera_for(ids, tracking.image_size).to(params.rotation.device)
        surface = avatar.surface(params)
        rigged = pose_rig(rig, motion_of(avatar.head, rig, params))
        for name, vertices in (("texture_only", surface.vertices), ("texture_and_rig", rigged)):
            scores[name] += picture_errors(avatar, surface, camera, vertices, textures, backend)
    return {
        name: {
            "frames": len(rows),
            **{key: round(float(np.mean([row[key] for row in rows])), 2) for key in rows[0]},
        }
        for name, rows in scores.items()
    }


def vertex_errors_mm(avatar: NeuralHeadAvatar, rig: Rig, params: HeadParams, by_hand: bool = False) -> Tensor:
    """Distances in mm between the rig's and the avatar's vertices, [N, V]; by_hand as in `motion_of`."""
    ours = avatar.surface(params).vertices.double()
    return 1000 * (pose_rig(rig, motion_of(avatar.head, rig, params, by_hand)) - ours).norm(dim=-1)


def in_numbers(errors_mm: Tensor) -> dict[str, float]:
    """Mean, 99th percentile and largest of distances."""
    values = errors_mm.cpu().numpy()
    return {
        "mean_mm": round(float(values.mean()), 4),
        "p99_mm": round(float(np.percentile(values, 99)), 4),
        "max_mm": round(float(values.max()), 4),
    }


def picture_errors(
    avatar: NeuralHeadAvatar,
    surface: Surface,
    camera: Camera,
    vertices: Tensor,
    textures: Textures,
    backend: str = "auto",
) -> list[dict[str, float]]:
    """PSNR in dB of the baked mesh's pictures against the neural ones, for each of N heads.

    surface: the avatar's; vertices: [N, V, 3] of the baked mesh. psnr: the whole picture on white; covered_psnr: pixels
    that both cover.
    """
    gbuffer = avatar.rasterize(surface, camera, backend=backend)
    neural = avatar.paint(gbuffer, avatar.mouth_features(surface)).clamp(0, 1)
    baked = draw_textured(avatar.head, vertices.to(neural.dtype), textures, camera, backend)
    squared = (baked[:, :3] - neural).square().mean(1)
    both = (gbuffer.alpha[:, 0] > 0) & (baked[:, 3] > 0)
    return [
        {"psnr": _psnr(squared[i].mean()), "covered_psnr": _psnr(squared[i][both[i]].mean())}
        for i in range(len(squared))
    ]


def _psnr(mean_squared_error: Tensor) -> float:
    return round(-10 * math.log10(max(float(mean_squared_error), 1e-12)), 3)
