"""`check_weights.py`: every optional file, found or not, loading or not."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from nha.core.optional_files import optional_files
from nha.head.file_guide import HEAD_FILES
from nha.head.load import resolve_head_folder


@pytest.fixture
def check(repository: Path, monkeypatch, capsys, tmp_path):
    """check(*arguments) runs the script: (exit code, entry -> its first line, all that was printed, error)."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no torch home"))

    def run(*arguments: str | Path) -> tuple[int, dict[str, str], str, str]:
        script = str(repository / "python_scripts" / "check_weights.py")
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(script, run_name="__main__")
        printed = capsys.readouterr()
        lines = [line for line in printed.out.splitlines() if line and not line.startswith(" ")]
        states = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
        return left.value.code, states, printed.out, printed.err

    return run


def test_where_nothing_is_there_everything_is_said(check, spaced_dir):
    code, states, printed, error = check("--weights", spaced_dir)
    assert code == 0
    assert error == ""
    assert states.pop("mediapipe") in ("found, loads", "not found")
    assert set(states) == {"flame", "flame-tables", "flame-texture"} | {
        entry.name for entry in optional_files() if entry.name != "mediapipe"
    }
    assert set(states.values()) == {"not found"}
    for entry in optional_files(spaced_dir):
        assert all(fact in printed for fact in (*entry.names, entry.purpose, entry.origin, entry.licence))
    for file in HEAD_FILES[:-1]:  # the last one describes heads that are not FLAME
        assert all(fact in printed for fact in (*file.names, file.source, file.licence))
    assert str(spaced_dir / "face_parsing") in printed


def test_files_that_load_and_files_that_do_not(check, weights, spaced_dir):
    for name in ("rvm", "face_normals"):
        (spaced_dir / name).symlink_to(weights / name)
    (spaced_dir / "face_parsing").mkdir()
    torch.save({"weight": torch.zeros(3)}, spaced_dir / "face_parsing" / "model.pth")
    (spaced_dir / "arcface").mkdir()
    (spaced_dir / "arcface" / "backbone.pth").write_bytes(b"a page that says no")
    (spaced_dir / "flame").symlink_to(resolve_head_folder("procedural"))
    arguments = ("--weights", spaced_dir, "--require", "rvm")
    code, states, _, _ = check(*arguments)
    assert code == 0
    assert {name for name, state in states.items() if state == "found, loads"} - {"mediapipe"} == {
        "flame", "flame-tables", "flame-texture", "rvm", "face-normals"
    }  # fmt: skip
    assert states["face-parsing"].startswith("found, does not load: '")
    assert "'cp.resnet.conv1.weight' is missing" in states["face-parsing"]
    assert "cannot read weights" in states["arcface"]
    code, _, _, error = check(*arguments, "--require", "face-parsing", "--require", "face-alignment")
    assert code == 2
    assert error.startswith("error: required, but missing or not loading: face-parsing, face-alignment;")


def test_tables_of_flame_need_a_model_and_parts_of_a_set_are_named(check, spaced_dir):
    (spaced_dir / "flame").mkdir()
    (spaced_dir / "flame" / "FLAME_masks_mouth.pkl").write_bytes(b"")
    _, states, _, _ = check("--weights", spaced_dir)
    assert states["flame"] == "not found"
    assert (
        states["flame-tables"]
        == "found, does not load: they can only be checked together with a model (entry flame)"
    )


def test_an_unknown_name_is_refused(check):
    code, _, printed, error = check("--require", "rmv")
    assert code == 2
    assert printed == ""
    assert "rvm" in error
