import os
import subprocess
import sys

import pytest

from nha.core import system
from nha.core.errors import UserError
from nha.core.progress import progress


def test_run_script_turns_a_user_error_into_one_line_and_code_2(capsys):
    def main() -> None:
        raise UserError("the file is missing; fetch it")

    with pytest.raises(SystemExit) as stopped:
        system.run_script(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: the file is missing; fetch it\n"


def test_run_script_leaves_our_own_errors_alone():
    with pytest.raises(ZeroDivisionError):
        system.run_script(lambda: 1 / 0)


def test_atomic_path_replaces_or_leaves_nothing(spaced_dir):
    target = spaced_dir / "result.txt"
    target.write_text("old")

    def fail_halfway() -> None:
        with system.atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_text() == "old"
    assert [path.name for path in spaced_dir.iterdir()] == ["result.txt"]
    with system.atomic_path(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert len(list(spaced_dir.iterdir())) == 1


def test_atomic_directory_replaces_or_leaves_nothing(tmp_path):
    target = tmp_path / "folder"

    def fail_halfway() -> None:
        with system.atomic_directory(target) as temporary:
            (temporary / "a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    for name in ("a", "b"):
        with system.atomic_directory(target) as temporary:
            (temporary / name).touch()
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_require_writable_says_what_to_do(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(UserError, match="choose another output folder"):
        system.require_writable(in_the_way / "below")
    assert system.require_writable(tmp_path / "new" / "folder").is_dir()


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_folder_is_for_one_at_a_time(tmp_path):
    with system.exclusive_use(tmp_path):
        with pytest.raises(UserError, match="another run is at work"), system.exclusive_use(tmp_path):
            pass
    with system.exclusive_use(tmp_path):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="looks at Linux's file names")
def test_temporary_names_do_not_collide(tmp_path):
    with system.atomic_path(tmp_path / "x.bin") as one, system.atomic_path(tmp_path / "x.bin") as two:
        assert one != two
        one.touch()
        two.touch()


def test_a_reader_that_stops_reading_gets_no_traceback(tmp_path):
    script = tmp_path / "talks.py"
    script.write_text(
        "from nha.core.system import run_script\n"
        "def main():\n    for i in range(100000):\n        print('line', i, flush=True)\n"
        "run_script(main)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_progress_lines_end_before_the_error_is_printed(capsys):
    def main() -> None:
        [fail(item) for item in progress([1, 2], "work", unit="parts")]

    def fail(item: int) -> None:
        try:
            raise OSError(28, "No space left on device", "x/y")
        except OSError as error:
            raise UserError("the disk is full") from error

    with pytest.raises(SystemExit):
        system.run_script(main)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("work: 0 of 2 parts in")
    assert last == "error: the disk is full"
