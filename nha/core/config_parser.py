"""Settings' keys as a ConfigArgParse parser: INI files, options and the help text."""

from __future__ import annotations

import argparse
import difflib
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import configargparse

from nha.core.config_keys import SettingKey, names_of
from nha.core.config_values import format_value, metavar_of, takes_list
from nha.core.errors import UserError


class _HelpFormatter(argparse.HelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        # The placeholder of a list, [INT, INT], says already that there are several.
        return (
            action.metavar
            if isinstance(action.metavar, str)
            else super()._format_args(action, default_metavar)
        )


class _Parser(configargparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


class _IniParser(configargparse.ConfigFileParser):
    """`key = value` lines; [sections] only structure the file; lines that begin with ; or # are comments.

    After a value, a comment needs a space before its ; or #. Values in quotes are taken as they are.
    """

    known: Sequence[str] = ()

    def parse(self, stream: TextIO) -> OrderedDict[str, str]:
        items: OrderedDict[str, str] = OrderedDict()
        for number, line in enumerate(stream, start=1):
            line = line.strip()
            if not line or line[0] in ";#[":
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals or not key:
                raise UserError(f"'{stream.name}' line {number}: write 'key = value', not '{line}'")
            if key not in self.known:
                raise UserError(unknown_key(key, self.known, f"in '{stream.name}' line {number}"))
            if key in items:
                raise UserError(f"'{stream.name}' line {number}: '{key}' is set a second time")
            items[key] = value if value.startswith(('"', "'")) else _without_comment(value)
        return items


def _without_comment(value: str) -> str:
    for position, character in enumerate(value):
        if character in ";#" and (position == 0 or value[position - 1].isspace()):
            return value[:position].strip()
    return value


def unknown_key(argument: str, known: Sequence[str], where: str) -> str:
    """The message for a key that no setting has, with the nearest name that one has."""
    if not argument.startswith("--") and where == "on the command line":
        return f"unexpected argument '{argument}' {where}; settings are written --key VALUE, see --help"
    key = argument.lstrip("-").partition("=")[0]
    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else "see --help for all settings"
    return f"unknown setting '{key}' {where}; {hint}"


def config_files_on(argv: Sequence[str], config_flag: str) -> list[Path]:
    """The configuration files named on a command line. Raises UserError for one that does not exist."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(config_flag, dest="files", action="append", default=[])
    files = [Path(path).expanduser() for path in parser.parse_known_args(list(argv), env_vars={})[0].files]
    for path in files:
        if not path.is_file():
            raise UserError(
                f"configuration file '{path}' does not exist; give an INI file with {config_flag}"
            )
    return files


def _stream_of(path: Path) -> Callable[[], TextIO]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"configuration file '{path}' is not a readable text file") from None

    def open_config() -> TextIO:
        stream = io.StringIO(text)
        stream.name = str(path)
        return stream

    return open_config


def build_parser(
    entries: Sequence[SettingKey],
    ignored: Mapping[str, str],
    description: str,
    config_flag: str,
    files: Sequence[Path],
) -> configargparse.ArgumentParser:
    """A parser that leaves every given value as text, under the setting's key; nothing for the others.

    files: INI files to read, the last one wins. Its errors are UserErrors.
    """
    parser = _Parser(
        usage=f"%(prog)s [{config_flag} FILE] [--SETTING VALUE ...]",
        description=description,
        epilog=f"Every setting can also stand in an INI file as 'key = value' ({config_flag} FILE). "
        "Lists are written [1, 2, 3]. The command line beats the file.",
        formatter_class=_HelpFormatter,
        default_config_files=[_stream_of(path) for path in files],
        config_file_parser_class=type("IniParser", (_IniParser,), {"known": [*names_of(entries), *ignored]}),
        add_config_file_help=False,
        add_env_var_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        config_flag,
        action="append",
        metavar="FILE",
        help="INI file with settings; may be repeated, the later one wins",
    )
    groups: dict[str, Any] = {}
    for entry in entries:
        if entry.section not in groups:
            groups[entry.section] = parser.add_argument_group(entry.section)
        _add_option(groups[entry.section], entry)
    if ignored:
        group = parser.add_argument_group("accepted for configuration files of others, without effect")
        for key, reason in ignored.items():
            group.add_argument(f"--{key}", nargs="*", metavar="VALUE", help=_escape(reason))
    return parser


def _add_option(group: Any, entry: SettingKey) -> None:
    arity: dict[str, Any] = {}
    if takes_list(entry.kind):
        arity = {"nargs": "+"}  # [16, 2, 2] in quotes or not, or 16 2 2
    elif entry.kind is bool:
        arity = {"nargs": "?", "const": "true"}
    default = "required" if entry.required else f"default: {format_value(entry.default)}"
    group.add_argument(
        f"--{entry.key}",
        *(f"--{alias}" for alias in entry.aliases),
        dest=entry.key,
        metavar=metavar_of(entry.kind),
        help=_escape(f"{entry.help} ({default})".strip()),
        **arity,
    )


def _escape(text: str) -> str:
    return text.replace("%", "%%")
