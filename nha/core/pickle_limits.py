"""Limits on pickles, which are checked before anything is built from them.

Python's unpickler trusts the numbers in a file: an index of its memo allocates that much memory, and a tuple that is
nested a million times overflows the C stack when it is hashed. `check_pickle` goes through the operations of a pickle
without executing them.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import BinaryIO

from nha.core.text import shortened
from nha.core.untrusted_file import RejectedFileError, check_zip

MOST_OPERATIONS = 500_000
DEEPEST_NESTING = 200

_CHANGES_IN_PLACE = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_MEMO_READS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MEMO_WRITES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MARK = -1
# PyTorch's earlier format: magic number, version, system, content, keys of the storages; then the storages.
_PICKLES_OF_EARLIER_FORMAT = 5


def check_pickle(file: BinaryIO) -> None:
    """Raise RejectedFileError for a pickle with too many operations, too deep a nesting or a wrong memo index.

    Args:
        file: at the start of a pickle; afterwards at its end.

    Raises:
        ValueError: as `pickletools`, for what is no pickle.
    """
    depths: list[int] = []  # of the objects on the unpickler's stack, _MARK for its marks
    memo: dict[int, int] = {}
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        name = operation.name
        if count >= MOST_OPERATIONS:
            raise RejectedFileError(f"is refused: it has more than {MOST_OPERATIONS} operations")
        if name == "MARK":
            depths.append(_MARK)
        elif name in _MEMO_WRITES:
            index = len(memo) if argument is None else int(argument)
            if not 0 <= index <= 2 * count + 256:
                raise RejectedFileError(
                    "is refused: it stores an object under an index far beyond their number"
                )
            memo[index] = depths[-1] if depths else 0
        elif name in _MEMO_READS:
            depths.append(memo.get(int(argument), 0))
        elif name == "DUP":
            depths.append(depths[-1] if depths else 0)
        else:
            _apply(operation, depths)
        if depths and depths[-1] > DEEPEST_NESTING:
            raise RejectedFileError(f"is refused: it is nested more than {DEEPEST_NESTING} times")


def check_torch_file(file: BinaryIO) -> None:
    """Raise RejectedFileError for a file of `torch.save` with a wrong checksum or beyond the limits.

    Args:
        file: at its start, where it is again afterwards.
    """
    is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    if is_zip:
        check_zip(file)
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.endswith(".pkl")]
            if not pickles:
                raise ValueError(f"a zip archive without a checkpoint ({shortened(', '.join(names))})")
            for name in pickles:
                check_pickle(io.BytesIO(archive.read(name)))
    else:
        for _ in range(_PICKLES_OF_EARLIER_FORMAT):
            check_pickle(file)
    file.seek(0)


def _apply(operation: pickletools.OpcodeInfo, depths: list[int]) -> None:
    """Replace the operands of an operation on the stack by its result, which is nested once more than they are."""
    before, after = operation.stack_before, operation.stack_after
    taken: list[int] = []
    if pickletools.markobject in before:
        while depths and depths[-1] != _MARK:
            taken.append(depths.pop())
        if depths:
            depths.pop()
        n_below = before.index(pickletools.markobject)
    else:
        n_below = len(before)
    for _ in range(n_below):
        if depths and depths[-1] != _MARK:
            taken.append(depths.pop())
    if operation.name in _CHANGES_IN_PLACE and taken:
        container, items = taken[-1], taken[:-1]
        depth = max(container, 1 + max(items, default=0))
    else:
        depth = 1 + max(taken) if taken else 0
    depths.extend([depth] * len(after))
