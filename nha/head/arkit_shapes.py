"""ARKit's 52 facial shapes, and how far each moves points of the face at 1.

Movements are in the head's axes (x to the person's left, y up, z forward), in units of the distance between the outer
corners of the eyes; those of the lids in units of the eye's opening. The numbers are ours: common full deflections.
"""

from __future__ import annotations

from dataclasses import dataclass

_SIDES = ("Left", "Right")


def _both(name: str) -> tuple[str, ...]:
    return tuple(f"{name}{side}" for side in _SIDES)


_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
ARKIT_NAMES: tuple[str, ...] = (
    *(f"eye{what}Left" for what in _EYE),
    *(f"eye{what}Right" for what in _EYE),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *(name for what in ("Smile", "Frown", "Dimple", "Stretch") for name in _both(f"mouth{what}")),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(name for what in ("Press", "LowerDown", "UpperUp") for name in _both(f"mouth{what}")),
    *(*_both("browDown"), "browInnerUp", *_both("browOuterUp")),
    *("cheekPuff", *_both("cheekSquint"), *_both("noseSneer"), "tongueOut"),
)
"""The names in the order of Live Link Face's files."""

JAW_OPEN_DEG = 25.0  # angle of the jaw joint at jawOpen = 1
LOOK_DEG = 30.0  # angle of an eye joint at eyeLook... = 1

# Points beside the 68 landmarks, each between landmarks of the left side: the surface's point in front of their mean.
EXTRA_POINTS: dict[str, tuple[int, ...]] = {"cheek": (46, 47, 54), "cheek_side": (54, 12, 13)}

Point = int | str  # an iBUG landmark, or one of EXTRA_POINTS with "_left" or "_right"
Move = tuple[tuple[Point, ...], tuple[float, float, float]]


@dataclass(frozen=True)
class Shape:
    """A shape that expression coefficients express.

    Attributes:
        moves: points and their movement.
        lids: movement of the upper and the lower lid towards each other, in units of the eye's opening.
    """

    moves: tuple[Move, ...] = ()
    lids: dict[str, tuple[float, float]] | None = None


# Of the person's left side; the right side is mirrored.
_LEFT: dict[str, Shape] = {
    "eyeBlink": Shape(lids={"left": (0.85, 0.15)}),
    "eyeSquint": Shape(moves=((("cheek_left",), (0, 0.02, 0)),), lids={"left": (0.15, 0.25)}),
    "eyeWide": Shape(lids={"left": (-0.35, -0.05)}),
    "mouthSmile": Shape(moves=(((54, 64), (0.05, 0.09, -0.04)), (("cheek_left",), (0, 0.04, 0.03)))),
    "mouthFrown": Shape(moves=(((54, 64), (0.01, -0.08, -0.02)),)),
    "mouthDimple": Shape(moves=(((54, 64), (0.03, 0.01, -0.05)),)),
    "mouthStretch": Shape(moves=(((54, 64), (0.12, -0.02, -0.06)),)),
    "mouthPress": Shape(moves=(((63, 52), (0, -0.015, -0.01)), ((65, 56), (0, 0.015, -0.01)))),
    "mouthLowerDown": Shape(moves=(((56, 65), (0, -0.07, 0)),)),
    "mouthUpperUp": Shape(moves=(((52, 63), (0, 0.07, 0)),)),
    "browDown": Shape(moves=(((22, 23, 24), (-0.01, -0.06, 0)), ((25, 26), (0, -0.04, 0)))),
    "browOuterUp": Shape(moves=(((24, 25, 26), (0, 0.09, 0)),)),
    "cheekSquint": Shape(moves=((("cheek_left",), (0, 0.06, 0.03)),), lids={"left": (0, 0.15)}),
    "noseSneer": Shape(moves=(((34, 35), (0, 0.05, 0)), ((52,), (0, 0.03, 0)))),
    "jaw": Shape(moves=(((6, 7, 8, 9, 10, 56, 57, 58), (0.08, 0, 0)),)),
    "mouth": Shape(moves=(((*range(48, 68),), (0.1, 0, 0)),)),
}
_MIDDLE: dict[str, Shape] = {
    "jawForward": Shape(moves=(((6, 7, 8, 9, 10, 56, 57, 58), (0, 0, 0.08)),)),
    "mouthClose": Shape(
        moves=(((56, 57, 58, 65, 66, 67), (0, 0.15, 0)), ((50, 51, 52, 61, 62, 63), (0, -0.05, 0)))
    ),
    "mouthFunnel": Shape(
        moves=(
            ((50, 51, 52, 61, 62, 63), (0, 0.05, 0.06)),
            ((56, 57, 58, 65, 66, 67), (0, -0.05, 0.06)),
            ((54, 64), (-0.06, 0, 0.03)),
            ((48, 60), (0.06, 0, 0.03)),
        )
    ),
    "mouthPucker": Shape(
        moves=(
            ((54, 64), (-0.08, 0, 0.04)),
            ((48, 60), (0.08, 0, 0.04)),
            ((51, 57, 62, 66), (0, 0, 0.07)),
        )
    ),
    "mouthRollLower": Shape(moves=(((56, 57, 58, 65, 66, 67), (0, 0.02, -0.05)),)),
    "mouthRollUpper": Shape(moves=(((50, 51, 52, 61, 62, 63), (0, -0.02, -0.05)),)),
    "mouthShrugLower": Shape(moves=(((8, 56, 57, 58), (0, 0.06, 0.02)),)),
    "mouthShrugUpper": Shape(moves=(((50, 51, 52, 61, 62, 63), (0, 0.05, 0.02)),)),
    "browInnerUp": Shape(moves=(((21, 22), (0, 0.09, 0)), ((20, 23), (0, 0.05, 0)))),
    "cheekPuff": Shape(
        moves=(
            (("cheek_side_left",), (0.05, 0, 0.04)),
            (("cheek_side_right",), (-0.05, 0, 0.04)),
        )
    ),
}
_MIRRORED = (16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
             27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50,
             49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65)  # fmt: skip
"""For each of the 68 landmarks its mirror image."""


def mirrored_point(point: Point) -> Point:
    """The point at the same place of the other side."""
    if isinstance(point, int):
        return _MIRRORED[point]
    stem, side = point.rsplit("_", 1)
    return f"{stem}_{'right' if side == 'left' else 'left'}"


def _mirrored(shape: Shape) -> Shape:
    moves = tuple(
        (tuple(mirrored_point(point) for point in points), (-x, y, z)) for points, (x, y, z) in shape.moves
    )
    lids = None if shape.lids is None else {"right": shape.lids["left"]}
    return Shape(moves, lids)


EXPRESSION_SHAPES: dict[str, Shape] = {
    **{f"{name}Left": shape for name, shape in _LEFT.items()},
    **{f"{name}Right": _mirrored(shape) for name, shape in _LEFT.items()},
    **_MIDDLE,
}
"""The shapes that expression coefficients express; the others are angles of jaw and eyes, or not expressible."""
