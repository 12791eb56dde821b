"""Errors of the operating system that a user can change, in one line: a full disk, no permission, too little memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # disk full, quota, largest file


def system_refusal(error: BaseException) -> str | None:
    """A line for an error of the operating system that the user can change, such as a full disk; None for others."""
    if (full := _full_disk_error(error)) is not None:
        where = f" in '{Path(os.fsdecode(full.filename)).parent}'" if _names_a_file(full) else ""
        reason = os.strerror(full.errno or errno.ENOSPC)
        return f"no room left{where} ({reason}): make some and start again; what is finished is kept"
    if memory := _memory_error(error):
        return f"not enough memory ({memory}): use smaller images or batches, or end other programs"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: raise the limit with `ulimit -n`"
    if isinstance(error, OSError) and error.errno is not None and _names_a_file(error):
        return f"'{os.fsdecode(error.filename)}' cannot be used: {error.strerror or os.strerror(error.errno)}"
    return None


def _full_disk_error(error: BaseException | None) -> OSError | None:
    """The error of a full disk; libraries raise errors of their own while they handle it, so the chain is searched."""
    while error is not None:
        # numpy writes arrays past Python's files: its error has no number, only "16 requested and 8 written"
        if isinstance(error, OSError) and (error.errno in NO_ROOM or " requested and " in str(error)):
            return error
        error = error.__cause__ or error.__context__
    return None


def _memory_error(error: BaseException) -> str | None:
    """What could not be had, for an error of Python, numpy or PyTorch; None for other errors."""
    text = str(error).strip().split("\n")[0]
    if isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text):
        return text[text.rfind("] ") + 1 :].strip()
    is_full = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return (text or os.strerror(errno.ENOMEM)) if is_full else None


def _names_a_file(error: OSError) -> bool:
    return isinstance(error.filename, (str, bytes, os.PathLike))
