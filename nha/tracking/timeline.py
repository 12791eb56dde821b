"""Frames in time: shots, neighbours, frames that show another face, and values for gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import N_FACE_LANDMARKS
from nha.tracking.frames import MIN_CONFIDENCE, TrackingFrames
from nha.tracking.state import PER_FRAME, Unknowns

# The largest distance of frame ids at which frames are neighbours in time.
_MAX_NEIGHBOUR_DISTANCE = 4
# A face that moves by more than this part of its height from one frame to the next begins another shot.
_CUT_JUMP = 0.6
# A face that appears for at most this many frames between frames of another face is an identity outlier.
_MAX_OUTLIER_FRAMES = 3


@dataclass(frozen=True)
class Timeline:
    """F frames in ascending order of their ids.

    Attributes:
        frame_ids: [F].
        shot: [F] number of the continuous shot that each frame belongs to.
    """

    frame_ids: np.ndarray
    shot: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_ids)

    def rows(self, rows: list[int]) -> Timeline:
        """The timeline of some frames."""
        return Timeline(self.frame_ids[rows], self.shot[rows])

    def position_and_closeness(self) -> tuple[Tensor, Tensor]:
        """Where in time each frame lies between its neighbours, and the weight of its smoothness term.

        Returns:
            position: [F] in 0..1, and closeness: [F], 1 where both neighbours are the next ids of the same shot,
            less for ids further off, 0 where one is missing or belongs to another shot.
        """
        n = len(self)
        position, closeness = torch.full((n,), 0.5), torch.zeros(n)
        for row in range(1, n - 1):
            left, here, right = (int(i) for i in self.frame_ids[row - 1 : row + 2])
            same_shot = self.shot[row - 1] == self.shot[row] == self.shot[row + 1]
            if same_shot and max(here - left, right - here) <= _MAX_NEIGHBOUR_DISTANCE:
                position[row] = (here - left) / (right - left)
                closeness[row] = 2 / (right - left)
        return position, closeness


def make_timeline(frames: TrackingFrames, usable: Tensor | None = None) -> Timeline:
    """Cut the frames into shots where the detected face jumps.

    Args:
        frames: the frames.
        usable: bool [F], frames whose landmarks count; None: all that have some.
    """
    shot, number, last = np.zeros(len(frames), int), 0, None
    usable = (frames.has_landmarks if usable is None else usable).numpy()
    for row in range(len(frames)):
        if usable[row]:
            number += int(last is not None and _jumps(frames, last, row))
            last = row
        shot[row] = number
    return Timeline(np.asarray(frames.frame_ids), shot)


def identity_outliers(frames: TrackingFrames) -> Tensor:
    """Frames in which the detector found the face of another person: bool [F].

    For a few frames the face is in another place or of another size, and then again where it was.
    """
    shot = make_timeline(frames).shot
    outliers = torch.zeros(len(frames), dtype=torch.bool)
    detected = torch.nonzero(frames.has_landmarks)[:, 0].tolist()
    for number in range(1, shot[-1]):
        rows = [row for row in detected if shot[row] == number]
        before = max(row for row in detected if shot[row] < number)
        after = min(row for row in detected if shot[row] > number)
        if len(rows) <= _MAX_OUTLIER_FRAMES and not _jumps(frames, before, after):
            outliers[rows] = True
    return outliers


def _jumps(frames: TrackingFrames, earlier: int, later: int) -> bool:
    """Whether the face moves too far, or changes its size too much, for one shot."""
    (centre, height), (earlier_centre, earlier_height) = face_box(frames, later), face_box(frames, earlier)
    frames_between = max(1, min(frames.frame_ids[later] - frames.frame_ids[earlier], 3))
    smaller, larger = sorted((height, earlier_height))
    moved = np.linalg.norm(centre - earlier_centre) / smaller
    return bool(moved > _CUT_JUMP * frames_between or larger / smaller > 1 + _CUT_JUMP * frames_between)


def face_box(frames: TrackingFrames, row: int) -> tuple[np.ndarray, float]:
    """Centre [2] and height, in pixels, of the confident landmarks; the height is at least 0.8 of the width."""
    confident = frames.confidence[row, :N_FACE_LANDMARKS] > MIN_CONFIDENCE
    points = frames.landmarks_px[row, :N_FACE_LANDMARKS][confident].numpy()
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, float(max(high[1] - low[1], 0.8 * (high[0] - low[0]), 1.0))


def interpolate_gaps(unknowns: Unknowns, known: Tensor, timeline: Timeline) -> Unknowns:
    """Give unknown frames the values between those of the nearest known frames, linear in time.

    Before the first and after the last known frame of a shot the nearest value of the shot (if it has none, of the
    video) is repeated.

    Args:
        unknowns: of F frames.
        known: bool [F], at least one.
        timeline: of the F frames.
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


def neighbour_mean(unknowns: Unknowns, timeline: Timeline) -> Unknowns:
    """The values on the straight line between each frame's neighbours; frames without two close ones keep their own."""
    position, closeness = timeline.position_and_closeness()
    changes = {}
    for name in PER_FRAME:
        values = getattr(unknowns, name)
        line = values.clone()
        if len(values) > 2:
            part = position[1:-1, None].to(values)
            line[1:-1] = values[:-2] * (1 - part) + values[2:] * part
        changes[name] = torch.where(closeness[:, None].to(values) > 0, line, values)
    return unknowns.replace(**changes)
