"""Video files as sequences of RGB pictures: reading any codec that FFmpeg knows, writing H.264."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from nha.core.errors import UserError
from nha.core.system import atomic_path, get_logger

DEFAULT_FPS = Fraction(25)
# The same pictures shall give the same bytes. x264 writes the number of its threads into the file, and its
# macroblock tree was seen to decide differently now and then (8 of 450 encodings; 0 of 1000 without it).
REPRODUCIBLE = {"threads": "2", "mbtree": "0"}
# FFmpeg "decodes" plain text files as moving text; nobody who passes one means that.
TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})

_logger = get_logger(__name__)


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    width, height: pixels as displayed, after rotation and with square pixels; fps: average frames per second;
    claimed_frames: number of frames in the header, 0 where it has none (only decoding tells the truth).
    """

    width: int
    height: int
    fps: Fraction
    claimed_frames: int
    codec: str


def video_info(path: str | Path) -> VideoInfo:
    """Describe a video; its first frame is decoded to learn the displayed size.

    Raises UserError when the file is missing, is not a video or holds no frame.
    """
    container, stream = _open_video(Path(path))
    with container:
        first = next(_decode(container, stream, Path(path)), None)
        if first is None:
            raise _no_frame_error(Path(path))
        return VideoInfo(
            width=first.shape[1],
            height=first.shape[0],
            fps=Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_FPS),
            claimed_frames=stream.frames,
            codec=stream.codec_context.name,
        )


def count_packets(path: str | Path) -> int:
    """How many frames a video holds at most; nothing is decoded, so it takes no longer than reading the file.

    Raises UserError as `iterate_frames` does.
    """
    container, stream = _open_video(Path(path))
    with container:
        n_packets = 0
        try:
            for packet in container.demux(stream):
                n_packets += packet.size > 0
        except av.FFmpegError:
            pass  # it breaks off here; whoever decodes it says so
        return n_packets


def iterate_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame, upright as a player shows it.

    Every decoded frame counts once, whatever the header or the time stamps say, so a variable frame rate is
    fine. Grey, 10-bit and transparent videos become 8-bit RGB (transparent pixels white); rotation marks and
    non-square pixels are applied. A file that breaks off gives the frames before the break and a warning.

    Yields uint8 [H, W, 3] RGB. Raises UserError (at once for a missing file or one that is not a video, at
    the first `next` for one without frames).
    """
    container, stream = _open_video(Path(path))
    return _close_after(container, stream, Path(path))


def _close_after(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[np.ndarray]:
    with container:
        empty = True
        for rgb in _decode(container, stream, path):
            empty = False
            yield rgb
    if empty:
        raise _no_frame_error(path)


def _open_video(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    if not path.exists():
        raise UserError(f"video not found: {path}")
    if not path.is_file():
        raise UserError(f"not a video file: {path}")
    if path.stat().st_size == 0:
        raise UserError(f"the video file is empty: {path}")
    try:
        container = av.open(str(path.absolute()))
    except PermissionError as error:
        raise UserError(f"no permission to read {path}") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UserError(f"not a video, or damaged beyond reading: {path}") from error
    for stream in container.streams.video:
        is_cover_picture = bool(stream.disposition & av.stream.Disposition.attached_pic)
        if (
            not is_cover_picture
            and stream.codec_context is not None
            and stream.codec_context.name not in TEXT_CODECS
        ):
            stream.thread_type = "AUTO"
            return container, stream
    container.close()
    raise UserError(f"no video in this file: {path}")


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[np.ndarray]:
    n_frames = 0
    try:
        for frame in container.decode(stream):
            yield _upright_rgb(frame, stream.sample_aspect_ratio)
            n_frames += 1
    except av.FFmpegError as error:
        if n_frames == 0:
            raise _no_frame_error(path) from error
        _logger.warning(
            "%s breaks off after %d frames (%s); they are used", path.name, n_frames, error.strerror
        )


def _no_frame_error(path: Path) -> UserError:
    return UserError(f"no frame could be decoded from {path}: is it a complete video?")


def _upright_rgb(frame: av.VideoFrame, sample_aspect_ratio: Fraction | None) -> np.ndarray:
    if any(component.is_alpha for component in frame.format.components):
        rgba = frame.to_ndarray(format="rgba")
        alpha = rgba[..., 3:].astype(np.float32) / 255.0
        rgb = np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    else:
        rgb = frame.to_ndarray(format="rgb24")
    if sample_aspect_ratio and sample_aspect_ratio != 1:
        square_width = max(1, round(rgb.shape[1] * float(sample_aspect_ratio)))
        rgb = cv2.resize(rgb, (square_width, rgb.shape[0]), interpolation=cv2.INTER_AREA)
    quarter_turns_counter_clockwise = round(frame.rotation / 90.0) % 4
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns_counter_clockwise))


class VideoWriter:
    """Writes RGB pictures into an H.264 mp4 (yuv420p, BT.709) that every player shows.

    Use it as a context manager: the file appears under its name when the block ends, and not at all when the
    block raises. The first picture sets the size; an odd width or height is padded by repeating the last
    column or row.

    path: ends in .mp4; fps: frames per second; crf: x264's quality, lower is better (18: visually lossless);
    preset: x264's effort, "veryfast" takes half the time of "medium" and a tenth more space.
    """

    def __init__(
        self, path: str | Path, fps: float | Fraction = DEFAULT_FPS, crf: int = 18, preset: str = "medium"
    ) -> None:
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(60_000)
        self.options = {"crf": str(crf), "preset": preset, **REPRODUCIBLE}
        self._session: AbstractContextManager[None] | None = None
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        self._session = self._open_container()
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._session.__exit__(kind, error, trace)

    @contextmanager
    def _open_container(self) -> Iterator[None]:
        with atomic_path(self.path) as partial_path:
            with av.open(
                str(partial_path.absolute()), "w", format="mp4", options={"movflags": "faststart"}
            ) as container:
                self._container = container
                try:
                    yield
                finally:
                    self._container = None
                if self._stream is None:
                    raise ValueError(f"no picture was written to {self.path}")
                container.mux(self._stream.encode(None))

    def write(self, rgb: np.ndarray) -> None:
        """Append one picture, uint8 [H, W, 3]; ValueError for another type or another size than before."""
        if self._container is None:
            raise ValueError("VideoWriter.write outside of its `with` block")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 [H, W, 3], got {rgb.dtype} {list(rgb.shape)}")
        if self._stream is None:
            self._start_stream(rgb.shape[0], rgb.shape[1])
        if rgb.shape[:2] != self._size:
            raise ValueError(f"picture is {rgb.shape[:2]}, the video is {self._size}")
        if rgb.shape[0] % 2 or rgb.shape[1] % 2:
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        yuv = frame.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._container.mux(self._stream.encode(yuv))

    def _start_stream(self, height: int, width: int) -> None:
        self._size = (height, width)
        stream = self._container.add_stream("libx264", rate=self.fps, options=self.options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # Written into the file, because players otherwise guess the colour matrix from the height.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.color_range = ColorRange.MPEG
        self._stream = stream
