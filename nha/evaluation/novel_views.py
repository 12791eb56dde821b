"""Renders the avatar from new directions: a video with rotated heads, and a turntable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.image_renderer import render_images
from nha.core.progress import ProgressLine, progress
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.system import atomic_directory
from nha.core.types import Camera, HeadParams
from nha.data.dataset_folder import write_rgb
from nha.data.tracking_file import TrackingResult
from nha.data.video_io import VideoWriter
from nha.evaluation.comparison import normals_and_geometry
from nha.visualization.colours import to_uint8
from nha.visualization.layout import grid, side_by_side, with_caption

BATCH_SIZE = 4  # views rendered at the same time
_N_STILLS = 3  # frames of novel_views.mp4 in the report
_N_TURNTABLE_STILLS = 8


class ViewImages(NamedTuple):
    """One rendered view, uint8 [H, W, 3] each."""

    prediction: np.ndarray
    normals: np.ndarray
    geometry: np.ndarray


# --- poses ------------------------------------------------------------------------------------------------


@torch.no_grad()
def head_centre(avatar: HeadAvatar, tracking: TrackingResult) -> Tensor:
    """Centre of the bounding box of the neutral head, relative to the root joint: [3] metres, in head coordinates."""
    neutral = avatar.head.neutral_params(1)
    neutral = neutral.replace(shape=torch.from_numpy(tracking.shape)[None].to(neutral.shape))
    vertices = avatar.surface(avatar.corrected(neutral, None)).vertices[0]
    return (vertices.amin(0) + vertices.amax(0)) / 2


def rotate_heads(params: HeadParams, centre: Tensor, camera: Camera, azimuth_deg: Tensor) -> HeadParams:
    """Rotate heads about the vertical axis of the image through their centres.

    The head is rotated, not the camera, because the texture is conditioned on the head's rotation relative to the
    camera.

    Args:
        params: N parameters with the learned corrections.
        centre: [3], from `head_centre`.
        camera: N cameras.
        azimuth_deg: [N] degrees; positive turns the face to the person's left, the right of the image.

    Returns:
        N parameters.
    """
    up = camera.extrinsics[:, :, 1]  # [N, 3]: the camera's vertical axis in world coordinates
    turn = rotation_matrix(torch.deg2rad(azimuth_deg)[:, None] * up)
    old = rotation_matrix(params.rotation)
    from_root = (old @ centre).unsqueeze(-1)
    middle = params.translation + from_root[..., 0]
    return params.replace(
        rotation=rotation_vector(turn @ old), translation=middle - (turn @ from_root)[..., 0]
    )


def face_camera(params: HeadParams, tracking: TrackingResult) -> HeadParams:
    """Replace the global rotation of heads so that they are upright and face the camera; the neck is unchanged."""
    world_from_camera = torch.from_numpy(tracking.RT[:, :3]).to(params.rotation)  # for row vectors
    half_turn = rotation_matrix(params.rotation.new_tensor([0.0, torch.pi, 0.0]))
    rotation = rotation_vector(world_from_camera @ half_turn)
    return params.replace(rotation=rotation.expand(len(params), -1))


@torch.no_grad()
def orbit_views(
    avatar: HeadAvatar,
    tracking: TrackingResult,
    frame_id: int,
    image_size: tuple[int, int],
    azimuths_deg: Sequence[float],
) -> tuple[HeadParams, Camera]:
    """Rotate the upright head of one frame to each of V azimuths.

    Args:
        avatar: the avatar.
        tracking: of its video.
        frame_id: the frame whose expression and position are shown.
        image_size: (height, width) in pixels.
        azimuths_deg: V angles; 0 faces the camera.

    Returns:
        V parameters with the learned corrections, and V cameras.
    """
    params, camera = _corrected_frame(avatar, tracking, frame_id, image_size, len(azimuths_deg))
    azimuths = params.rotation.new_tensor([float(azimuth) for azimuth in azimuths_deg])
    if avatar.still_torso:  # the head's rotation is in the neck
        params = params.replace(neck=avatar.head.neutral_params(len(params)).neck.to(params.neck))
    params = face_camera(params, tracking)
    return rotate_heads(params, head_centre(avatar, tracking), camera, azimuths), camera


def _corrected_frame(
    avatar: HeadAvatar, tracking: TrackingResult, frame_id: int, image_size: tuple[int, int], n: int
) -> tuple[HeadParams, Camera]:
    """Parameters with the learned corrections and camera of one frame, n times."""
    device, ids = avatar.device, [frame_id] * n
    params = avatar.corrected(tracking.params_for(ids).to(device), torch.tensor(ids, device=device))
    return params, tracking.camera_for(ids, image_size).to(device)


# --- images and videos ------------------------------------------------------------------------------------


@torch.no_grad()
def render_views(avatar: HeadAvatar, params: HeadParams, camera: Camera) -> list[ViewImages]:
    """Render N heads whose parameters hold the learned corrections."""
    rendering = render_images(avatar, params, camera, corrected=True, channels=("normals",))
    meshes = normals_and_geometry(rendering, avatar.head.faces, camera)
    return [ViewImages(to_uint8(rendering.rgb01[i]), *meshes[i]) for i in range(len(params))]


@torch.no_grad()
def write_novel_views(
    path: Path,
    avatar: HeadAvatar,
    tracking: TrackingResult,
    frame_ids: Sequence[int],
    image_size: tuple[int, int],
    azimuths_deg: Sequence[float],
    *,
    images: Path | None = None,
    frame_rate: float = 25.0,
) -> np.ndarray:
    """Write a video of tracked frames, rotated by several angles beside each other, with the geometry below.

    Args:
        path: the video.
        avatar: the avatar.
        tracking: of its video.
        frame_ids: frames of the video.
        image_size: (height, width) of one view in pixels.
        azimuths_deg: angles relative to the tracked pose.
        images: folder for every rendered image as `frame_0012_-30.png`; None writes no images.
        frame_rate: frames per second.

    Returns:
        The first, the middle and the last frame below each other, uint8 [H, W, 3].
    """
    centre = head_centre(avatar, tracking)
    azimuths = centre.new_tensor([float(azimuth) for azimuth in azimuths_deg])
    captions = [f"{azimuth:+g} degrees" if azimuth else "as tracked" for azimuth in azimuths_deg]
    shown = set(np.linspace(0, len(frame_ids) - 1, _N_STILLS).round().astype(int).tolist())
    stills = []
    with VideoWriter(path, frame_rate) as video, _folder(images) as folder:
        for number, frame_id in enumerate(progress(frame_ids, "novel views")):
            params, camera = _corrected_frame(avatar, tracking, frame_id, image_size, len(azimuths))
            views = render_views(avatar, rotate_heads(params, centre, camera, azimuths), camera)
            predictions = [view.prediction for view in views]
            captioned = [with_caption(*pair) for pair in zip(predictions, captions, strict=True)]
            video.write(grid([captioned, [view.geometry for view in views]]))
            if folder is not None:
                for azimuth, prediction in zip(azimuths_deg, predictions, strict=True):
                    write_rgb(folder / f"frame_{frame_id:04d}_{azimuth:g}.png", prediction)
            if number in shown:
                stills.append(predictions)
    return grid(stills)


def _folder(path: Path | None) -> AbstractContextManager[Path | None]:
    return nullcontext() if path is None else atomic_directory(path)


def write_turntable(
    path: Path,
    avatar: HeadAvatar,
    tracking: TrackingResult,
    frame_id: int,
    image_size: tuple[int, int],
    n_views: int,
    *,
    frame_rate: float = 25.0,
) -> np.ndarray:
    """Write a video once around the head of one frame: prediction, normals and geometry beside each other.

    Args:
        path: the video.
        avatar: the avatar.
        tracking: of its video.
        frame_id: the frame whose expression is shown.
        image_size: (height, width) of one view in pixels.
        n_views: frames of the video.
        frame_rate: frames per second.

    Returns:
        Eight views beside each other, predictions above geometry, uint8 [H, W, 3].
    """
    azimuths = [360 * i / n_views for i in range(n_views)]
    params, camera = orbit_views(avatar, tracking, frame_id, image_size, azimuths)
    shown = set((np.arange(_N_TURNTABLE_STILLS) * n_views / _N_TURNTABLE_STILLS).astype(int).tolist())
    stills = []
    with VideoWriter(path, frame_rate) as video, ProgressLine("turntable", n_views, "views") as line:
        for start in range(0, n_views, BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            views = render_views(avatar, params[batch], camera[batch])
            for number, view in enumerate(views, start=start):
                video.write(side_by_side(view, ViewImages._fields))
                if number in shown:
                    stills.append(view)
            line.update(len(views))
    return grid([[view.prediction for view in stills], [view.geometry for view in stills]])
