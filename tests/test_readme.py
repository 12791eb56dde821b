"""The README agrees with the program: its commands run; options, files, scripts and messages that it names exist."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nha.cli.command_table import COMMANDS
from nha.cli.main import main
from nha.core.optional_files import INSTALL_MEDIAPIPE, optional_files
from nha.core.paths import new_asset_folder
from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames
from nha.head import flame_files
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject

FRAMES = 6  # the README's commands name frame 10, for which the tests take frame 5

# Options that make each command quick on a tiny synthetic video. They are added to the README's command, which is
# otherwise run as it is, with other paths.
QUICK = {
    "preprocess": "--estimators truth --scale 64",
    "track": "--refine_steps 5 --appearance_steps 5 --n_keyframes 4 --head procedural --device cpu",
    "train": "--epochs_offset 1 --epochs_texture 1 --epochs_joint 1 --schedule_frames 0 --held_out_steps 1 "
    "--head procedural --device cpu",
    "evaluate": "--turntable 4 --device cpu",
    "compare": "--device cpu",
    "reenact": "--max_frames 2 --driving_estimators truth --device cpu",
    "export": "--texture_size 32 --views 2 --device cpu",
    "view": "--device cpu",
}
# The same for the first Python example; `tracking.params(10)` needs a frame that the tiny video has.
QUICK_PYTHON = {
    "scale=256": 'scale=64, estimators="truth"',
    '"experiments/talk/tracking")': '"experiments/talk/tracking", refine_steps=5, appearance_steps=5, n_keyframes=4, '
    'head="procedural", device="cpu")',
    '"experiments/talk/avatar")': '"experiments/talk/avatar", schedule_frames=0, held_out_steps=1, epochs_offset=1, '
    'epochs_texture=1, epochs_joint=1, head="procedural", device="cpu")',
    "(10)": "(5)",
    "tracking=tracking": 'tracking=tracking, texture_size=32, views=2, device="cpu"',
}
QUICK_EXTENSION = {
    'config="demo"': 'config="demo", epochs_offset=1, epochs_texture=1, epochs_joint=1, head="procedural", '
    'device="cpu"',
}
RUN_ELSEWHERE = ("demo", "make")  # tests/test_demo.py, tests/pipeline/test_make.py


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text("utf-8")


def blocks(readme: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in found} == {"bash", "python"}
    return [text for name, text in found if name == language]


def command_lines(readme: str) -> list[list[str]]:
    """Every command of the bash blocks, as arguments."""
    lines = "\n".join(blocks(readme, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def nha_commands(readme: str) -> list[tuple[str, list[str]]]:
    """The commands of `nha` in the bash blocks: name and arguments."""
    lines = [line[1:] for line in command_lines(readme) if line[0] == "nha"]
    return [(line[0], line[1:]) for line in lines if line[0] in COMMANDS]


@functools.cache
def help_text(command: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "nha", *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    return run.stdout


def test_commands_are_those_that_these_tests_run(readme):
    for line in command_lines(readme):
        assert line[0] in ("make", "nha", "source"), line
        if line[0] == "nha":
            assert line[1] in (*QUICK, *RUN_ELSEWHERE, "--help"), line


def test_make_targets_exist(readme, repository):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    targets = [line[1:] for line in command_lines(readme) if line[0] == "make"]
    targets += [[target] for target in re.findall(r"`make ([\w-]+)`", readme)]
    assert ["env"] in targets
    assert ["test"] in targets
    for target in targets:
        run = subprocess.run(["make", "-n", *target], cwd=repository, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_options_of_the_commands_exist(readme):
    commands = nha_commands(readme)
    assert len(commands) > 8
    for command, arguments in commands:
        for option in (argument for argument in arguments if argument.startswith("--")):
            assert re.search(rf"{option}\b", help_text(command)), f"nha {command} has no {option}"


@pytest.mark.parametrize("document", ["docs/several_gpus.md", "deps/video-head-tracker/README.md"])
def test_options_of_the_commands_in_other_documents_exist(repository, document):
    text = (repository / document).read_text("utf-8").replace("\\\n", " ")
    commands = re.findall(r"nha ([a-z]+) (--.*)", text)
    assert commands
    for command, arguments in commands:
        for option in re.findall(r"--\w+", arguments):
            assert re.search(rf"{option}\b", help_text(command)), f"nha {command} has no {option}"


def test_options_in_the_text_exist(readme):
    known = "\n".join(help_text(command) for command in COMMANDS)
    options = {option for option in re.findall(r"`[^`\n]*?(--\w+)", readme) if option != "--no"}
    assert len(options) > 20
    missing = [option for option in sorted(options) if not re.search(rf"{option}\b", known)]
    assert not missing


def test_commands_in_the_text_exist(readme):
    named = set(re.findall(r"`nha ([a-z-]+(?:\s(?:dataset|weights|make|inspect))?)", readme))
    named = {" ".join(name.split()) for name in named}
    assert not named - set(COMMANDS)


@pytest.mark.slow
def test_own_video(readme, repository, tmp_path, monkeypatch):
    """The commands of the README in its order, then the Python examples, on a tiny synthetic video.

    They run in this process, because every new one would take seconds to import the libraries.
    """
    monkeypatch.chdir(repository)
    write_subject(tmp_path, SyntheticSettings(frames=FRAMES, size=(64, 64), progress=False))
    here = {
        "my_video.mp4": str(tmp_path / "video.mp4"),
        "friend.mp4": str(tmp_path / "video.mp4"),
        "talk.mp4": str(tmp_path / "video.mp4"),
        "experiments/talk": str(tmp_path / "talk"),
        # the larger dataset is not made again: its training differs
        "experiments/me_512/dataset": str(tmp_path / "me" / "dataset"),
        "experiments/me_512/tracking": str(tmp_path / "me" / "tracking"),
        "experiments/me": str(tmp_path / "me"),
        "experiments/friend": str(tmp_path / "me"),  # one video is enough to see that the commands run
    }
    for command, arguments in nha_commands(readme):
        if command in RUN_ELSEWHERE:
            continue
        given = [_replace(argument, here) for argument in arguments]
        arguments = [command, *given, *QUICK[command].split()]
        if command == "view":
            _serve([sys.executable, "-m", "nha", *arguments], repository)
            continue
        _run_command(arguments)
        if command == "train" and not (tmp_path / "me_longer").exists():  # another avatar, for the comparison
            shutil.copytree(tmp_path / "me" / "avatar", tmp_path / "me_longer" / "avatar")
    for folder in ("by_friend", "by_video", "still"):
        assert len(list(iterate_frames(tmp_path / "me" / folder / "side_by_side.mp4"))) == 2
    assert (tmp_path / "me" / "comparison" / "report.html").is_file()
    assert (tmp_path / "me" / "avatar" / "evaluation" / "report.html").is_file()
    assert {"avatar.glb", "frame_0005.obj"} <= {path.name for path in (tmp_path / "me" / "export").iterdir()}

    pipeline, posing, *extensions = blocks(readme, "python")
    assert "[1, 3, 64, 64]" in _run_example(pipeline, QUICK_PYTHON, here, tmp_path)
    _run_example(posing, {"(10)": "(5)"}, here, tmp_path)
    assert read_rgb(tmp_path / "talk" / "changed.png").shape == (64, 64, 3)
    assert len(extensions) == 2  # a loss term, a texture network
    for example in extensions:
        _run_example(example, QUICK_EXTENSION, here, tmp_path)


def _run_command(arguments: Sequence[str]) -> None:
    """Run `nha` with arguments; it must exit with code 0."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0, shlex.join(arguments)


def _run_example(example: str, quick: dict[str, str], here: dict[str, str], folder: Path) -> str:
    """Run a Python example with quick settings and other paths; returns what it prints."""
    for text, replacement in quick.items():
        assert text in example, text
        example = example.replace(text, replacement)
    script = folder / "example.py"
    script.write_text(_replace(example, here), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(script), run_name="__main__")
    return printed.getvalue()


def _serve(program: list[str], repository: Path) -> None:
    """Start a command that runs until it is terminated. It must print its address, and exit with the signal's code."""
    with subprocess.Popen(
        program,
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        printed = next((line for line in server.stdout if "http://127.0.0.1" in line), None)
        server.send_signal(signal.SIGTERM)
        rest = server.communicate(timeout=60)[0]
    assert printed, rest
    assert server.returncode == 128 + signal.SIGTERM, rest


def _replace(argument: str, here: dict[str, str]) -> str:
    for name, path in here.items():
        argument = argument.replace(name, path)
    return argument


def test_commands_for_data_of_other_projects_have_these_options(readme):
    """Their files are not here, so that the commands are read but not run; see tests/tracking/test_exchange.py."""
    lines = [shlex.split(line) for line in re.findall(r"^    (nha .*)", readme, re.MULTILINE)]
    assert {line[1] for line in lines} >= {
        "import-tracking",
        "export-tracking",
        "train",
        "reenact",
        "convert",
    }
    for line in lines:
        name = " ".join(line[1:3]) if line[1] in ("check", "head") else line[1]
        for option in (word for word in line if word.startswith("--")):
            assert re.search(rf"{option}\b", help_text(name)), f"nha {name} has no {option}"


def test_table_of_commands_and_scripts_is_complete(readme, repository):
    rows = re.findall(r"^\| `nha ([a-z -]+)` \| `([\w/.-]+\.py)` \|", readme, re.MULTILINE)
    scripts = [*(repository / "python_scripts").glob("*.py")]
    scripts += (repository / "deps" / "video-head-tracker").glob("optimize_*.py")
    assert {command for command, _ in rows} == set(COMMANDS)
    assert {script for _, script in rows} == {script.relative_to(repository).as_posix() for script in scripts}


def test_links_and_images_exist(readme, repository):
    links = re.findall(r"!?\[[^]]*\]\(([^)]+)\)", readme)
    assert sum(link.startswith("docs/images/") for link in links) == len(
        list((repository / "docs" / "images").iterdir())
    )
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", readme, re.MULTILINE)
    }
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (repository / link.split("#")[0]).exists(), link


def test_contents_lists_every_section(readme):
    contents = " ".join(readme.split("\n## ")[0].split())
    for title in re.findall(r"^## (.*)", readme, re.MULTILINE):
        assert f"[{title}](#" in contents or title == "Licence", title


def test_downloads_are_those_that_the_readers_look_for(readme):
    for name in (*flame_files.MODEL_FILES, *flame_files.REQUIRED_FILES, flame_files.TEXTURE_FILE):
        assert f"`{name}`" in readme
    for entry in optional_files():
        if entry.name == "mediapipe":  # comes with the environment
            continue
        places = {new_asset_folder(): f"`assets/{entry.folder.name}/`"}
        assert places.get(entry.folder.parent, "`$TORCH_HOME/hub/checkpoints/`") in readme
        for name in entry.names:
            assert f"`{name}`" in readme


def test_mediapipe_is_installed_as_the_messages_say(readme):
    assert f"`{INSTALL_MEDIAPIPE}`" in " ".join(readme.split())


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a program; "..." stands for each value of an f-string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_of_the_troubleshooting_section_exist(readme, repository):
    section = readme.split("\n## Troubleshooting")[1].split("\n## ")[0]
    messages = re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE)
    assert len(messages) >= 8
    sources = (repository / "nha").rglob("*.py")
    known = "\n".join(text for source in sources for text in texts(ast.parse(source.read_text("utf-8"))))
    for message in messages:
        for part in re.split(r"\.\.\.|'[^']*'", message):
            assert part.strip(" :;,()") in known, f"{message}: no message has {part!r}"
