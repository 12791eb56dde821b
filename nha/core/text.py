"""Text from files and from the network, made safe to print."""

from __future__ import annotations

import unicodedata

# Control characters move the cursor or hide text; the bidirectional ones (format characters) reorder it.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str, keep: str = "") -> str:
    """A text whose control characters, line breaks and invisible format characters are written as escapes.

    Args:
        text: any text, such as a name in a file, or the message of an error.
        keep: characters that are left as they are, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character in keep or unicodedata.category(character) not in _UNSAFE_CATEGORIES
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )  # fmt: skip


def shortened(text: str, limit: int = 80) -> str:
    """A text of at most `limit` characters; what is left out is marked by dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
