"""The verbs of energyctl as its own definitions have them: what manual and completion are written from."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import typer

from energyctl.app import build
from energyctl.verbs import MODULES

FILES: Final = "files"
DIRECTORIES: Final = "directories"
SCENARIOS: Final = "scenarios"
WORDS: Final = "words"
_BY_PLACEHOLDER: Final = {
    "DIR": DIRECTORIES,
    "DIRECTORY": DIRECTORIES,
    "FILE": FILES,
    "FILE|NAME": SCENARIOS,
    "SCENARIO": SCENARIOS,
    "METHOD": "methods",
    "UNIT": "units",
    "KIND": "kinds",
    "ID": "homes",
}
"""What stands for a value says what completes it; a placeholder that is not here is completed by nothing."""
_NARROWER: Final = {("home", "homes"): "singles", ("event clear", "kinds"): "active-kinds"}
"""Where not all of a kind make sense: only homes with a unit are started, only active events cleared."""


@dataclass(frozen=True)
class Value:
    """What an option or an argument takes."""

    placeholder: str
    source: str = ""  # what completes it: files, directories, words, ...; "" for nothing
    choices: tuple[str, ...] = ()
    bounds: str = ""
    default: str = ""


@dataclass(frozen=True)
class Option:
    """An option, or an argument (which has no names)."""

    names: tuple[str, ...]
    value: Value | None  # None: a flag
    help: str
    required: bool = False
    many: bool = False


@dataclass(frozen=True)
class Command:
    """A verb, or a verb of a group: its words, what it does, what it takes."""

    words: str
    help: tuple[str, ...]  # paragraphs
    options: tuple[Option, ...]
    arguments: tuple[Option, ...]
    commands: tuple[Command, ...] = ()

    @property
    def summary(self) -> str:
        """The first sentence."""
        return first_sentence(self.help[0])

    def leaves(self) -> Iterator[Command]:
        """Every command that does something."""
        if self.commands:
            for inner in self.commands:
                yield from inner.leaves()
        else:
            yield self


def first_sentence(text: str, ends: str = ".:;") -> str:
    """A text up to the first of the marks that end it, without it."""
    return re.split(rf"[{ends}](?:\s|$)", text, maxsplit=1)[0]


def energyctl() -> Command:
    """All verbs, in the order of the help."""
    app, _, _ = build([])
    root = _command(typer.main.get_command(app), "")
    order = {verb: at for at, verb in enumerate(MODULES)}
    verbs = tuple(sorted(root.commands, key=lambda each: order[each.words]))
    return Command(root.words, root.help, root.options, root.arguments, verbs)


def _command(found: Any, words: str) -> Command:  # noqa: ANN401 - typer has no public name for its click
    shown = [each for each in found.params if not getattr(each, "hidden", False)]
    inner = {name: each for name, each in getattr(found, "commands", {}).items() if not each.hidden}
    return Command(
        words=words,
        help=tuple(" ".join(part.split()) for part in (found.help or "").split("\n\n")),
        options=tuple(_option(each, words) for each in shown if each.param_type_name == "option"),
        arguments=tuple(_option(each, words) for each in shown if each.param_type_name == "argument"),
        commands=tuple(_command(each, f"{words} {name}".strip()) for name, each in inner.items()),
    )


def _option(found: Any, words: str) -> Option:  # noqa: ANN401 - likewise
    is_option = found.param_type_name == "option"
    flag = is_option and found.is_flag
    names = sorted(found.opts, key=len) if is_option else ()  # -u, --unit
    text = (found.help or "").rstrip(".")
    if not text:
        raise LookupError(f"energyctl {words}: {found.name} has no word of help")
    many = found.nargs == -1 or getattr(found, "multiple", False)
    return Option(
        tuple(names), None if flag else _value(found, words), text, bool(found.required), bool(many)
    )


def _value(found: Any, words: str) -> Value:  # noqa: ANN401 - likewise
    kind = found.type
    choices = tuple(str(getattr(each, "value", each)) for each in getattr(kind, "choices", ()))
    placeholder = (found.metavar or "|".join(choices) or found.name.upper()).removesuffix("]...").strip("[]")
    source = WORDS if choices else _BY_PLACEHOLDER.get(placeholder, "")
    if not source and getattr(kind, "file_okay", None) is not None:
        source = FILES if kind.file_okay else DIRECTORIES
    group = words.partition(" ")[0]
    source = _NARROWER.get((words, source)) or _NARROWER.get((group, source)) or source
    default = "" if found.default is None else getattr(found.default, "value", found.default)
    return Value(placeholder, source, choices, _bounds(kind), str(default))


def _bounds(kind: Any) -> str:  # noqa: ANN401 - likewise
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is None and high is None:
        return ""
    return f"at least {low:g}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"


# ---------------------------------------------------------------- the other programs


class _Caught(Exception):
    """A parser, at the moment in which it would have read the command line."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser of a program, taken from its own `main`."""

    def catch(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Caught(parser)

    program = importlib.import_module(f"energymarket.{module}")
    with mock.patch.object(argparse.ArgumentParser, "parse_args", catch):
        try:
            program.main()
        except _Caught as caught:
            return caught.parser
    raise LookupError(f"energymarket.{module} reads no command line")
