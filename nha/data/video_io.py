"""Reading videos of any codec that FFmpeg decodes, and writing H.264, as sequences of RGB images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from nha.core.errors import UserError
from nha.core.file_kind import FIRST_BYTES, failed_download, wrong_kind
from nha.core.plain_file import open_plain
from nha.core.system import atomic_path, get_logger
from nha.data.displayed_frame import DisplayedFrame, displayed_frame, require_usable_size
from nha.data.image_sequence import find_images, read_image

DEFAULT_FPS = Fraction(25)
# Equal frames must give equal bytes. x264 writes the number of its threads into the file, and its macroblock tree is
# not deterministic (8 of 450 encodings differed; without it 0 of 1000).
REPRODUCIBLE = {"threads": "2", "mbtree": "0"}
# Playlists and lists of parts name other files, of this machine or of the network, whatever their own name ends in.
_LIST_STARTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<smil", b"[playlist]", b"v=0")
_LIST_FORMATS = frozenset({"hls", "concat", "concatf", "dash", "imf", "sdp", "rtsp"})
TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})  # FFmpeg decodes plain text as scrolling text

_logger = get_logger(__name__)


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    Attributes:
        width, height: size as displayed, in pixels, after rotation and with square pixels.
        fps: average number of frames per second.
        claimed_frames: number of frames according to the header, which may be wrong; 0 if it has none.
        codec: name of the codec.
    """

    width: int
    height: int
    fps: Fraction
    claimed_frames: int
    codec: str


def video_info(path: str | Path) -> VideoInfo:
    """Properties of a video. The first frame is decoded to determine the displayed size.

    Raises:
        UserError: the file is missing, not a video, or has no frame.
    """
    if (images := find_images(Path(path))) is not None:
        height, width = read_image(images.images[0]).rgb.shape[:2]
        require_usable_size(width, height)
        return VideoInfo(width, height, DEFAULT_FPS, len(images.images), "images")
    container, stream = _open_video(Path(path))
    with container:
        first = next(_decode(container, stream, Path(path)), None)
        if first is None:
            raise _no_frame_error(Path(path))
        return VideoInfo(
            width=first.rgb.shape[1],
            height=first.rgb.shape[0],
            fps=Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_FPS),
            claimed_frames=stream.frames,
            codec=stream.codec_context.name,
        )


def count_packets(path: str | Path) -> int:
    """Upper bound of the number of frames, without decoding. Raises UserError as `iterate_frames` does."""
    if (images := find_images(Path(path))) is not None:
        return len(images.images)
    container, stream = _open_video(Path(path))
    with container:
        n_packets = 0
        try:
            for packet in container.demux(stream):
                n_packets += packet.size > 0
        except av.FFmpegError:
            pass  # truncated; decoding reports it
        return n_packets


def iterate_frames(path: str | Path, every: int = 1, quiet: bool = False) -> Iterator[np.ndarray]:
    """As `iterate_displayed_frames`, the colours alone: uint8 [H, W, 3], RGB."""
    return (frame.rgb for frame in iterate_displayed_frames(path, every, quiet))


def iterate_displayed_frames(
    path: str | Path, every: int = 1, quiet: bool = False
) -> Iterator[DisplayedFrame]:
    """Decode a video, or read a sequence of images (`image_sequence`), frame by frame as a player displays it.

    Every decoded frame is returned once, independent of header and time stamps, so a variable frame rate is
    supported. Grey, 10-bit and transparent videos are converted to 8-bit RGB (transparent pixels become white), HDR and
    wide-gamut videos to BT.709 (`tone_mapping`); display matrix and non-square pixels are applied. Of several video
    streams, the default one is used. A truncated file gives the frames before its end and a warning.

    Args:
        path: the video; a folder, numbered pattern or wildcard for images.
        every: convert and return only frames 0, every, 2 every, ...
        quiet: do not log which of several streams is used, which colours are converted, and where the file is cut.

    Raises:
        UserError: at once if the file is missing or not a video; at the first `next` if it has no frames.
    """
    if (images := find_images(Path(path))) is not None:
        return images.frames(every)
    container, stream = _open_video(Path(path))
    return _close_after(container, stream, Path(path), every, quiet)


def _close_after(
    container: InputContainer, stream: av.VideoStream, path: Path, every: int, quiet: bool
) -> Iterator[DisplayedFrame]:
    with container:
        empty = True
        if not quiet:
            _log_choice_of_stream(container, stream, path)
        for frame in _decode(container, stream, path, every, quiet):
            if empty and frame.converted_from is not None and not quiet:
                _logger.warning("%s is converted to BT.709 (%s)", path.name, frame.converted_from)
            empty = False
            yield frame
    if empty:
        raise _no_frame_error(path)


def _open_video(path: Path) -> tuple[InputContainer, av.VideoStream]:
    if not path.is_file():  # asked first, because another program may remove the file between two questions
        raise UserError(f"not a video file: {path}" if path.exists() else f"video not found: {path}")
    start = b"?"
    try:
        with open_plain(path) as file:
            start = file.read(FIRST_BYTES)
        if words := failed_download(start):
            raise UserError(f"not a video: {path} {words}")
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_LIST_STARTS):
            raise UserError(f"not a video but a list of other files: {path}")
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except FileNotFoundError as error:
        raise UserError(f"video not found: {path}") from error
    except PermissionError as error:
        raise UserError(f"no permission to read {path}") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        words = wrong_kind(start, "a video") or "is damaged, or of another kind"
        raise UserError(f"not a video: {path} {words}") from error
    if container.format.name in _LIST_FORMATS:
        container.close()
        raise UserError(f"not a video but a list of other files: {path}")
    stream = main_video_stream(container)
    if stream is None:
        container.close()
        raise UserError(f"no video in this file: {path}")
    if stream.codec_context.width > 0 and stream.codec_context.height > 0:  # else the first frame tells
        require_usable_size(stream.codec_context.width, stream.codec_context.height)
    stream.thread_type = "AUTO"
    return container, stream


def main_video_stream(container: InputContainer) -> av.VideoStream | None:
    """The video stream that a player shows: the default one, the largest of several; None if there is none."""
    streams = _video_streams(container)
    default = [stream for stream in streams if stream.disposition & Disposition.default]
    return max(default or streams, key=_n_pixels, default=None)  # the first of several of one size


def _video_streams(container: InputContainer) -> list[av.VideoStream]:
    """The streams with moving images: no cover images, no text."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
        and stream.codec_context is not None
        and stream.codec_context.name not in TEXT_CODECS
    ]


def _log_choice_of_stream(container: InputContainer, stream: av.VideoStream, path: Path) -> None:
    n_streams = len(_video_streams(container))
    if n_streams > 1:
        size = f"{stream.codec_context.width} x {stream.codec_context.height}"
        _logger.warning(
            "%s has %d video streams; stream %d is used (%s pixels)", path.name, n_streams, stream.index, size
        )


def _n_pixels(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _decode(
    container: InputContainer, stream: av.VideoStream, path: Path, every: int = 1, quiet: bool = False
) -> Iterator[DisplayedFrame]:
    n_frames = 0
    try:
        for frame in container.decode(stream):
            if n_frames % every == 0:
                yield displayed_frame(frame, stream.sample_aspect_ratio)
            n_frames += 1
    except av.FFmpegError as error:
        if n_frames == 0:
            raise _no_frame_error(path) from error
        if not quiet:
            text = "%s is truncated after %d frames (%s); these are used"
            _logger.warning(text, path.name, n_frames, error.strerror)


def _no_frame_error(path: Path) -> UserError:
    return UserError(f"no frame could be decoded from {path}: is it a complete video?")


class VideoWriter:
    """Writes an H.264 mp4 (yuv420p, BT.709), which every player supports.

    Use it as a context manager: the file is created when the block ends, and not at all if the block raises. The
    first frame determines the size; an odd width or height is padded by repeating the last column or row.

    Args:
        path: ends in .mp4.
        fps: frames per second.
        crf: quality of x264, lower is better (18: visually lossless).
        preset: effort of x264; "veryfast" takes half the time of "medium" and 10 % more space.
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
                    raise ValueError(f"no frame was written to {self.path}")
                container.mux(self._stream.encode(None))

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame, uint8 [H, W, 3]. Raises ValueError for another type, or another size than before."""
        if self._container is None:
            raise ValueError("VideoWriter.write outside of its `with` block")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 [H, W, 3], got {rgb.dtype} {list(rgb.shape)}")
        if self._stream is None:
            self._start_stream(rgb.shape[0], rgb.shape[1])
        if rgb.shape[:2] != self._size:
            raise ValueError(f"frame is {rgb.shape[:2]}, the video is {self._size}")
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
        # Without this metadata, players guess the colour matrix from the height.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.color_range = ColorRange.MPEG
        self._stream = stream
