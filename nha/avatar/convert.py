"""Conversion of avatar checkpoints between the published layout and the native format."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from nha.avatar.checkpoint import AvatarCheckpoint, read_checkpoint, write_checkpoint
from nha.avatar.published_layout import published_head_tables
from nha.core.errors import UserError
from nha.core.output_folder import own_files, require_own_file
from nha.head.load import load_head


def convert_checkpoint(
    source: str | Path, target: str | Path, to: Literal["published", "nha"], head: str | Path | None = None
) -> AvatarCheckpoint:
    """Read an avatar of either layout and write it in the requested one.

    Args:
        source: the checkpoint to read.
        target: the file to write.
        to: "published" for the published code, "nha" for this project.
        head: folder of FLAME's files, for the tables of the published layout; None takes those in `source`, or the
            head model that `source` names.

    Returns:
        The checkpoint that was written.

    Raises:
        UserError: `source` cannot be read, or the published code could not use the result.
    """
    source = Path(source)
    require_own_file(target)
    checkpoint = read_checkpoint(source)
    if to == "published":
        checkpoint = _with_head_tables(checkpoint, source, head)
    with own_files(target):
        write_checkpoint(target, checkpoint, layout=to)
    return checkpoint


def _with_head_tables(
    checkpoint: AvatarCheckpoint, source: Path, head: str | Path | None
) -> AvatarCheckpoint:
    if checkpoint.hyper_parameters.get("model") == "blend":
        raise UserError(
            f"{source.name} is an avatar of the blend model, which the published code does not have;"
            " only avatars of the published model can be converted"
        )
    if derived := checkpoint.head_model.get("derived"):
        raise UserError(
            f"{source.name} was trained without FLAME's own table files (derived: {', '.join(derived)}):"
            " the published code would render it wrongly; train it on a folder with those files"
        )
    if checkpoint.published_head_tables:
        return checkpoint
    head = head or checkpoint.hyper_parameters.get("head")
    if head is None:
        raise UserError(
            f"{source.name} has no tables of the head model, which the published layout needs;"
            " pass --head with the folder of FLAME's files"
        )
    folder = (
        Path(head) if Path(head).is_dir() else load_head(head).folder
    )  # the tables need two of its files only
    tables = published_head_tables(folder)
    return dataclasses.replace(checkpoint, published_head_tables=tables)
