"""The published checkpoint layout: a Lightning checkpoint with other names for the same tensors.

`NAMES` maps native names to the published ones, one to one. Tensors are neither reshaped nor copied, so a published
checkpoint that is read and written again is identical. Only this module uses the published names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.safe_pickle import load_npy
from nha.head.flame_files import LANDMARK_FILE
from nha.head.joint_limits import EYE_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG

HEAD_TABLE_PREFIX = "_flame."  # of the head model's tables in a published checkpoint
GLOBAL_LIMITS_DEG = ((-20.0, 20.0), (-90.0, 90.0), (-20.0, 20.0))

_MAPPING_NAMES = {
    "hidden.0": "network.0",
    "hidden.1": "network.2",
    "hidden.2": "network.4",
    "output": "network.6",
}

# native name -> published name; {n} is a number, {leaf} is `weight` or `bias`
NAMES: dict[str, str] = {
    "frame_parameters.shape": "_shape",
    "frame_parameters.expr": "_expr",
    "frame_parameters.neck": "_neck_pose",
    "frame_parameters.jaw": "_jaw_pose",
    "frame_parameters.eyes": "_eyes_pose",
    "frame_parameters.translation": "_translation",
    "frame_parameters.rotation": "_rotation",
    "vertex_features": "_vert_feats",
    "condition_ranges.expr_min": "expr_min",
    "condition_ranges.expr_max": "expr_max",
    "condition_ranges.pose_min": "pose_min",
    "condition_ranges.pose_max": "pose_max",
    "condition_ranges.mouth_min": "mouth_conditioning_min",
    "condition_ranges.mouth_max": "mouth_conditioning_max",
    "offset_net.layers.{n}.{leaf}": "_offset_mlp._SIREN.network.{n}.layer.{leaf}",
    "offset_net.output.{leaf}": "_offset_mlp._SIREN.final_layer.{leaf}",
    "texture_net.layers.{n}.{leaf}": "_texture._SIREN.network.{n}.layer.{leaf}",
    "texture_net.static_head.{leaf}": "_texture._SIREN.final_layer.{leaf}",
    "texture_net.dynamic_layer.{leaf}": "_texture._SIREN.dynamic_head.0.layer.{leaf}",
    "texture_net.dynamic_head.{leaf}": "_texture._SIREN.dynamic_head.1.{leaf}",
    "normal_encoder.condition": "_normal_encoder._static_condition",
    "normal_encoder.layers.{n}.{leaf}": "_normal_encoder.network.{n}.layer.{leaf}",
    "normal_encoder.output.{leaf}": "_normal_encoder.final_layer.{leaf}",
    **{
        f"{net}.mapping.{ours}.{{leaf}}": f"{published}.mapping_network.{theirs}.{{leaf}}"
        for net, published in (
            ("offset_net", "_offset_mlp._SIREN"),
            ("texture_net", "_texture._SIREN"),
            ("normal_encoder", "_normal_encoder"),
        )
        for ours, theirs in _MAPPING_NAMES.items()
    },
    "neural_texture.head": "_explFeatures.maps.0",
    "neural_texture.mouth": "_explFeatures.maps.1",
}
_PUBLISHED_PARTS = {name.split(".")[0] for name in NAMES.values()}
# "kwargs": the published class takes its settings as keyword arguments
_LIGHTNING_ENTRIES = {
    "hparams_name": "kwargs",
    "pytorch-lightning_version": "1.2.4",
    "epoch": 0,
    "global_step": 0,
    "callbacks": {},
    "optimizer_states": [],
    "lr_schedulers": [],
}


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names of a published avatar."""
    return "_vert_feats" in state


def split_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The avatar's tensors under their native names, and the tables of the head model without their prefix.

    Tensors of loss networks, which a published checkpoint may hold, are dropped.
    """
    tables = {
        name.removeprefix(HEAD_TABLE_PREFIX): value
        for name, value in state.items()
        if name.startswith(HEAD_TABLE_PREFIX)
    }
    own = {name: value for name, value in state.items() if name.split(".")[0] in _PUBLISHED_PARTS}
    return from_published(own), tables


def published_content(
    state: Mapping[str, Tensor], head_tables: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a checkpoint file that the published code opens.

    Args:
        state: the avatar's tensors under their native names.
        head_tables: see `published_head_tables`.
        hyper_parameters: plain types only.

    Raises:
        UserError: a tensor belongs to a network that the published code does not have.
    """
    published = to_published(state)
    published |= {f"{HEAD_TABLE_PREFIX}{name}": value for name, value in head_tables.items()}
    return {"hyper_parameters": dict(hyper_parameters), "state_dict": published, **_LIGHTNING_ENTRIES}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under their published names. Raises UserError for an unknown name."""
    return _renamed(state, NAMES.items())


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under their native names. Raises UserError for an unknown name."""
    return _renamed(state, ((published, ours) for ours, published in NAMES.items()))


def published_head_tables(head_folder: str | Path) -> dict[str, Tensor]:
    """The tables of the head model in a published checkpoint, read from FLAME's files; angles in radians.

    Raises:
        UserError: the landmark file lacks FLAME's tables.
    """
    path = Path(head_folder) / LANDMARK_FILE
    landmarks = load_npy(path)
    sources = {
        "lmk_faces_idx": "static_lmk_faces_idx",
        "lmk_bary_coords": "static_lmk_bary_coords",
        "dynamic_lmk_faces_idx": "dynamic_lmk_faces_idx",
        "dynamic_lmk_bary_coords": "dynamic_lmk_bary_coords",
        "full_lmk_faces_idx": "full_lmk_faces_idx",
        "full_lmk_bary_coords": "full_lmk_bary_coords",
    }
    missing = [key for key in sources.values() if key not in landmarks]
    if missing:
        raise UserError(f"{path} has no {missing[0]}: the published code supports only FLAME's head model")
    limits = {
        "global_limits": GLOBAL_LIMITS_DEG,
        "neck_limits": NECK_LIMITS_DEG,
        "jaw_limits": JAW_LIMITS_DEG,
        "eye_limits": EYE_LIMITS_DEG,
    }
    # divided first, as published; the other order changes the last bit of an eye's limit
    tables = {name: torch.tensor(values) / 180 * math.pi for name, values in limits.items()}
    tables["parents"] = torch.tensor([-1, 0, 1, 1, 1])
    tables["neck_kin_chain"] = torch.tensor([1, 0])
    for name, key in sources.items():
        dtype = torch.int64 if name.endswith("idx") else torch.float32
        tables[name] = torch.as_tensor(np.asarray(landmarks[key])).to(dtype)
    return tables


def _renamed(state: Mapping[str, Tensor], names: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    patterns = [(re.compile(_as_pattern(old)), _as_replacement(new)) for old, new in names]
    renamed = {}
    for name, value in state.items():
        match = next((m.expand(new) for old, new in patterns if (m := old.fullmatch(name))), None)
        if match is None:
            raise UserError(f"the checkpoint holds '{name}', which is no tensor of a published avatar")
        renamed[match] = value
    return renamed


def _as_pattern(template: str) -> str:
    parts = {r"\{n\}": r"(\d+)", r"\{leaf\}": r"(weight|bias)"}
    pattern = re.escape(template)
    for part, expression in parts.items():
        pattern = pattern.replace(part, expression)
    return pattern


def _as_replacement(template: str) -> str:
    numbers = iter(range(1, 9))
    return re.sub(r"\{\w+\}", lambda _: rf"\{next(numbers)}", template)
