"""The flat list of keys of a (nested) settings dataclass."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

OTHER_SECTION = "Settings"


@dataclass(frozen=True)
class SettingKey:
    """One key: where it lies in the (nested) dataclass, its type and its help."""

    path: tuple[str, ...]  # names of the fields that lead to it; the last one is the key
    kind: Any
    default: Any  # MISSING where the user must give it
    help: str
    section: str
    aliases: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.path[-1]

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def value_in(self, settings: Any) -> Any:
        """The value of this key in an instance of the whole dataclass."""
        return functools.reduce(getattr, self.path, settings)


def setting_keys(
    settings_type: type,
    path: tuple[str, ...] = (),
    section: str = OTHER_SECTION,
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[SettingKey]:
    """All keys of a settings dataclass, in order, those of nested dataclasses included.

    path, section, defaults: where the walk stands; leave them alone.
    """
    kinds = typing.get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type):
        kind, metadata = kinds[field.name], field.metadata
        if dataclasses.is_dataclass(kind):
            first_line = (kind.__doc__ or field.name).strip().splitlines()[0].rstrip(".")
            yield from setting_keys(
                kind,
                (*path, field.name),
                metadata.get("section") or first_line,
                metadata.get("changed_defaults"),
            )
            continue
        section = metadata.get("section") or section
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        yield SettingKey(
            path=(*path, field.name),
            kind=kind,
            default=(defaults or {}).get(field.name, default),
            help=metadata.get("help", ""),
            section=section,
            aliases=metadata.get("aliases", ()),
        )


def ignored_keys(settings_type: type) -> Iterator[tuple[str, str]]:
    """Keys that are accepted without effect, and why: `IGNORED` of the dataclass and of nested ones."""
    yield from getattr(settings_type, "IGNORED", {}).items()
    kinds = typing.get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield from ignored_keys(kinds[field.name])


def names_of(entries: Iterable[SettingKey]) -> list[str]:
    """Every spelling of every key."""
    return [name for entry in entries for name in (entry.key, *entry.aliases)]


def check_names(entries: Sequence[SettingKey], ignored: Mapping[str, str], config_flag: str) -> None:
    """Refuse two settings under one name: a mistake in the program, not of the user."""
    names = [*names_of(entries), *ignored, key_of_flag(config_flag)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two settings have the same key: {', '.join(twice)}")


def key_of_flag(flag: str) -> str:
    """The key of a command line flag: "--config" is "config"."""
    return flag.lstrip("-").replace("-", "_")
