"""Recognition of tracking files of other programs by the names of their entries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

IMPORT = "convert it with `nha import-tracking FILE --dataset DIR --out DIR`"
VHAP, GAUSSIAN_AVATARS, METRICAL, FLAME_HEAD_TRACKER, NERSEMBLE, SMPLX = (
    "VHAP",
    "VHAP's export for GaussianAvatars",
    "metrical-tracker",
    "flame-head-tracker",
    "the NeRSemble benchmark",
    "an export with smplx's names",
)


@dataclass(frozen=True)
class ForeignProgram:
    """A program whose files are recognised.

    Attributes:
        name: the program in messages.
        keys: entries that its files have.
        one_of: entries of which its files have at least one; empty if `keys` suffice.
        importable: whether `nha import-tracking` reads them.
        remedy: what to do with the file otherwise.
    """

    name: str
    keys: frozenset[str]
    one_of: frozenset[str] = frozenset()
    importable: bool = True
    remedy: str = IMPORT


_FIT_AGAIN = (
    "it fits single images with a weak-perspective camera, which does not place the head in space; track the video "
    "with `nha track`"
)
_POSE = frozenset({"rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "shape", "expr"})
PROGRAMS = (
    ForeignProgram(
        VHAP, _POSE, frozenset({"timestep_id", "focal_length", "n_processed_frames", "static_offset"})
    ),
    ForeignProgram(NERSEMBLE, frozenset({"expression", "rotation_matrices", "scale", "jaw", "neck", "eyes"})),
    ForeignProgram(SMPLX, frozenset({"betas", "expression", "global_orient", "transl", "jaw_pose"})),
    ForeignProgram(METRICAL, frozenset({"flame", "camera", "opencv", "img_size"})),
    ForeignProgram(
        FLAME_HEAD_TRACKER, frozenset({"shape", "exp", "cam"}), frozenset({"pose", "head_pose", "eye_pose"})
    ),
    ForeignProgram(
        "DECA or EMOCA", frozenset({"shape", "exp", "pose", "cam"}), importable=False, remedy=_FIT_AGAIN
    ),
    ForeignProgram(
        "DECA or EMOCA", frozenset({"shapecode", "expcode", "posecode"}), importable=False, remedy=_FIT_AGAIN
    ),
    ForeignProgram(
        "SMIRK",
        frozenset({"expression_params", "shape_params", "pose_params"}),
        importable=False,
        remedy=_FIT_AGAIN,
    ),
    ForeignProgram(
        "IMavatar", frozenset({"frames", "shape_params", "intrinsics"}), importable=False, remedy=_FIT_AGAIN
    ),
    ForeignProgram(
        "MICA",
        frozenset({"identity"}),
        importable=False,
        remedy="it holds a shape but no motion; track the video with `nha track`",
    ),
)


def foreign_program(names: Collection[str] | Mapping[str, object]) -> ForeignProgram | None:
    """The program that writes files with these entries; None for our own files and for unknown ones."""
    present = frozenset(names)
    if "K" in present and present >= _POSE:
        return None
    return next(
        (one for one in PROGRAMS if one.keys <= present and (not one.one_of or one.one_of & present)), None
    )


# Names of files in the folder of a program's tracking.
_IN_FOLDERS = (
    ("*.frame", METRICAL),
    ("checkpoint/*.frame", METRICAL),
    ("flame_param/*.npz", GAUSSIAN_AVATARS),
    ("tracked_flame_params_*.npz", VHAP),
    ("[0-9]*.npz", FLAME_HEAD_TRACKER),
)


def program_of_folder(folder: Path) -> str | None:
    """The program whose tracking a folder seems to hold, by the names of the files in it."""
    return next((program for pattern, program in _IN_FOLDERS if any(folder.glob(pattern))), None)
