"""Writes mdoc(7): escapes for text, and lists of what is explained. Each function answers whole lines."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Item = tuple[str, Sequence[str]]
"""The head of an item (the line behind `.It`), and the lines below it."""


def escaped(text: str) -> str:
    """Text that is shown as it is, wherever it stands in a line; backquotes make it bold and unbroken."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    return re.sub(r"`([^`]+)`", r"\\fB\\%\1\\fR", safe)


def text(words: str) -> list[str]:
    """Running text: one sentence per line, as roff wants it to see where sentences end."""
    sentences = re.split(r"(?<=[a-z0-9)`\"][.:;!?]) (?=[A-Z0-9`\"])", words.strip())
    return [_line(escaped(each).replace("\\-", "-")) for each in sentences]


def sentence(words: str) -> list[str]:
    """A phrase as a sentence: with a capital, if it is a word, and a full stop."""
    first = re.match(r"[a-z]+(?=[ ,.:;]|$)", words)
    begun = words[:1].upper() + words[1:] if first and not re.match(r"\w+:", words) else words
    return text(begun if begun.endswith((".", "?", "!")) else f"{begun}.")


def argument(word: str) -> str:
    """A word as one argument of a macro, that is no macro itself."""
    made = escaped(word)
    return f'"{made}"' if re.search(r"\s", made) else f"\\&{made}"


def flag(name: str) -> str:
    """The macro of an option: `--for` and `-u` are both written without their first dash."""
    return f"Fl {escaped(name[1:])}"


def tags(items: Iterable[Item], *, compact: bool = False, width: str = "Ds") -> list[str]:
    """A list of terms, each explained below it; nothing where there are no items."""
    lines = [line for head, below in items for line in (f".It {head}", *below)]
    if not lines:
        return []
    return [f".Bl -tag -width {width}{' -compact' if compact else ''}", *lines, ".El"]


def _line(made: str) -> str:
    return f"\\&{made}" if made[:1] in {".", "'"} else made
