"""The state of a run in its output folder, from which an interrupted run continues.

`run.json` holds the finished stages and a fingerprint of the settings, `last.ckpt` tensors and optimiser states.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from nha.avatar.base import HeadAvatar
from nha.avatar.checkpoint import load_state, read_checkpoint
from nha.avatar.open import replaced_networks
from nha.core.errors import UserError
from nha.core.system import atomic_path, get_logger
from nha.losses.terms import Term
from nha.optimization.config import OptimizationSettings
from nha.optimization.stages import Stage

TRAINING_FILE = "last.ckpt"
RUN_FILE = "run.json"


def finished_stages(run_fingerprint: str, output: Path, stages: tuple[Stage, ...]) -> dict[str, float]:
    """Names and seconds of the stages that the output folder's run has finished.

    run_fingerprint: see `fingerprint`.

    Raises:
        UserError: the folder holds a run with other settings.
    """
    last, run = output / TRAINING_FILE, output / RUN_FILE
    if not (run.is_file() and last.is_file()):
        return {}
    known = json.loads(run.read_text())
    if known["fingerprint"] != run_fingerprint:
        raise UserError(
            f"'{output}' holds a run with other settings; choose another --out, or start it again "
            "with --resume false"
        )
    finished = {
        stage.name: known["stage_seconds"][stage.name]
        for stage in stages
        if stage.name in known["stage_seconds"]
    }
    if any(stage.epochs and stage.name not in finished for stage in stages):
        get_logger(__name__).info("continuing the interrupted run in %s", output)
    return finished


def load_training_state(avatar: HeadAvatar, output: Path) -> None:
    """Load the tensors of the training checkpoint into the avatar, for runs that skipped finished stages."""
    last = output / TRAINING_FILE
    if last.is_file():
        load_state(avatar, read_checkpoint(last))


@rank_zero_only
def remove_run_state(output: Path) -> None:
    """Delete the state of the folder's run, so that it starts again."""
    (output / TRAINING_FILE).unlink(missing_ok=True)
    (output / RUN_FILE).unlink(missing_ok=True)


@rank_zero_only
def write_run_state(run_fingerprint: str, output: Path, seconds: dict[str, float]) -> None:
    """Record the finished stages with their seconds, and the run's `fingerprint`."""
    content = {"stage_seconds": seconds, "fingerprint": run_fingerprint}
    with atomic_path(output / RUN_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def fingerprint(settings: OptimizationSettings, avatar: HeadAvatar, extra_terms: Iterable[Term] = ()) -> str:
    """Everything that changes the result of a run, as text: settings, replaced networks, extra loss terms."""
    parts = (settings.data, settings.schedule, settings.losses, settings.avatar)
    names = ("seed", "head", "precision", "compile", "pixels_per_image", "devices", "num_nodes")
    text = repr(parts) + "".join(f" {name} {getattr(settings.run, name)}" for name in names)
    text += "".join(f" {name} {class_name}" for name, class_name in replaced_networks(avatar).items())
    return text + "".join(f" term {term.name} {term.weight}" for term in extra_terms)
