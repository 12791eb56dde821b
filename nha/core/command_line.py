"""Command lines: the options of settings (with ConfigArgParse), and a plain parser for programs without settings."""

from __future__ import annotations

import argparse
import sys
import typing
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from nha.core.config import SettingKey, names_of
from nha.core.config_values import format_value, is_list, placeholder, read_ini, unknown_key
from nha.core.errors import UserError
from nha.core.paths import config_file

CONFIG = "config"
_ORDER = {name: i for i, name in enumerate(("video", "avatar", "dataset", "tracking", "out"))}
MAIN_GROUP = "Main options"
_NOTE = """\
Every setting can also be given in an INI file, as 'key = value'. --config takes the file, or the short name of a
configuration of the package (blend, demo, optimize_avatar, tracking, reenactment). Lists are written [1, 2, 3].
The command line overrides the file."""


class _ErrorInOneLine(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


class OptionParser(_ErrorInOneLine):
    """An argument parser that raises UserErrors of one line; for an unknown option it names the nearest one.

    Options cannot be abbreviated.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As `argparse`'s. Raises UserError where that would print its usage and exit."""
        args = sys.argv[1:] if args is None else args
        known = [option.removeprefix("--") for option in self._option_string_actions]
        # checked first: argparse would report a misspelt required option as missing
        for argument in args:
            name = argument.removeprefix("--").partition("=")[0]
            if argument.startswith("--") and name not in known:
                raise UserError(unknown_key(name, known, "on the command line"))
        return super().parse_args(args, namespace)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One placeholder for all names of an option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar}"


def parse_options(
    argv: Sequence[str],
    entries: Sequence[SettingKey],
    ignored: Mapping[str, str],
    description: str,
    program: str | None,
    examples: str,
) -> dict[str, str | list[str]]:
    """The text (or the words of a list) of every given setting by key, from the command line and from INI files.

    Args:
        argv: arguments without the program's name.
        entries: the settings.
        ignored: keys that are accepted without effect, and the reason.
        description, program, examples: texts for --help.
    """
    import configargparse

    names = [*names_of(entries), *ignored, CONFIG]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two settings have the same key: {', '.join(twice)}")

    class IniFile(configargparse.ConfigFileParser):
        def parse(self, stream: TextIO) -> OrderedDict[str, str]:
            return OrderedDict(read_ini(Path(stream.name), names[:-1]))

    class Parser(_ErrorInOneLine, configargparse.ArgumentParser):
        pass

    parser = Parser(
        prog=program,
        usage=_usage(entries),
        description=description.strip(),
        epilog="\n\n".join(filter(None, (examples.strip(), _NOTE))),
        formatter_class=_HelpFormatter,
        default_config_files=[partial(open, path, "rb") for path in _config_files(argv)],
        config_file_parser_class=IniFile,
        add_config_file_help=False,
        add_env_var_help=False,
        add_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    _add_options(parser, entries, ignored)
    namespace, unknown = parser.parse_known_args(list(argv), env_vars={})
    for argument in unknown:
        if not argument.startswith("--"):
            raise UserError(f"unexpected argument '{argument}' on the command line; see --help")
        raise UserError(unknown_key(argument[2:].partition("=")[0], names, "on the command line"))
    paths = {entry.key for entry in entries if entry.kind == list[Path]}  # may hold spaces and commas
    return {
        key: value if isinstance(value, str) or (key in paths and value[0][:1] != "[") else " ".join(value)
        for key, value in vars(namespace).items()
        if key != CONFIG
    }


def _config_files(argv: Sequence[str]) -> list[Path]:
    parser = OptionParser(add_help=False)
    parser.add_argument(f"--{CONFIG}", action="append", default=[])
    return [config_file(name) for name in parser.parse_known_args(list(argv))[0].config]


def _usage(entries: Sequence[SettingKey]) -> str:
    words = [e.names[0].upper() for e in entries if e.positional]
    words += [f"--{e.names[0]} {placeholder(e.kind)}" for e in entries if e.required and not e.positional]
    return " ".join(["%(prog)s", *words, "[--OPTION VALUE ...]"])


def _add_options(
    parser: argparse.ArgumentParser, entries: Sequence[SettingKey], ignored: Mapping[str, str]
) -> None:
    groups = {MAIN_GROUP: parser.add_argument_group(MAIN_GROUP)}
    for entry in sorted(entries, key=_place_in_help):
        name = MAIN_GROUP if entry.main else entry.section
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        _add_option(groups[name], entry)
    groups[MAIN_GROUP].add_argument(
        f"--{CONFIG}", action="append", metavar="FILE", help="INI file with settings; may be repeated"
    )
    groups[MAIN_GROUP].add_argument("-h", "--help", action="help", help="Show this text and exit.")
    if ignored:
        group = parser.add_argument_group("Accepted for the published configurations, without effect")
        for key, reason in ignored.items():
            group.add_argument(f"--{key}", nargs="*", metavar="VALUE", help=_escape(reason))


def _place_in_help(entry: SettingKey) -> tuple[bool, bool, int]:
    """What must be given comes first, then the order of the options' names."""
    return not entry.positional, not entry.required, _ORDER.get(entry.names[0], len(_ORDER))


def _add_option(group: Any, entry: SettingKey) -> None:
    arity: dict[str, Any] = {}
    if is_list(entry.kind):
        arity = {"nargs": "+"}  # [16, 2, 2] in quotes or not, or 16 2 2
        if entry.kind == list[str]:
            arity["action"] = "extend"  # such options may be repeated
    elif entry.kind is bool or "true" in typing.get_args(entry.kind):
        arity = {"nargs": "?", "const": "true"}
    default = "required" if entry.required else f"default: {format_value(entry.default)}"
    text = _escape(f"{entry.help} ({default})".strip())
    if entry.positional:
        group.add_argument(entry.key, nargs="?", metavar=entry.names[0].upper(), help=text)
        text = argparse.SUPPRESS
    names = [f"--{name}" for name in entry.names]
    group.add_argument(*names, dest=entry.key, metavar=placeholder(entry.kind), help=text, **arity)


def _escape(text: str) -> str:
    return text.replace("%", "%%")
