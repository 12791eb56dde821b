"""Head parameters in the names and units of other FLAME tools, as JSON and NPZ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nha.core.finite import TRAIN_AGAIN, require_finite
from nha.core.json_file import write_json
from nha.core.system import atomic_path
from nha.core.types import HeadParams
from nha.head import joint_limits
from nha.head.model import HeadModel

MEANING = {
    "frame": "ids of the tracked frames; -1 is the pose at rest",
    "betas": "identity coefficients [shape], the tracked ones with the avatar's correction",
    "expression": "expression coefficients [frame, expression]",
    "global_orient": "rotation of the root joint, axis-angle in radians [frame, 3]",
    "neck_pose": "rotation of the neck joint, axis-angle in radians, after the joint limits [frame, 3]",
    "jaw_pose": "the same of the jaw [frame, 3]",
    "leye_pose": "the same of the left eye [frame, 3]",
    "reye_pose": "the same of the right eye [frame, 3]",
    "transl": "metres; what FLAME adds to its vertices at the end [frame, 3]",
    "root_position": "metres; where the root joint is: transl plus the root joint's rest position [frame, 3]",
}


def flame_parameters(head: HeadModel, params: HeadParams, frame_ids: Sequence[int]) -> dict[str, np.ndarray]:
    """Head parameters as arrays by the names of MEANING.

    A FLAME layer, v = lbs(betas, expression, pose) + transl, computes the avatar's head without offsets from them. In
    the published tracker's files the translation is the root joint's position instead, and the angles are unbounded.

    Args:
        head: the head model.
        params: N heads, corrected, of one shape.
        frame_ids: N ids; -1 for the neutral pose.
    """
    coefficients = torch.cat([params.shape, params.expr], 1)
    root = head.joint_template[0] + torch.tensordot(coefficients, head.joint_directions[:, 0], 1)
    left, right = joint_limits.eyes_angles(params.eyes).split(3, 1)
    values = {
        "betas": params.shape[0],
        "expression": params.expr,
        "global_orient": params.rotation,
        "neck_pose": joint_limits.neck_angles(params.neck),
        "jaw_pose": joint_limits.jaw_angles(params.jaw),
        "leye_pose": left,
        "reye_pose": right,
        "transl": params.translation - root,
        "root_position": params.translation,
    }
    arrays = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in values.items()}
    return {"frame": np.array(frame_ids, np.int64), **arrays}


def write_parameters(folder: Path, arrays: dict[str, np.ndarray], about: dict[str, object]) -> list[Path]:
    """Write head_parameters.npz and .json atomically.

    Args:
        folder: the output folder.
        arrays: of `flame_parameters`.
        about: further entries of the JSON file (units, head model).

    Returns:
        The two paths.
    """
    require_finite(arrays, "the head parameters that were to be exported", TRAIN_AGAIN)
    npz, text = folder / "head_parameters.npz", folder / "head_parameters.json"
    with atomic_path(npz) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    content = {
        **about,
        "meaning": MEANING,
        **{name: np.round(values, 7).tolist() for name, values in arrays.items()},
    }
    write_json(text, content, TRAIN_AGAIN, indent=None)
    return [npz, text]
