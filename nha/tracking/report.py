"""What came out: errors of every frame, and a video for looking."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.system import atomic_path
from nha.data.video_io import VideoWriter
from nha.render.camera import project
from nha.render.shading import phong_picture
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.fit import Observation
from nha.tracking.frames import MIN_CONFIDENCE
from nha.tracking.mesh import TrackerMesh
from nha.tracking.observe import observe
from nha.tracking.photometric import (
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    visible_pixels,
)
from nha.tracking.progress import Progress, RunFolder
from nha.tracking.stages import appearance_of
from nha.tracking.state import Unknowns

# Small pictures are enlarged to about this height, so that the marks on them can be seen.
_PANEL_HEIGHT = 256
_DETECTED_RGB, _TRACKED_RGB = (60, 220, 60), (230, 40, 40)
_OVERLAY_OPACITY = 0.65


@dataclass(frozen=True)
class DrawnFrame:
    """One tracked frame as pictures uint8 [H, W, 3], its landmarks [70, 2] pixels and its errors."""

    overlay: np.ndarray
    shape: np.ndarray
    landmarks_px: np.ndarray
    landmark_error_px: float
    photometric_error: float


def write_report(mesh: TrackerMesh, albedo: AlbedoSpace, run: RunFolder, progress: Progress) -> None:
    """Write `tracking_report.json` and, if asked for, `tracking.mp4`: frame, overlay, shape, landmarks."""
    frames, settings = run.frames, run.settings
    device = mesh.faces.device
    video = VideoWriter(run.video, settings.frame_rate) if settings.video else contextlib.nullcontext()
    rows, tracked_px = [], []
    with video as writer:
        for row in range(len(frames)):
            seen = observe(frames, [row], device, with_masks=True)
            unknowns = progress.unknowns.rows([row]).to(device)
            drawn = draw_frame(mesh, albedo, unknowns, seen, appearance_of(settings))
            tracked_px.append(drawn.landmarks_px[:68])
            rows.append(_entry(frames.frame_ids[row], drawn, progress))
            if writer is not None:
                writer.write(panels(seen, drawn))
    report = _summary(run, progress, rows, np.stack(tracked_px))
    with atomic_path(run.report) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")


@torch.no_grad()
def draw_frame(
    mesh: TrackerMesh, albedo: AlbedoSpace, unknowns: Unknowns, seen: Observation, appearance: str
) -> DrawnFrame:
    """Draw one tracked frame and measure it."""
    size = seen.image_size
    camera = unknowns.camera(size)
    vertices = mesh.head(unknowns.head_params())
    landmarks_px = project(mesh.head.landmarks(vertices), camera)[0, :, :2]
    known = seen.confidence[0, :68] > MIN_CONFIDENCE
    distance = torch.linalg.vector_norm(landmarks_px[:68] - seen.landmarks_px[0, :68], dim=1)[known]

    visible = visible_pixels(vertices, mesh, unknowns, size)
    colours = surface_colours(vertices, mesh, visible, unknowns, albedo, appearance)
    positions = screen_positions(vertices, mesh, visible, unknowns, size)
    compared = torch.cat([seen.pictures, seen.face_masks], 1)
    sampled = sample_images(compared, visible, positions)
    error = photometric_distance(colours, sampled[:, :3], sampled[:, 3])

    alpha = visible.to_image(torch.ones_like(colours[:, :1])).permute(0, 3, 1, 2) * _OVERLAY_OPACITY
    shape = phong_picture(vertices, mesh.faces, camera)[:, :3]
    overlay = seen.pictures * (1 - alpha) + shape * alpha
    return DrawnFrame(
        overlay=_to_uint8(overlay),
        shape=_to_uint8(shape),
        landmarks_px=landmarks_px.cpu().numpy(),
        landmark_error_px=float(distance.mean()) if len(distance) else math.nan,
        photometric_error=float(error),
    )


def panels(seen: Observation, drawn: DrawnFrame) -> np.ndarray:
    """The video's picture: frame, overlay, shape and landmarks (green detected, red tracked) in a row."""
    frame = _to_uint8(seen.pictures)
    factor = max(1, round(_PANEL_HEIGHT / frame.shape[0]))
    large = [
        np.repeat(np.repeat(picture, factor, 0), factor, 1)
        for picture in (frame, drawn.overlay, drawn.shape, frame)
    ]
    marked = np.ascontiguousarray(large[3])
    radius = max(1, round(marked.shape[0] / 200))
    known = (seen.confidence[0] > MIN_CONFIDENCE).cpu().numpy()
    detected = seen.landmarks_px[0].cpu().numpy()[known]
    for points, colour in ((detected, _DETECTED_RGB), (drawn.landmarks_px, _TRACKED_RGB)):
        for u, v in np.clip(points * factor, -1e4, 1e4):
            cv2.circle(marked, (round(float(u)), round(float(v))), radius, colour, -1, cv2.LINE_AA)
    return np.concatenate([*large[:3], marked], axis=1)


def _entry(frame_id: int, drawn: DrawnFrame, progress: Progress) -> dict:
    known = math.isfinite(drawn.landmark_error_px)
    return {
        "frame": int(frame_id),
        "landmark_px": round(drawn.landmark_error_px, 4) if known else None,
        "photometric": round(drawn.photometric_error, 5),
        "bridged": frame_id in progress.without_landmarks or frame_id in progress.outliers,
    }


def _summary(run: RunFolder, progress: Progress, rows: list[dict], tracked_px: np.ndarray) -> dict:
    settings, frames = run.settings, run.frames
    landmark_errors = [row["landmark_px"] for row in rows if row["landmark_px"] is not None]
    jitter = np.zeros(0)
    if len(rows) > 2:
        second = tracked_px[:-2] - 2 * tracked_px[1:-1] + tracked_px[2:]
        jitter = np.linalg.norm(second, axis=-1).mean(1)
    total = sum(progress.seconds.values())
    return {
        "mode": settings.mode,
        "appearance": appearance_of(settings),
        "head": str(settings.head),
        "image_size": list(frames.image_size),
        "n_frames": len(frames),
        "focal": round(float(progress.unknowns.focal_and_centre[0]), 5),
        "keyframes": list(progress.keyframes),
        "frames_without_landmarks": list(progress.without_landmarks),
        "outlier_frames": list(progress.outliers),
        "landmark_px_mean": round(float(np.mean(landmark_errors)), 4),
        "landmark_px_median": round(float(np.median(landmark_errors)), 4),
        "landmark_px_max": round(float(np.max(landmark_errors)), 4),
        "photometric_mean": round(float(np.mean([row["photometric"] for row in rows])), 5),
        "jitter_px_mean": round(float(jitter.mean()), 4) if len(jitter) else 0.0,
        "seconds": {**progress.seconds, "total": round(total, 3)},
        "seconds_per_frame": round(total / len(frames), 4),
        "frames": rows,
    }


def _to_uint8(picture: Tensor) -> np.ndarray:
    """[1, 3, H, W] in 0..1 to uint8 [H, W, 3]."""
    return (picture[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255 + 0.5).astype(np.uint8)
