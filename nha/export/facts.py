"""What exported files say about themselves: units, licence, source, and the animation's length."""

from __future__ import annotations

from typing import Any

import numpy as np

from nha.core.text import printable
from nha.data.tracking_file import TrackingResult
from nha.head.model import HeadModel

UNITS = "metres, +y up; at rest the root joint is at the origin and the head looks along +z"
SOURCE = "nha export, a head avatar from a portrait video"


def comment_line(head: HeadModel) -> str:
    """The comment of files that have one: units and licence."""
    return printable(f"{UNITS}; head model {head.name}: {head.licence}")


def glb_facts(head: HeadModel, animated: TrackingResult | None, frame_rate: float) -> dict[str, Any]:
    """Facts about a GLB for its extras.

    Args:
        head: the head model.
        animated: the tracking whose motion the file holds, if any.
        frame_rate: frames per second of the motion.
    """
    facts: dict[str, Any] = {
        "units": UNITS,
        "licence": printable(head.licence),
        "source": printable(f"{SOURCE}; head model {head.name}"),
    }
    if animated is not None:
        facts |= {"frames_per_second": frame_rate, "frames": int(np.ptp(animated.frame)) + 1}
    return facts
