"""Steps of a pipeline: what is finished is skipped; damaged records and missing or changed results are made again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nha.core.output_folder import own_folder
from nha.core.system import atomic_path
from nha.pipeline.steps import Steps


class Runs:
    """A step that writes one file into its own folder, and counts how often it ran."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.count = root, root / "step", 0

    def __call__(self) -> bool:
        """Run the step. Returns whether it did anything."""
        before = self.count
        result = self.folder / "result.bin"
        Steps(self.root / "steps.json").run(
            "step", "settings", self.folder, self._work, replace=False, outputs=[result]
        )
        return self.count > before

    def _work(self) -> int:
        self.count += 1
        with own_folder(self.folder), atomic_path(self.folder / "result.bin") as temporary:
            temporary.write_bytes(b"result")
        return 1


@pytest.fixture
def step(tmp_path) -> Runs:
    runs = Runs(tmp_path)
    assert runs()
    assert not runs()
    return runs


@pytest.mark.parametrize("seconds", [[], [None], {}, None, "3", "x", -1])
def test_a_record_with_other_seconds_is_none(step, seconds):
    content = json.loads((step.root / "steps.json").read_text())
    content["step"]["seconds"] = seconds
    (step.root / "steps.json").write_text(json.dumps(content))
    assert step()
    assert not step()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"step": 3}', '{"step": {"settings": []}}', "[" * 100_000]
)
def test_a_damaged_record_is_none(step, content):
    (step.root / "steps.json").write_text(content)
    assert step()
    assert not step()


@pytest.mark.parametrize("change", ["missing", "empty", "changed", "link", "folder", "no folder"])
def test_a_result_that_is_missing_or_changed_is_made_again_and_what_took_its_place_is_kept(step, change):
    path = step.folder / "result.bin"
    path.unlink()
    mine = step.root / "mine"
    mine.write_bytes(b"mine")
    if change == "empty":
        path.touch()
    elif change == "changed":
        path.write_bytes(b"Result")
    elif change == "link":
        path.symlink_to(mine)
    elif change == "folder":
        path.mkdir()
        os.rename(mine, path / "mine")
    elif change == "no folder":
        (step.folder / ".manifest.jsonl").unlink()
        step.folder.rmdir()
    assert step()
    assert path.read_bytes() == b"result"
    assert not path.is_symlink()
    assert any(kept.read_bytes() == b"mine" for kept in step.root.rglob("mine"))
    assert not step()
