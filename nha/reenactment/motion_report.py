"""Whether the animated mouth and eyelids open as far as those of the driving person. `docs/method.md`, section 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import get_logger
from nha.head.landmark_openings import OPENINGS, SMALLEST_MOTION, opening_slopes, relative_openings
from nha.reenactment.files import DrivingPerson
from nha.reenactment.tracked_people import TrackedPerson
from nha.reenactment.transfer import Motion

_BATCH = 16  # poses that are computed at the same time
_NAMES = {"lip": "mouth", "lid": "eyelids"}


@torch.no_grad()
def motion_slopes(
    target: TrackedPerson, driving: TrackedPerson, motion: Motion, frame_ids: list[int]
) -> dict[str, float]:
    """Slopes and correlations of the animated mesh's openings over those of the driving mesh.

    Distances in space between landmarks, as parts of each person's distance between the outer eye corners. The driving
    mesh is the one of the person's avatar, or the tracked mesh.

    Args:
        target: the person whose avatar is animated.
        driving: the driving person.
        motion: the poses [N] of the target.
        frame_ids: the N driving frames.

    Returns:
        See `opening_slopes`; and "lid_share_slope", of the lids' openings as parts of each person's neutral one, which
        is 1 where closed eyes are closed for both.
    """
    head, avatar = target.actor.avatar.head, driving.actor.avatar

    def drawn(rows: slice) -> Tensor:
        poses = motion[rows]
        return target.actor.avatar.surface(poses.params, poses.offset_neck).vertices

    def wanted(rows: slice) -> Tensor:
        ids = torch.tensor(frame_ids[rows], device=motion.offset_neck.device)
        params = driving.tracking.params_for(frame_ids[rows]).to(ids.device)
        return head(params) if avatar is None else avatar.surface(avatar.corrected(params, ids)).vertices

    def neutral(person: TrackedPerson) -> float:
        surface = person.actor.avatar.surface if person.actor.avatar else head.pose
        vertices = surface(person.actor.corrected_neutral()).vertices
        return float(series(iter([vertices]))["lid"][0])

    def series(vertices: Iterator[Tensor]) -> dict[str, np.ndarray]:
        parts = [relative_openings(head.landmarks(one)[:, :N_FACE_LANDMARKS]) for one in vertices]
        return {name: np.concatenate([part[name] for part in parts]) for name in OPENINGS}

    batches = [slice(start, start + _BATCH) for start in range(0, len(frame_ids), _BATCH)]
    slopes = opening_slopes(series(map(drawn, batches)), series(map(wanted, batches)))
    share = slopes["lid_slope"] * neutral(driving) / max(neutral(target), SMALLEST_MOTION)
    return slopes | {"lid_share_slope": share}


def write_motion(person: DrivingPerson, slopes: dict[str, float]) -> None:
    """Write the slopes beside the videos and log them; null where the driving person does not move."""
    known = undefined_as_null(slopes)
    write_json(person.files.motion, known)
    words = [
        f"{words} {slopes[f'{name}_slope']:.2f} ({slopes[f'{name}_correlation']:.2f})"
        for name, words in _NAMES.items()
        if known[f"{name}_slope"] is not None
    ]
    if words:
        get_logger(__name__).info(
            "slope (correlation) of the opening against that of %s: %s", person.name, ", ".join(words)
        )
