"""The one renderer: an answer becomes text with tables, one JSON document, or JSON lines.

Commands print nothing: they return an `Answer`, or an iterator of answers (which is JSON lines).
Data go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from energyctl.exits import Exit, Plugin, ProblemError

BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"


# Plain classes: making three dataclasses takes longer than all else that a command imports of ours.


class Table:
    """Rows under headings. A column whose heading begins with `>` is aligned to the right."""

    __slots__ = ("headings", "rows")

    def __init__(self, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        self.headings = headings
        self.rows = rows


class Alert:
    """A line that a person should not miss."""

    __slots__ = ("colour", "text")

    def __init__(self, text: str, colour: str = RED) -> None:
        self.text = text
        self.colour = colour


Block = str | Table | Alert


class Answer:
    """What a command has to say: for programs (`data`), for people (`text`), and the exit code."""

    __slots__ = ("data", "exit_code", "text")

    def __init__(
        self, data: object, text: tuple[Block, ...] = (), exit_code: Exit | Plugin = Exit.OK
    ) -> None:
        self.data = data
        self.text = text
        self.exit_code = exit_code


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Colour on a terminal, unless NO_COLOR or TERM=dumb; FORCE_COLOR has it anyway."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and stream.isatty()


def paint(text: str, colour: str, *, on: bool) -> str:
    """The text in a colour (an SGR number)."""
    return f"\x1b[{colour}m{text}\x1b[0m" if on else text


def clean(text: str) -> str:
    """The text without control characters: what a daemon or a file says must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in text)


def to_json(data: object) -> str:
    """One line of JSON, readable as it is: no escapes beyond what JSON asks for."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def table_lines(table: Table, *, colour: bool) -> list[str]:
    """The table as lines, columns as wide as their widest cell."""
    right = [heading.startswith(">") for heading in table.headings]
    heads = tuple(heading.lstrip(">") for heading in table.headings)
    rows = [tuple(clean(cell) for cell in row) for row in table.rows]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]

    def line(cells: tuple[str, ...]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    return [paint(line(heads), BOLD, on=colour), *(line(row) for row in rows)]


def text_lines(blocks: Iterable[Block], *, colour: bool) -> list[str]:
    """The blocks of an answer as lines."""
    lines: list[str] = []
    for block in blocks:
        match block:
            case Table():
                lines += table_lines(block, colour=colour)
            case Alert():
                lines.append(paint(f"! {clean(block.text)}", block.colour, on=colour))
            case str():
                lines += [clean(line) for line in block.split("\n")]
    return lines


def show(answer: Answer, *, as_json: bool, out: TextIO | None = None) -> None:
    """Write one answer; the stream is flushed, so that a reader of a pipe sees it now."""
    out = sys.stdout if out is None else out
    lines = [to_json(answer.data)] if as_json else text_lines(answer.text, colour=wants_colour(out))
    for line in lines:
        out.write(line + "\n")
    out.flush()


def show_problem(problem: ProblemError, *, as_json: bool, err: TextIO | None = None) -> None:
    """Write a failure on stderr: three lines for people, one document for programs."""
    err = sys.stderr if err is None else err
    if as_json:
        err.write(to_json(problem.document()) + "\n")
    else:
        first, *rest = problem.lines()
        err.write(paint(first, RED, on=wants_colour(err)) + "\n")
        err.writelines(line + "\n" for line in rest)
    err.flush()


def number(row: Mapping[str, Any], name: str) -> int:
    """A whole number of a reply; 0 where an older market does not say it."""
    value = row.get(name, 0)
    return int(value) if isinstance(value, (int, float)) else 0
