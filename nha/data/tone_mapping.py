"""Conversion of HDR and wide-gamut colours to BT.709, as a lookup table with three inputs.

    code values --transfer--> cd/m2 --primaries--> BT.709 primaries --tone curve--> 0..1 --gamma--> 8 bit

- HLG (ITU-R BT.2100): inverse OETF, then the OOTF of a display of 1000 cd/m2, a system gamma of 1.2. It is applied to
  each channel, as FFmpeg's zscale does. BT.2100 applies it to the luminance, which gives SDR images that are paler
  (by a seventh of the saturation on a face).
- PQ (SMPTE ST 2084): its EOTF.
- All others: the EOTF of BT.1886, a gamma of 2.4, with white at 203 cd/m2.

White of the result is the reference white of ITU-R BT.2408, 203 cd/m2. The tone curve is applied to the largest of the
three channels and the others are scaled with it, which keeps the hue. It is linear up to 0.8 of white, where skin is.
Above, a hyperbola with the same slope at its start ends at white for 1000 cd/m2. SDR videos are clipped instead. The
result has the gamma of BT.1886.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

REFERENCE_WHITE_CD = 203.0  # ITU-R BT.2408
PEAK_CD = 1000.0  # nominal peak of HLG, and of most PQ masters
SDR_GAMMA = 2.4  # ITU-R BT.1886
KNEE = 0.8  # end of the linear part of the tone curve, in units of white
HLG_SYSTEM_GAMMA = 1.2
GRID = 97  # entries per input of the table; with 65, saturated colours of PQ were up to 17 of 255 off, with 97 up to 9

HDR_NAMES = {ColorTrc.ARIB_STD_B67: "HLG", ColorTrc.SMPTE2084: "PQ"}
GAMUT_NAMES = {
    ColorPrimaries.BT2020: "BT.2020",
    ColorPrimaries.SMPTE431: "DCI-P3",
    ColorPrimaries.SMPTE432: "Display P3",
}

# Chromaticities (x, y) of red, green and blue. The white of all is D65; for DCI-P3 this keeps its white neutral.
_D65 = (0.3127, 0.3290)
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_PRIMARIES = {
    ColorPrimaries.BT2020: _BT2020,
    ColorPrimaries.SMPTE431: _P3,
    ColorPrimaries.SMPTE432: _P3,
}


@dataclass(frozen=True)
class SourceColours:
    """Transfer function and primaries of a video that is not plain BT.709.

    Attributes:
        transfer: code of ITU-T H.273.
        primaries: code of ITU-T H.273.
    """

    transfer: int
    primaries: int

    @classmethod
    def of_codes(cls, transfer: int, primaries: int) -> SourceColours | None:
        """The colours of a video with these codes; None if they are displayed without conversion."""
        if transfer in HDR_NAMES:
            return cls(transfer, primaries if primaries in _PRIMARIES else ColorPrimaries.BT2020)
        return cls(0, primaries) if primaries in _PRIMARIES else None

    @property
    def is_hdr(self) -> bool:
        return self.transfer in HDR_NAMES

    def __str__(self) -> str:
        gamut = GAMUT_NAMES[self.primaries]
        return f"HDR: {HDR_NAMES[self.transfer]}, {gamut}" if self.is_hdr else f"wide gamut: {gamut}"


def to_bt709(codes: np.ndarray, colours: SourceColours) -> np.ndarray:
    """Colours of BT.709 by interpolation in a table.

    Args:
        codes: uint16 [H, W, 3], the full range of code values.
        colours: what they mean.

    Returns:
        uint8 [H, W, 3].
    """
    if codes.dtype != np.uint16 or codes.ndim != 3 or codes.shape[2] != 3:
        raise ValueError(f"codes must be uint16 [H, W, 3], not {codes.dtype} {list(codes.shape)}")
    rgb = np.empty(codes.shape, np.uint8)
    _interpolation()(np.ascontiguousarray(codes), _table(colours), rgb)
    return rgb


def bt709_of_codes(codes01: np.ndarray, colours: SourceColours) -> np.ndarray:
    """Colours of BT.709 by the formulas.

    Args:
        codes01: [..., 3] in 0..1.
        colours: what they mean.

    Returns:
        [..., 3] in 0..1.
    """
    light = _light_cd(codes01, colours) @ _to_bt709_primaries(_PRIMARIES[colours.primaries]).T
    light = np.maximum(light / REFERENCE_WHITE_CD, 0)
    if colours.is_hdr:
        largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
        light = light * (tone_curve(largest) / largest)
    return np.clip(light, 0, 1) ** (1 / SDR_GAMMA)


def tone_curve(light: np.ndarray) -> np.ndarray:
    """Light of the result, 0..1, for light in units of the reference white, which may exceed 1."""
    # knee + x / (1 + b x) has slope 1 at x = 0; b makes it 1 at the peak
    span, above = PEAK_CD / REFERENCE_WHITE_CD - KNEE, np.maximum(light - KNEE, 0)
    bend = 1 / (1 - KNEE) - 1 / span
    return np.minimum(np.minimum(light, KNEE) + above / (1 + bend * above), 1)


def _light_cd(codes01: np.ndarray, colours: SourceColours) -> np.ndarray:
    """Displayed light in cd/m2."""
    if colours.transfer == ColorTrc.SMPTE2084:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = codes01 ** (1 / m2)
        return 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    if colours.transfer == ColorTrc.ARIB_STD_B67:
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        scene = np.where(codes01 <= 0.5, codes01**2 / 3, (np.exp((codes01 - c) / a) + b) / 12)
        return PEAK_CD * scene**HLG_SYSTEM_GAMMA
    return REFERENCE_WHITE_CD * codes01**SDR_GAMMA


def _xyz_of_rgb(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Matrix [3, 3] from linear RGB to CIE XYZ, with D65 for white."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - sum(_D65)) / _D65[1]])
    return columns * np.linalg.solve(columns, white)


def _to_bt709_primaries(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    return np.linalg.solve(_xyz_of_rgb(_BT709), _xyz_of_rgb(primaries))


@cache
def _table(colours: SourceColours) -> np.ndarray:
    """float32 [GRID, GRID, GRID, 3] in 0..255."""
    axis = np.linspace(0, 1, GRID)
    codes01 = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    return np.ascontiguousarray(255 * bt709_of_codes(codes01, colours), np.float32)


@cache
def _interpolation():
    """Trilinear interpolation in a table, compiled at the first call; only these videos need it."""
    import numba

    @numba.njit(nogil=True, cache=True)
    def interpolate(codes, table, rgb):
        scale = np.float32((table.shape[0] - 1) / 65535)
        last = table.shape[0] - 2
        for y in range(codes.shape[0]):
            for x in range(codes.shape[1]):
                r, g, b = codes[y, x, 0] * scale, codes[y, x, 1] * scale, codes[y, x, 2] * scale
                i, j, k = min(int(r), last), min(int(g), last), min(int(b), last)
                r, g, b = r - np.float32(i), g - np.float32(j), b - np.float32(k)
                for c in range(3):
                    low = (table[i, j, k, c] * (1 - b) + table[i, j, k + 1, c] * b) * (1 - g) + (
                        table[i, j + 1, k, c] * (1 - b) + table[i, j + 1, k + 1, c] * b
                    ) * g
                    high = (table[i + 1, j, k, c] * (1 - b) + table[i + 1, j, k + 1, c] * b) * (1 - g) + (
                        table[i + 1, j + 1, k, c] * (1 - b) + table[i + 1, j + 1, k + 1, c] * b
                    ) * g
                    rgb[y, x, c] = np.uint8(low * (1 - r) + high * r + np.float32(0.5))

    return interpolate
