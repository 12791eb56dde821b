"""Wording shared by the messages of this package."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(items: Sequence, limit: int = 8) -> str:
    """A list for a one-line message: the first few items, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
