"""Every setting has a range, which is checked when it is parsed: a table that is made from the dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nha
from nha.core.config import SettingKey, Settings, setting_keys
from nha.core.config_values import convert, inner_kind, item_kinds
from nha.core.errors import UserError


def settings_types() -> list[type]:
    """All settings dataclasses of the package."""
    for module in pkgutil.walk_packages(nha.__path__, "nha."):
        if module.name.endswith(("settings", "config", "options")):
            importlib.import_module(module.name)
    found, waiting = [], [Settings]
    while waiting:
        children = waiting.pop().__subclasses__()
        found += children
        waiting += children
    return sorted(
        (cls for cls in found if cls.__module__.startswith("nha.")), key=lambda cls: cls.__qualname__
    )


def number_kind(kind: typing.Any) -> type | None:
    """int or float for a setting that is a number or a (nested) list of numbers."""
    kind = inner_kind(kind)
    while typing.get_origin(kind) in (list, tuple):
        kind = inner_kind(typing.get_args(kind)[0])
    return kind if kind in (int, float) else None


def all_numbers() -> Iterator[tuple[type, SettingKey]]:
    for cls in settings_types():
        for entry in setting_keys(cls):
            if number_kind(entry.kind) and len(entry.path) == 1:
                yield cls, entry


TABLE = list(all_numbers())
IDS = [f"{cls.__name__}.{entry.key}" for cls, entry in TABLE]


def with_number(entry: SettingKey, number: float) -> typing.Any:
    """A value of the setting's type that holds the number in every place."""

    def fill(kind: typing.Any) -> typing.Any:
        kind = inner_kind(kind)
        if typing.get_origin(kind) in (list, tuple):
            return [fill(inner) for inner in item_kinds(kind, len(typing.get_args(kind)) if
                    typing.get_origin(kind) is tuple and typing.get_args(kind)[-1] is not Ellipsis else 1)]  # fmt: skip
        return number

    return fill(entry.kind)


def required(cls: type) -> dict[str, typing.Any]:
    """Values for the settings without a default."""
    return {entry.key: _some_value(entry.kind) for entry in setting_keys(cls) if entry.required}


def _some_value(kind: typing.Any) -> typing.Any:
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)[0]
    return [Path("x")] if kind == list[Path] else "x"


def test_the_table_holds_the_settings_of_all_commands():
    assert len(TABLE) > 100
    assert {"OptimizationSettings", "TrackingSettings", "PreprocessOptions", "ViewerSettings"} <= {
        cls.__name__ for cls in settings_types()
    }


@pytest.mark.parametrize(("cls", "entry"), TABLE, ids=IDS)
def test_numbers_beyond_the_range_are_one_line(cls, entry):
    kind = number_kind(entry.kind)
    low, high = entry.range.of(kind)
    assert math.isfinite(low)
    assert math.isfinite(high)
    step = 1 if kind is int else max(abs(low), abs(high), 1.0) * 1e-6
    for number in (low - step, high + step, 10**400, -(10**400), 1e30, -1e30, math.inf, -math.inf, math.nan):
        if not isinstance(number, int) and math.isfinite(number) and low <= number <= high:
            continue
        with pytest.raises(UserError) as caught:
            cls.from_ini(**{**required(cls), entry.names[0]: with_number(entry, number)})
        assert "\n" not in str(caught.value)
        assert entry.names[0] in str(caught.value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("cls", "entry"), TABLE, ids=IDS)
def test_numbers_at_the_ends_of_the_range_are_taken(cls, entry):
    for number in entry.range.of(number_kind(entry.kind)):
        made = cls.from_ini(**{**required(cls), entry.names[0]: with_number(entry, number)})
        assert convert(entry.value_in(made), entry.kind) == entry.value_in(made)
        dataclasses.asdict(made)


def test_lists_that_need_an_item_are_refused_without():
    from nha.optimization.config import LossSettings

    for name in ("w_silh", "w_lap", "w_semantic_hair"):
        with pytest.raises(UserError, match="at least 1 item"):
            LossSettings.from_ini(**{name: []})


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(TABLE),
    st.text(max_size=12) | st.floats().map(str) | st.sampled_from(["[", "1,,", "[[1]", "~x"]),
)
def test_any_text_is_a_value_or_one_line(row, text):
    cls, entry = row
    with contextlib.suppress(UserError):
        made = cls.from_ini(**{**required(cls), entry.names[0]: text})
        entry.check_range(entry.value_in(made))
