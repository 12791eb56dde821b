"""`nha convert`: writes a checkpoint in the layout of the published code or in ours."""

from __future__ import annotations

import dataclasses

from nha.avatar.checkpoint import published_head_tables, read_checkpoint, write_checkpoint
from nha.avatar.open import DERIVED_KEY
from nha.cli.settings import ConversionSettings
from nha.core.errors import UserError


def convert_checkpoint(settings: ConversionSettings) -> None:
    """Read a checkpoint of either layout and write it in the other one."""
    checkpoint = read_checkpoint(settings.input)
    derived = checkpoint.hyper_parameters.get(DERIVED_KEY)
    if settings.to == "published" and derived:
        raise UserError(
            f"{settings.input.name} was trained without FLAME's own table files (derived: {', '.join(derived)}):"
            " the published code would render it wrongly; train it with a folder that holds those files"
        )
    if settings.to == "published" and not any(name.startswith("_flame.") for name in checkpoint.state):
        if settings.head is None:
            raise UserError(
                f"{settings.input.name} lacks the tables of the head model, which the published code needs;"
                " pass --head with the folder of FLAME's files"
            )
        tables = published_head_tables(settings.head)
        checkpoint = dataclasses.replace(checkpoint, state=checkpoint.state | tables)
    write_checkpoint(settings.output, checkpoint, layout=settings.to)
    print(f"wrote {settings.output} ({len(checkpoint.state)} tensors)")
