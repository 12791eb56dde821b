"""Curves over time as SVG drawings, for reports."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 560, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 24, 30  # margins
LINE_COLOURS = ("#2563a8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490")
_BAND, _GRID, _INK = "#f6e8d2", "#e4e4e4", "#555"

Curve = tuple[Sequence[int], Sequence[float]]  # frame ids and values


def curve_chart(title: str, curves: Mapping[str, Curve], marked: Sequence[int] = ()) -> str:
    """One chart as an <svg> element: a line for each named curve, gaps where frames are missing or values not finite.

    marked: frame ids (held out) whose stretch of the time axis is tinted. A chart without a finite value says so.
    """
    points = {name: _finite(*curve) for name, curve in curves.items()}
    everything = [point for line in points.values() for point in line]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="11" fill="{_INK}">',
        f'<text x="{_LEFT}" y="13" font-weight="bold">{html.escape(title)}</text>',
    ]
    if not everything:
        return "\n".join([*parts, f'<text x="{_LEFT}" y="60">not defined in any frame</text>', "</svg>"])
    frames = sorted({int(frame) for ids, _ in curves.values() for frame in ids})
    step = _usual_step(frames)
    ticks = _ticks(min(y for _, y in everything), max(y for _, y in everything))
    x_of = _scale(frames[0], frames[-1], _LEFT, WIDTH - _RIGHT)
    y_of = _scale(ticks[0], ticks[-1], HEIGHT - _BOTTOM, _TOP)
    for first, last in _runs(sorted(marked), step):
        left, right = x_of(first - step / 2), x_of(last + step / 2)
        left, right = max(left, _LEFT), min(right, WIDTH - _RIGHT)
        parts.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{HEIGHT - _TOP - _BOTTOM}" '
            f'fill="{_BAND}"/>'
        )
    parts += [_tick(value, y_of(value)) for value in ticks]
    parts += [
        f'<text x="{x_of(frame):.1f}" y="{HEIGHT - _BOTTOM + 14}" text-anchor="{anchor}">{frame}</text>'
        for frame, anchor in ((frames[0], "start"), (frames[-1], "end"))
    ]
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - _BOTTOM + 14}" text-anchor="middle">frame</text>')
    for i, (name, line) in enumerate(points.items()):
        colour = LINE_COLOURS[i % len(LINE_COLOURS)]
        parts += [_polyline(run, x_of, y_of, colour) for run in _unbroken(line, frames, step)]
        if len(points) > 1:
            x = WIDTH - _RIGHT - 150 * (len(points) - i)
            parts.append(f'<rect x="{x}" y="8" width="14" height="3" fill="{colour}"/>')
            parts.append(f'<text x="{x + 18}" y="13">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _finite(ids: Sequence[int], values: Sequence[float]) -> list[tuple[int, float]]:
    return sorted((int(i), float(v)) for i, v in zip(ids, values, strict=True) if math.isfinite(v))


def _usual_step(frames: Sequence[int]) -> float:
    return float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0


def _runs(ids: Sequence[int], step: float) -> list[tuple[int, int]]:
    """First and last id of each stretch without a gap."""
    runs: list[tuple[int, int]] = []
    for i in ids:
        if runs and i - runs[-1][1] <= 2 * step:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs


def _unbroken(
    line: Sequence[tuple[int, float]], frames: Sequence[int], step: float
) -> list[list[tuple[int, float]]]:
    """The parts of a line between gaps in time and frames without a value."""
    has_value = {frame for frame, _ in line}
    pieces: list[list[tuple[int, float]]] = []
    last = None
    for frame, value in line:
        gap = last is None or frame - last > 4 * step
        gap = gap or any(last < other < frame and other not in has_value for other in frames)
        if gap:
            pieces.append([])
        pieces[-1].append((frame, value))
        last = frame
    return pieces


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose a range."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    unit = 10 ** math.floor(math.log10(span / 3))
    unit *= next(m for m in (1, 2, 5, 10) if span / (m * unit) <= 4)
    first, last = math.floor(low / unit), math.ceil(high / unit)
    return [k * unit for k in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float):
    """The map of low..high to positions start..end."""
    return lambda value: start + (value - low) / max(high - low, 1e-12) * (end - start)


def _tick(value: float, y: float) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def _polyline(run: Sequence[tuple[int, float]], x_of, y_of, colour: str) -> str:
    if len(run) == 1:
        return f'<circle cx="{x_of(run[0][0]):.1f}" cy="{y_of(run[0][1]):.1f}" r="1.6" fill="{colour}"/>'
    points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in run)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
