"""Formatting shared by messages."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(items: Sequence, limit: int = 8) -> str:
    """Format a list for a one-line message: the first items, and the number of the others."""
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


def format_size(shape: Sequence[int]) -> str:
    """Format the (height, width, ...) of an image."""
    return f"{shape[1]} x {shape[0]} pixels"
