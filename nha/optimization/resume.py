"""Which part of a run its output folder holds already, from which an interrupted run continues.

`run.json` holds the finished stages, the settings and fingerprints of the input files; the tensors and the states of
the optimisers are in the training checkpoint, see `training_state`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities import rank_zero_only

from nha.avatar.base import HeadAvatar
from nha.avatar.open import replaced_networks
from nha.core.errors import UserError
from nha.core.fingerprint import file_digest, files_digest
from nha.core.json_file import read_json, read_json_object, write_json
from nha.core.manifest import Manifest
from nha.core.paths import PART_WEIGHTS
from nha.core.system import get_logger
from nha.data.frame_dataset import FrameSplits
from nha.data.tracking_file import find_tracking_file
from nha.head.assets import HeadAssets
from nha.losses.terms import Term
from nha.optimization.config import OptimizationSettings
from nha.optimization.stages import Stage
from nha.optimization.training_state import (
    PREVIOUS_FILE,
    TRAINING_FILE,
    TrainingState,
    find_training_state,
    set_aside,
)

RUN_FILE, AVATAR_FILE, LOG_FOLDER = "run.json", "avatar.ckpt", "logs"


@dataclass(frozen=True)
class RunIdentity:
    """What decides the result of a run.

    Attributes:
        settings: see `fingerprint`.
        inputs: what the contents are of -> fingerprint, see `input_digests`.
    """

    settings: str
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Identifies the run in its training checkpoint."""
        return hashlib.sha256(repr((self.settings, sorted(self.inputs.items()))).encode()).hexdigest()


@dataclass(frozen=True)
class FinishedPart:
    """What an output folder holds of a run.

    Attributes:
        stage_seconds: seconds by name of the finished stages.
        state: the training checkpoint to continue from, None to start from the beginning.
    """

    stage_seconds: dict[str, float] = field(default_factory=dict)
    state: TrainingState | None = None


def finished_part(identity: RunIdentity, output: Path, stages: tuple[Stage, ...]) -> FinishedPart:
    """What the output folder holds of this run.

    Raises:
        UserError: the folder holds a run with other settings or inputs, or an avatar from elsewhere.
    """
    known = _read_run(output)
    if known is None:
        if (output / AVATAR_FILE).exists():
            raise UserError(
                f"'{output / AVATAR_FILE}' is not from a run in this folder; choose another --out, or move it away"
            )
    elif known["fingerprint"] != identity.settings:
        raise UserError(
            f"'{output}' holds a run with other settings; choose another --out, or start it again "
            "with --resume false"
        )
    elif changed := _changed_inputs(known, identity):
        raise UserError(
            f"'{output}' holds a run with other inputs ({', '.join(changed)} changed since); choose another --out, or "
            "start it again with --resume false"
        )
    state = find_training_state(output, identity.digest)
    if state is None:
        return FinishedPart()
    recorded = {} if known is None else known["stage_seconds"]
    finished = {
        stage.name: recorded.get(stage.name, 0.0)
        for stage in stages
        if stage.epochs and stage.end_epoch <= state.finished_epochs
    }
    if any(stage.epochs and stage.name not in finished for stage in stages):
        get_logger(__name__).info(
            "continuing the interrupted run in %s after epoch %d", output, state.finished_epochs
        )
    return FinishedPart(finished, state)


def files_of_earlier_versions(output: Path) -> list[str]:
    """The files of a run whose version of this program kept no manifest; empty for a folder from elsewhere."""
    if not read_json_object(output / RUN_FILE).keys() >= {"stage_seconds", "fingerprint"}:
        return []
    names = (RUN_FILE, AVATAR_FILE, TRAINING_FILE, PREVIOUS_FILE)
    return [name for name in names if (output / name).is_file()]


def _read_run(output: Path) -> dict[str, Any] | None:
    """The content of `run.json`; None where there is none, or only a damaged one, which is set aside."""
    path = output / RUN_FILE
    if not path.exists():
        return None
    try:
        known = read_json(path)
        seconds = known["stage_seconds"].values()
        inputs = known.setdefault("inputs", {}).values()
        if all(np.isfinite(float(value)) for value in seconds) and all(
            isinstance(text, str) for text in inputs
        ):
            known["fingerprint"].split()
            return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    if (output / AVATAR_FILE).exists():
        set_aside(output / AVATAR_FILE, "is of a run whose run.json is damaged")
    set_aside(path, "is damaged")
    return None


def _changed_inputs(known: dict[str, Any], identity: RunIdentity) -> list[str]:
    """Names of the inputs whose contents have changed; runs of earlier versions recorded none."""
    before = known["inputs"]
    return [name for name, digest in identity.inputs.items() if before.get(name, digest) != digest]


@rank_zero_only
def forget_run(output: Path) -> None:
    """Remove the training states of the folder's run, so that it starts again; a foreign file is set aside."""
    is_ours, manifest = _read_run(output) is not None, Manifest(output)
    for name in (TRAINING_FILE, PREVIOUS_FILE):
        path = output / name
        if path.exists() and not (is_ours and manifest.owns(path)):
            set_aside(path, "is not from a run in this folder")
        path.unlink(missing_ok=True)
    if not is_ours and (output / AVATAR_FILE).exists():
        set_aside(output / AVATAR_FILE, "is not from a run in this folder")


@rank_zero_only
def write_run_state(identity: RunIdentity, output: Path, seconds: dict[str, float]) -> None:
    """Record the finished stages with their seconds, and what identifies the run."""
    content = {"stage_seconds": seconds, "fingerprint": identity.settings, "inputs": identity.inputs}
    write_json(output / RUN_FILE, content, durable=True)


def identify(
    settings: OptimizationSettings,
    avatar: HeadAvatar,
    splits: FrameSplits,
    assets: HeadAssets,
    extra_terms: Iterable[Term] = (),
) -> RunIdentity:
    """The identity of a run: its settings and the contents of its input files."""
    return RunIdentity(fingerprint(settings, avatar, extra_terms), input_digests(settings, splits, assets))


def input_digests(settings: OptimizationSettings, splits: FrameSplits, assets: HeadAssets) -> dict[str, str]:
    """Fingerprints of what a run reads, by what it is, so that a message can name it."""
    folder = splits.folder
    frames = [path for frame_id in splits.split.frame_ids() for path in folder.paths(frame_id).files()]
    head = hashlib.sha256()
    for name in ("template_vertices", "shape_directions", "skinning_weights", "joint_regressor"):
        head.update(np.ascontiguousarray(getattr(assets, name)).tobytes())
    digests = {
        "the frames": files_digest(frames, folder.root),
        "the tracking file": file_digest(find_tracking_file(settings.data.tracking_results_path)),
        "the split": hashlib.sha256(repr(splits.split).encode()).hexdigest(),
        "the head model": head.hexdigest(),
        "the part weights": file_digest(settings.losses.body_part_weights or PART_WEIGHTS),
    }
    if settings.run.checkpoint_file is not None:
        digests["the avatar to start from"] = file_digest(settings.run.checkpoint_file)
    return digests


def fingerprint(settings: OptimizationSettings, avatar: HeadAvatar, extra_terms: Iterable[Term] = ()) -> str:
    """Everything that changes the result of a run, as text: settings, replaced networks, extra loss terms."""
    parts = (settings.data, settings.schedule, settings.losses, settings.avatar)
    names = ("seed", "head", "precision", "compile", "pixels_per_image", "devices", "num_nodes")
    text = repr(parts) + "".join(f" {name} {getattr(settings.run, name)}" for name in names)
    text += "".join(f" {name} {class_name}" for name, class_name in replaced_networks(avatar).items())
    return text + "".join(f" term {term.name} {term.weight}" for term in extra_terms)
