"""What the completions of all shells have in common; and the files, by name."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from command_line import SCENARIOS, WORDS, Command, Option, Value

from energyctl.verbs.completion import Source
from energymarket.scenario import toml
from energymarket.wire.messages import CONTROL_INTERFACE

HEAD: Final = (
    "Written by packaging/man/generate.py from the definitions of the verbs: change those, not this."
)
HELP: Final = Option(("--help",), None, "Show what it does and takes")
METHODS: Final = "methods"


def all_commands(root: Command) -> Iterator[Command]:
    """Every verb, and every verb of a group behind it."""
    for verb in root.commands:
        yield verb
        yield from verb.commands


def last_word(command: Command) -> str:
    """The verb without its group."""
    return command.words.rpartition(" ")[2]


def options_of(command: Command) -> tuple[Option, ...]:
    """Its own options and --help: those that hold everywhere are not among them."""
    return (*command.options, HELP)


def known_words(value: Value) -> list[str]:
    """The words that complete a value and are known beforehand; files may come on top."""
    if value.source == WORDS:
        return list(value.choices) or value.placeholder.split("|")
    if value.source == SCENARIOS:
        return list(toml.shipped())
    if value.source == METHODS:
        return re.findall(r"^method (\w+)", CONTROL_INTERFACE, re.MULTILINE)
    return []


def is_asked_for(value: Value) -> bool:
    """Whether energyctl itself is asked for the words while somebody types."""
    return value.source in set(Source)


def quoted(text: str) -> str:
    """A word in single quotes, for a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"
