"""The training checkpoint: written so that nothing is lost, and read only where it is whole and of this run.

`last.ckpt` is written beside the earlier one and renamed when it is on the disk; the earlier one is kept as
`previous.ckpt`. Both hold checksums (those of the zip format), the run that they belong to, and its finished epochs.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.utilities import rank_zero_only

from nha.avatar.checkpoint import INFINITE_UNTIL_MEASURED
from nha.core.errors import UserError
from nha.core.finite import non_finite_names
from nha.core.manifest import unused_name
from nha.core.system import atomic_path, get_logger, replace_file
from nha.core.torch_file import load_torch
from nha.data.messages import some_of

TRAINING_FILE, PREVIOUS_FILE = "last.ckpt", "previous.ckpt"
RUN_KEY, EPOCHS_KEY = "nha_run", "nha_finished_epochs"

_MAY_BE_INFINITE = tuple(f"avatar.{name}" for name in INFINITE_UNTIL_MEASURED)
_logger = get_logger(__name__)


class StateFiles(CheckpointIO):
    """Lightning's reading and writing of checkpoints, with the guarantees of this module.

    Attributes:
        saved_epochs: finished epochs of the run in the last state that was written, 0 before the first.
    """

    def __init__(self) -> None:
        self.saved_epochs = 0

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a state; the one before it becomes the previous one. Raises UserError for non-finite weights."""
        path = Path(path)
        if bad := non_finite_names(checkpoint["state_dict"], _MAY_BE_INFINITE):
            names = some_of([name.removeprefix("avatar.") for name in bad], 3)
            raise UserError(
                f"the weights are not finite after epoch {checkpoint.get(EPOCHS_KEY)} ({names}); the last saved "
                "state is kept. Lower the learning rates (--flame_lr, --offset_lr, --tex_lr)"
            )
        content = io.BytesIO()  # written at once below: torch.save reports a full disk as an error of its own
        torch.save(checkpoint, content)
        with atomic_path(path, durable=True) as temporary:
            temporary.write_bytes(content.getbuffer())
            if path.is_file():
                replace_file(path, path.with_name(PREVIOUS_FILE))
        self.saved_epochs = checkpoint.get(EPOCHS_KEY, 0)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a state; nothing in it is executed."""
        return torch.load(path, map_location="cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a state."""
        Path(path).unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingState:
    """A whole training checkpoint of this run.

    Attributes:
        path: the file.
        finished_epochs: epochs of the run that are in it.
    """

    path: Path
    finished_epochs: int


def find_training_state(output: Path, run: str) -> TrainingState | None:
    """The newest whole state of a run in its output folder; damaged and foreign ones are set aside with a sentence.

    Args:
        output: the folder.
        run: identifies the run, see `resume.run_digest`.
    """
    for name in (TRAINING_FILE, PREVIOUS_FILE):
        path = output / name
        if not path.is_file():
            continue
        try:
            content = load_torch(path)
            epochs = content[EPOCHS_KEY]
            reason = None if content[RUN_KEY] == run else "is the state of another run"
            if type(epochs) is not int or not isinstance(content["state_dict"], dict):
                reason = "is damaged"
        except UserError as error:
            reason = str(error).removeprefix(f"{name} ")
        except (KeyError, TypeError):
            reason = "is not a state of this program"
        if reason is None:
            return TrainingState(path, epochs)
        set_aside(path, reason)
    return None


@rank_zero_only
def set_aside(path: Path, reason: str) -> None:
    """Rename a file that cannot be used, and say so."""
    target = unused_name(path)
    os.replace(path, target)
    _logger.warning("%s %s; it is kept as %s", path.name, reason, target.name)
