"""The check for GPU machines in its small form on the CPU, and its table."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpu_check
from bench import settings_of
from gpu_checks import fused, lists, long_runs, small_kernels, speed
from gpu_checks.table import Aim, Part, Table
from nha.avatar import image_renderer
from nha.core.cuda_graphs import CapturedFunction
from nha.core.device import accelerator_path
from nha.core.errors import UserError
from nha.core.pixel_lists import ListLengths
from nha.optimization import training_step
from tests.blocked_packages import WITHOUT_OPTIONAL
from tests.graph_twin import GraphTwin
from tests.small import SMALL, SMALL_BLEND

AIMS = [Aim("time", 2.0, "ms"), Aim("rate", 10.0, "1/s", at_least=True)]

RUN_UNINSTALLED = """
import runpy

sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]  # an installed checkout
sys.path = [folder for folder in sys.path if folder not in ("", {root!r})]
sys.argv[1:] = {arguments!r}
sys.path.insert(0, {benchmarks!r})  # as the interpreter does for a script
runpy.run_path({script!r}, run_name="__main__")
"""


def run_from_checkout(repository: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the script with neither `nha` installed nor any of the optional packages."""
    code = WITHOUT_OPTIONAL + RUN_UNINSTALLED.format(
        root=str(repository),
        arguments=list(arguments),
        benchmarks=str(repository / "benchmarks"),
        script=str(repository / "benchmarks" / "gpu_check.py"),
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=repository, env=environment)


def test_runs_from_a_checkout_without_installation_and_optional_packages(repository, tmp_path) -> None:
    path = tmp_path / "rows.json"
    options = ["--device", "cpu", "--head", "procedural", "--size", "32", "--json", str(path)]
    done = run_from_checkout(repository, "--only", "kernels", "tracking", *options)
    assert done.returncode == 0, done.stderr
    assert f"checkout: {repository}" in done.stdout
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    assert rows["rasteriser: pixels unlike the reference"]["pass"] is True
    assert rows["tracking"]["pass"] is None


def test_table_compares_figures_with_their_aims(capsys) -> None:
    table = Table()
    table.run(Part("part", AIMS, lambda: {"time": 1.5, "rate": 9.0}))
    assert [row.passed for row in table.rows] == [True, False]
    assert table.failed == ["rate"]
    assert "FAIL" in capsys.readouterr().out


def test_a_failing_part_does_not_stop_the_others() -> None:
    table = Table()

    def broken() -> dict[str, float]:
        raise RuntimeError("no such kernel")

    table.run(Part("broken", AIMS, broken))
    table.run(Part("good", AIMS[:1], lambda: {"time": 1.0}))
    table.run(Part("skipped", AIMS[1:], None, "no data"))
    assert [row.passed for row in table.rows] == [False, False, True, None]
    assert "no such kernel" in table.rows[0].note


def test_a_part_that_takes_too_long_is_stopped() -> None:
    table = Table()

    def endless() -> dict[str, float]:
        while True:
            pass

    table.run(Part("endless", AIMS[:1], endless, budget_s=0.1))
    assert table.rows[0].passed is False
    assert "longer than 0.1 s" in table.rows[0].note


def test_a_part_begins_only_where_its_budget_is_left() -> None:
    table = Table(limit_s=30)
    table.run(Part("long", AIMS[:1], lambda: {"time": 1.0}, budget_s=60))
    table.run(Part("short", AIMS[1:], lambda: {"rate": 11.0}, budget_s=10))
    assert [row.passed for row in table.rows] == [None, True]
    assert "were left" in table.rows[0].note


def test_parts_are_listed_without_running_them(capsys) -> None:
    gpu_check.main(["--device", "cpu", "--list"])
    listed = capsys.readouterr().out
    assert "fused (at most" in listed
    assert fused.AIMS[0].name in listed


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(UserError, match="unknown parts: nothing"):
        gpu_check.main(["--device", "cpu", "--only", "nothing", "--list"])


class CapturedByTwin(CapturedFunction):
    """Recorded by the twin of CUDA graphs on the CPU."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **{**options, "recorder": GraphTwin()})


@pytest.mark.parametrize("follows", [True, False])
def test_check_of_growing_lists_sees_lists_that_do_not_grow(monkeypatch, follows) -> None:
    for module in (image_renderer, training_step):
        monkeypatch.setattr(module, "CapturedFunction", CapturedByTwin)
    if not follows:
        monkeypatch.setattr(ListLengths, "follow", lambda _: False)
        monkeypatch.setattr(ListLengths, "exceeded", lambda _: False)
    monkeypatch.setattr(lists, "settings_of", lambda *_: settings_of("blend", 64))
    with accelerator_path():
        difference, missing = lists.measure("procedural", 64, torch.device("cpu")).values()
    assert (difference < 1e-5) is follows
    assert (missing == 0) is follows


@pytest.mark.parametrize("model", ["published", "blend"])
def test_check_of_small_kernels_compares_them_with_plain_torch(monkeypatch, model) -> None:
    avatar = SMALL if model == "published" else SMALL_BLEND
    settings = dataclasses.replace(settings_of(model, 64), avatar=avatar)
    monkeypatch.setattr(small_kernels, "settings_of", lambda *_: settings)
    with accelerator_path():
        figures = small_kernels.measure(model, "procedural", 64, torch.device("cpu"))
    for aim in small_kernels.aims(model):
        assert figures[aim.name] <= aim.aim, aim.name
    assert max(figures.values()) > 0  # two computations


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    """The rows of a small run on the CPU."""
    path = tmp_path_factory.mktemp("gpu_check") / "rows.json"
    gpu_check.main(["--device", "cpu", "--head", "procedural", "--size", "32", "--json", str(path)])
    return json.loads(path.read_text())


def test_small_run_on_the_cpu_has_all_rows(rows) -> None:
    named = {row["name"]: row for row in rows}
    assert all({"name", "aim", "figure", "unit", "pass"} <= set(row) for row in rows)
    trainings = [aim for aims in long_runs.TRAINING.values() for aim in aims]
    assert named["rasteriser: pixels unlike the reference"]["pass"] is True
    not_here = (*fused.AIMS, *lists.AIMS, *long_runs.PRECISION, *long_runs.TRACKING, *long_runs.PARITY)
    for aim in (*speed.LAUNCHES, *trainings, *not_here):
        assert named[aim.name]["pass"] is None
    for aim in (*speed.TIMES, *speed.BLEND_TIMES):  # measured, but the aims are those of a GPU
        assert named[aim.name]["figure"] > 0
        assert named[aim.name]["pass"] is None


def test_exit_code_is_1_where_a_row_fails(monkeypatch, tmp_path) -> None:
    part = Part("part", AIMS, lambda: {"time": 3.0, "rate": 11.0})
    monkeypatch.setattr(gpu_check, "all_parts", lambda *_: [part])
    with pytest.raises(SystemExit) as exit_:
        gpu_check.main(["--device", "cpu", "--json", str(tmp_path / "rows.json")])
    assert exit_.value.code == 1
    assert [row["pass"] for row in json.loads((tmp_path / "rows.json").read_text())] == [False, True]
