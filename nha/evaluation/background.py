"""What stands behind a drawn head: a colour, a picture or a video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.images import gaussian_blur
from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames, video_info
from nha.visualization.colours import to_uint8

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "green": (0, 177, 64),  # for keying
    "blue": (0, 71, 187),
}
OUTLINE_SIGMA_PX = 0.7
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


class Background:
    """The background of a film's frames, asked for in order.

    text: a colour (a name of COLOURS or #rrggbb), or a picture's or a video's path; frame_rate: of the film. A picture
    or video fills the frame and what is too much is cut off; a video runs at its own speed and starts again when it
    ends. Raises UserError for anything else.
    """

    def __init__(self, text: str, frame_rate: float) -> None:
        self.colour = _colour_of(text)
        self._frame_rate = frame_rate
        self._path = Path(text).expanduser()
        self._still: np.ndarray | None = None
        if self.colour is None:
            if not self._path.is_file():
                names = ", ".join(COLOURS)
                raise UserError(f"--background '{text}' is neither a colour ({names}, #rrggbb) nor a file")
            if self._path.suffix.lower() in PICTURE_SUFFIXES:
                self._still = read_rgb(self._path)
            else:
                self._fps = float(video_info(self._path).fps)
                self._frames: Iterator[np.ndarray] = iter(())
                self._n_read = 0

    def behind(self, drawn: Tensor, number: int) -> np.ndarray:
        """A drawn head [4, H, W] (rgb01, alpha) before the background of frame `number`: uint8 [H, W, 3]."""
        if self.colour == COLOURS["white"]:
            return to_uint8(drawn)  # avatars are drawn on white
        alpha = softened(drawn[3].cpu())
        rgb01 = torch.from_numpy(self._picture(number, alpha.shape)).permute(2, 0, 1).float() / 255
        return to_uint8(drawn[:3].cpu() * alpha + rgb01 * (1 - alpha))

    def _picture(self, number: int, size: tuple[int, int]) -> np.ndarray:
        if self.colour is not None:
            return np.tile(np.uint8(self.colour), (*size, 1))
        if self._still is None:
            self._read_up_to(int(number / self._frame_rate * self._fps + 1e-6))
        return covering(self._newest if self._still is None else self._still, size)

    def _read_up_to(self, wanted: int) -> None:
        while self._n_read <= wanted:
            newest = next(self._frames, None)
            if newest is None:  # at the start and at the end
                self._frames = iterate_frames(self._path)
                newest = next(self._frames)
            self._newest = newest
            self._n_read += 1


def softened(alpha: Tensor) -> Tensor:
    """An outline of whole pixels [H, W] made softer towards the inside: outside there is no colour of the head."""
    return torch.minimum(alpha, gaussian_blur(alpha[None, None], OUTLINE_SIGMA_PX)[0, 0])


def _colour_of(text: str) -> tuple[int, int, int] | None:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return tuple(bytes.fromhex(text[1:]))
    return COLOURS.get(text.lower())


def covering(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture, scaled so that it just covers (height, width): uint8 [height, width, 3]."""
    height, width = size
    scale = max(height / picture.shape[0], width / picture.shape[1])
    scaled_size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, scaled_size, interpolation=method)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]
