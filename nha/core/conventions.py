"""Labels, landmark groups and joint names: the numbers that file formats and face conventions define."""

from __future__ import annotations

from enum import IntEnum


class Parsing(IntEnum):
    """Labels of `parsing_*.png`; left and right as seen by the person."""

    BACKGROUND = 0
    SKIN = 1
    L_BROW = 2
    R_BROW = 3
    L_EYE = 4
    R_EYE = 5
    L_EAR = 7
    R_EAR = 8
    NOSE = 10
    MOUTH = 11
    U_LIP = 12
    L_LIP = 13
    NECK = 14
    NECKLACE = 15
    CLOTH = 16
    HAIR = 17
    HEADWEAR = 18


# Further labels of the published parsing network; no loss uses them.
OTHER_PARSING_LABELS: dict[int, str] = {6: "glasses", 9: "earring"}


class Segmentation(IntEnum):
    """Labels of `seg_*.png`; everything but background and clothes is foreground."""

    BACKGROUND = 0
    BODY = 100
    HEAD = 101
    HAIR = 102
    BEARD = 103
    CLOTHES = 200
    HEADWEAR = 201
    GLASSES = 202


N_FACE_LANDMARKS = 68
N_LANDMARKS = 70  # 68 iBUG points, then two iris points

# iBUG's 68 points, counted from 0; left and right as seen by the person.
LANDMARK_GROUPS: dict[str, tuple[int, ...]] = {
    "jaw": tuple(range(17)),
    "right_brow": tuple(range(17, 22)),
    "left_brow": tuple(range(22, 27)),
    "nose": tuple(range(27, 36)),
    "right_eye": tuple(range(36, 42)),
    "left_eye": tuple(range(42, 48)),
    "outer_mouth": tuple(range(48, 60)),
    "inner_mouth": tuple(range(60, 68)),
    "iris": (68, 69),
}

# The eight points in the middle of the eyelids, which move in a blink: the landmark loss leaves them out.
MID_LID_LANDMARKS = (37, 38, 40, 41, 43, 44, 46, 47)

# Pairs of upper and lower eyelid points; their distance is the opening of an eye. Right eye first.
EYE_CLOSURE_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))

# Pairs of upper and lower points of the lips' inner line, which meet when the mouth is closed.
INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))

OUTER_EYE_CORNERS = (36, 45)

FLAME_JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
