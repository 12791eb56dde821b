"""Settings: dataclasses with a sentence per field; INI files and command lines are only spellings of them.

    @dataclass(frozen=True)
    class Settings:
        data_path: Path = setting(help="Dataset folder.", section="Dataset")
        epochs: tuple[int, int, int] = setting((150, 50, 50), help="Epochs of the three stages.")
        trainer: TrainerSettings = nested(TrainerSettings)

        IGNORED: ClassVar = {"gpus": "the device is chosen with --device"}

    settings = parse_settings(Settings, description="Optimise an avatar.")

Every field is a key of the INI file and an option `--key`; the fields of nested dataclasses are keys of their
own. Command line beats INI file beats default; with several INI files the later one wins.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from nha.core.config_keys import SettingKey, check_names, ignored_keys, key_of_flag, names_of, setting_keys
from nha.core.config_parser import build_parser, config_files_on, unknown_key
from nha.core.config_values import describe_kind, format_value, parse_value
from nha.core.errors import UserError

S = TypeVar("S")


def setting(
    default: Any = MISSING,
    *,
    help: str,
    section: str | None = None,
    aliases: Sequence[str] = (),
) -> Any:
    """A field of a settings dataclass; without a default it must be given by the user.

    help: a sentence for --help; section: begins a new group in the help text, which lasts until the next;
    aliases: other names of the key that are accepted too. Mutable defaults are copied for each instance.
    """
    metadata = {"help": help, "section": section, "aliases": tuple(aliases)}
    if isinstance(default, (list, dict, set)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def nested(settings_type: type[S], *, section: str | None = None, **changed_defaults: Any) -> Any:
    """A field that is a settings dataclass itself; its fields become keys of the whole.

    section: heading in the help text (else the first line of the dataclass's docstring);
    changed_defaults: other defaults for some of its fields in this place.
    """
    metadata = {"settings": settings_type, "section": section, "changed_defaults": changed_defaults}
    return dataclasses.field(
        default_factory=functools.partial(settings_type, **changed_defaults), metadata=metadata
    )


def parse_settings(
    settings_type: type[S],
    argv: Sequence[str] | None = None,
    *,
    description: str,
    config_flag: str = "--config",
    default_config_files: Sequence[str | Path] = (),
) -> S:
    """Read settings from INI files (`--config FILE`, repeatable) and the command line.

    argv: arguments without the program's name (None: those of this process);
    default_config_files: read first, where they exist.
    Raises UserError for an unknown key (naming the nearest known one), a missing key, a value that does not
    fit, or a configuration file that cannot be read. `--help` prints and exits, as usual.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    entries = list(setting_keys(settings_type))
    ignored = dict(ignored_keys(settings_type))
    check_names(entries, ignored, config_flag)

    files = [Path(path) for path in default_config_files if Path(path).is_file()]
    files += config_files_on(argv, config_flag)
    parser = build_parser(entries, ignored, description, config_flag, files)
    namespace, unknown = parser.parse_known_args(argv, env_vars={})
    given = {key: value for key, value in vars(namespace).items() if key != key_of_flag(config_flag)}
    known = [*names_of(entries), *ignored, key_of_flag(config_flag)]
    for argument in unknown:
        raise UserError(unknown_key(argument, known, "on the command line"))

    if without_effect := [key for key in given if key in ignored]:
        print(f"settings without effect here: {', '.join(without_effect)} (see --help)")
    values = {entry.key: _convert(entry, given[entry.key]) for entry in entries if entry.key in given}
    if missing := [entry.key for entry in entries if entry.required and entry.key not in values]:
        raise UserError(
            f"missing setting {', '.join(repr(key) for key in missing)}; pass --{missing[0]} VALUE, or write "
            f"it in the configuration file ({config_flag} FILE)"
        )
    return _assemble(settings_type, values)


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


def _assemble(settings_type: type[S], values: Mapping[str, Any]) -> S:
    kinds = typing.get_type_hints(settings_type)
    arguments = {}
    for field in dataclasses.fields(settings_type):
        if dataclasses.is_dataclass(kinds[field.name]):
            changed = field.metadata.get("changed_defaults", {})
            arguments[field.name] = _assemble(kinds[field.name], {**changed, **values})
        elif field.name in values:
            arguments[field.name] = values[field.name]
    return settings_type(**arguments)


def _convert(entry: SettingKey, given: str | Sequence[str]) -> Any:
    words = [given] if isinstance(given, str) else list(given)
    text = " ".join(words)
    try:
        if entry.kind == list[Path] and not text.startswith("["):
            return [parse_value(word, Path) for word in words]  # a path may hold spaces and commas
        return parse_value(text, entry.kind)
    except ValueError:
        raise UserError(f"setting '{entry.key}' must be {describe_kind(entry.kind)}, not '{text}'") from None
