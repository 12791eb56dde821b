"""Short names for things that are told apart by their paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nha.core.errors import UserError


def distinct_names(paths: Sequence[Path], what: str) -> list[str]:
    """A name for each path: me/avatar/a.ckpt and you/avatar/a.ckpt are "me" and "you".

    The last part (without suffix) in which all of them differ; where there is none, all parts in which some differ.
    what: what the paths are, for messages. Raises UserError where two are the same.
    """
    parts = [list(path.absolute().with_suffix("").parts) for path in paths]
    if len(parts) == 1:
        return [parts[0][-1]]
    for i, path in enumerate(parts):
        if path in parts[:i]:
            raise UserError(f"{what} '{paths[i]}' is named twice")
    for level in range(1, min(map(len, parts)) + 1):
        names = [path[-level].replace(" ", "_") for path in parts]
        if len(set(names)) == len(names):
            return names
    for end in (0, -1):
        while all(len(path) > 1 for path in parts) and len({path[end] for path in parts}) == 1:
            for path in parts:
                del path[end]
    return ["_".join(path).replace(" ", "_") for path in parts]
