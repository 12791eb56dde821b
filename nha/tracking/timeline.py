"""Frames in time: which are neighbours, where the video is cut, and how gaps are bridged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.tracking.frames import MIN_CONFIDENCE, TrackingFrames
from nha.tracking.state import PER_FRAME, Unknowns

# Frames further apart in time than this say nothing about each other's motion.
_MAX_NEIGHBOUR_DISTANCE = 4
# A face that jumps by more than this part of its height from one frame to the next is another shot.
_CUT_JUMP = 0.6
# A face that is gone after so few frames may be somebody else's.
_FEW_FRAMES = 3


@dataclass(frozen=True)
class Timeline:
    """F frames in ascending order of their ids.

    frame_ids: [F]; shot: [F] number of the continuous shot that each frame belongs to.
    """

    frame_ids: np.ndarray
    shot: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_ids)

    def rows(self, rows: list[int]) -> Timeline:
        """The timeline of some frames."""
        return Timeline(self.frame_ids[rows], self.shot[rows])

    def position_and_closeness(self) -> tuple[Tensor, Tensor]:
        """Per frame, where in time it lies between its neighbours (0..1), and how much they say about it.

        closeness is 1 where both neighbours are the next ids of the same shot, less for ids further off, 0
        where one is missing or belongs to another shot. Both [F].
        """
        n = len(self)
        part, closeness = torch.full((n,), 0.5), torch.zeros(n)
        for row in range(1, n - 1):
            left, here, right = (int(i) for i in self.frame_ids[row - 1 : row + 2])
            same_shot = self.shot[row - 1] == self.shot[row] == self.shot[row + 1]
            if same_shot and max(here - left, right - here) <= _MAX_NEIGHBOUR_DISTANCE:
                part[row] = (here - left) / (right - left)
                closeness[row] = 2 / (right - left)
        return part, closeness


def make_timeline(frames: TrackingFrames, believed: Tensor | None = None) -> Timeline:
    """Cut the frames into shots where the detected face jumps.

    believed: bool [F], frames whose landmarks count; by default all that have some.
    """
    shot, number, last = np.zeros(len(frames), int), 0, None
    believed = (frames.has_landmarks if believed is None else believed).numpy()
    for row in range(len(frames)):
        if believed[row]:
            number += int(last is not None and _jumps(frames, last, row))
            last = row
        shot[row] = number
    return Timeline(np.asarray(frames.frame_ids), shot)


def strangers(frames: TrackingFrames) -> Tensor:
    """Frames in which the detector found somebody else: bool [F].

    For a few frames the face is elsewhere or of another size, and then again where it was.
    """
    shot = make_timeline(frames).shot
    found = torch.zeros(len(frames), dtype=torch.bool)
    seen = torch.nonzero(frames.has_landmarks)[:, 0].tolist()
    for number in range(1, shot[-1]):
        rows = [row for row in seen if shot[row] == number]
        before = max(row for row in seen if shot[row] < number)
        after = min(row for row in seen if shot[row] > number)
        if len(rows) <= _FEW_FRAMES and not _jumps(frames, before, after):
            found[rows] = True
    return found


def _jumps(frames: TrackingFrames, earlier: int, later: int) -> bool:
    """Whether the face is too far away, or of too different a size, to be the same shot's."""
    (centre, height), (earlier_centre, earlier_height) = face_box(frames, later), face_box(frames, earlier)
    apart = max(1, min(frames.frame_ids[later] - frames.frame_ids[earlier], 3))
    smaller, larger = sorted((height, earlier_height))
    moved = np.linalg.norm(centre - earlier_centre) / smaller
    return bool(moved > _CUT_JUMP * apart or larger / smaller > 1 + _CUT_JUMP * apart)


def face_box(frames: TrackingFrames, row: int) -> tuple[np.ndarray, float]:
    """Centre [2] and height of the confident landmarks, pixels; the height is at least that of 0.8 widths."""
    seen = frames.confidence[row, :68] > MIN_CONFIDENCE
    points = frames.landmarks_px[row, :68][seen].numpy()
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, float(max(high[1] - low[1], 0.8 * (high[0] - low[0]), 1.0))


def bridge(unknowns: Unknowns, known: Tensor, timeline: Timeline) -> Unknowns:
    """Give frames that are not known the values between those of the nearest known frames, linear in time.

    known: bool [F], at least one. Before the first and after the last known frame, and across a cut, the
    nearest value of the shot (else of the video) is held.
    """
    rows = torch.nonzero(known)[:, 0].tolist()
    ids, shot = timeline.frame_ids, timeline.shot
    changes = {name: getattr(unknowns, name).clone() for name in PER_FRAME}
    for row in torch.nonzero(~known)[:, 0].tolist():
        candidates = [r for r in rows if shot[r] == shot[row]] or rows
        left = max((r for r in candidates if r < row), default=None)
        right = min((r for r in candidates if r > row), default=None)
        left, right = (right if left is None else left), (left if right is None else right)
        part = 0.0 if left == right else float((ids[row] - ids[left]) / (ids[right] - ids[left]))
        for values in changes.values():
            values[row] = values[left] * (1 - part) + values[right] * part
    return unknowns.replace(**changes)


def neighbour_mean(unknowns: Unknowns, timeline: Timeline) -> tuple[Unknowns, Tensor]:
    """The value on the straight line between each frame's neighbours, and each frame's closeness [F].

    Frames without two close neighbours get their own value and closeness 0.
    """
    part, closeness = timeline.position_and_closeness()
    changes = {}
    for name in PER_FRAME:
        values = getattr(unknowns, name)
        line = values.clone()
        if len(values) > 2:
            weight = part[1:-1, None].to(values)
            line[1:-1] = values[:-2] * (1 - weight) + values[2:] * weight
        changes[name] = torch.where(closeness[:, None].to(values) > 0, line, values)
    return unknowns.replace(**changes), closeness
