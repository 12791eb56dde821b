"""JSON files: no NaN is written, and what is damaged, nested or no regular file is an error that readers expect."""

from __future__ import annotations

import json
import os

import pytest

from nha.core.errors import UserError
from nha.core.json_file import json_text, read_json, read_json_object, undefined_as_null, write_json


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_and_the_earlier_file_stays(tmp_path, value):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(UserError, match=r"x\.json holds values that are not finite; try again"):
        write_json(tmp_path / "x.json", {"a": [value]}, "try again")
    assert read_json(tmp_path / "x.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_undefined_values_become_null_at_every_depth():
    content = {
        "a": [float("nan"), (1.5, float("inf"))],
        "b": {"c": -float("inf"), "d": "nan", "e": 3},
        "f": None,
    }
    expected = {"a": [None, [1.5, None]], "b": {"c": None, "d": "nan", "e": 3}, "f": None}
    assert undefined_as_null(content) == expected
    assert json.loads(json_text(undefined_as_null(content), "x")) == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000],
)
def test_what_is_no_json_is_a_value_error(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        read_json(tmp_path / "x.json")
    assert read_json_object(tmp_path / "x.json") == {}


def test_a_missing_file_another_value_and_a_pipe_are_no_object(tmp_path):
    assert read_json_object(tmp_path / "missing.json") == {}
    (tmp_path / "list.json").write_text("[1]")
    assert read_json_object(tmp_path / "list.json") == {}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        assert read_json_object(tmp_path / "pipe.json") == {}  # does not wait for a writer
