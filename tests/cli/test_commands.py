"""`nha`: its commands, their common option names, and what it answers to mistakes."""

from __future__ import annotations

import re
import shlex

import pytest

import nha
from nha.cli.command_table import COMMANDS
from nha.cli.commands import Call
from nha.cli.main import main
from nha.core.config import names_of, setting_keys


def leave(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `nha WORDS`."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_overview_lists_every_command(words, capsys):
    code, out, _ = leave(capsys, *words)
    assert code == 0
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", out, re.MULTILINE)


def test_commands_of_two_words_have_an_overview(capsys):
    code, out, _ = leave(capsys, "check")
    assert code == 0
    assert "usage: nha check COMMAND" in out
    assert re.search(r"^  dataset +check a dataset folder$", out, re.MULTILINE)
    assert "train" not in out


def test_version(capsys):
    assert leave(capsys, "--version")[:2] == (0, f"nha {nha.__version__}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "nha has no command 'trian'; did you mean 'train'?"),
        (["zzz"], "nha has no command 'zzz'; it has check, compare, convert, demo"),
        (["check", "datset"], "nha check has no command 'datset'; did you mean 'dataset'?"),
        (["train", "--epoch_joint", "3"], "unknown setting 'epoch_joint' on the command line; did you mean 'epochs_j"),
        (["evaluate", "--dataset", "d"], "missing setting 'avatar', 'tracking'; pass --avatar VALUE"),
        (["view", "--port", "70000", "--avatar", "x"], "--port must be at most 65535, but is 70000"),
        (["convert", "a", "b", "--to", "ours"], "setting 'to' must be one of published, nha, not 'ours'"),
        (["convert", "a", "b", "c", "--to", "nha"], "unexpected argument 'c'"),
        (["check", "dataset", "--val_share", "1", "d"], "--val_share 1 is a share"),
        (["synthetic", "--out", "x", "--size", "64", "64", "64"], "--size takes one number"),
        (["head", "inspect", "auto", "--out", "x.jpg"], "ends in .png"),
        (["demo", "--seeds", "1", "1"], "two different numbers"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(words, message, capsys):
    code, out, error = leave(capsys, *words)
    assert code == 2
    assert message in error
    assert re.fullmatch(r"error: .*\n", error)


PARSE = Call.parse


class ParsedError(Exception):
    """Ends a command after parsing."""


def parse(monkeypatch, words: list[str]):
    """The settings that a command line gives; nothing is run."""
    found = []
    real = PARSE

    def stop(call: Call, settings_type: type):
        found.append((settings_type, real(call, settings_type)))
        raise ParsedError

    monkeypatch.setattr(Call, "parse", stop)
    size = 2 if words[0] in ("check", "head") else 1
    with pytest.raises(ParsedError):
        COMMANDS[" ".join(words[:size])].function(Call(words[size:], "nha", "", ""))
    return found[0]


# The common names, and the fields that they set: a command, its further options, option -> value of the field.
COMMON = [
    ("preprocess", "--video v.mp4", {"out": "out_path", "device": "device"}),
    ("track", "", {"dataset": "data_path", "out": "output_path", "head": "head", "device": "device",
                   "fps": "frame_rate", "backend": "raster_backend"}),
    ("train", "", {"dataset": "data_path", "tracking": "tracking_results_path", "out": "default_root_dir",
                   "head": "head", "device": "device", "backend": "raster_backend"}),
    ("evaluate", "", {"avatar": "ckpt", "dataset": "data_path", "tracking": "tracking_results_path", "out": "out",
                      "head": "head", "device": "device", "backend": "raster_backend", "fps": "frame_rate"}),
    ("view", "", {"avatar": "ckpt", "tracking": "tracking", "out": "out", "head": "head", "device": "device",
                  "backend": "raster_backend", "fps": "frame_rate"}),
    ("export", "", {"avatar": "ckpt", "tracking": "tracking", "out": "out", "head": "head", "device": "device",
                    "backend": "raster_backend", "fps": "frame_rate"}),
    ("make", "--video v.mp4", {"out": "out", "head": "head", "device": "device"}),
    ("compare", "--other b.ckpt", {"avatar": "avatar", "dataset": "dataset", "tracking": "tracking", "out": "out",
                                   "device": "device", "backend": "raster_backend"}),
    ("check dataset", "", {"dataset": "data", "tracking": "tracking", "out": "report"}),
    ("head inspect", "", {"head": "path"}),
    ("head make", "", {"out": "out"}),
    ("synthetic", "", {"out": "out", "head": "head", "fps": "fps"}),
    ("convert", "--to nha", {"avatar": "input", "out": "output", "head": "head"}),
]  # fmt: skip


@pytest.mark.parametrize("spelling", ["common", "published"])
@pytest.mark.parametrize(("command", "further", "fields"), COMMON, ids=[row[0] for row in COMMON])
def test_options_have_the_same_names_everywhere(command, further, fields, spelling, monkeypatch):
    values = {"fps": "24", "device": "cpu", "backend": "reference"}
    words = [*command.split(), *further.split()]
    for option, field in fields.items():
        words += [f"--{option if spelling == 'common' else field}", values.get(option, f"the_{option}")]
    settings_type, settings = parse(monkeypatch, words)
    found = {entry.key: entry.value_in(settings) for entry in setting_keys(settings_type)}
    for option, field in fields.items():
        value = found[field][0] if isinstance(found[field], list) else found[field]
        assert str(value).removesuffix(".0") == values.get(option, f"the_{option}")


def test_reenactment_has_the_common_names_too(monkeypatch, tmp_path):
    avatar = tmp_path / "a.ckpt"
    avatar.touch()
    words = [
        "reenact",
        "--avatar",
        str(avatar),
        "--tracking",
        "t",
        "--out",
        "o",
        "--driving_video",
        "v.mp4",
        "--fps",
        "24",
    ]
    _, settings = parse(monkeypatch, words)
    assert (settings.target_ckpt, str(settings.target_tracking_results)) == (avatar, "t")
    assert (str(settings.outpath), settings.frame_rate) == ("o", 24)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_name_options_that_exist(name, monkeypatch):
    lines = COMMANDS[name].examples.replace("\\\n", " ").splitlines()[1:]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[: 1 + len(name.split())] == ["nha", *name.split()]
        if name != "reenact":  # looks at once whether the checkpoint exists
            settings_type, _ = parse(monkeypatch, words[1:])
            given = {word[2:] for word in words if word.startswith("--")} - {"config"}
            assert given <= set(names_of(setting_keys(settings_type)))
