"""A program replaces and removes only what it has written itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nha.core.errors import UserError
from nha.core.manifest import MANIFEST_FILE
from nha.core.output_folder import (
    own_files,
    own_folder,
    remove_own_output,
    remove_partial_files,
    require_own,
    require_own_file,
)
from nha.core.system import atomic_directory, atomic_path, replace_file


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST_FILE
    }


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_with_files_from_elsewhere_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    before = tmp_path.stat().st_mtime_ns
    for take in (require_own, lambda folder: own_folder(folder).__enter__()):
        with pytest.raises(UserError, match=r"files from elsewhere \(thesis.txt\)"):
            take(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert tmp_path.stat().st_mtime_ns == before


def replace_meanwhile(out: Path, moved: Path, target: Path | None, written: str | None) -> None:
    """A program whose output folder is moved while it works; its place is taken by a link to `target`, if any."""
    with own_folder(out):
        write(out / "first.json", "first")
        os.replace(out, moved)
        if target is not None:
            out.symlink_to(target)
        if written is not None:
            write(out / written, "second")


@pytest.mark.parametrize("is_link", [True, False])
@pytest.mark.parametrize("written", ["scores.json", "sub/scores.json", None])
def test_a_folder_that_is_replaced_meanwhile_ends_the_program_and_nothing_else_is_touched(
    tmp_path, is_link, written
):
    elsewhere, moved = tmp_path / "elsewhere", tmp_path / "moved"
    write(elsewhere / "scores.json", "mine")
    write(elsewhere / "sub" / "scores.json", "mine")
    with pytest.raises(UserError, match="moved, removed or replaced while this program was at work"):
        replace_meanwhile(tmp_path / "out", moved, elsewhere if is_link else None, written)
    assert contents(elsewhere) == {"scores.json": "mine", "sub/scores.json": "mine"}
    assert not (elsewhere / MANIFEST_FILE).exists()
    assert contents(moved) == {"first.json": "first"}


def test_own_files_are_replaced_and_changed_or_foreign_ones_kept(tmp_path, caplog):
    out = tmp_path / "out"
    with own_folder(out):
        for name in ("scores.json", "report.html", "part/still.png"):
            write(out / name, "first")
    (out / "report.html").write_text("edited")
    (out / "new.txt").write_text("foreign")
    (out / "film.mp4").mkdir()
    with own_folder(out):
        for name in ("scores.json", "report.html", "part/still.png", "new.txt", "film.mp4"):
            write(out / name, "second")
    assert contents(out) == {
        **dict.fromkeys(("scores.json", "report.html", "part/still.png", "new.txt", "film.mp4"), "second"),
        "report.html.unused": "edited",
        "new.txt.unused": "foreign",
    }
    assert (out / "film.mp4.unused").is_dir()
    assert "report.html is not as this program wrote it; it is kept as report.html.unused" in caplog.text
    remove_own_output(out)
    assert contents(out) == {"report.html.unused": "edited", "new.txt.unused": "foreign"}


def test_a_link_in_the_place_of_an_output_file_is_kept_and_its_target_unchanged(tmp_path):
    out, target = tmp_path / "out", tmp_path / "target.txt"
    target.write_text("theirs")
    with own_folder(out):
        pass
    (out / "scores.json").symlink_to(target)
    with own_folder(out):
        write(out / "scores.json", "ours")
    assert target.read_text() == "theirs"
    assert not (out / "scores.json").is_symlink()
    assert (out / "scores.json.unused").is_symlink()


def test_a_folder_of_files_is_replaced_as_a_whole_and_foreign_files_in_it_are_kept(tmp_path):
    out = tmp_path / "out"
    for text in ("first", "second"):
        with own_folder(out) as manifest, atomic_directory(out / "truth", manifest.replace_folder) as folder:
            (folder / "frame").mkdir()
            for name in (f"{text}.txt", "frame/labels.txt"):
                (folder / name).write_text(text)
        (out / "truth" / f"note_{text}.txt").write_text("mine")
    assert contents(out) == {
        "truth/second.txt": "second",
        "truth/frame/labels.txt": "second",
        "truth/note_second.txt": "mine",
        "truth.unused/note_first.txt": "mine",
    }


def test_files_are_recorded_by_whatever_path_they_are_written(tmp_path, monkeypatch, caplog):
    """Lightning writes training states by their absolute path without links, also below a relative --out."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    for out in (Path("relative"), tmp_path / "link" / "out"):
        for _ in range(2):
            with own_folder(out):
                write(out.resolve() / "last.ckpt", "first")
                write(out / "last.ckpt", "second")
        assert contents(out) == {"last.ckpt": "second"}
    assert not caplog.messages


def test_renamed_files_and_library_logs_are_recorded(tmp_path):
    with own_folder(tmp_path, logs="logs"):
        write(tmp_path / "last.ckpt", "1")
        replace_file(tmp_path / "last.ckpt", tmp_path / "previous.ckpt")
        write(tmp_path / "last.ckpt", "2")
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "events").write_text("curves")
    remove_own_output(tmp_path)
    assert not tmp_path.exists()


def test_files_of_an_earlier_version_are_adopted_once(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "run.txt").write_text("mine")
    with own_folder(tmp_path, of_earlier_version=lambda folder: ["run.json"]):
        write(tmp_path / "run.json", "new")
        write(tmp_path / "run.txt", "new")
    assert contents(tmp_path) == {"run.json": "new", "run.txt": "new", "run.txt.unused": "mine"}


def test_inner_folders_with_a_manifest_keep_their_own_records(tmp_path):
    with own_folder(tmp_path), own_folder(tmp_path / "inner"):
        write(tmp_path / "inner" / "x.txt", "x")
        write(tmp_path / "y.txt", "y")
    names = [
        [json.loads(line)["name"] for line in (folder / MANIFEST_FILE).read_text().splitlines()]
        for folder in (tmp_path, tmp_path / "inner")
    ]
    assert names == [["y.txt"], ["x.txt"]]


def test_the_manifest_does_not_grow_with_every_rewritten_file(tmp_path):
    for _ in range(3):
        with own_folder(tmp_path):
            for i in range(80):
                write(tmp_path / "state.txt", f"{i} {os.urandom(4).hex()}")
    assert len((tmp_path / MANIFEST_FILE).read_text().splitlines()) < 130


def test_single_files_are_refused_unless_they_are_own(tmp_path):
    path, other = tmp_path / "film.mp4", tmp_path / "other.txt"
    other.write_text("beside it")
    for text in ("first", "second"):
        with own_files(path):
            write(path, text)
    path.write_text("edited")
    for take in (require_own_file, lambda file: own_files(file).__enter__()):
        with pytest.raises(UserError, match="was not written by this program, or was changed since"):
            take(path)
    assert contents(tmp_path) == {"film.mp4": "edited", "other.txt": "beside it"}


def test_partial_files_of_killed_runs_are_removed_and_no_others(tmp_path):
    dead = dead_process()
    gone = [
        f".film.{dead}.0a1b2c3d.part.mp4",
        f"sub/.x.{dead}.0a1b2c3d.part.json",
        f".truth.{dead}.0a1b2c3d.part/a",
    ]
    kept = [f".film.{os.getppid()}.0a1b2c3d.part.mp4", ".note.part", "film.part.mp4", ".a.12.part.mp4"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / f".link.{dead}.0a1b2c3d.part").symlink_to(tmp_path)
    remove_partial_files(tmp_path)
    assert set(contents(tmp_path)) == set(kept)


@pytest.mark.parametrize(
    "content", ["", "[" * 100_000, "{}\n[]\n3\n", '{"name": "../x", "bytes": 1, "sha256": "0"}\n']
)
def test_a_damaged_manifest_gives_no_right_to_replace_anything(tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / MANIFEST_FILE).write_text(content)
    (out / "x").write_text("mine")
    (tmp_path / "x").write_text("outside")
    with own_folder(out):
        write(out / "x", "ours")
    remove_own_output(out)
    assert contents(tmp_path) == {"out/x.unused": "mine", "x": "outside"}


def test_a_link_in_the_place_of_the_manifest_is_refused(tmp_path):
    out, target = tmp_path / "out", tmp_path / "bashrc"
    out.mkdir()
    target.write_text("theirs")
    (out / MANIFEST_FILE).symlink_to(target)
    for take in (lambda: own_folder(out).__enter__(), lambda: own_files(out / "x").__enter__()):
        with pytest.raises(UserError, match="is a link"):
            take()
    assert target.read_text() == "theirs"
