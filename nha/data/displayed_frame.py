"""A decoded video frame as a player displays it: colours, pixel aspect ratio and orientation."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace

from nha.core.errors import UserError
from nha.data.image_file import LARGEST_PIXELS
from nha.data.tone_mapping import SourceColours, to_bt709

LARGEST_SIDE_RATIO = 20
LARGEST_SD_HEIGHT = 576  # without metadata, players use BT.601 up to this height and BT.709 above it
_UNSPECIFIED = 2  # of ITU-T H.273


@dataclass(frozen=True)
class DisplayedFrame:
    """A frame after all conversions.

    Attributes:
        rgb: uint8 [H, W, 3]; transparent pixels are composited on white.
        alpha: uint8 [H, W], 255 where opaque; None if the video has no transparency.
        converted_from: colours of the video if they were not those of BT.709.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    converted_from: SourceColours | None = None


def displayed_frame(frame: av.VideoFrame, sample_aspect_ratio: Fraction | None = None) -> DisplayedFrame:
    """Convert a decoded frame.

    Args:
        frame: as the decoder returns it.
        sample_aspect_ratio: width of a pixel over its height; None or 0 if unknown, which means square pixels.
    """
    orientation = display_orientation(frame)
    colours = SourceColours.of_codes(frame.color_trc, frame.color_primaries)
    rgb, alpha = _rgb_of(frame, colours), None
    if any(component.is_alpha for component in frame.format.components):
        alpha = frame.to_ndarray(format="rgba")[..., 3]
        rgb = on_white(rgb, alpha)
        alpha = orient(square_pixels(alpha, sample_aspect_ratio), orientation)
    return DisplayedFrame(orient(square_pixels(rgb, sample_aspect_ratio), orientation), alpha, colours)


def _rgb_of(frame: av.VideoFrame, colours: SourceColours | None) -> np.ndarray:
    """uint8 [H, W, 3], whatever the transparency."""
    if colours is not None:
        return to_bt709(frame.to_ndarray(format="rgb48le"), colours)
    if (
        frame.colorspace == _UNSPECIFIED
        and frame.color_range != ColorRange.JPEG  # as of JPEG images, which are BT.601
        and frame.height > LARGEST_SD_HEIGHT
        and not frame.format.is_rgb
    ):
        return frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709)
    return frame.to_ndarray(format="rgb24")


def require_usable_size(width: int, height: int) -> None:
    """Raise UserError for a size in pixels that no frame of a person has, and that would fill the memory."""
    if width * height > LARGEST_PIXELS or max(width, height) > LARGEST_SIDE_RATIO * min(width, height):
        raise UserError(
            f"frames of {width} x {height} pixels cannot be used: at most {LARGEST_PIXELS // 10**6} million pixels, "
            f"and one side at most {LARGEST_SIDE_RATIO} times the other; cut out the head"
        )


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composite an image, uint8 [H, W, 3], on white by its alpha, uint8 [H, W]."""
    alpha01 = alpha[..., None].astype(np.float32) / 255.0
    return np.rint(rgb * alpha01 + 255.0 * (1.0 - alpha01)).astype(np.uint8)


def square_pixels(image: np.ndarray, sample_aspect_ratio: Fraction | None) -> np.ndarray:
    """Change the width of an image [H, W, ...] whose pixels are not square."""
    if not sample_aspect_ratio or sample_aspect_ratio == 1:
        return image
    width = max(1, round(image.shape[1] * float(sample_aspect_ratio)))
    require_usable_size(width, image.shape[0])
    return cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_AREA)


# --- orientation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Orientation:
    """One of the eight orientations of an image, applied in this order.

    Attributes:
        transpose: exchange rows and columns.
        flip_rows: upside down.
        flip_columns: left and right exchanged.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


def orient(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Turn or mirror an image [H, W, ...]."""
    if orientation.transpose:
        image = np.swapaxes(image, 0, 1)
    if orientation.flip_rows:
        image = image[::-1]
    if orientation.flip_columns:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def display_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation that the file's display matrix asks for."""
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    return Orientation() if matrix is None else orientation_of_matrix(bytes(matrix))


def orientation_of_matrix(matrix: bytes) -> Orientation:
    """The orientation closest to a display matrix.

    Args:
        matrix: nine 32-bit integers a, b, u, c, d, v, x, y, w: the pixel (p, q) is displayed at
            (a p + c q + x, b p + d q + y), with q downwards (ISO/IEC 14496-12, 8.5.2).
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transpose=True, flip_rows=b < 0, flip_columns=c < 0)
    return Orientation(flip_rows=d < 0, flip_columns=a < 0)
