"""The inverse of the tone curve that viser's page applies to every mesh.

three.js maps the colours of a scene by Stephen Hill's fit of the ACES curve before it shows them, even those of unlit
materials, and viser has no setting that turns this off. The background image is not mapped. A texture to which the
inverse curve was applied is therefore shown in its original colours.
"""

from __future__ import annotations

import numpy as np

GAIN = 4.0  # the browser's factor on a texel's linear colour: bright colours are above 1 before the curve
_EXPOSURE = 1 / 0.6
_TO_CURVE = np.array([[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]])
_FROM_CURVE = np.array(
    [[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]]
)
# The curve: (v^2 + a v + b) / (c v^2 + d v + e).
_A, _B, _C, _D, _E = 0.0245786, -0.000090537, 0.983729, 0.4329510, 0.238081
_MAX_CURVE_VALUE = 0.995  # hardly any colour is mapped to values up to 1


def inverse_tone_curve(rgb: np.ndarray) -> np.ndarray:
    """The texture that is shown as `rgb` after multiplication by GAIN and the tone curve.

    Args:
        rgb: uint8 [R, R, 3], sRGB.

    Returns:
        uint8 [R, R, 3], sRGB. Colours outside the curve's range (the brightest and the most saturated) are mapped to
        the nearest values inside.
    """
    shown = _linear(rgb.astype(np.float64) / 255) @ np.linalg.inv(_FROM_CURVE).T
    y = shown.clip(0, _MAX_CURVE_VALUE)
    p, q, r = 1 - _C * y, _A - _D * y, _B - _E * y
    before = (-q + np.sqrt(q * q - 4 * p * r)) / (2 * p)
    light = before @ np.linalg.inv(_TO_CURVE).T / _EXPOSURE
    return np.rint(255 * _srgb((light / GAIN).clip(0, 1))).astype(np.uint8)


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
