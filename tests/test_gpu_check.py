"""The check for GPU machines in its small form on the CPU, and its table."""

from __future__ import annotations

import json

import pytest

import gpu_check
from gpu_checks import long_runs, speed
from gpu_checks.table import Aim, Table

AIMS = [Aim("time", 2.0, "ms"), Aim("rate", 10.0, "1/s", at_least=True)]


def test_table_compares_figures_with_their_aims(capsys) -> None:
    table = Table()
    table.run(AIMS, lambda: {"time": 1.5, "rate": 9.0})
    assert [row.passed for row in table.rows] == [True, False]
    assert table.failed == ["rate"]
    assert "FAIL" in capsys.readouterr().out


def test_a_failing_part_does_not_stop_the_others() -> None:
    table = Table()

    def broken() -> dict[str, float]:
        raise RuntimeError("no such kernel")

    table.run(AIMS, broken)
    table.run(AIMS[:1], lambda: {"time": 1.0})
    table.run(AIMS[1:], None, "no data")
    assert [row.passed for row in table.rows] == [False, False, True, None]
    assert "no such kernel" in table.rows[0].note


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
    for aim in (*speed.LAUNCHES, *trainings, *long_runs.TRACKING, *long_runs.PARITY):
        assert named[aim.name]["pass"] is None
    for aim in (*speed.TIMES, *speed.BLEND_TIMES):  # measured, but the aims are those of a GPU
        assert named[aim.name]["figure"] > 0
        assert named[aim.name]["pass"] is None


def test_exit_code_is_1_where_a_row_fails(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(gpu_check, "check_data", lambda *_: None)
    monkeypatch.setattr(
        gpu_check,
        "check_kernels_and_speed",
        lambda table, *_: table.run(AIMS, lambda: {"time": 3.0, "rate": 11.0}),
    )
    with pytest.raises(SystemExit) as exit_:
        gpu_check.main(["--device", "cpu", "--json", str(tmp_path / "rows.json")])
    assert exit_.value.code == 1
    assert [row["pass"] for row in json.loads((tmp_path / "rows.json").read_text())] == [False, True]
