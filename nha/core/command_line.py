"""Command lines of the scripts that have a few options instead of settings (see `nha.core.config` for those)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from nha.core.config_parser import unknown_key
from nha.core.errors import UserError


class OptionParser(argparse.ArgumentParser):
    """An argument parser whose complaints are UserErrors of one line; for a wrong option it names the nearest one.

    Options must be written out, as settings must be.
    """

    def __init__(self, **options) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As `argparse`'s. Raises UserError where it would print its usage and leave."""
        args = sys.argv[1:] if args is None else args
        known = [option.removeprefix("--") for option in self._option_string_actions]
        # before argparse looks: it would complain of a required option that is only misspelt
        for argument in args:
            if argument.startswith("--") and argument[2:].partition("=")[0] not in known:
                raise UserError(unknown_key(argument, known, "on the command line"))
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")
