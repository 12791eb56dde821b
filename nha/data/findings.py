"""Faults of a dataset: their names, advice for each, and the record of one that was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_REDO = "delete the frame and run `nha preprocess` again"
_LEAVE_OUT = "leave the frame out of the split (--make_split does) or annotate it again"


class Fault(Enum):
    """A fault: its title, and what to do about it."""

    MISSING_FILE = "file missing", _REDO
    UNREADABLE = "file unreadable", _REDO
    SIZE = "size differs", "all images of a dataset must have one size; " + _REDO
    TRANSFORM = (
        "transforms.json",
        "make the dataset again, or remove transforms.json (points then do not map back)",
    )
    LABELS = (
        "unknown label values",
        "map the labels to those of the data format; is it the right kind of file?",
    )
    OUTSIDE = "landmarks outside the image", _LEAVE_OUT
    TURNED = (
        "face upside down or on its side",
        "turn the video and preprocess it again (`nha preprocess --rotate 180`), or leave the frame out",
    )
    EMPTY_HEAD = "empty head mask", _LEAVE_OUT
    EMPTY_FACE = "no face in the parsing", _LEAVE_OUT
    EMPTY_NORMALS = "no normals", _LEAVE_OUT
    OFF_HEAD = "landmarks outside the head mask", _LEAVE_OUT
    MASKS_DIFFER = "head mask and parsing differ", _LEAVE_OUT
    EYES = "parsed eyes away from their landmarks", _LEAVE_OUT
    SWAPPED = (
        "parsed eyes swapped",
        "left and right are the person's; swap the labels, or leave the frame out",
    )
    MOUTH = "parsed mouth away from its landmarks", _LEAVE_OUT
    IRISES = "irises outside the eyes", "set them to -1 (not found), or leave the frame out"
    NORMALS_OUTSIDE = "normals outside the head mask", _LEAVE_OUT
    NORMALS_VALUES = (
        "normals of wrong length or direction",
        "is it a normal map, in camera space, n * 0.5 + 0.5?",
    )
    JUMP = "jump from the frame before", "another face? " + _LEAVE_OUT
    COVERED = (
        "face covered?",
        "a hand, glasses or a shadow on the face? " + _LEAVE_OUT,
    )
    TRACKING = "tracking", "track this dataset with `nha track`"
    SPLIT = "split", "write another one with --make_split"

    @property
    def title(self) -> str:
        return self.value[0]

    @property
    def advice(self) -> str:
        return self.value[1]


@dataclass(frozen=True)
class Finding:
    """A fault that was found.

    Attributes:
        fault: its kind.
        frame_id: the frame, None if it concerns the whole dataset.
        detail: what was measured, for the message.
    """

    fault: Fault
    frame_id: int | None
    detail: str


def frames_with_findings(findings: Iterable[Finding]) -> list[int]:
    """Ids of the frames with findings, those with the most first."""
    counts: dict[int, int] = {}
    for finding in findings:
        if finding.frame_id is not None:
            counts[finding.frame_id] = counts.get(finding.frame_id, 0) + 1
    return sorted(counts, key=lambda frame_id: (-counts[frame_id], frame_id))
