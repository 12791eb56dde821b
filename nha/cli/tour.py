"""`nha tour`: opens the notebook that goes through the whole pipeline."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nha.cli.commands import Call
from nha.core.config import Settings, setting
from nha.core.errors import UserError
from nha.core.paths import REPOSITORY
from nha.core.system import require_writable

INSTALL = "python -m pip install -e '.[notebook]'"
_NOTEBOOKS = REPOSITORY / "jupyter_notebooks"


@dataclass(frozen=True)
class TourSettings(Settings):
    """Tour."""

    out: Path = setting(Path("."), main=True, help="Folder of the notebook's copy, in which it runs.")


def tour(call: Call) -> None:
    """Open a notebook that goes from a synthetic video to an avatar in ten cells, about two minutes on two cores."""
    open_tour(call.parse(TourSettings))


def open_tour(settings: TourSettings) -> Path:
    """Open a copy of the notebook in JupyterLab, and return when JupyterLab ends.

    A copy that is there already is opened again, with the user's changes.

    Args:
        settings: the folder of the copy.

    Returns:
        The copy.

    Raises:
        UserError: JupyterLab is not installed, or the package was installed without the notebooks.
    """
    source = _NOTEBOOKS / "tour.ipynb"
    if not source.is_file():
        raise UserError("the notebooks are part of the repository, not of an installed package; clone it")
    if importlib.util.find_spec("jupyterlab") is None:
        raise UserError(f"the tour needs JupyterLab; install it with: {INSTALL} (or see {source})")
    copy = require_writable(Path(settings.out)) / source.name
    if not copy.exists():
        shutil.copyfile(source, copy)
    print(f"opening {copy} in JupyterLab; Ctrl-C ends it", flush=True)
    subprocess.run([sys.executable, "-m", "jupyterlab", str(copy)], check=False)
    return copy
