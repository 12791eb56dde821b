from __future__ import annotations

import re
from xml.etree import ElementTree

from nha.evaluation.curves import curve_chart

NAN = float("nan")


def lines_of(chart: str) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline points="([^"]*)"', chart)
    ]


def test_a_line_rises_where_values_do_and_is_valid_xml():
    chart = curve_chart(
        "psnr < 1", {"a & b": ([0, 1, 2, 3], [20.0, 21.0, 25.0, 30.0]), "c": ([0, 3], [20.0, 22.0])}
    )
    ElementTree.fromstring(chart)
    line = lines_of(chart)[0]
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)  # y counts downwards
    ticks = [float(text) for text in re.findall(r'text-anchor="end">([\d.]+)</text>', chart)]
    assert min(ticks) <= 20
    assert max(ticks[:-1]) >= 30  # the last one is the last frame's number
    assert "a &amp; b" in chart


def test_gaps_in_time_and_undefined_values_interrupt_a_line():
    chart = curve_chart("m", {"a": ([0, 1, 2, 3, 4, 20, 21], [1.0, 2.0, NAN, 1.0, 2.0, 1.0, 2.0])})
    assert [len(line) for line in lines_of(chart)] == [2, 2, 2]


def test_held_out_stretches_are_tinted():
    def bands(marked: list[int]) -> int:
        return curve_chart("m", {"a": (list(range(20)), [float(i) for i in range(20)])}, marked).count(
            "#f6e8d2"
        )

    assert bands([]) == 0
    assert bands([3, 4, 5]) == 1
    assert bands([3, 4, 5, 15, 16]) == 2


def test_a_chart_without_values_says_so():
    assert "not defined" in curve_chart("m", {"a": ([0, 1], [NAN, NAN])})
