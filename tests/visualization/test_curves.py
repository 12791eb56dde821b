"""Charts over frames: what is drawn where."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nha.visualization.curves import DPI, HIGHLIGHT_COLOUR, SIZE_INCHES, curve_chart, curve_figure

NAN = float("nan")


def pieces(figure, number: int = 0) -> list[list[float]]:
    """The values of the connected parts of a line."""
    y = figure.axes[0].lines[number].get_ydata()
    parts = np.split(y, np.flatnonzero(np.isnan(y)))
    return [values for part in parts if (values := part[np.isfinite(part)].tolist())]


def test_curves_have_their_values_names_and_title():
    figure = curve_figure("psnr < 1", {"a & b": ([0, 2, 1], [20.0, 25.0, 21.0]), "c": ([0, 2], [20.0, 22.0])})
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "psnr < 1"
    assert axes.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert pieces(figure, 0) == [[20, 21, 25]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a & b", "c"]
    assert axes.get_xlabel() == "frame"
    assert curve_figure("m", {"a": ([0, 1], [1.0, 2.0])}).axes[0].get_legend() is None


def test_missing_frames_and_undefined_values_interrupt_a_line():
    figure = curve_figure("m", {"a": ([0, 1, 2, 3, 4, 20, 21], [1.0, 2.0, NAN, 3.0, 4.0, 5.0, 6.0])})
    assert pieces(figure) == [[1, 2], [3, 4], [5, 6]]
    line = curve_figure("m", {"a": ([0, 1, 2, 3, 4], [1.0, NAN, 2.0, NAN, NAN])}).axes[0].lines[0]
    assert line.get_markevery() == [0, 2]  # single frames are visible as points


@pytest.mark.parametrize(
    ("highlighted", "ranges"),
    [([], []), ([3, 4, 5], [(2.5, 5.5)]), ([3, 4, 5, 15, 16], [(2.5, 5.5), (14.5, 16.5)])],
)
def test_held_out_ranges_are_tinted(highlighted, ranges):
    figure = curve_figure("m", {"a": (list(range(20)), [float(i) for i in range(20)])}, highlighted)
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.axes[0].patches]
    assert spans == ranges
    image = curve_chart("m", {"a": (list(range(20)), [0.0] * 20)}, highlighted)
    tint = np.uint8([int(HIGHLIGHT_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    assert ((image == tint).all(-1).mean() > 0.05) == bool(ranges)


def test_a_chart_without_values_says_so():
    (text,) = curve_figure("m", {"a": ([0, 1], [NAN, NAN])}).axes[0].texts
    assert text.get_text() == "not defined in any frame"


def test_a_chart_is_an_image_and_pyplot_is_not_used():
    image = curve_chart("m", {"a": ([5], [1.0])})
    assert image.shape == (round(SIZE_INCHES[1] * DPI), round(SIZE_INCHES[0] * DPI), 3)
    assert image.dtype == np.uint8
    code = (
        "import sys, nha.visualization.curves as c; assert 'matplotlib' not in sys.modules; "
        "c.curve_chart('m', {'a': ([0, 1], [1.0, 2.0])}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
