"""Avatars on disk: reading the published layout and ours, writing either, and the names in between.

Inside this project a state is a dictionary of tensors under the names of `NeuralHeadAvatar.state_dict()`; the
published code has other names for the same tensors. `NAMES` says which is which, one to one, and nothing is
reshaped or copied, so that a checkpoint keeps every bit on its way there and back.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nha.core.errors import UserError
from nha.core.safe_pickle import load_npy
from nha.core.system import atomic_path
from nha.core.torch_file import load_torch
from nha.head.flame_files import LANDMARK_FILE
from nha.head.joint_limits import EYE_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG

FORMAT = "nha-avatar-1"
HEAD_TABLES = (
    "published_head."  # tables of the head model: the published code stores them, our avatar has its own
)
GLOBAL_LIMITS_DEG = ((-20.0, 20.0), (-90.0, 90.0), (-20.0, 20.0))

_MAPPING_NAMES = {
    "hidden.0": "network.0",
    "hidden.1": "network.2",
    "hidden.2": "network.4",
    "output": "network.6",
}

# Ours -> published; {n} stands for a number, {leaf} for `weight` or `bias`, {table} for any last name.
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
    HEAD_TABLES + "{table}": "_flame.{table}",
}
_PUBLISHED_PARTS = {name.split(".")[0] for name in NAMES.values()}


@dataclass(frozen=True)
class AvatarCheckpoint:
    """state: tensors under their published names (condition ranges and `_flame.*` tables included);
    hyper_parameters: the settings of the run, plain types only."""

    state: dict[str, Tensor]
    hyper_parameters: dict[str, Any]

    def avatar_state(self) -> dict[str, Tensor]:
        """The tensors under our names, as `NeuralHeadAvatar.load_state_dict` takes them (no head tables)."""
        ours = from_published(self.state)
        return {name: value for name, value in ours.items() if not name.startswith(HEAD_TABLES)}


def read_checkpoint(path: str | Path) -> AvatarCheckpoint:
    """Open an avatar of the published code or of ours without running anything that the file names.

    Tensors of other modules that a training run may store beside the avatar (loss networks) are left out.

    Raises:
        UserError: the file is missing, damaged, not an avatar, or asks for something that is not allowed.
    """
    path = Path(path)
    content = load_torch(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path.name} has no state_dict of tensors: it is not an avatar checkpoint")
    trained = {name.removeprefix("avatar."): x for name, x in state.items() if name.startswith("avatar.")}
    state = trained or state  # a training run's checkpoint holds the avatar among other modules
    if "vertex_features" in state:
        state = to_published(state)
    if "_vert_feats" not in state:
        raise UserError(f"{path.name} holds weights, but not those of an avatar (no vertex features)")
    state = {name: value for name, value in state.items() if name.split(".")[0] in _PUBLISHED_PARTS}
    return AvatarCheckpoint(state, dict(content.get("hyper_parameters") or {}))


def write_checkpoint(
    path: str | Path, checkpoint: AvatarCheckpoint, *, layout: Literal["nha", "published"] = "nha"
) -> None:
    """Write an avatar, whole or not at all; `torch.load(path, weights_only=True)` opens it.

    layout: "nha" has our names, "published" those and the frame of a Lightning checkpoint that the published
    code expects. Hyper-parameters become plain types (paths become str).
    """
    state = {name: value.detach().cpu().contiguous() for name, value in checkpoint.state.items()}
    content: dict[str, Any] = {"hyper_parameters": _plain(checkpoint.hyper_parameters)}
    if layout == "nha":
        content |= {"format": FORMAT, "state_dict": from_published(state)}
    else:
        content |= {
            "state_dict": state,
            "hparams_name": "kwargs",  # the published class takes its settings as keywords
            "pytorch-lightning_version": "1.2.4",
            "epoch": 0,
            "global_step": 0,
            "callbacks": {},
            "optimizer_states": [],
            "lr_schedulers": [],
        }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names to the published ones, tensors untouched. Raises UserError on a strange name."""
    return _renamed(state, NAMES.items())


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published names to ours, tensors untouched. Raises UserError on a strange name."""
    return _renamed(state, ((published, ours) for ours, published in NAMES.items()))


def load_avatar(avatar: nn.Module, checkpoint: AvatarCheckpoint) -> None:
    """Put a checkpoint's tensors into an avatar of the same sizes.

    Raises:
        UserError: names or shapes differ; the first few are listed.
    """
    theirs, own = checkpoint.avatar_state(), avatar.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in theirs]
    wrong += [f"{name} is not part of this avatar" for name in theirs if name not in own]
    wrong += [
        f"{name} is {list(theirs[name].shape)}, not {list(own[name].shape)}"
        for name in own
        if name in theirs and theirs[name].shape != own[name].shape
    ]
    if wrong:
        raise UserError(
            f"the checkpoint does not fit this avatar (another head model or other network sizes?):"
            f" {'; '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
        )
    avatar.load_state_dict(theirs)


def published_head_tables(head_folder: str | Path) -> dict[str, Tensor]:
    """The `_flame.*` tensors of a published checkpoint, from a head model's files.

    Angles in radians. Raises UserError where the landmark file lacks what only FLAME's has.
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
        raise UserError(f"{path} has no {missing[0]}: the published code knows FLAME's head model only")
    limits = {
        "global_limits": GLOBAL_LIMITS_DEG,
        "neck_limits": NECK_LIMITS_DEG,
        "jaw_limits": JAW_LIMITS_DEG,
        "eye_limits": EYE_LIMITS_DEG,
    }
    # divided first, as published: the other way round the last bit of an eye's limit is another one
    tables = {name: torch.tensor(values) / 180 * math.pi for name, values in limits.items()}
    tables["parents"] = torch.tensor([-1, 0, 1, 1, 1])
    tables["neck_kin_chain"] = torch.tensor([1, 0])
    for name, key in sources.items():
        dtype = torch.int64 if name.endswith("idx") else torch.float32
        tables[name] = torch.as_tensor(np.asarray(landmarks[key])).to(dtype)
    return {f"_flame.{name}": value for name, value in tables.items()}


def _renamed(state: Mapping[str, Tensor], names: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    patterns = [(re.compile(_as_pattern(old)), _as_replacement(new)) for old, new in names]
    renamed = {}
    for name, value in state.items():
        match = next((m.expand(new) for old, new in patterns if (m := old.fullmatch(name))), None)
        if match is None:
            raise UserError(f"the checkpoint holds '{name}', which is not a part of an avatar that is known")
        renamed[match] = value
    return renamed


def _as_pattern(template: str) -> str:
    parts = {r"\{n\}": r"(\d+)", r"\{leaf\}": r"(weight|bias)", r"\{table\}": r"(\w+)"}
    pattern = re.escape(template)
    for part, expression in parts.items():
        pattern = pattern.replace(part, expression)
    return pattern


def _as_replacement(template: str) -> str:
    numbers = iter(range(1, 9))
    return re.sub(r"\{\w+\}", lambda _: rf"\{next(numbers)}", template)


def _plain(value: Any) -> Any:
    """Settings as the types that every reader of checkpoints allows."""
    if value is None or isinstance(value, (bool, int, float, str)) and type(value).__module__ == "builtins":
        return value
    if isinstance(value, (Path, str)):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if dataclasses.is_dataclass(value):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    raise TypeError(f"a hyper-parameter of type {type(value).__name__} cannot be stored")
