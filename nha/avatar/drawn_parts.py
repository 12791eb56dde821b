"""The parts of the head whose labels an avatar's G-buffer holds."""

from __future__ import annotations

import dataclasses

import torch

from nha.core.constants import constant
from nha.core.errors import UserError
from nha.core.types import SurfaceTables
from nha.head.model import HeadModel

# The parts that rendering (eyelid rule, mouth) and the losses use; the others are not rasterised.
DRAWN_PARTS = (
    "left_ear",
    "left_eye_region",
    "left_eyeball",
    "mouth",
    "neck",
    "right_ear",
    "right_eye_region",
    "right_eyeball",
    "scalp",
)


def require_drawn_parts(head: HeadModel) -> None:
    """Raise UserError where a head model lacks one of DRAWN_PARTS."""
    missing = [name for name in DRAWN_PARTS if name not in head.part_names]
    if missing:
        raise UserError(f"head model '{head.name}' lacks the parts {', '.join(missing)}")


def drawn_tables(head: HeadModel) -> SurfaceTables:
    """The head's surface tables with the labels of DRAWN_PARTS only, the same object at every call."""
    sources = (head.faces, head.hard_labels, head.soft_labels)
    versions = tuple(tensor._version for tensor in sources)
    kept = head.__dict__.get("_drawn_tables")
    if kept is None or kept[1] != versions or any(a is not b for a, b in zip(kept[0], sources, strict=True)):
        kept = head.__dict__["_drawn_tables"] = (sources, versions, _selected_tables(head))
    return kept[2]


def _selected_tables(head: HeadModel) -> SurfaceTables:
    tables = head.tables
    columns = constant(tuple(head.part(name) for name in DRAWN_PARTS), tables.hard_labels, torch.long)
    with torch.inference_mode(False):  # kept for later calls
        return dataclasses.replace(
            tables,
            hard_labels=tables.hard_labels.index_select(1, columns),
            soft_labels=tables.soft_labels.index_select(1, columns),
            part_names=DRAWN_PARTS,
        )
