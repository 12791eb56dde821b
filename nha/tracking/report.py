"""Errors of every tracked frame, as JSON and for TensorBoard, and a video that shows the tracked head."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.json_file import write_json
from nha.core.progress import progress as show_progress
from nha.core.rotations import rotation_matrix
from nha.render.camera import project
from nha.render.shading import phong_image
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.frames import MIN_CONFIDENCE, Observation
from nha.tracking.photometric import (
    TrackerMesh,
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    visible_pixels,
)
from nha.tracking.progress import Progress, RunFolder
from nha.tracking.stages import appearance_of
from nha.tracking.state import Unknowns
from nha.tracking.tensorboard_log import TensorBoardLog
from nha.tracking.timeline import make_timeline

# Small images are enlarged to about this height in pixels, so that the landmarks on them are visible.
_PANEL_HEIGHT = 256
_DETECTED_RGB, _TRACKED_RGB = (60, 220, 60), (230, 40, 40)
_OVERLAY_OPACITY = 0.65
_SHAPE_VIEWS_DEG = (0.0, -60.0, 60.0)


@dataclass(frozen=True)
class RenderedFrame:
    """One tracked frame.

    Attributes:
        overlay: uint8 [H, W, 3], the shaded mesh over the image.
        shapes: uint8 [H, W, 3] each, the shaded mesh from the camera and rotated to both sides.
        landmarks_px: [70, 2], tracked.
        landmark_error_px: mean distance of the confident landmarks, NaN where there are none.
        photometric_error: mean absolute colour difference on the face, in 0..1.
    """

    overlay: np.ndarray
    shapes: tuple[np.ndarray, ...]
    landmarks_px: np.ndarray
    landmark_error_px: float
    photometric_error: float


def write_report(
    mesh: TrackerMesh, albedo: AlbedoSpace, run: RunFolder, progress: Progress, log: TensorBoardLog
) -> None:
    """Write `tracking_report.json` and, if asked for, `tracking.mp4`: image, overlay, shapes, landmarks."""
    frames, settings = run.frames, run.settings
    device = mesh.faces.device
    video = contextlib.nullcontext()
    if settings.video:
        from nha.data.video_io import VideoWriter  # only here: a machine that writes no video needs no PyAV

        video = VideoWriter(run.video, settings.frame_rate)
    entries, tracked_px = [], []
    with video as writer:
        for row in show_progress(range(len(frames)), "tracking report"):
            observation = frames.observe([row], device, with_masks=True)
            unknowns = progress.unknowns.rows([row]).to(device)
            rendered = render_frame(mesh, albedo, unknowns, observation, appearance_of(settings))
            tracked_px.append(rendered.landmarks_px[:N_FACE_LANDMARKS])
            entries.append(_entry(frames.frame_ids[row], rendered, progress))
            if writer is not None:
                writer.write(panels(observation, rendered))
            if frames.frame_ids[row] in progress.keyframes:
                log.image("keyframes", panels(observation, rendered), frames.frame_ids[row])
    for entry, jitter in zip(entries, jitter_px(np.stack(tracked_px)), strict=True):
        entry["jitter_px"] = None if math.isnan(jitter) else round(float(jitter), 4)
        errors = {key: entry[key] for key in ("landmark_px", "photometric", "jitter_px")}
        log.frame_errors(entry["frame"], errors)
    write_json(run.report, _summary(run, progress, entries))


def jitter_px(landmarks_px: np.ndarray) -> np.ndarray:
    """Mean length of the landmarks' second difference in time.

    Args:
        landmarks_px: [F, L, 2].

    Returns:
        [F] pixels, NaN for the first and the last frame.
    """
    jitter = np.full(len(landmarks_px), np.nan)
    second = landmarks_px[:-2] - 2 * landmarks_px[1:-1] + landmarks_px[2:]
    jitter[1:-1] = np.linalg.norm(second, axis=-1).mean(1)
    return jitter


@torch.no_grad()
def render_frame(
    mesh: TrackerMesh, albedo: AlbedoSpace, unknowns: Unknowns, observation: Observation, appearance: str
) -> RenderedFrame:
    """Render one tracked frame and measure its errors."""
    size = observation.image_size
    camera = unknowns.camera(size)
    vertices = mesh.head(unknowns.head_params())
    landmarks_px = project(mesh.head.landmarks(vertices), camera)[0, :, :2]
    face = slice(0, N_FACE_LANDMARKS)
    known = observation.confidence[0, face] > MIN_CONFIDENCE
    difference = landmarks_px[face] - observation.landmarks_px[0, face]
    distance = torch.linalg.vector_norm(difference, dim=1)[known]

    visible = visible_pixels(vertices, mesh, unknowns, size)
    colours = surface_colours(vertices, mesh, visible, unknowns, albedo, appearance)
    positions = screen_positions(vertices, mesh, visible, unknowns, size)
    compared = torch.cat([observation.images, observation.face_masks], 1)
    sampled = sample_images(compared, visible, positions)
    error = photometric_distance(colours, sampled[:, :3], sampled[:, 3])

    alpha = visible.to_image(torch.ones_like(colours[:, :1])).permute(0, 3, 1, 2) * _OVERLAY_OPACITY
    shapes = [phong_image(_rotated(vertices, angle), mesh.faces, camera)[:, :3] for angle in _SHAPE_VIEWS_DEG]
    overlay = observation.images * (1 - alpha) + shapes[0] * alpha
    return RenderedFrame(
        overlay=_to_uint8(overlay),
        shapes=tuple(_to_uint8(shape) for shape in shapes),
        landmarks_px=landmarks_px.cpu().numpy(),
        landmark_error_px=float(distance.mean()) if len(distance) else math.nan,
        photometric_error=float(error),
    )


def _rotated(vertices: Tensor, angle_deg: float) -> Tensor:
    """Vertices [1, V, 3] rotated about the vertical axis through their centre."""
    centre = (vertices.amin(1, keepdim=True) + vertices.amax(1, keepdim=True)) / 2
    rotation = rotation_matrix(vertices.new_tensor([0.0, math.radians(angle_deg), 0.0]))
    return (vertices - centre) @ rotation.mT + centre


def panels(observation: Observation, rendered: RenderedFrame) -> np.ndarray:
    """One image of the video: image, overlay, shapes, landmarks (green detected, red tracked), side by side."""
    frame = _to_uint8(observation.images)
    factor = max(1, round(_PANEL_HEIGHT / frame.shape[0]))
    large = [
        np.repeat(np.repeat(image, factor, 0), factor, 1)
        for image in (frame, rendered.overlay, *rendered.shapes, frame)
    ]
    marked = np.ascontiguousarray(large[-1])
    radius = max(1, round(marked.shape[0] / 200))
    known = (observation.confidence[0] > MIN_CONFIDENCE).cpu().numpy()
    detected = observation.landmarks_px[0].cpu().numpy()[known]
    for points, colour in ((detected, _DETECTED_RGB), (rendered.landmarks_px, _TRACKED_RGB)):
        for u, v in np.clip(points * factor, -1e4, 1e4):
            cv2.circle(marked, (round(float(u)), round(float(v))), radius, colour, -1, cv2.LINE_AA)
    return np.concatenate([*large[:-1], marked], axis=1)


def _entry(frame_id: int, rendered: RenderedFrame, progress: Progress) -> dict:
    known = math.isfinite(rendered.landmark_error_px)
    return {
        "frame": int(frame_id),
        "landmark_px": round(rendered.landmark_error_px, 4) if known else None,
        "photometric": round(rendered.photometric_error, 5),
        "bridged": frame_id in progress.without_landmarks or frame_id in progress.outliers,
    }


def _summary(run: RunFolder, progress: Progress, entries: list[dict]) -> dict:
    settings, frames = run.settings, run.frames

    def known(key: str) -> list[float]:
        return [entry[key] for entry in entries if entry[key] is not None]

    total = sum(progress.seconds.values())
    bridged = [entry["bridged"] for entry in entries]
    timeline = make_timeline(frames, frames.has_landmarks & ~torch.tensor(bridged))
    first_of_shot = np.unique(timeline.shot, return_index=True)[1]
    return {
        "mode": settings.mode,
        "appearance": appearance_of(settings),
        "head": str(settings.head),
        "image_size": list(frames.image_size),
        "n_frames": len(frames),
        "focal": round(float(progress.unknowns.focal_and_centre[0]), 5),
        "keyframes": list(progress.keyframes),
        "shots_begin": [int(timeline.frame_ids[row]) for row in first_of_shot],
        "frames_without_landmarks": list(progress.without_landmarks),
        "outlier_frames": list(progress.outliers),
        "gaps": gaps(bridged, frames.frame_ids),
        "landmark_px_mean": round(float(np.mean(known("landmark_px"))), 4),
        "landmark_px_median": round(float(np.median(known("landmark_px"))), 4),
        "landmark_px_max": round(float(np.max(known("landmark_px"))), 4),
        "photometric_mean": round(float(np.mean(known("photometric"))), 5),
        "jitter_px_mean": round(float(np.mean(known("jitter_px") or [0.0])), 4),
        "seconds": {**progress.seconds, "total": round(total, 3)},
        "seconds_per_frame": round(total / len(frames), 4),
        "frames": entries,
    }


def gaps(bridged: Sequence[bool], frame_ids: Sequence[int]) -> list[list[int]]:
    """First and last frame id of each run of frames whose values were interpolated."""
    found: list[list[int]] = []
    for row, (missing, frame_id) in enumerate(zip(bridged, frame_ids, strict=True)):
        if missing and row and bridged[row - 1]:
            found[-1][1] = int(frame_id)
        elif missing:
            found.append([int(frame_id)] * 2)
    return found


def _to_uint8(image: Tensor) -> np.ndarray:
    """[1, 3, H, W] in 0..1 to uint8 [H, W, 3]."""
    return (image[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255 + 0.5).astype(np.uint8)
