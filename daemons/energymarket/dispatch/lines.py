"""The line protocol of clients: bytes in, however they are cut, lines out. Touches nothing.

A line ends with LF; a CR before it is dropped. A line that is too long is told once, when the limit is
passed, and skipped to its end; the connection goes on with the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from energymarket.dispatch.limits import LINE_BYTES_MAX

ECHO_CHARACTERS_MAX: Final = 40
"""Of a client's words in an answer: enough to recognise them."""


class Broken(Enum):
    """What stands in the place of a line that is none."""

    TOO_LONG = "too long"


class LineReader:
    """Cuts a stream of bytes into lines of at most `bytes_max` bytes, their ends included."""

    def __init__(self, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._skipping = False

    @property
    def held(self) -> int:
        """Bytes of a line that has not ended yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes | Broken]:
        """The lines that end in `data`, without their ends; TOO_LONG once for each that never fitted."""
        found: list[bytes | Broken] = []
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            self._take(data[at : end + 1], found)
            if not self._skipping:
                found.append(bytes(self._rest[:-1]).removesuffix(b"\r"))
            self._rest.clear()
            self._skipping = False
            at = end + 1
        self._take(data[at:], found)
        return found

    def finish(self) -> list[bytes | Broken]:
        """What the stream ended with, if it was not the end of a line: a line all the same."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [rest.removesuffix(b"\r")] if rest else []

    def _take(self, piece: bytes, found: list[bytes | Broken]) -> None:
        if self._skipping:
            return
        if len(self._rest) + len(piece) > self._bytes_max:
            self._rest.clear()
            self._skipping = True
            found.append(Broken.TOO_LONG)
            return
        self._rest += piece


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a client said it."""

    kind: str
    question: str  # JSON text of an object; empty: nothing was asked beside the name


class Misspoken(Exception):
    """A line that is no request; the text says why."""


def parse_ask(line: bytes, known: Mapping[str, object]) -> Ask:
    """A request line: a known name in any case, perhaps a JSON object behind it. Raises Misspoken."""
    names = ", ".join(known)
    word, _, rest = line.strip().partition(b" ")
    if not word:
        raise Misspoken(f"empty line: say a request type ({names})")
    name = word.decode("ascii", "replace").lower()
    if name not in known:
        raise Misspoken(f"unknown request type {echo(word)}: say one of {names}")
    question = rest.strip()
    if question:
        parse_question(question)
    return Ask(name, question.decode())  # it was read as UTF-8 just now


def parse_question(line: bytes) -> dict[str, object]:
    """The question: a JSON object; an empty line is one without members. Raises Misspoken."""
    if not line.strip():
        return {}
    try:
        # Of bytes json.loads would guess the encoding, and NaN is no JSON.
        found = json.loads(line.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Misspoken(f"{echo(line)} is no JSON: ask with an object, or an empty line") from None
    if not isinstance(found, dict):
        raise Misspoken(f"{echo(line)} is no JSON object: ask with an object, or an empty line")
    return found


def _no_number(name: str) -> object:
    raise ValueError(name)


def refusal(reason: str) -> str:
    """The line that refuses a request."""
    return f"-1 {reason}"


def result_line(result: Mapping[str, object] | str) -> str:
    """The line of a result. ValueError, TypeError if it is nothing that JSON can say."""
    return json.dumps({"result": result}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def error_line(what: str, why: str, do: str) -> str:
    """The line of an exchange that has no result: what happened, why, and what to do about it."""
    return json.dumps({"error": {"what": what, "why": why, "do": do}}, ensure_ascii=False)


def progress_line(share: float, doing: str) -> str:
    """The line that says how far an answer is, 0 to 1."""
    return json.dumps({"progress": round(min(max(share, 0.0), 1.0), 3), "doing": doing}, ensure_ascii=False)


def echo(said: bytes) -> str:
    """A client's words, short and in printable ASCII: no line is forged, no terminal painted."""
    text = said.decode("utf-8", "backslashreplace")[:ECHO_CHARACTERS_MAX]
    printable = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)
    return f'"{printable}"'
