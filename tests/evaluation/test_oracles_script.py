"""The oracles' script: its rows, and options that do not fit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from nha.core.errors import UserError

_SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "oracles.py"


@pytest.fixture
def script():
    """The script, loaded from its file because nha.evaluation has a module of the same name."""
    spec = importlib.util.spec_from_file_location("oracles_script", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_its_rows(script, checkpoint, settings, tmp_path, capsys):
    options = [
        "--avatar",
        checkpoint,
        "--dataset",
        settings.data_path,
        "--tracking",
        settings.tracking_results_path,
    ]
    script.main([*map(str, options), "--part", "train", "--json", str(tmp_path / "rows.json")])
    rows = {row.pop("oracle"): row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert set(script.ORACLES) < set(rows)
    assert all(set(row) == set(script.SCORES) for row in rows.values())
    # the avatar itself drew these frames, so nothing but rounding is wrong
    assert rows["as rendered"]["head_psnr"] > 45
    assert rows["coverage, texture of each frame"]["head_psnr"] > 45
    assert "coverage, aligned, light" in capsys.readouterr().out


def test_every_avatar_has_its_dataset_and_tracking(script):
    with pytest.raises(UserError, match="the same number"):
        script.main(["--avatar", "a", "b", "--dataset", "c", "--tracking", "d", "e"])
