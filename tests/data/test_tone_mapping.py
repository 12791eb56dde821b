"""HDR and wide-gamut videos become BT.709."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from nha.data.tone_mapping import SourceColours, bt709_of_codes, to_bt709, tone_curve
from nha.data.video_io import iterate_frames
from tests.clips import mark_quarter_turn

HLG, PQ, SDR = ColorTrc.ARIB_STD_B67, ColorTrc.SMPTE2084, ColorTrc.BT2020_10
BT2020 = ColorPrimaries.BT2020
# ITU-R BT.2087: linear BT.709 to linear BT.2020
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
KR, KB = 0.2627, 0.0593  # of BT.2020


def portrait() -> np.ndarray:
    """Skin, lips, hair, a shirt and a grey ramp below the knee of the tone curve: uint8 [64, 96, 3]."""
    image = np.empty((64, 96, 3), np.uint8)
    colours = ((205, 150, 120), (150, 90, 75), (170, 80, 85), (50, 40, 35), (90, 110, 150), (220, 220, 220))
    for i, colour in enumerate(colours):
        image[:48, 16 * i : 16 * i + 16] = colour
    image[48:] = np.linspace(20, 225, 96).astype(np.uint8)[None, :, None]
    return image


def codes_of(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Code values in 0..1 of an SDR image that is shown with white at 203 cd/m2 in an HDR video."""
    light = 203 * (rgb / 255) ** 2.4 @ TO_BT2020.T
    if transfer == PQ:
        power = (light / 10000) ** (2610 / 16384)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    if transfer == HLG:
        scene = (light / 1000) ** (1 / 1.2)
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return (light / 203) ** (1 / 2.4)


def write_bt2020(
    path: Path, rgb: np.ndarray, transfer: int, full_range: bool = False, codec: str = "ffv1"
) -> Path:
    """A video of 10 bits with BT.2020 primaries and matrix, as phones record it (here without loss)."""
    codes = codes_of(rgb, transfer)
    luma = codes @ (KR, 1 - KR - KB, KB)
    chroma = [(codes[..., 2] - luma) / (2 - 2 * KB), (codes[..., 0] - luma) / (2 - 2 * KR)]
    planes = np.stack([luma, *chroma])
    if full_range:
        planes = planes * 1023 + np.reshape((0, 512, 512), (3, 1, 1))
    else:
        planes = planes * np.reshape((876, 896, 896), (3, 1, 1)) + np.reshape((64, 512, 512), (3, 1, 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *rgb.shape[:2], "yuv444p10le"
        frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], "yuv444p10le")
        for plane, values in zip(frame.planes, np.rint(planes).astype("<u2"), strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
            rows[:, : values.shape[1]] = values
            plane.update(rows.tobytes())
        tags = {
            "color_trc": transfer,
            "color_primaries": BT2020,
            "colorspace": Colorspace.BT2020,
            "color_range": ColorRange.JPEG if full_range else ColorRange.MPEG,
        }
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
            setattr(frame, name, value)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("transfer", [HLG, PQ, SDR])
def test_an_sdr_image_returns_from_bt2020(tmp_path, caplog, transfer, full_range):
    path = write_bt2020(tmp_path / "clip.mkv", portrait(), transfer, full_range)
    (frame,) = iterate_frames(path)
    assert np.abs(frame.astype(int) - portrait()).mean() < 1.5
    assert np.abs(frame.astype(int) - portrait()).max() <= 9
    kind = "wide gamut" if transfer == SDR else "HDR"
    assert f"clip.mkv is converted to BT.709 ({kind}" in caplog.text


def test_a_phone_that_was_held_upright(tmp_path):
    """HDR and a display matrix in one file, as telephones record by default."""
    path = write_bt2020(tmp_path / "upright.mp4", portrait(), HLG, codec="libx264")
    (lying,) = iterate_frames(path)
    assert np.abs(lying.astype(int) - portrait()).mean() < 3
    mark_quarter_turn(path)
    (upright,) = iterate_frames(path)
    np.testing.assert_array_equal(upright, np.rot90(lying, -1))


def test_the_case_agrees_with_ffmpeg(shared_dir, caplog):
    path, reference = (shared_dir / "cases" / name for name in ("hlg.mp4", "hlg_ref.png"))
    if not path.is_file():
        pytest.skip("the case is not there")
    expected = cv2.cvtColor(cv2.imread(str(reference)), cv2.COLOR_BGR2RGB)
    frame = next(iterate_frames(path))
    assert np.abs(frame.astype(int) - expected).mean() < 2  # 1.1; without conversion 11.4


@pytest.mark.parametrize(
    "colours",
    [
        SourceColours(HLG, BT2020),
        SourceColours(PQ, BT2020),
        SourceColours(0, BT2020),
        SourceColours(0, ColorPrimaries.SMPTE432),
    ],
)
def test_the_table_agrees_with_the_formulas(colours):
    rng = np.random.default_rng(0)
    grey = rng.random((64, 64, 1)) * 0.9
    codes01 = np.clip(grey + rng.normal(0, 0.015, (64, 64, 3)), 0, 1)
    codes = np.rint(codes01 * 65535).astype(np.uint16)
    difference = np.abs(to_bt709(codes, colours) - 255 * bt709_of_codes(codes / 65535, colours))
    assert difference.mean() < 0.6  # 0.25 by rounding
    assert np.percentile(difference, 99) < 3.5
    assert difference.max() < 10
    assert to_bt709(np.full((1, 1, 3), 65535, np.uint16), colours).min() == 255
    assert to_bt709(np.zeros((1, 1, 3), np.uint16), colours).max() == 0


def test_the_tone_curve_is_smooth_and_ends_at_white():
    light = np.linspace(0, 1000 / 203, 2000)
    curve = tone_curve(light)
    np.testing.assert_allclose(curve[light < 0.8], light[light < 0.8])
    slope = np.diff(curve) / np.diff(light)
    assert (np.diff(slope) < 1e-9).all()
    assert (slope > 0).all()
    assert curve[-1] == pytest.approx(1)
    assert tone_curve(np.array(40.0)) == 1


def test_ordinary_videos_are_not_converted():
    assert SourceColours.of_codes(ColorTrc.BT709, ColorPrimaries.BT709) is None
    assert SourceColours.of_codes(ColorTrc.UNSPECIFIED, ColorPrimaries.UNSPECIFIED) is None
    assert SourceColours.of_codes(HLG, ColorPrimaries.UNSPECIFIED) == SourceColours(HLG, BT2020)
