"""Sound that is copied from one clip to another: which codecs are copied or encoded, and its timing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.sound import add_sound, has_sound
from nha.data.video_io import VideoWriter, iterate_frames

RATE_HZ = 16000
BEEP_S = 0.4  # silence before, a tone after


def write_clip(path: Path, n_frames: int = 25) -> Path:
    with VideoWriter(path, 25) as clip:
        for i in range(n_frames):
            clip.write(np.full((32, 32, 3), 5 * i, np.uint8))
    return path


def write_with_sound(path: Path, codec: str, seconds: float = 2.0) -> Path:
    """A clip with sound: silence until BEEP_S, then a tone."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = np.where(time_s < BEEP_S, 0, 0.5 * np.sin(2 * np.pi * 440 * time_s))
    samples = np.rint(tone * 32767).astype(np.int16)[None]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sound = out.add_stream(codec, rate=RATE_HZ)
        sound.codec_context.layout = "mono"
        for i in range(int(seconds * 25)):
            image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), i, np.uint8), format="rgb24")
            out.mux(video.encode(image))
        out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        resampler = av.AudioResampler(sound.codec_context.format, "mono", RATE_HZ, frame_size=1024)
        n = 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            piece.pts, piece.time_base = n, Fraction(1, RATE_HZ)
            n += piece.samples
            out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
    return path


def heard(path: Path) -> tuple[np.ndarray, str]:
    """Sound of a clip as samples in -1..1 from the clip's start, and its codec."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "mono", RATE_HZ)
        start = None
        pieces = []
        for frame in container.decode(sound):
            start = frame.time if start is None else start
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    samples = np.concatenate(pieces)
    lead = round(start * RATE_HZ)
    return np.concatenate([np.zeros(max(lead, 0)), samples[max(-lead, 0) :]]), sound.codec_context.name


def beep_begins_s(samples: np.ndarray) -> float:
    return np.flatnonzero(np.abs(samples) > 0.2)[0] / RATE_HZ


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_aac_is_copied_untouched_and_cut_to_the_clips_length(spaced_dir):
    source = write_with_sound(spaced_dir / "source.mp4", "aac")
    clip = write_clip(spaced_dir / "clip.mp4")
    before = list(iterate_frames(clip))
    assert has_sound(source)
    assert not has_sound(clip)
    add_sound(clip, source)
    copied, original = packets_of(clip), packets_of(source)
    assert copied == original[: len(copied)]
    samples, codec = heard(clip)
    assert codec == "aac"
    assert len(samples) / RATE_HZ == pytest.approx(1.0, abs=0.15)
    assert beep_begins_s(samples) == pytest.approx(BEEP_S, abs=0.07)
    assert all((a == b).all() for a, b in zip(before, iterate_frames(clip), strict=True))


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("pcm_s16le", ".mkv")])
def test_a_clip_that_starts_later_hears_the_sound_from_there(codec, suffix, tmp_path):
    source = write_with_sound(tmp_path / f"source{suffix}", codec)
    clip = write_clip(tmp_path / "clip.mp4")
    add_sound(clip, source, start_s=0.24)
    samples, name = heard(clip)
    assert name == "aac"  # raw samples do not fit into an mp4
    assert beep_begins_s(samples) == pytest.approx(BEEP_S - 0.24, abs=0.07)


def test_no_sound_is_an_error_and_leaves_the_film(tmp_path):
    clip, silent = write_clip(tmp_path / "clip.mp4"), write_clip(tmp_path / "silent.mp4")
    before = clip.read_bytes()
    with pytest.raises(UserError, match="no sound"):
        add_sound(clip, silent)
    with pytest.raises(UserError, match="cannot read"):
        add_sound(clip, tmp_path / "nowhere.mp4")
    assert clip.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "silent.mp4"]
