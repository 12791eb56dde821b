"""Text of a configuration file or command line <-> typed values; the type says which text is allowed."""

from __future__ import annotations

import enum
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal

_TRUE, _FALSE, _NONE = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("none", "null", "")
_OPENING, _CLOSING = "[(", "])"


def parse_value(text: str, kind: Any) -> Any:
    """Turn `text` into a value of the type annotation `kind`.

    Known are bool, int, float, str, Path, Literal, Enum, `X | None` and other unions (the first member that
    fits), list[X], tuple[X, ...] and tuple[X, Y, Z], all nested as one likes. Lists are written [16, 2, 2],
    nested lists [[1e-1, 50], [1e-2, 100]]; the outermost brackets and commas may be left out.
    Raises ValueError for text that does not fit.
    """
    text = _unquoted(text.strip())
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_union(kind):
        return _parse_union(text, arguments)
    if origin in (list, tuple):
        return _parse_sequence(text, origin, arguments)
    if origin is Literal:
        return _parse_choice(text, {str(choice): choice for choice in arguments})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _parse_choice(text, {str(member.value): member for member in kind})
    if kind is bool:
        return _parse_bool(text)
    if kind is int:
        return _parse_int(text)
    if kind is float:
        number = float(text)
        if math.isnan(number):
            raise ValueError("not a number")
        return number
    if kind is Path:
        if not text:
            raise ValueError("an empty path")
        return Path(text).expanduser()
    if kind is str:
        return text
    raise TypeError(f"settings cannot have the type {kind}")


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(format_value(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def describe_kind(kind: Any) -> str:
    """What a user must write for a setting of this type, in words: "a number", "one of cpu, cuda", ..."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_union(kind):
        members = ("none" if member is type(None) else describe_kind(member) for member in arguments)
        return " or ".join(members)
    if origin in (list, tuple):
        if not arguments:
            return "a list"
        if origin is list or arguments[-1] is Ellipsis:
            return f"a list, each item {describe_kind(arguments[0])}"
        if len(set(arguments)) == 1:
            return f"a list of {len(arguments)}, each {describe_kind(arguments[0])}"
        return f"a list of {', '.join(describe_kind(argument) for argument in arguments)}"
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in arguments)}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    names = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", str: "text"}
    return names[kind]


def metavar_of(kind: Any) -> str:
    """The placeholder that stands for a value in the help text."""
    if is_union(kind):
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"[{', '.join(metavar_of(argument) for argument in arguments)}]"
    if origin in (list, tuple):
        return f"[{metavar_of(arguments[0])}, ...]" if arguments else "[...]"
    if origin is Literal:
        return f"{{{','.join(str(choice) for choice in arguments)}}}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"{{{','.join(str(member.value) for member in kind)}}}"
    return {bool: "true|false", int: "INT", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def is_union(kind: Any) -> bool:
    """Whether a type annotation is `A | B` or Optional."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def takes_list(kind: Any) -> bool:
    """Whether a value of this type may be a list."""
    if is_union(kind):
        return any(takes_list(member) for member in typing.get_args(kind))
    return typing.get_origin(kind) in (list, tuple)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _parse_bool(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise ValueError("neither true nor false")


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)  # 1e4 is a whole number too
        if not number.is_integer():
            raise
        return int(number)


def _parse_choice(text: str, choices: dict[str, Any]) -> Any:
    if text not in choices:
        raise ValueError(f"none of {', '.join(choices)}")
    return choices[text]


def _parse_union(text: str, members: tuple) -> Any:
    if type(None) in members and text.lower() in _NONE:
        return None
    for member in members:
        if member is type(None):
            continue
        try:
            return parse_value(text, member)
        except ValueError:
            continue
    raise ValueError("fits none of the allowed kinds")


def _parse_sequence(text: str, origin: type, kinds: tuple) -> list | tuple:
    items = _split_list(text)
    if origin is tuple and kinds and kinds[-1] is not Ellipsis:
        if len(items) != len(kinds):
            raise ValueError(f"{len(items)} items")
        return tuple(parse_value(item, kind) for item, kind in zip(items, kinds, strict=True))
    kind = kinds[0] if kinds else str
    return origin(parse_value(item, kind) for item in items)


def _split_list(text: str) -> list[str]:
    """The items between the outermost brackets, split at commas that lie in no inner bracket."""
    if text[:1] in _OPENING and text[:1] and _closes_at_the_end(text):
        text = text[1:-1].strip()
    elif "," not in text:
        return text.split()  # 16 2 2, as on a command line
    if not text:
        return []
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth < 0:
            break
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    if depth:
        raise ValueError("brackets that do not match")
    items.append(text[start:])
    return [item.strip() for item in items]


def _closes_at_the_end(text: str) -> bool:
    """Whether the bracket that opens at the first character closes at the last."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0:
            return position == len(text) - 1
    return False
