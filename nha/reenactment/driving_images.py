"""Images of the driving person: the rendered avatar, the frames of the video, or the shaded tracked mesh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nha.avatar.image_renderer import render_rgba
from nha.core.errors import UserError
from nha.data.video_io import iterate_frames
from nha.head.model import HeadModel
from nha.reenactment.tracked_people import TrackedPerson
from nha.render.shading import phong_image
from nha.visualization.colours import to_uint8

# Frame ids, in ascending order over all calls -> one image uint8 [H, W, 3] for each.
ImageSource = Callable[[list[int]], list[np.ndarray]]


def driving_images(
    driving: TrackedPerson, video: Path | None, head: HeadModel, device: torch.device
) -> ImageSource:
    """Return the function that gives images of the driving person.

    Args:
        driving: the person; if it has an avatar, the avatar is rendered.
        video: without an avatar, the frames of this video are shown.
        head: without avatar and video, this mesh is rendered in the tracked poses.
        device: where `head` and the avatar are.
    """
    avatar = driving.actor.avatar
    if avatar is None and video is not None:
        return VideoFrames(video)

    def render(frame_ids: list[int]) -> list[np.ndarray]:
        params = driving.tracking.params_for(frame_ids).to(device)
        camera = driving.camera(frame_ids).to(device)
        if avatar is not None:
            ids = torch.tensor(frame_ids, device=device)
            images = render_rgba(avatar, params, camera, frame_ids=ids)[:, :3]
        else:
            images = phong_image(head(params), head.faces, camera)
        return [to_uint8(image) for image in images]

    return render


class VideoFrames:
    """Frames of a video by frame id, which are requested in ascending order.

    Args:
        path: the video.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames = enumerate(iterate_frames(path))
        self._number, self._image = -1, np.zeros((0, 0, 3), np.uint8)

    def __call__(self, frame_ids: list[int]) -> list[np.ndarray]:
        """Return the frames' images, uint8 [H, W, 3]. Raises UserError if the video is too short."""
        return [self._frame(frame_id) for frame_id in frame_ids]

    def _frame(self, frame_id: int) -> np.ndarray:
        while self._number < frame_id:
            following = next(self._frames, None)
            if following is None:
                raise UserError(
                    f"'{self._path}' has {self._number + 1} frames, but frame {frame_id} was tracked; give the video "
                    "that the tracking file was made from"
                )
            self._number, self._image = following
        return self._image
