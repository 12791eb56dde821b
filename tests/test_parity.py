"""The parity script, run as a user runs it, on the published reference's numbers."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def flame_like(shared_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("flame_like")
    script = shared_dir / "flame_like" / "expand.py"
    subprocess.run([sys.executable, script, out, "--no-chumpy", "--texture", "0"], check=True)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["a", "c"])
def test_every_quantity_is_within_its_tolerance(folder, golden_dir, flame_like, run_script, tmp_path):
    report = tmp_path / "rows.json"
    done = run_script(
        "benchmarks/parity.py", "--golden", golden_dir / folder, "--assets", flame_like, "--json", report
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(report.read_text())
    assert len(rows) > 150
    assert all(row["pass"] for row in rows)
    assert set(rows[0]) == {"name", "shape", "worst", "mean", "tolerance", "pass"}


def test_a_missing_folder_is_one_line(run_script, tmp_path):
    done = run_script("benchmarks/parity.py", "--golden", tmp_path / "none", "--assets", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
