"""Every command answers --help and a mistyped option at once, without large libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from nha.cli.command_table import COMMANDS

LARGE = (
    "torch",
    "numpy",
    "numba",
    "scipy",
    "cv2",
    "av",
    "pytorch_lightning",
    "matplotlib",
    "trimesh",
    "viser",
)
CODE = """
import json, sys, threading
{statements}
print(json.dumps({{"modules": sorted(sys.modules), "threads": threading.active_count()}}), file=sys.stderr)
"""


def modules_after(statements: str, repository) -> set[str]:
    """Top-level modules that are loaded after statements in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(statements=statements)],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stderr.splitlines()[-1])
    assert state["threads"] == 1
    return {name.split(".")[0] for name in state["modules"]}


def test_no_command_line_loads_a_large_library(repository):
    runs = [name.split() + [option] for name in COMMANDS for option in ("--help", "--no_such_option")]
    statements = (
        f"from nha.cli.main import main\nfor words in {runs!r}:\n"
        "    try:\n        main(words)\n    except SystemExit as left:\n"
        "        assert left.code == (0 if words[-1] == '--help' else 2), words"
    )
    assert not modules_after(statements, repository) & set(LARGE)


def test_importing_the_package_loads_nothing_else(repository):
    assert not modules_after("import nha, nha.core.config", repository) & {
        *LARGE,
        "configargparse",
        "argparse",
    }


@pytest.mark.parametrize(
    "module", ["nha.evaluation.run", "nha.viewer.server", "nha.export.run", "nha.tracking.tracker"]
)
def test_only_training_loads_lightning(module, repository):
    assert "pytorch_lightning" not in modules_after(f"import {module}", repository)


def test_importing_configures_no_logging(repository):
    statements = (
        "import logging, os\nbefore = dict(os.environ)\nimport nha\nfrom nha import load_head, track, load_tracking\n"
        "assert not logging.getLogger('nha').handlers and not logging.getLogger().handlers\n"
        "assert dict(os.environ) == before"
    )
    modules_after(statements, repository)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_options_that_matter(name, run_module):
    done = run_module("nha", *name.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: nha {name}")
    headings = re.findall(r"^(\S.*):$", done.stdout, re.MULTILINE)
    assert headings[0] == "Main options"
    main = done.stdout.split("Main options:\n")[1].split("\n\n")[0]
    options = re.findall(r"^  (?:--)?\w", main, re.MULTILINE)
    assert 2 <= len(options) <= 8  # --config and --help are among them
    assert "examples:\n  nha " in done.stdout
