"""
Command lines: text in, a configuration out.

Only the conversion from text is done here.  Text that does not convert goes to the configuration as
it is, which refuses it in its own words; so there is one message for each rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from twisted.python import usage

from fastcar_tw.checks import ConfigError, option_name

_SHIFTS = {"": 0, "k": 10, "M": 20, "G": 30}


def whole_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text


def number(text: str) -> float | str:
    # A whole number stays one, to be shown in an error as it was typed.
    return float(text) if re.fullmatch(r"[0-9]*\.[0-9]+", text) else whole_number(text)


def octal(text: str) -> int | str:
    return int(text, 8) if re.fullmatch(r"(0o)?[0-7]{1,6}", text) else text


def as_typed(text: str) -> str:
    return text


def size(text: str) -> int | str:
    """
    A number of bytes, which may be told in KiB, MiB or GiB: 64k, 100M, 1G.
    """
    match = re.fullmatch(r"([0-9]{1,12})([kMG]?)", text)
    return int(match[1]) << _SHIFTS[match[2]] if match else text


#: A field of the configuration, the conversion from text, and the help.
Parameter = tuple[str, Callable[[str], object], str]


def parameters(config: type, table: Sequence[Parameter]) -> list[list[str | None]]:
    """
    What L{usage.Options} wants to know of options with a value.  Defaults come from the
    configuration; usage prints those that are not None.

    @param config: a dataclass.
    """
    defaults = {field.name: field.default for field in fields(config)}
    return [
        [option_name(field)[2:], None, _as_text(convert, defaults[field]), text]
        for field, convert, text in table
    ]


def _as_text(convert: object, value: object) -> str | None:
    """
    Return a default as it would be typed.
    """
    if convert is octal:
        return f"{value:o}"
    if convert is size and isinstance(value, int):
        shift = next(each for each in (30, 20, 10, 0) if not value % (1 << each))
        return f"{value >> shift}{' kMG'[shift // 10].strip()}"
    if value is None or value is MISSING:
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


class ConfigOptions(usage.Options):
    """
    Parses the arguments of one service.

    L{parseOptions} is what twistd calls: an error ends the process with one line on stderr and
    exit status 1.  L{parse} raises C{usage.UsageError} instead.

    @cvar table: the options with a value.
    @cvar flags: the options without, and the field and value that each stands for.
    @cvar lists: the fields of options that can be repeated.
    """

    synopsis = "[options]"
    table: Sequence[Parameter] = ()
    flags: Mapping[str, tuple[str, bool]] = {}
    lists: Sequence[str] = ()

    def __init__(self) -> None:
        super().__init__()
        for field in self.lists:
            self[option_name(field)[2:]] = []

    def make_config(self, values: Mapping[str, Any]) -> Any:
        """
        @return: the configuration.
        @raise ConfigError: if a value is not usable.
        """
        raise NotImplementedError

    def opt_version(self) -> None:
        """Display the version of fastcar and exit."""
        from fastcar_tw import __version__

        print(f"fastcar {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        """
        @raise UsageError: for anything that is not an option.
        """
        if args:
            raise usage.UsageError(f"got {args[0]!r}, expected only options")

    def postOptions(self) -> None:
        """
        Check the values.

        @raise UsageError: for one that L{Config} refuses.
        """
        try:
            self.to_config()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    def parse(self, arguments: Sequence[str]) -> Any:
        """
        Parse the arguments.

        @raise UsageError: for any mistake, with a one-line message.
        """
        super().parseOptions(arguments)
        return self.to_config()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the arguments for twistd.

        @raise SystemExit: for any mistake, with one line instead of a usage page.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            # getopt's own messages repeat what was typed, line breaks included.
            raise SystemExit(f"fastcar: {' '.join(str(error).split())}") from None

    def to_config(self) -> Any:
        """
        @return: the configuration.
        @raise ConfigError: if a value is not usable.
        """
        values: dict[str, Any] = {
            field: None if (text := self[option_name(field)[2:]]) is None else convert(text)
            for field, convert, _ in self.table
        }
        for field in self.lists:
            values[field] = tuple(self[option_name(field)[2:]])
        for option, (field, value) in self.flags.items():
            values[field] = value if self[option] else not value
        return self.make_config(values)
