"""Smooth pseudo-random fields of space, the same on every machine."""

from __future__ import annotations

import itertools

import numpy as np


def _lattice_values(cells: np.ndarray, seed: int) -> np.ndarray:
    """Hash integer cells [..., 3] to values [...] in 0..1."""
    x, y, z = (cells[..., axis].astype(np.uint32) for axis in range(3))
    h = x * np.uint32(0x8DA6B343) ^ y * np.uint32(0xD8163841) ^ z * np.uint32(0xCB1AB31F)
    h ^= np.uint32((seed * 0x9E3779B1) & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h.astype(np.float32) * np.float32(2.0**-32)


def value_noise(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """Random values at the integer lattice, smoothly blended between: points [..., 3] to [...] in 0..1."""
    floor = np.floor(points)
    weight = (points - floor).astype(np.float32)
    weight = weight * weight * (3 - 2 * weight)
    cell = floor.astype(np.int64)
    total = np.zeros(points.shape[:-1], np.float32)
    for corner in itertools.product((0, 1), repeat=3):
        factor = np.ones_like(total)
        for axis, bit in enumerate(corner):
            factor *= weight[..., axis] if bit else 1 - weight[..., axis]
        total += factor * _lattice_values(cell + np.array(corner), seed)
    return total


def fractal_noise(points: np.ndarray, octaves: int = 3, seed: int = 0) -> np.ndarray:
    """Value noise summed over octaves of doubled frequency and halved strength: [..., 3] to [...] in 0..1."""
    total, norm = np.zeros(points.shape[:-1], np.float32), 0.0
    for octave in range(octaves):
        total += value_noise(points * 2.0**octave + 17.3 * octave, seed + octave) * 0.5**octave
        norm += 0.5**octave
    return total / np.float32(norm)


def smooth_step(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth S between; also falls when high < low."""
    t = np.clip((x - low) / (np.asarray(high) - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
