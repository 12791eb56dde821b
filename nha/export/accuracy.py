"""Accuracy of an export: distances between rig and avatar, PSNR between baked and neural images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.core.types import Camera, HeadParams, Rendering
from nha.data.tracking_file import TrackingResult
from nha.export.page_images import page_images
from nha.export.poses import frame_params
from nha.export.rig import Rig, pose_rig, rig_motion
from nha.export.textures import Textures, render_textured
from nha.export.views import select_frames_by_yaw
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG, params_from_angles
from nha.head.model import HeadModel

_IMAGE_FRAMES = 8
_BATCH = 4  # heads at a time
_FULL_COVERAGE = 0.999  # alpha of pixels that no antialiased edge crosses

# Angles in degrees of the poses in which a rig is measured: (neck, jaw, one eye).
TEST_POSES_DEG = {
    "neck 30 degrees to the side": ((0, 30, 0), (0, 0, 0), (0, 0, 0)),
    "neck 20 degrees down": ((20, 0, 0), (0, 0, 0), (0, 0, 0)),
    "jaw open by 20 degrees": ((0, 0, 0), (20, 0, 0), (0, 0, 0)),
    "eyes 20 degrees down": ((0, 0, 0), (0, 0, 0), (20, 0, 0)),
}


def posed_tests(neutral: HeadParams) -> HeadParams:
    """The poses of TEST_POSES_DEG on a head in neutral pose [1]."""
    n = len(TEST_POSES_DEG)
    poses_deg = neutral.neck.new_tensor([list(pose) for pose in TEST_POSES_DEG.values()])  # [n, 3, 3]
    angles_rad = torch.deg2rad(poses_deg)
    params = HeadParams(**{name: value.expand(n, -1) for name, value in vars(neutral).items()})
    return params.replace(
        neck=params_from_angles(angles_rad[:, 0], NECK_LIMITS_DEG),
        jaw=params_from_angles(angles_rad[:, 1], JAW_LIMITS_DEG),
        eyes=params_from_angles(torch.cat([angles_rad[:, 2], angles_rad[:, 2]], 1), EYES_LIMITS_DEG),
    )


@torch.no_grad()
def rig_accuracy(
    avatar: HeadAvatar, rig: Rig, tracked: HeadParams | None, neutral: HeadParams
) -> dict[str, Any]:
    """Vertex errors of the rig in millimetres.

    They are measured in the bind pose, over the tracked frames (as the animation moves the rig, and with manual
    posing), and in the poses of TEST_POSES_DEG with manual posing.

    Args:
        avatar: the avatar.
        rig: its rig.
        tracked: all tracked frames, corrected; None leaves them out.
        neutral: the neutral pose [1].
    """
    report = {"bind_pose": error_summary(vertex_errors_mm(avatar, rig, rig.bind))}
    if tracked is not None:
        for name, manual in (("tracked_frames", False), ("tracked_frames_by_hand", True)):
            errors = [
                vertex_errors_mm(avatar, rig, tracked[i : i + _BATCH], manual)
                for i in range(0, len(tracked), _BATCH)
            ]
            report[name] = error_summary(torch.cat(errors))
    tests = vertex_errors_mm(avatar, rig, posed_tests(neutral), manual=True)
    return report | {name: error_summary(errors) for name, errors in zip(TEST_POSES_DEG, tests, strict=True)}


@torch.no_grad()
def image_accuracy(
    avatar: HeadAvatar, rig: Rig, tracking: TrackingResult, textures: Textures
) -> dict[str, dict[str, float]]:
    """Means of `image_errors` over some tracked frames, at the tracked size.

    Returns:
        "texture_only": the baked texture on the avatar's own surface; "texture_and_rig": on the rig's surface.
    """
    frames = select_frames_by_yaw(tracking, _IMAGE_FRAMES)
    scores: dict[str, list[dict[str, float]]] = {"texture_only": [], "texture_and_rig": []}
    for start in range(0, len(frames), _BATCH):
        ids = frames[start : start + _BATCH]
        params = frame_params(avatar, tracking, ids)
        camera = tracking.camera_for(ids, tracking.image_size).to(params.rotation.device)
        neural = avatar.render(params, camera, corrected=True)
        rigged = pose_rig(rig, rig_motion(avatar, rig, params))
        for name, vertices in (("texture_only", neural.surface.vertices), ("texture_and_rig", rigged)):
            scores[name] += image_errors(avatar.head, neural, camera, vertices, textures)
    return {
        name: {
            "frames": len(rows),
            **{key: round(float(np.mean([row[key] for row in rows])), 2) for key in rows[0]},
        }
        for name, rows in scores.items()
    }


@torch.no_grad()
def page_accuracy(
    avatar: HeadAvatar, tracking: TrackingResult, page: Path, chromium: str
) -> dict[str, dict[str, float]]:
    """How avatar.html draws some tracked frames in Chromium, against the avatar's images without frame corrections.

    Args:
        avatar: the avatar.
        tracking: the tracking of its video.
        page: avatar.html of the same.
        chromium: path of the browser.

    Returns:
        "vertices": distances in mm; "images": mean PSNR in dB of the pixels that both cover entirely
        ("covered_psnr"), of those among them that no antialiased edge crosses ("inner_psnr"), and of the whole image
        on white ("psnr").
    """
    order = np.sort(tracking.frame).tolist()
    frames = select_frames_by_yaw(tracking, _IMAGE_FRAMES)
    images = page_images(page, [order.index(frame) for frame in frames], chromium)
    params = frame_params(avatar, tracking, frames)
    camera = tracking.camera_for(frames, tracking.image_size).to(params.rotation.device)
    distances, rows = [], []
    for i, image in enumerate(images):
        rendering = avatar.render(params[i : i + 1], camera[i : i + 1], corrected=True)
        sharp = _before_antialiasing(avatar, rendering, camera[i : i + 1])
        drawn = torch.from_numpy(image.rgba).permute(2, 0, 1)[None].to(sharp.device) / 255
        on_white = drawn[:, :3] * drawn[:, 3:] + 1 - drawn[:, 3:]
        squared = (rendering.rgb01 - on_white).square().mean(1)
        both = (drawn[:, 3] == 1) & (rendering.alpha[:, 0] >= _FULL_COVERAGE)
        inner = both & ((sharp - rendering.rgb01).abs().amax(1) == 0)
        rows.append([_psnr(values.mean()) for values in (squared[both], squared[inner], squared)])
        vertices = rendering.surface.vertices[0].cpu().double()
        distances.append(1000 * (vertices - torch.from_numpy(image.vertices)).norm(dim=1))
    names = ("covered_psnr", "inner_psnr", "psnr")
    scores = dict(zip(names, np.mean(rows, 0).round(2).tolist(), strict=True))
    return {
        "vertices": error_summary(torch.stack(distances)),
        "images": {"frames": len(rows), **scores},
    }


def _before_antialiasing(avatar: HeadAvatar, rendering: Rendering, camera: Camera) -> Tensor:
    """The colours [1, 3, H, W] of a rendering [1] that antialiasing mixes; the published model has none."""
    if not isinstance(avatar, BlendAvatar):
        return rendering.rgb01
    return avatar.paint(rendering.gbuffer, avatar.scaled_drive(rendering.surface.params, camera))


def vertex_errors_mm(avatar: HeadAvatar, rig: Rig, params: HeadParams, manual: bool = False) -> Tensor:
    """Distances in mm between the rig's and the avatar's vertices, [N, V]; manual as in `rig_motion`."""
    expected = avatar.surface(params).vertices.double()
    return 1000 * (pose_rig(rig, rig_motion(avatar, rig, params, manual)) - expected).norm(dim=-1)


def error_summary(errors_mm: Tensor) -> dict[str, float]:
    """Mean, 99th percentile and maximum of distances."""
    values = errors_mm.cpu().numpy()
    return {
        "mean_mm": round(float(values.mean()), 4),
        "p99_mm": round(float(np.percentile(values, 99)), 4),
        "max_mm": round(float(values.max()), 4),
    }


def image_errors(
    head: HeadModel, neural: Rendering, camera: Camera, vertices: Tensor, textures: Textures
) -> list[dict[str, float]]:
    """PSNR in dB of the baked mesh's images against the neural ones, for each of N heads.

    Args:
        head: the head model.
        neural: the avatar's rendering of the N heads.
        camera: N cameras.
        vertices: [N, V, 3] of the baked mesh.
        textures: the baked textures.

    Returns:
        For each head "psnr" of the whole image on white, and "covered_psnr" of the pixels that both cover
        entirely.
    """
    expected = neural.rgb01.clamp(0, 1)
    baked = render_textured(head, vertices.to(expected.dtype), textures, camera)
    squared = (baked[:, :3] - expected).square().mean(1)
    both = (neural.alpha[:, 0] >= _FULL_COVERAGE) & (baked[:, 3] > 0)
    return [
        {"psnr": _psnr(squared[i].mean()), "covered_psnr": _psnr(squared[i][both[i]].mean())}
        for i in range(len(squared))
    ]


def _psnr(mean_squared_error: Tensor) -> float:
    return round(-10 * math.log10(max(float(mean_squared_error), 1e-12)), 3)
