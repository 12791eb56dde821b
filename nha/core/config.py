"""Settings: dataclasses whose fields are the keys of INI files, command-line options and Python keywords.

    @dataclass(frozen=True)
    class TrainSettings(Settings):
        data_path: Path = setting(option="dataset", help="Dataset folder.", section="Dataset", main=True)
        epochs: tuple[int, int, int] = setting((150, 50, 50), help="Epochs of the three stages.", minimum=0)
        data: DataSettings = nested(DataSettings)

        IGNORED: ClassVar = {"gpus": "the device is chosen with --device"}

    settings = parse_settings(TrainSettings, description="Train an avatar.")  # command line and --config FILE
    settings = TrainSettings.from_ini("train.ini", dataset="me/dataset")

The fields of nested dataclasses are keys of the whole. Command line and keywords override INI files, a later INI file
overrides an earlier one, and INI files override defaults.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, TypeVar

from nha.core.config_values import (
    convert,
    describe_kind,
    describe_value,
    format_value,
    read_ini,
    unknown_key,
)
from nha.core.errors import UserError
from nha.core.paths import config_file
from nha.core.setting_range import SettingRange
from nha.core.system import get_logger

S = TypeVar("S")


def setting(
    default: Any = MISSING,
    *,
    help: str,
    option: str | None = None,
    aliases: Sequence[str] = (),
    section: str | None = None,
    main: bool = False,
    positional: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    min_items: int = 0,
) -> Any:
    """A field of a settings dataclass.

    Args:
        default: default value; without one the user must give a value. Lists are copied for each instance.
        help: a sentence for --help.
        option: name that the help text shows first; the field's own name is accepted, too.
        aliases: further names that are accepted.
        section: starts a new group of the help text and of INI files, which lasts until the next one.
        main: whether the help text lists the option in its first group.
        positional: whether the value may also be given without an option name on the command line.
        minimum, maximum: range of the number, or of each number of a list; without one it is as wide as
            `setting_range.LARGEST`.
        min_items: smallest number of items of a list.
    """
    about = {"help": help, "main": main, "positional": positional, "minimum": minimum, "maximum": maximum}
    about["min_items"] = min_items
    metadata = {"about": about, "option": option, "aliases": tuple(aliases), "section": section}
    if isinstance(default, list):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def nested(settings_type: type[S]) -> Any:
    """A field that is a settings dataclass itself; its docstring's first line is its section in the help text."""
    return dataclasses.field(default_factory=settings_type)


class Settings:
    """Base class of settings dataclasses."""

    @classmethod
    def from_ini(cls: type[S], path: str | Path | None = None, **overrides: Any) -> S:
        """Settings from an INI file and keywords.

        Args:
            path: an INI file, or the short name of one of the package's configurations, such as "demo"; None for none.
            overrides: values by any name of a setting, as Python values or as text; they override the file.

        Raises:
            UserError: for an unknown key (the message names the nearest), a missing one, or a value that does not fit.
        """
        entries = list(setting_keys(cls))
        known = names_of(entries)
        if wrong := [key for key in overrides if key not in known]:
            raise UserError(unknown_key(wrong[0], known, "among the keywords"))
        ignored = dict(ignored_keys(cls))
        texts = {} if path is None else read_ini(config_file(path), [*known, *ignored])
        if without_effect := [key for key in texts if key in ignored]:
            get_logger(__name__).info("settings without effect: %s", ", ".join(without_effect))
        return _build(cls, _typed(entries, texts) | _typed(entries, overrides))

    def check(self) -> None:
        """Raise UserError for a number out of its range."""
        for entry in setting_keys(type(self)):
            entry.check_range(entry.value_in(self))


@dataclass(frozen=True)
class SettingKey:
    """One key of a (nested) settings dataclass; see `setting` for its properties."""

    path: tuple[str, ...]  # names of the fields that lead to the value; the last one is the key
    kind: Any
    default: Any  # MISSING where the user must give a value
    names: tuple[str, ...]  # all names, first the one that the help text shows first
    section: str
    help: str
    main: bool
    positional: bool
    minimum: float | None
    maximum: float | None
    min_items: int = 0

    @property
    def key(self) -> str:
        return self.path[-1]

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def value_in(self, settings: Any) -> Any:
        """The value of this key in an instance of the whole dataclass."""
        return functools.reduce(getattr, self.path, settings)

    @property
    def range(self) -> SettingRange:
        """The numbers that it takes."""
        return SettingRange(f"--{self.names[0]}", self.minimum, self.maximum, self.min_items)

    def check_range(self, value: Any) -> None:
        """Raise UserError for a value out of range."""
        self.range.check(value)


def setting_keys(
    settings_type: type, path: tuple[str, ...] = (), section: str = "Settings"
) -> Iterator[SettingKey]:
    """All keys of a settings dataclass in order, including those of nested dataclasses.

    Args:
        settings_type: the dataclass.
        path, section: recursion state, internal.
    """
    kinds = typing.get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type):
        kind, metadata, here = kinds[field.name], field.metadata, (*path, field.name)
        if dataclasses.is_dataclass(kind):
            yield from setting_keys(kind, here, (kind.__doc__ or field.name).splitlines()[0].rstrip("."))
            continue
        section = metadata["section"] or section
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        option, names = metadata["option"], (field.name, *metadata["aliases"])
        names = (option, *(name for name in names if name != option)) if option else names
        yield SettingKey(here, kind, default, names, section, **metadata["about"])


def ignored_keys(settings_type: type) -> Iterator[tuple[str, str]]:
    """Keys that are accepted without effect, and the reason: `IGNORED` of the dataclass and of nested ones."""
    yield from getattr(settings_type, "IGNORED", {}).items()
    for kind in typing.get_type_hints(settings_type).values():
        if dataclasses.is_dataclass(kind):
            yield from ignored_keys(kind)


def names_of(entries: Iterable[SettingKey]) -> list[str]:
    """Every name of every key."""
    return [name for entry in entries for name in entry.names]


def parse_settings(
    settings_type: type[S],
    argv: Sequence[str] | None = None,
    *,
    description: str,
    program: str | None = None,
    examples: str = "",
) -> S:
    """Read settings from the command line and from INI files (`--config FILE`, repeatable).

    Args:
        settings_type: a settings dataclass.
        argv: arguments without the program's name; None for those of this process.
        description: text above the options in --help.
        program: name of the program in --help; None takes it from `sys.argv`.
        examples: text below the options in --help.

    Raises:
        UserError: for an unknown key (the message names the nearest), a missing one, a value that does not fit, or a
            configuration file that cannot be read. `--help` prints and exits.
    """
    from nha.core.command_line import parse_options  # ConfigArgParse is needed for command lines only

    entries = list(setting_keys(settings_type))
    ignored = dict(ignored_keys(settings_type))
    argv = sys.argv[1:] if argv is None else argv
    given = parse_options(argv, entries, ignored, description, program, examples)
    if without_effect := [key for key in given if key in ignored]:
        print(f"settings without effect here: {', '.join(without_effect)} (see --help)")
    return _build(settings_type, _typed(entries, given))


def format_settings(settings: Any) -> str:
    """Settings as the text of an INI file that `parse_settings` reads back, with its sections."""
    lines: list[str] = []
    section = None
    for entry in setting_keys(type(settings)):
        if entry.section != section:
            section = entry.section
            lines += ([""] if lines else []) + [f"[{section}]"]
        lines.append(f"{entry.key} = {format_value(entry.value_in(settings))}")
    return "\n".join(lines) + "\n"


def different_settings(recorded: str, current: str, ignored: Sequence[str] = ()) -> list[str]:
    """The keys with another value in two texts of `format_settings`, each with both values.

    A key that one of them lacks is one of another version of the program and counts as equal, as do `ignored` ones.
    """
    texts = [
        dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
        for text in (recorded, current)
    ]
    return [
        f"{key} = {texts[0][key]}, now {value}"
        for key, value in texts[1].items()
        if key not in ignored and texts[0].get(key, value) != value
    ]


def _build(settings_type: type[S], values: Mapping[str, Any]) -> S:
    """Settings of typed values by key. Raises UserError for a missing or out-of-range value."""
    entries = list(setting_keys(settings_type))
    if missing := [e.names[0] for e in entries if e.required and e.key not in values]:
        raise UserError(
            f"missing setting {', '.join(repr(name) for name in missing)}; pass --{missing[0]} VALUE (in Python: "
            f"{missing[0]}=VALUE), or write it in a configuration file (--config FILE)"
        )
    for entry in entries:
        entry.check_range(values.get(entry.key))
    return _assemble(settings_type, values)


def _assemble(settings_type: type[S], values: Mapping[str, Any]) -> S:
    kinds = typing.get_type_hints(settings_type)
    arguments = {}
    for field in dataclasses.fields(settings_type):
        if dataclasses.is_dataclass(kinds[field.name]):
            arguments[field.name] = _assemble(kinds[field.name], values)
        elif field.name in values:
            arguments[field.name] = values[field.name]
    return settings_type(**arguments)


def _typed(entries: Sequence[SettingKey], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values by the key of their setting, as the setting's type."""
    by_name = {name: entry for entry in entries for name in entry.names}
    values = {}
    for name, value in given.items():
        if (entry := by_name.get(name)) is None:
            continue
        try:
            values[entry.key] = convert(value, entry.kind)
        except ValueError:
            must_be = describe_kind(entry.kind)
            raise UserError(f"setting '{name}' must be {must_be}, not {describe_value(value)}") from None
    return values
