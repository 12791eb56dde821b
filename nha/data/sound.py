"""Sound of one video for another: copied as it is where an mp4 can hold it, else turned into AAC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer

from nha.core.errors import UserError
from nha.core.system import atomic_path

# What players read from an mp4.
COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_AAC_FRAME, _AAC_RATES_HZ = 1024, (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def has_sound(path: str | Path) -> bool:
    """Whether a video has a sound track. Raises UserError for a file that cannot be read."""
    with _open(Path(path)) as container:
        return _sound_of(container) is not None


def add_sound(film: str | Path, source: str | Path, start_s: float = 0.0) -> None:
    """Give an mp4 without sound that of another video, from its second `start_s` on, as long as the film is.

    The pictures are not touched. The film is replaced as a whole. Raises UserError where the source has no sound, or
    one of the two cannot be read.
    """
    film, source = Path(film), Path(source)
    with _open(film) as pictures, _open(source) as sounds:
        sound = _sound_of(sounds)
        if sound is None:
            raise UserError(f"'{source}' has no sound; pass --sound false, or another video")
        video = pictures.streams.video[0]
        length_s = float((video.duration or 0) * video.time_base) or pictures.duration / av.time_base
        start_s += _start_of_pictures(sounds)
        with (
            atomic_path(film) as partial,
            av.open(str(partial.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as out,
        ):
            copy = out.add_stream_from_template(video)
            packets = (
                _copied(sounds, sound, out, start_s)
                if sound.codec_context.name in COPIED_CODECS
                else _encoded(sounds, sound, out, start_s)
            )
            pending = next(packets, None)
            for packet in pictures.demux(video):
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


def _start_of_pictures(container: InputContainer) -> float:
    """When the first picture is shown: sound is counted from there."""
    video = next(iter(container.streams.video), None)
    return float((video.start_time or 0) * video.time_base) if video is not None else 0.0


def _seconds(packet: av.Packet) -> float:
    return float((packet.pts if packet.dts is None else packet.dts) * packet.time_base)


def _copied(
    container: InputContainer, sound: av.AudioStream, out: OutputContainer, start_s: float
) -> Iterator[av.Packet]:
    """The source's own packets, their times counted from `start_s`."""
    stream = out.add_stream_from_template(sound)

    def packets() -> Iterator[av.Packet]:
        for packet in container.demux(sound):
            if packet.dts is None:
                continue
            first = round(start_s / packet.time_base)
            if packet.dts + packet.duration < first:  # one packet before is kept: decoders warm up with it
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
                frame.pts = None  # counted anew from 0 by the resampler
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
