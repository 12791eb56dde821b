"""Short distinct names of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nha.core.errors import UserError


def distinct_names(paths: Sequence[Path], what: str) -> list[str]:
    """A short name for each path: "me" and "you" for me/avatar/a.ckpt and you/avatar/a.ckpt.

    The name is the last path component (without suffix) in which all paths differ; if there is none, all components
    in which some of them differ.

    Args:
        paths: the paths.
        what: what the paths are, for messages.

    Raises:
        UserError: if two paths are the same.
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
