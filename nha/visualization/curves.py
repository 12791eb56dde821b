"""Charts of values over the frames of a video, as images for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, DPI = (5.6, 2.0), 200
LINE_COLOURS = ("#2563a8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490")
HIGHLIGHT_COLOUR, GRID_COLOUR, TEXT_COLOUR = "#f6e8d2", "#e4e4e4", "#444444"
LARGEST_STEP = 4  # a line is interrupted where frame ids are further apart than this many usual steps

Curve = tuple[Sequence[int], Sequence[float]]  # frame ids and values


def curve_chart(title: str, curves: Mapping[str, Curve], highlighted: Sequence[int] = ()) -> np.ndarray:
    """Draw curves over frame ids; arguments as in `curve_figure`. Returns uint8 [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(curve_figure(title, curves, highlighted))
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def curve_figure(title: str, curves: Mapping[str, Curve], highlighted: Sequence[int] = ()) -> Figure:
    """Draw curves over frame ids as a matplotlib figure.

    A line is interrupted at values that are not finite and where many frames are missing.

    Args:
        title: written above the chart.
        curves: frame ids and values of each curve, by name. The names are shown if there are several.
        highlighted: frame ids (held out) whose range on the frame axis is tinted.
    """
    from matplotlib.figure import Figure  # imported only when a chart is drawn; no global pyplot state

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=8, fontweight="bold", color=TEXT_COLOUR)
    all_frames = sorted({int(frame) for ids, _ in curves.values() for frame in ids})
    step = _usual_step(all_frames)
    for first, last in _ranges(sorted(highlighted), step):
        axes.axvspan(first - step / 2, last + step / 2, color=HIGHLIGHT_COLOUR, linewidth=0)
    for (name, curve), colour in zip(curves.items(), _cycle(LINE_COLOURS, len(curves)), strict=True):
        _plot(axes, name, curve, step, colour)
    if not any(np.isfinite(values).any() for _, values in curves.values()):
        axes.text(0.5, 0.5, "not defined in any frame", transform=axes.transAxes, ha="center", fontsize=8)
        axes.yaxis.set_visible(False)
    if all_frames:
        axes.set_xlim(all_frames[0] - step / 2, all_frames[-1] + step / 2)
    _style(axes, n_curves=len(curves))
    return figure


def _plot(axes: Axes, name: str, curve: Curve, step: float, colour: str) -> None:
    frames, values = np.asarray(curve[0], float), np.asarray(curve[1], float)
    order = np.argsort(frames, kind="stable")
    frames, values = frames[order], np.where(np.isfinite(values[order]), values[order], np.nan)
    gaps = np.flatnonzero(np.diff(frames) > LARGEST_STEP * step) + 1
    frames, values = np.insert(frames, gaps, frames[gaps]), np.insert(values, gaps, np.nan)
    defined = np.pad(np.isfinite(values), 1)
    isolated = defined[1:-1] & ~defined[:-2] & ~defined[2:]  # a line of one point would be invisible
    axes.plot(
        frames,
        values,
        color=colour,
        linewidth=1.1,
        label=name,
        marker=".",
        markersize=4,
        markevery=np.flatnonzero(isolated).tolist(),
    )


def _style(axes: Axes, n_curves: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("frame", fontsize=7, color=TEXT_COLOUR)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(labelsize=7, colors=TEXT_COLOUR, length=2)
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID_COLOUR)
    if n_curves > 1:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=n_curves,
            fontsize=7,
            frameon=False,
            borderpad=0,
            markerscale=0,
        )


def _cycle(colours: Sequence[str], n: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(n)]


def _usual_step(frames: Sequence[int]) -> float:
    return float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0


def _ranges(frames: Sequence[int], step: float) -> list[tuple[int, int]]:
    """First and last of each range of ascending frame ids without a gap."""
    ranges: list[tuple[int, int]] = []
    for frame in frames:
        if ranges and frame - ranges[-1][1] <= 2 * step:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return ranges
