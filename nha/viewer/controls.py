"""The sliders, and how their values change the parameters of a head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.head.joint_limits import (
    EYES_LIMITS_DEG,
    JAW_LIMITS_DEG,
    NECK_LIMITS_DEG,
    Limits,
    angles_from_params,
    params_from_angles,
)

Group = Literal["expression", "jaw", "neck", "eyes", "rotation"]
GROUPS: tuple[Group, ...] = ("expression", "jaw", "neck", "eyes", "rotation")
Values = Mapping[str, float]  # by the slider's name; sliders that are not named are at 0

# Ranges of a named blendshape, at 1 in full, and of an unnamed coefficient in standard deviations.
_NAMED_RANGE, _UNNAMED_RANGE = (-0.5, 1.5), (-3.0, 3.0)


@dataclass(frozen=True)
class Slider:
    """A slider; at 0 it changes nothing.

    Attributes:
        name: unique identifier.
        label: text in the user interface.
        group: the head parameter that it changes.
        low, high: its range; degrees for joints.
        step: its smallest change.
        parts: the expression coefficients or the axes of the joint that it moves together. Axes: x nods, y turns, z
            tilts; 0..2 of the left eye, 3..5 of the right eye.
    """

    name: str
    label: str
    group: Group
    low: float
    high: float
    step: float
    parts: tuple[int, ...]


JOINT_SLIDERS = (
    Slider("jaw_open", "open", "jaw", -10, 40, 0.5, (0,)),
    Slider("neck_nod", "nod", "neck", -45, 45, 1, (0,)),
    Slider("neck_turn", "turn", "neck", -60, 60, 1, (1,)),
    Slider("neck_tilt", "tilt", "neck", -45, 45, 1, (2,)),
    Slider("eyes_nod", "up / down", "eyes", -30, 30, 1, (0, 3)),
    Slider("eyes_turn", "left / right", "eyes", -35, 35, 1, (1, 4)),
    Slider("rotation_nod", "nod", "rotation", -90, 90, 1, (0,)),
    Slider("rotation_turn", "turn", "rotation", -180, 180, 1, (1,)),
    Slider("rotation_tilt", "tilt", "rotation", -90, 90, 1, (2,)),
)


def expression_sliders(names: Sequence[str], usage: Tensor, n: int) -> tuple[Slider, ...]:
    """The expression sliders.

    Unnamed coefficients are sorted by their number, the strongest first in FLAME. Named ones are sorted by their usage,
    and those of the left and the right side share a slider.

    Args:
        names: of the first coefficients where they are known, else empty.
        usage: [E], how far each coefficient moves the surface.
        n: the largest number of sliders.
    """
    if not names:
        return tuple(_expression(f"{k}", (k,), _UNNAMED_RANGE) for k in range(min(n, len(usage))))
    both_sides: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        both_sides.setdefault(re.sub("_(left|right)$", "", name), []).append(k)
    by_usage = sorted(both_sides.items(), key=lambda item: -float(usage[item[1]].sum()))
    return tuple(_expression(name, tuple(parts), _NAMED_RANGE) for name, parts in by_usage[:n])


def _expression(name: str, parts: tuple[int, ...], limits: tuple[float, float]) -> Slider:
    return Slider(f"expression_{name}", name.replace("_", " "), "expression", *limits, step=0.05, parts=parts)


def move_head(base: HeadParams, sliders: Sequence[Slider], values: Values) -> HeadParams:
    """Add the sliders' values to the parameters of a head.

    Joint angles are added to the head's angles, inside the joint limits; the rotation turns about the head's own axes.
    Where all values are 0 the parameters are returned unchanged.

    Args:
        base: N heads.
        sliders: all sliders.
        values: of the sliders; degrees for joints.

    Returns:
        N heads.
    """
    moved = base
    added = {group: _added(base, group, sliders, values) for group in GROUPS}
    if added["expression"].any():
        moved = moved.replace(expr=moved.expr + added["expression"])
    if added["rotation"].any():
        turn = rotation_matrix(torch.deg2rad(added["rotation"]))
        moved = moved.replace(rotation=rotation_vector(rotation_matrix(base.rotation) @ turn))
    return moved.replace(
        neck=_turned(base.neck, added["neck"], NECK_LIMITS_DEG),
        jaw=_turned(base.jaw, added["jaw"], JAW_LIMITS_DEG),
        eyes=_turned(base.eyes, added["eyes"], EYES_LIMITS_DEG),
    )


def _added(base: HeadParams, group: Group, sliders: Sequence[Slider], values: Values) -> Tensor:
    """The sum of a group's sliders, [size of the parameter]."""
    field = base.expr if group == "expression" else getattr(base, group)
    added = field.new_zeros(field.shape[1])
    for slider in sliders:
        if slider.group == group:
            added[list(slider.parts)] += values.get(slider.name, 0.0)
    return added


def _turned(params: Tensor, added_deg: Tensor, limits_deg: Limits) -> Tensor:
    """Parameters [N, D] of a joint with degrees [D] added to its angles."""
    if (
        not added_deg.any()
    ):  # the conversion to angles would change the last bits, and clip at 1 % inside the limits
        return params
    angles = angles_from_params(params, limits_deg) + torch.deg2rad(added_deg)
    moved = params_from_angles(angles, limits_deg)
    return torch.where(added_deg != 0, moved, params)
