"""Short names for things that are told apart by their paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nha.core.errors import UserError


def distinct_names(paths: Sequence[Path], what: str) -> list[str]:
    """For each path the parts in which it differs from the others: me/avatar/a.ckpt, you/avatar/a.ckpt: me, you.

    what: what the paths are, for messages. Raises UserError where two are the same.
    """
    parts = [list(path.absolute().with_suffix("").parts) for path in paths]
    if len(parts) == 1:
        return [parts[0][-1]]
    for i, path in enumerate(parts):
        if path in parts[:i]:
            raise UserError(f"{what} '{paths[i]}' is named twice")
    for end in (0, -1):
        while all(len(path) > 1 for path in parts) and len({path[end] for path in parts}) == 1:
            for path in parts:
                del path[end]
    return ["_".join(path).replace(" ", "_") for path in parts]
