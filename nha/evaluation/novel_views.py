"""The avatar from where no camera stood: films with the head turned, and once around."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.system import atomic_directory
from nha.core.types import Camera, HeadParams
from nha.data.dataset_folder import write_rgb
from nha.data.tracking_file import TrackingResult
from nha.data.video_io import VideoWriter
from nha.render.shading import phong_picture
from nha.visualization.colours import normals_to_rgb01, to_uint8
from nha.visualization.layout import grid, side_by_side, with_caption

VIEWS_AT_A_TIME = 4


@torch.no_grad()
def head_centre(avatar: NeuralHeadAvatar, tracking: TrackingResult) -> Tensor:
    """The middle of the head at rest, from its root joint: [3] metres in the head's frame."""
    rest = avatar.head.neutral_params(1)
    rest = rest.replace(shape=torch.from_numpy(tracking.shape)[None].to(rest.shape))
    vertices = avatar.surface(avatar.corrected(rest, None)).vertices[0]
    return (vertices.amin(0) + vertices.amax(0)) / 2


def turned(params: HeadParams, centre: Tensor, camera: Camera, azimuth_deg: Tensor) -> HeadParams:
    """Heads turned about the picture's vertical through their middle; this shows them from the side.

    The head is turned and not the camera, for the texture follows the head's rotation to the camera. params: [N]
    corrected; centre: of `head_centre`; camera: N; azimuth_deg: [N], positive turns the face to the person's left
    (the picture's right).
    """
    up = camera.extrinsics[:, :, 1]  # [N, 3]: what the camera sees as up, in the world
    turn = rotation_matrix(torch.deg2rad(azimuth_deg)[:, None] * up)
    old = rotation_matrix(params.rotation)
    from_root = (old @ centre).unsqueeze(-1)
    middle = params.translation + from_root[..., 0]
    return params.replace(
        rotation=rotation_vector(turn @ old), translation=middle - (turn @ from_root)[..., 0]
    )


@torch.no_grad()
def draw_views(
    avatar: NeuralHeadAvatar, params: HeadParams, camera: Camera, backend: str = "auto"
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Neural picture, normals and geometry of N corrected heads, uint8 [H, W, 3] each."""
    surface = avatar.surface(params)
    gbuffer = avatar.rasterize(surface, camera, backend=backend)
    rgb01 = avatar.paint(gbuffer, avatar.mouth_features(surface))
    normals = normals_to_rgb01(gbuffer["normals"], gbuffer.alpha)
    geometry = phong_picture(surface.vertices, avatar.head.faces, camera, backend)
    return [tuple(to_uint8(kind[i]) for kind in (rgb01, normals, geometry)) for i in range(len(params))]


@torch.no_grad()
def write_novel_views(
    path: Path,
    avatar: NeuralHeadAvatar,
    tracking: TrackingResult,
    frame_ids: Sequence[int],
    image_size: tuple[int, int],
    azimuths_deg: Sequence[float],
    *,
    images: Path | None = None,
    frame_rate: float = 25.0,
    backend: str = "auto",
) -> np.ndarray:
    """A film of tracked frames at several azimuths beside each other, geometry below.

    images: folder for every neural picture as `frame_0012_-30.png`. Returns frames from start to end below each
    other, uint8 [H, W, 3].
    """
    device = avatar.vertex_features.device
    centre = head_centre(avatar, tracking)
    n = len(azimuths_deg)
    azimuths = torch.tensor([float(azimuth) for azimuth in azimuths_deg], device=device)
    shown = set(np.linspace(0, len(frame_ids) - 1, 3).round().astype(int).tolist())
    kept = []
    with VideoWriter(path, frame_rate) as film, _folder(images) as folder:
        for number, frame_id in enumerate(tqdm(frame_ids, desc="novel views", unit="frame")):
            tracked = tracking.params_for([frame_id] * n).to(device)
            params = avatar.corrected(tracked, torch.tensor([frame_id] * n, device=device))
            camera = tracking.camera_for([frame_id] * n, image_size).to(device)
            views = draw_views(avatar, turned(params, centre, camera, azimuths), camera, backend)
            captions = [f"{azimuth:+g} degrees" if azimuth else "as tracked" for azimuth in azimuths_deg]
            neural = [with_caption(view[0], text) for view, text in zip(views, captions, strict=True)]
            film.write(grid([neural, [view[2] for view in views]]))
            if folder is not None:
                for azimuth, view in zip(azimuths_deg, views, strict=True):
                    write_rgb(folder / f"frame_{frame_id:04d}_{azimuth:g}.png", view[0])
            if number in shown:
                kept.append([view[0] for view in views])
    return grid(kept)


def _folder(path: Path | None) -> AbstractContextManager[Path | None]:
    return nullcontext() if path is None else atomic_directory(path)


def write_turntable(
    path: Path,
    avatar: NeuralHeadAvatar,
    tracking: TrackingResult,
    frame_id: int,
    image_size: tuple[int, int],
    n_views: int,
    *,
    frame_rate: float = 25.0,
    backend: str = "auto",
) -> np.ndarray:
    """A film once around one frame's head: neural picture | normals | geometry.

    Returns eight views beside each other, neural picture above geometry, uint8 [H, W, 3].
    """
    azimuths = [360 * i / n_views for i in range(n_views)]
    params, camera = turned_views(avatar, tracking, frame_id, image_size, azimuths)
    shown = set((np.arange(8) * n_views / 8).astype(int).tolist())
    kept = []
    with VideoWriter(path, frame_rate) as film, tqdm(total=n_views, desc="turntable", unit="view") as bar:
        for start in range(0, n_views, VIEWS_AT_A_TIME):
            some = slice(start, start + VIEWS_AT_A_TIME)
            views = draw_views(avatar, params[some], camera[some], backend)
            for number, view in enumerate(views, start=start):
                film.write(side_by_side(view, ("prediction", "normals", "geometry")))
                if number in shown:
                    kept.append(view)
            bar.update(len(views))
    return grid([[view[0] for view in kept], [view[2] for view in kept]])


@torch.no_grad()
def turned_views(
    avatar: NeuralHeadAvatar,
    tracking: TrackingResult,
    frame_id: int,
    image_size: tuple[int, int],
    azimuths_deg: Sequence[float],
) -> tuple[HeadParams, Camera]:
    """A tracked frame's head, upright and facing the camera, then turned by each of V azimuths: corrected parameters
    and cameras, V each.
    """
    device = avatar.vertex_features.device
    n = len(azimuths_deg)
    tracked = tracking.params_for([frame_id] * n).to(device)
    params = avatar.corrected(tracked, torch.tensor([frame_id] * n, device=device))
    camera = tracking.camera_for([frame_id] * n, image_size).to(device)
    azimuths = torch.tensor([float(azimuth) for azimuth in azimuths_deg], device=device)
    return turned(facing(params, tracking), head_centre(avatar, tracking), camera, azimuths), camera


def facing(params: HeadParams, tracking: TrackingResult) -> HeadParams:
    """The heads upright and turned to the camera, where they are: their rotation is replaced, the neck is not."""
    from_camera = torch.from_numpy(tracking.RT[:, :3]).to(params.rotation)  # row vectors: camera to world
    towards = rotation_matrix(params.rotation.new_tensor([0.0, torch.pi, 0.0]))
    rotation = rotation_vector(from_camera @ towards)
    return params.replace(rotation=rotation.expand(len(params), -1))
