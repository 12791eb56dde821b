"""Smooth pseudo-random fields, identical on every machine."""

from __future__ import annotations

import numpy as np

_AXIS_FACTORS = (np.uint32(0x8DA6B343), np.uint32(0xD8163841), np.uint32(0xCB1AB31F))


def _scramble(h: np.ndarray) -> np.ndarray:
    """Hash integers to uncorrelated numbers in 0..1, in place."""
    for factor in (np.uint32(0x2C1B3C6D), np.uint32(0x297A2D39)):
        h ^= h >> np.uint32(15)
        h *= factor
    h ^= h >> np.uint32(15)
    return h.astype(np.float32) * np.float32(2.0**-32)


def value_noise(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """Value noise: random values at integer points, smoothly interpolated. points: [..., 3]; returns [...] in 0..1."""
    seeded = np.uint32((seed * 0x9E3779B1) & 0xFFFFFFFF)
    hashes, weights = [], []
    for axis, factor in enumerate(_AXIS_FACTORS):
        floor = np.floor(points[..., axis])
        t = (points[..., axis] - floor).astype(np.float32)
        cell = floor.astype(np.int64).astype(np.uint32)
        hashes.append((cell * factor, (cell + np.uint32(1)) * factor))
        weights.append(t * t * (3 - 2 * t))
    (x0, x1), (y0, y1), (z0, z1) = hashes

    def along_x(yz: np.ndarray) -> np.ndarray:
        start = _scramble(x0 ^ yz)
        return start + weights[0] * (_scramble(x1 ^ yz) - start)

    def along_xy(z: np.ndarray) -> np.ndarray:
        start = along_x(y0 ^ z)
        return start + weights[1] * (along_x(y1 ^ z) - start)

    start = along_xy(z0 ^ seeded)
    return start + weights[2] * (along_xy(z1 ^ seeded) - start)


def fractal_noise(points: np.ndarray, octaves: int = 3, seed: int = 0) -> np.ndarray:
    """Value noise summed over octaves of doubled frequency and halved amplitude: [..., 3] to [...] in 0..1."""
    total, norm = np.zeros(points.shape[:-1], np.float32), 0.0
    for octave in range(octaves):
        total += value_noise(points * 2.0**octave + 17.3 * octave, seed + octave) * 0.5**octave
        norm += 0.5**octave
    return total / np.float32(norm)


def smooth_step(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, and 3 t^2 - 2 t^3 in between; decreasing if high < low."""
    t = np.clip((x - low) / (np.asarray(high) - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
