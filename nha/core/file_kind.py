"""What a file is in place of what was expected, told from its first bytes: failed downloads, files of other kinds."""

from __future__ import annotations

import re

FIRST_BYTES = 512  # so many are enough for `wrong_kind`
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})

_HTML = re.compile(rb"<(!--|!doctype html|html|head|body)", re.IGNORECASE)
_REFUSAL = re.compile(
    rb'<\?xml[^>]*>\s*<Error|[45]\d\d:? [A-Z]|Not Found|Access Denied|\{\s*"(message|errors?|detail)"',
    re.IGNORECASE,
)
_ANNEX = re.compile(rb"(\.\./)*(\.git)?/annex/objects/")
_KINDS = (
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"BZh\d", "a bzip2 archive"),
    (rb"\xfd7zXZ\x00", "an xz archive"),
    (rb"\x28\xb5\x2f\xfd", "a zstd archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", "an image"),
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"%PDF-", "a PDF document"),
    (rb"glTF", "a GLB file, which an export writes"),
    (rb"\x89HDF\r\n", "an HDF5 file"),
    (rb".{8}\{[\"_]", "a safetensors file"),
)
_PATTERNS = [(re.compile(start, re.DOTALL), kind) for start, kind in _KINDS]


def failed_download(start: bytes) -> str | None:
    """What a failed download left in the place of a file.

    Args:
        start: the first `FIRST_BYTES` bytes of the file, or all of them.

    Returns:
        The rest of a sentence that begins with the file's name; None if nothing is recognised.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return "is empty; download it again"
    if _HTML.match(text):
        return "is a web page, so its download failed; download it with a web browser"
    if _REFUSAL.match(text):
        return (
            "is an error message of a server, so its download failed; check the address, or your access to it"
        )
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; run `git lfs pull` or download it"
    if _ANNEX.match(text):
        return "is a git-annex pointer, not the file itself; run `git annex get` or download it"
    if len(start) >= FIRST_BYTES and not any(start):
        return "begins with zeros only, so its download or copy stopped early; download it again"
    return None


def wrong_kind(start: bytes, expected: str = "") -> str | None:
    """As `failed_download`, also for files of kinds that are easily confused with others.

    Args:
        start: the first bytes of the file.
        expected: a kind that is right, such as "a video" or "a zip archive".
    """
    if words := failed_download(start):
        return words
    kind = next((kind for pattern, kind in _PATTERNS if pattern.match(start)), expected)
    if kind == expected:
        return None
    return f"is {kind}; unpack it first" if kind.endswith("archive") else f"is {kind}; name another file"
