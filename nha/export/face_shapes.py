"""Facial shapes of an avatar as morph targets: a blink that closes the eyes, or ARKit's 52 shapes.

A target holds the whole change of the avatar's surface at 1, in the bind pose: expression, jaw, eyes and the personal
shapes that follow them. A program that knows only morph targets can drive it. `docs/method.md`, section 9.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.conventions import EYE_CLOSURE_PAIRS
from nha.core.types import HeadParams
from nha.export.joints import invert_skinning, posed_joints
from nha.export.rig import Rig, make_rig, without_noise
from nha.head.arkit_map import ArkitMap
from nha.head.arkit_shapes import ARKIT_NAMES

BLINK = "blink"
_SMALLEST_DELTA_METRES = 1e-5  # smaller displacements become 0, so that a target stores few of them
_LID_PAIRS = {"Left": EYE_CLOSURE_PAIRS[2:], "Right": EYE_CLOSURE_PAIRS[:2]}
_LID_STEPS, _LID_SCALES = 4, (0.5, 2.5)  # secant steps, and the range of the factor on the map's blink


class FaceShapes:
    """The poses of an avatar's face in ARKit's shapes.

    Attributes:
        map: the map of the avatar's head model and person.
        neutral: [1], the pose in which all coefficients are 0.
    """

    def __init__(self, avatar: HeadAvatar, neutral: HeadParams) -> None:
        """Fit the map, and how far the blinks must go so that the lids of the avatar's surface meet.

        Args:
            avatar: the avatar.
            neutral: [1], corrected.
        """
        self._avatar, self.neutral = avatar, neutral
        self.map = ArkitMap(avatar.head, neutral.shape[0])
        for side, pairs in _LID_PAIRS.items():
            column = ARKIT_NAMES.index(f"eyeBlink{side}")
            self.map.expression[:, column] *= self._closing_factor(column, pairs)

    def params(self, **values: float) -> HeadParams:
        """The head [1] with some of the 52 coefficients."""
        coefficients = self.neutral.expr.new_zeros(1, len(ARKIT_NAMES))
        for name, value in values.items():
            coefficients[0, ARKIT_NAMES.index(name)] = value
        return self.map.params(coefficients, self.neutral)

    def weights(self, params: HeadParams) -> Tensor:
        """The 52 coefficients [N, 52] in 0..1 of N heads, corrected."""
        return self.map.coefficients(params.replace(expr=params.expr - self.neutral.expr))

    def without_face(self, params: HeadParams) -> HeadParams:
        """N heads with the neutral one's expression, jaw and eyes."""
        n = len(params)
        face = {name: getattr(self.neutral, name).expand(n, -1) for name in ("expr", "jaw", "eyes")}
        return params.replace(**face)

    def _closing_factor(self, column: int, pairs: tuple[tuple[int, int], ...]) -> float:
        upper, lower = (list(ids) for ids in zip(*pairs, strict=True))
        direction = self.map.expression[:, column]

        def gaps(factor: float) -> Tensor:
            params = self.neutral.replace(expr=self.neutral.expr + factor * direction)
            points = self._avatar.head.landmarks(self._avatar.surface(params).vertices)[0]
            return points[upper] - points[lower]

        opened = gaps(0.0)

        def opening(factor: float) -> float:
            """1 at rest, 0 where the lids meet, negative where they overlap."""
            return float((gaps(factor) * opened).sum() / opened.square().sum())

        (low, high), previous, factor = _LID_SCALES, (0.0, 1.0), 1.0
        for _ in range(_LID_STEPS):
            value = opening(factor)
            slope = (value - previous[1]) / (factor - previous[0])
            if slope >= 0:  # the shape does not close this lid
                return 1.0
            previous = (factor, value)
            moved = min(max(factor - value / slope, low), high)
            if abs(moved - factor) < 1e-3:
                break
            factor = moved
        return factor


def add_targets(avatar: HeadAvatar, rig: Rig, poses: dict[str, HeadParams], neutral: HeadParams) -> Rig:
    """A rig with further morph targets, all 0 in the bind pose.

    Args:
        avatar: the avatar.
        rig: its rig.
        poses: [1] head of each target at 1, by name; with the neutral one's position and neck.
        neutral: [1], the head at 0.
    """
    joints = posed_joints(avatar.head, neutral)
    rest = invert_skinning(avatar.head, joints, avatar.surface(neutral).vertices)[0]
    deltas = [
        invert_skinning(avatar.head, joints, avatar.surface(params).vertices)[0] - rest
        for params in poses.values()
    ]
    old = rig.morphs
    morphs = dataclasses.replace(
        old,
        names=(*old.names, *poses),
        deltas=torch.cat([old.deltas, without_noise(torch.stack(deltas), _SMALLEST_DELTA_METRES)]),
        faces=old.faces + len(deltas),
        bind=torch.cat([old.bind, old.bind.new_zeros(len(deltas))]),
    )
    return dataclasses.replace(rig, morphs=morphs)


def add_blink(avatar: HeadAvatar, rig: Rig, neutral: HeadParams) -> Rig:
    """A rig with the target "blink", which closes both eyes at 1; `neutral` [1] is the person in neutral pose."""
    shapes = FaceShapes(avatar, neutral)
    closed = shapes.params(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    return add_targets(avatar, rig, {BLINK: closed}, neutral)


def make_arkit_rig(avatar: HeadAvatar, neutral: HeadParams, poses: HeadParams) -> Rig:
    """Rig an avatar whose face is moved by ARKit's 52 targets; its joints move root and neck only.

    Args:
        avatar: the avatar.
        neutral: [1], the person in neutral pose, which is the bind pose.
        poses: [N] heads, corrected, that decide which pose correctives of the neck are kept.
    """
    shapes = FaceShapes(avatar, neutral)
    base = make_rig(avatar, avatar.surface(neutral), 0, shapes.without_face(poses))
    targets = {name: shapes.params(**{name: 1.0}) for name in ARKIT_NAMES}
    return dataclasses.replace(add_targets(avatar, base, targets, neutral), face=shapes)
