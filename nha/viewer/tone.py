"""The tone curve that viser's page lays over every mesh, undone in advance.

three.js maps the colours of a scene by the ACES curve in Stephen Hill's fit before it shows them, those of unlit
materials too, and no setting of viser's turns that off. The background picture is shown as it is. A texture that has
gone backwards through the curve comes out as it was.
"""

from __future__ import annotations

import numpy as np

GAIN = 4.0  # what the browser multiplies a texel with: bright colours lie beyond 1 before the curve
_EXPOSURE = 1 / 0.6
_TO_CURVE = np.array([[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]])
_FROM_CURVE = np.array(
    [[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]]
)
# The curve: (v^2 + a v + b) / (c v^2 + d v + e).
_A, _B, _C, _D, _E = 0.0245786, -0.000090537, 0.983729, 0.4329510, 0.238081
_LARGEST = 0.995  # of the curve's values: at 1 they belong to hardly any colour


def against_tone_curve(rgb: np.ndarray) -> np.ndarray:
    """The texture uint8 [R, R, 3] that is shown as `rgb` once it is multiplied by GAIN and mapped by the curve.

    Colours that the curve does not reach (the brightest, the most saturated) come as near as it goes.
    """
    shown = _linear(rgb.astype(np.float64) / 255) @ np.linalg.inv(_FROM_CURVE).T
    y = shown.clip(0, _LARGEST)
    p, q, r = 1 - _C * y, _A - _D * y, _B - _E * y
    before = (-q + np.sqrt(q * q - 4 * p * r)) / (2 * p)
    light = before @ np.linalg.inv(_TO_CURVE).T / _EXPOSURE
    return np.rint(255 * _srgb((light / GAIN).clip(0, 1))).astype(np.uint8)


def tone_curve(linear: np.ndarray) -> np.ndarray:
    """The curve itself: linear colours [..., 3] of a scene to linear colours 0..1 on the screen."""
    v = linear * _EXPOSURE @ _TO_CURVE.T
    return ((v * (v + _A) + _B) / (v * (_C * v + _D) + _E) @ _FROM_CURVE.T).clip(0, 1)


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
