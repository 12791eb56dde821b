"""Entry points of the command line: `nha COMMAND ...` and the published scripts.

Neither this module nor the parsing of options imports torch or another large library: --help and a mistyped option
respond without delay.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from nha.cli.command_table import COMMANDS
from nha.cli.commands import Call
from nha.core.errors import UserError
from nha.core.system import run_script

_HELP = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run `nha` with arguments (None: those of this process) and exit with its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    run_script(lambda: _run(arguments))


def run_published(command: str) -> NoReturn:
    """Run a command under the name of the script that was started, with the arguments of this process, and exit."""
    run_script(lambda: _call(command, sys.argv[1:], Path(sys.argv[0]).name))


def _run(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "--help"
    if name in _HELP:
        print(_overview())
    elif name == "--version":
        from nha import __version__

        print(f"nha {__version__}")
    elif name in COMMANDS:
        _call(name, arguments[1:], f"nha {name}", COMMANDS[name].default_config)
    else:
        _run_of_group(name, arguments[1:])


def _run_of_group(group: str, arguments: list[str]) -> None:
    """Run a command of two words, such as `check dataset`, or list those of its group."""
    members = [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]
    if not members:
        raise UserError(_unknown(group, sorted({name.split()[0] for name in COMMANDS}), "nha"))
    second = arguments[0] if arguments else "--help"
    if second in _HELP:
        print(_overview(group))
    elif second in members:
        _call(f"{group} {second}", arguments[1:], f"nha {group} {second}")
    else:
        raise UserError(_unknown(second, members, f"nha {group}"))


def _call(name: str, argv: Sequence[str], program: str, default_config: str | None = None) -> None:
    command = COMMANDS[name]
    call = Call(argv, program, command.function.__doc__ or "", command.examples, default_config)
    command.function(call)


def _unknown(given: str, known: Sequence[str], program: str) -> str:
    nearest = get_close_matches(given, known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"it has {', '.join(known)}."
    return f"{program} has no command '{given}'; {hint} See {program} --help"


def _overview(group: str = "") -> str:
    program = f"nha {group}".strip()
    names = [name for name in COMMANDS if name.startswith(group)]
    rows = [f"  {name.removeprefix(group).strip():<15} {COMMANDS[name].summary}" for name in names]
    return "\n".join(
        [
            f"usage: {program} COMMAND [--OPTION VALUE ...]",
            "",
            "Head avatars from monocular videos.",
            "",
            "commands:",
            *rows,
            "",
            f"{program} COMMAND --help explains the options of a command; nha --version prints the version.",
        ]
    )
