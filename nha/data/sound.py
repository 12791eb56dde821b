"""Copies the sound of one video to another: without re-encoding if an mp4 supports the codec, else as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer

from nha.core.errors import UserError
from nha.core.system import atomic_path
from nha.data.video_io import main_video_stream

# Codecs that players support in an mp4.
COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_AAC_FRAME, _AAC_RATES_HZ = 1024, (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def has_sound(path: str | Path) -> bool:
    """Whether a video has an audio stream. Raises UserError if the file cannot be read."""
    with _open(Path(path)) as container:
        return _sound_of(container) is not None


def add_sound(video: str | Path, source: str | Path, start_s: float = 0.0) -> None:
    """Add the sound of another video to an mp4 without sound, without re-encoding its frames.

    Args:
        video: the mp4, which is replaced atomically.
        source: video whose sound is used.
        start_s: time in the source, in seconds, at which the mp4 starts. The sound ends with the mp4.

    Raises:
        UserError: the source has no sound, or a file cannot be read.
    """
    video, source = Path(video), Path(source)
    with _open(video) as images, _open(source) as sounds:
        sound = _sound_of(sounds)
        if sound is None:
            raise UserError(f"'{source}' has no sound; pass --sound false, or another video")
        frames = images.streams.video[0]
        length_s = float((frames.duration or 0) * frames.time_base) or images.duration / av.time_base
        start_s += _first_frame_s(sounds)
        with (
            atomic_path(video) as partial,
            av.open(str(partial.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as out,
        ):
            copy = out.add_stream_from_template(frames)
            packets = (
                _copied(sounds, sound, out, start_s)
                if sound.codec_context.name in COPIED_CODECS
                else _encoded(sounds, sound, out, start_s)
            )
            pending = next(packets, None)
            for packet in images.demux(frames):
                if packet.dts is None:
                    continue
                now_s = float(packet.dts * packet.time_base)
                while pending is not None and _seconds(pending) <= now_s:
                    out.mux(pending)
                    pending = next(packets, None)
                packet.stream = copy
                out.mux(packet)
            while pending is not None and _seconds(pending) < length_s:
                out.mux(pending)
                pending = next(packets, None)


def _open(path: Path) -> InputContainer:
    try:
        return av.open(str(path.absolute()))
    except (av.FFmpegError, ValueError, OSError):
        raise UserError(f"cannot read '{path}' as a video") from None


def _sound_of(container: InputContainer) -> av.AudioStream | None:
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _first_frame_s(container: InputContainer) -> float:
    """Time of the first frame in seconds, relative to which the sound starts."""
    video = main_video_stream(container)
    return float((video.start_time or 0) * video.time_base) if video is not None else 0.0


def _seconds(packet: av.Packet) -> float:
    return float((packet.pts if packet.dts is None else packet.dts) * packet.time_base)


def _copied(
    container: InputContainer, sound: av.AudioStream, out: OutputContainer, start_s: float
) -> Iterator[av.Packet]:
    """The packets of the source, with times relative to `start_s`."""
    stream = out.add_stream_from_template(sound)

    def packets() -> Iterator[av.Packet]:
        for packet in container.demux(sound):
            if packet.dts is None:
                continue
            first = round(start_s / packet.time_base)
            if packet.dts + packet.duration < first:  # one earlier packet is kept to initialise the decoder
                continue
            packet.dts -= first
            packet.pts -= first
            packet.stream = stream
            yield packet

    return packets()


def _encoded(
    container: InputContainer, sound: av.AudioStream, out: OutputContainer, start_s: float
) -> Iterator[av.Packet]:
    """The sound as AAC."""
    rate = next((known for known in _AAC_RATES_HZ if known <= sound.codec_context.sample_rate), 8000)
    stream = out.add_stream("aac", rate=rate)
    layout = "stereo" if sound.codec_context.channels > 1 else "mono"
    stream.codec_context.layout = layout
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=_AAC_FRAME)

    def frames() -> Iterator[av.AudioFrame | None]:
        for frame in container.decode(sound):
            if frame.time is not None and frame.time + frame.samples / frame.sample_rate > start_s:
                frame.pts = None  # the resampler counts from 0
                yield from resampler.resample(frame)
        yield from resampler.resample(None)
        yield None

    def packets() -> Iterator[av.Packet]:
        n_samples = 0
        for frame in frames():
            if frame is not None:
                frame.pts, frame.time_base = n_samples, Fraction(1, rate)
                n_samples += frame.samples
            yield from stream.encode(frame)

    return packets()
