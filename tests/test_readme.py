"""The README says what is true: its commands run, the files and scripts that it names are there."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nha.core.optional_files import optional_files
from nha.core.paths import new_asset_folder
from nha.data.video_io import iterate_frames
from nha.head import flame_files
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject

FRAMES = 8

# What makes each script quick on a tiny synthetic video; nothing that the README's command itself says is changed
# but paths and sizes.
QUICK = {
    "video_to_dataset.py": "--estimators truth --scale 64",
    "optimize_tracking.py": "--refine_steps 5 --appearance_steps 5 --n_keyframes 4 --head procedural --device cpu",
    "optimize_nha.py": "--epochs_offset 1 --epochs_texture 1 --epochs_joint 1 --head procedural --device cpu",
    "reenact_avatar.py": "--max_frames 2 --driving_estimators truth --device cpu",
    "evaluate_avatar.py": "--turntable 4 --device cpu",
    "export_avatar.py": "--texture_size 32 --views 2 --device cpu",
    "view_avatar.py": "--device cpu",
}


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text("utf-8")


def commands(readme: str) -> list[list[str]]:
    """Every command of the fenced blocks, as arguments."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"bash"}
    lines = "\n".join(text for _, text in blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def test_every_command_is_one_that_these_tests_know(readme):
    for command in commands(readme):
        assert command[0] in ("make", ".venv/bin/python"), command
        if command[0] != "make":
            assert Path(command[1]).name in QUICK, f"{command[1]} is not run by test_own_video"


def test_make_targets_exist(readme, repository):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    targets = [command[1:] for command in commands(readme) if command[0] == "make"]
    targets += [[target] for target in re.findall(r"`make (\w+)`", readme)]
    assert ["demo"] in targets
    assert ["test"] in targets
    for target in targets:
        run = subprocess.run(["make", "-n", *target], cwd=repository, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_own_video(readme, repository, tmp_path):
    """The commands for one's own video, in the order of the README, on a tiny synthetic one."""
    write_subject(tmp_path, SyntheticSettings(frames=FRAMES, size=(64, 64), progress=False))
    here = {
        "my_video.mp4": str(tmp_path / "video.mp4"),
        "friend.mp4": str(tmp_path / "video.mp4"),
        "experiments/me": str(tmp_path / "me"),
        "experiments/friend": str(tmp_path / "me"),  # one video is enough to see that the commands run
    }
    for command in commands(readme):
        if command[0] == "make":
            continue
        arguments = [_replace(argument, here) for argument in command[1:]]
        arguments += QUICK[Path(command[1]).name].split()
        if "view_avatar.py" in command[1]:
            _serve(arguments, repository)
            continue
        run = subprocess.run([sys.executable, *arguments], cwd=repository, capture_output=True, text=True)
        assert run.returncode == 0, f"{shlex.join(command)}\n{run.stderr[-2000:]}"
        if "optimize_nha.py" in command[1]:  # another avatar of the same person, to compare with
            shutil.copytree(tmp_path / "me" / "avatar", tmp_path / "me_longer" / "avatar")
    for films in ("films", "films_friend", "films_still"):
        assert len(list(iterate_frames(tmp_path / "me" / films / "side_by_side.mp4"))) == 2
    assert (tmp_path / "me" / "comparison" / "report.html").is_file()
    assert (tmp_path / "me" / "avatar" / "evaluation" / "report.html").is_file()
    assert {"avatar.glb", "frame_0005.obj"} <= {path.name for path in (tmp_path / "me" / "export").iterdir()}


def _serve(arguments: list[str], repository: Path) -> None:
    """Start a command that runs until it is told to end; it must say where it listens, and end well."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        printed = next((line for line in server.stdout if "http://127.0.0.1" in line), None)
        server.send_signal(signal.SIGTERM)
        rest = server.communicate(timeout=60)[0]
    assert printed, rest
    assert server.returncode == 0, rest


def _replace(argument: str, here: dict[str, str]) -> str:
    for name, path in here.items():
        argument = argument.replace(name, path)
    return argument


def test_table_of_scripts_is_complete(readme, repository):
    table = set(re.findall(r"^\| `([\w/-]+\.py)` \|", readme, re.MULTILINE))
    scripts = [*(repository / "python_scripts").glob("*.py")]
    scripts += (repository / "deps" / "video-head-tracker").glob("optimize_*.py")
    assert table == {script.relative_to(repository).as_posix() for script in scripts}


def test_pictures_and_files_that_it_names_are_there(readme, repository):
    links = re.findall(r"!?\[[^]]*\]\(([^)#]+)\)", readme)
    assert any(link.startswith("docs/images/") for link in links)
    named = [link for link in links if "://" not in link]
    named += re.findall(r"`((?:configs|docs)/[\w./-]+)`", readme)
    for name in named:
        assert (repository / name).exists(), name


def test_downloads_are_those_that_the_readers_look_for(readme, repository):
    for name in (*flame_files.MODEL_FILES, *flame_files.REQUIRED_FILES, flame_files.TEXTURE_FILE):
        assert f"`{name}`" in readme
    for entry in optional_files():
        if entry.name == "mediapipe":  # comes with the environment
            continue
        places = {new_asset_folder(): f"`assets/{entry.folder.name}/`"}
        assert places.get(entry.folder.parent, "`$TORCH_HOME/hub/checkpoints/`") in readme
        for name in entry.names:
            assert f"`{name}`" in readme
