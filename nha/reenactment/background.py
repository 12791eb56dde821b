"""Backgrounds for rendered heads: a colour, an image or a video."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.images import gaussian_blur
from nha.core.paths import path_of_user
from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames, video_info
from nha.visualization.colours import to_uint8

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "green": (0, 177, 64),  # for chroma keying
    "blue": (0, 71, 187),
}
SILHOUETTE_SIGMA_PX = 0.7
_TINY = 1e-6
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class Background:
    """Background of the frames of a video, which are requested in ascending order.

    An image or video is scaled to cover the frame and cropped in its centre. A video plays at its own frame rate and
    starts again at its end.

    Args:
        text: a colour (a name in `COLOURS` or #rrggbb), or the path of an image or a video.
        frame_rate: frames per second of the video that is written.

    Raises:
        UserError: if `text` is neither a colour nor a readable file.
    """

    def __init__(self, text: str, frame_rate: float) -> None:
        self.colour = _parse_colour(text)
        self._frame_rate = frame_rate
        self._path = path_of_user(text)
        self._image: np.ndarray | None = None
        if self.colour is None:
            if not self._path.is_file():
                names = ", ".join(COLOURS)
                raise UserError(f"--background '{text}' is neither a colour ({names}, #rrggbb) nor a file")
            if self._path.suffix.lower() in IMAGE_SUFFIXES:
                self._image = read_rgb(self._path)
            else:
                self._video_fps = float(video_info(self._path).fps)
                self._video: Iterator[np.ndarray] = iter(())
                self._n_read = 0

    def compose(self, rendered: Tensor, number: int) -> np.ndarray:
        """Composite a rendered head over the background.

        Args:
            rendered: [4, H, W], rgb01 on white and alpha.
            number: index of the frame in the written video.

        Returns:
            uint8 [H, W, 3].
        """
        if self.colour == COLOURS["white"]:
            return to_uint8(rendered)  # avatars are rendered on white
        rgb01, coverage = rendered.cpu().split([3, 1])
        head = rgb01 - (1 - coverage)  # on black: edges of antialiased images contain white otherwise
        alpha = soften_silhouette(coverage[0])
        behind = torch.from_numpy(self._rgb(number, alpha.shape)).permute(2, 0, 1).float() / 255
        return to_uint8(head * (alpha / coverage.clamp_min(_TINY)) + behind * (1 - alpha))

    def _rgb(self, number: int, size: tuple[int, int]) -> np.ndarray:
        if self.colour is not None:
            return np.tile(np.uint8(self.colour), (*size, 1))
        if self._image is None:
            return scale_to_cover(self._video_frame(number), size)
        return scale_to_cover(self._image, size)

    def _video_frame(self, number: int) -> np.ndarray:
        index = int(number / self._frame_rate * self._video_fps + 1e-6)
        while self._n_read <= index:
            frame = next(self._video, None)
            if frame is None:  # at the start and at the end
                self._video = iterate_frames(self._path)
                frame = next(self._video)
            self._last_frame = frame
            self._n_read += 1
        return self._last_frame


def soften_silhouette(alpha: Tensor) -> Tensor:
    """Blur a binary alpha mask [H, W] towards its inside only: outside, there is no colour of the head.

    An antialiased mask, which has values between 0 and 1, stays as it is.
    """
    if ((alpha > 0) & (alpha < 1)).any():
        return alpha
    return torch.minimum(alpha, gaussian_blur(alpha[None, None], SILHOUETTE_SIGMA_PX)[0, 0])


def _parse_colour(text: str) -> tuple[int, int, int] | None:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return tuple(bytes.fromhex(text[1:]))
    return COLOURS.get(text.lower())


def scale_to_cover(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an image so that it just covers (height, width) and crop its centre: uint8 [height, width, 3]."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    scaled_size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, scaled_size, interpolation=method)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]
