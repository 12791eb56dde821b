"""Conversion between the text of INI files and command lines and typed values.

The types are bool, int, float, str, Path, Literal, `X | None`, list[X], tuple[X, ...] and tuple[X, Y, Z], nested.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import types
import typing
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal

from nha.core.errors import UserError
from nha.core.paths import packaged_path
from nha.core.plain_file import read_plain_text
from nha.core.text import shortened

_TRUE, _FALSE, _NONE = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("none", "null", "")
_COMMENT = re.compile(r"(?:^|\s)[;#]")  # begins a comment after a value

# What a user must write for a value of a type, and the type's placeholder in the help text.
_WORDS = {
    bool: ("true or false", "true|false"),
    int: ("a whole number", "INT"),
    float: ("a number", "NUMBER"),
    Path: ("a path", "PATH"),
    str: ("text", "TEXT"),
}


def read_ini(path: Path, known: Sequence[str]) -> dict[str, str]:
    """Keys and values of an INI file as text.

    Lines are `key = value`; [sections] only structure the file; lines that begin with ; or # are comments. After a
    value a comment needs a space before its ; or #. Values in quotes are taken literally.

    Raises UserError for any other line and for a key that is not in `known`.
    """
    try:
        text = read_plain_text(path, "utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError):
        raise UserError(f"configuration file '{path}' is not a readable text file") from None
    items: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line[0] in ";#[":
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise UserError(f"'{path}' line {number}: write 'key = value', not '{shortened(line)}'")
        if key not in known:
            raise UserError(unknown_key(key, known, f"in '{path}' line {number}"))
        if key in items:
            raise UserError(f"'{path}' line {number}: '{key}' is set a second time")
        is_quoted = value.startswith(('"', "'"))
        items[key] = value if is_quoted else packaged_path(_COMMENT.split(value, maxsplit=1)[0].strip())
    return items


def unknown_key(key: str, known: Sequence[str], where: str) -> str:
    """The message for a name that no setting has; it names the nearest one."""
    key = shortened(key)
    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else "see --help for all settings"
    return f"unknown setting '{key}' {where}; {hint}"


def parse_value(text: str, kind: Any) -> Any:
    """The value of type `kind` of a text.

    Lists are written [16, 2, 2], nested lists [[1e-1, 50], [1e-2, 100]]; the outermost brackets and commas may be
    left out. Raises ValueError for a text that does not fit.
    """
    text = _without_quotes(text.strip())
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_optional(kind):
        return None if text.lower() in _NONE else parse_value(text, inner_kind(kind))
    if origin in (list, tuple):
        items = _split_list(text)
        return origin(parse_value(*pair) for pair in zip(items, item_kinds(kind, len(items)), strict=True))
    if origin is Literal and {"true", "false"} <= set(arguments) and text.lower() in (*_TRUE, *_FALSE):
        return "true" if text.lower() in _TRUE else "false"
    if origin is Literal:
        return _parse_choice(text, {str(choice): choice for choice in arguments})
    if kind is bool:
        return _parse_choice(text.lower(), dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False))
    if kind is int:
        return _parse_int(text)
    if kind is float:
        if math.isnan(number := float(text)):
            raise ValueError("not a number")
        return number
    if kind is Path:
        if not text or "\0" in text:
            raise ValueError("an empty path, or one with a zero")
        try:
            return Path(text).expanduser()
        except RuntimeError:  # ~name of no user
            raise ValueError("a path of an unknown user") from None
    if kind is str:
        return text
    raise TypeError(f"settings cannot have the type {kind}")


def convert(value: Any, kind: Any) -> Any:
    """A Python value or its text as type `kind`: paths may be strings, lists tuples, whole numbers floats.

    Raises ValueError for a value that does not fit.
    """
    if kind == list[Path] and not (isinstance(value, str) and value.startswith("[")):
        paths = value if isinstance(value, (list, tuple)) else [value]
        return [convert(path, Path) for path in paths]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if inner_kind(kind) is Path and not isinstance(value, (str, types.NoneType)):
        raise ValueError("no path")  # such as an open avatar, whose description would be taken as a name
    return parse_value(value if isinstance(value, str) else format_value(value), kind)


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(format_value(item) for item in value)}]"
    if isinstance(value, float):
        text = f"{value:.15g}"
        return text if float(text) == value else repr(value)
    return str(value)


def describe_value(value: Any) -> str:
    """A value in a message: as it is written, or the class of an object that cannot be written."""
    written = (str, bytes, int, float, os.PathLike, types.NoneType)
    items = value if isinstance(value, (list, tuple)) else [value]
    if (strange := next((x for x in items if not isinstance(x, (*written, list, tuple))), None)) is not None:
        return f"an object of class {type(strange).__name__}"
    return f"'{shortened(format_value(value))}'"


def describe_kind(kind: Any) -> str:
    """What a user must write for a value of this type, in words, such as "a number" or "one of cpu, cuda"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_optional(kind):
        return f"{describe_kind(inner_kind(kind))} or none"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin not in (list, tuple):
        return _WORDS[kind][0]
    if origin is list or arguments[-1] is Ellipsis:
        return f"a list, each item {describe_kind(arguments[0])}"
    if len(set(arguments)) == 1:
        return f"a list of {len(arguments)}, each {describe_kind(arguments[0])}"
    return f"a list of {', '.join(map(describe_kind, arguments))}"


def placeholder(kind: Any) -> str:
    """The placeholder of a value of this type in the help text."""
    kind = inner_kind(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"{{{','.join(map(str, arguments))}}}"
    if origin not in (list, tuple):
        return _WORDS[kind][1]
    if origin is list or arguments[-1] is Ellipsis:
        return f"[{placeholder(arguments[0])}, ...]"
    return f"[{', '.join(map(placeholder, arguments))}]"


def is_optional(kind: Any) -> bool:
    """Whether a type annotation is `X | None`."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def inner_kind(kind: Any) -> Any:
    """`X` of the type annotation `X | None`, and every other annotation itself."""
    return next(m for m in typing.get_args(kind) if m is not type(None)) if is_optional(kind) else kind


def is_list(kind: Any) -> bool:
    """Whether a value of this type may be a list."""
    return typing.get_origin(inner_kind(kind)) in (list, tuple)


def item_kinds(kind: Any, n_items: int) -> list[Any]:
    """The types of the items of a list type. Raises ValueError for a wrong number of items."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is list or arguments[-1] is Ellipsis:
        return [arguments[0]] * n_items
    if len(arguments) != n_items:
        raise ValueError(f"{n_items} items")
    return list(arguments)


def _parse_int(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}", text):  # exactly, also beyond 2**53
        return int(text)
    number = float(text)  # 1e4 is a whole number, too
    if not number.is_integer():
        raise ValueError("not a whole number")
    return int(number)


def _parse_choice(text: str, choices: dict[str, Any]) -> Any:
    if text not in choices:
        raise ValueError(f"none of {', '.join(choices)}")
    return choices[text]


def _without_quotes(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _split_list(text: str) -> list[str]:
    """The items between the outermost brackets, split at commas that lie in no inner bracket."""
    depths = _depths(text)
    if text[:1] in ("[", "(") and 0 in depths and depths.index(0) == len(text) - 1:
        text = text[1:-1].strip()
        depths = _depths(text)
    elif "," not in text:
        return text.split()  # 16 2 2
    if not text:
        return []
    if min(depths) < 0 or depths[-1] != 0:
        raise ValueError("brackets that do not match")
    commas = [i for i, character in enumerate(text) if character == "," and depths[i] == 0]
    return [text[start + 1 : end].strip() for start, end in pairwise([-1, *commas, len(text)])]


def _depths(text: str) -> list[int]:
    """The number of open brackets after each character."""
    return list(accumulate((character in "[(") - (character in "])") for character in text))
