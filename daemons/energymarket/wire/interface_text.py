"""The parser of varlink interface texts, and the check of values against what they declare.

Grammar: varlink.org, "Interface Definition". A text is ours, so a mistake in it is a bug: it raises
`TextError` with the line. A value comes from a peer: it raises `Misfit` with the member's path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Final

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

OBJECT_DEPTH_MAX: Final = 16
"""Levels of a free `object`: more than any of ours has, far less than any recursion limit."""

Check = Callable[[object, str], None]
"""Raises Misfit(path) if the value is not of the type."""


class TextError(Exception):
    """An interface text breaks the grammar: line and what was expected."""


class Misfit(Exception):
    """A value does not fit its declaration; `path` names the member ("event.kind", "homes[3].id")."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Plain(Enum):
    """The types without parts."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Choice:
    """An enum: one of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """A list of elements of one type."""

    of: Type


@dataclass(frozen=True, slots=True)
class Table:
    """`[string]T`: any names, values of one type."""

    of: Type


@dataclass(frozen=True, slots=True)
class Maybe:
    """`?T`: null or absent is allowed."""

    of: Type


@dataclass(frozen=True, slots=True)
class Named:
    """A type of the same interface, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Members:
    """A struct: named members, in the order of the text."""

    fields: tuple[tuple[str, Type], ...]


Type = Plain | Choice | Array | Table | Maybe | Named | Members


@dataclass(frozen=True, slots=True)
class Signature:
    """What a method takes and what it answers."""

    takes: Members
    answers: Members


@dataclass(frozen=True, slots=True)
class Interface:
    """One parsed interface text."""

    name: str
    text: str
    types: Mapping[str, Type]
    methods: Mapping[str, Signature]
    errors: Mapping[str, Members]


_TOKEN: Final = re.compile(
    r"(?P<space>[ \t\r\n]+|#[^\n]*)|(?P<mark>->|\[string\]|\[\]|[?:,()])|(?P<word>[A-Za-z0-9_.\-]+)",
)
_INTERFACE_NAME: Final = re.compile(r"[A-Za-z](-*[A-Za-z0-9])*(\.[A-Za-z0-9](-*[A-Za-z0-9])*)+")
_MEMBER_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]*")
_FIELD_NAME: Final = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
_PLAIN: Final = {plain.value: plain for plain in Plain}


class _Reader:
    """The tokens of a text, one ahead."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, int]] = []
        self.at = 0
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            line = text.count("\n", 0, place) + 1
            if match is None:
                message = f"line {line}: unexpected character {text[place]!r}"
                raise TextError(message)
            if match.lastgroup != "space":
                self.tokens.append((match.group(), line))
            place = match.end()
        self.last_line = text.count("\n") + 1

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += 1
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.error(repr(token))

    def name(self, pattern: re.Pattern[str], what: str) -> str:
        token = self.peek()
        if pattern.fullmatch(token) is None:
            raise self.error(what)
        self.at += 1
        return token

    def error(self, expected: str) -> TextError:
        line = self.tokens[self.at][1] if self.at < len(self.tokens) else self.last_line
        found = self.peek()
        return TextError(
            f"line {line}: expected {expected}, found {found!r}" if found else f"expected {expected}"
        )


def parse(text: str) -> Interface:
    """Read one interface text; raises TextError."""
    reader = _Reader(text)
    reader.expect("interface")
    name = reader.name(_INTERFACE_NAME, "an interface name")
    types: dict[str, Type] = {}
    methods: dict[str, Signature] = {}
    errors: dict[str, Members] = {}
    while reader.peek():
        _parse_member(reader, types, methods, errors)
    interface = Interface(name=name, text=text, types=types, methods=methods, errors=errors)
    for declared in types.values():
        checker(interface, declared)
    for signature in methods.values():
        checker(interface, signature.takes)
        checker(interface, signature.answers)
    for error in errors.values():
        checker(interface, error)
    return interface


def _parse_member(
    reader: _Reader,
    types: dict[str, Type],
    methods: dict[str, Signature],
    errors: dict[str, Members],
) -> None:
    kind = reader.peek()
    if kind not in {"type", "method", "error"}:
        raise reader.error("type, method or error")
    reader.take(kind)
    name = reader.name(_MEMBER_NAME, f"a name of a {kind}")
    if name in types or name in methods or name in errors:
        raise reader.error(f"a new name instead of {name} again")
    if kind == "type":
        types[name] = _parse_struct(reader)
    elif kind == "method":
        takes = _members(reader)
        reader.expect("->")
        methods[name] = Signature(takes=takes, answers=_members(reader))
    else:
        errors[name] = _members(reader)


def _members(reader: _Reader) -> Members:
    struct = _parse_struct(reader)
    if not isinstance(struct, Members):
        raise reader.error("members with types, not words")
    return struct


def _parse_struct(reader: _Reader) -> Members | Choice:
    reader.expect("(")
    if reader.take(")"):
        return Members(())
    first = reader.name(_FIELD_NAME, "a name of a member")
    if reader.peek() == ":":
        return _parse_fields(reader, first)
    words = [first]
    while reader.take(","):
        words.append(reader.name(_FIELD_NAME, "a word"))
    reader.expect(")")
    return Choice(tuple(words))


def _parse_fields(reader: _Reader, first: str) -> Members:
    reader.expect(":")
    fields: dict[str, Type] = {first: _parse_type(reader)}
    while reader.take(","):
        name = reader.name(_FIELD_NAME, "a name of a member")
        if name in fields:
            raise reader.error(f"a new name instead of {name} again")
        reader.expect(":")
        fields[name] = _parse_type(reader)
    reader.expect(")")
    return Members(tuple(fields.items()))


def _parse_type(reader: _Reader) -> Type:
    if reader.take("?"):
        if reader.peek() == "?":
            raise reader.error("a type after one '?'")
        return Maybe(_parse_type(reader))
    if reader.take("[]"):
        return Array(_parse_type(reader))
    if reader.take("[string]"):
        return Table(_parse_type(reader))
    if reader.peek() == "(":
        return _parse_struct(reader)
    plain = _PLAIN.get(reader.peek())
    if plain is not None:
        reader.take(plain.value)
        return plain
    return Named(reader.name(_MEMBER_NAME, "a type"))


def checker(interface: Interface, declared: Type) -> Check:
    """The check of one declared type, built once; raises TextError for a name nobody declared."""
    return _build(interface, declared, {})


def _build(interface: Interface, declared: Type, known: dict[str, Check]) -> Check:
    match declared:
        case Plain():
            return _PLAIN_CHECKS[declared]
        case Choice(words):
            return _check_choice(frozenset(words))
        case Array(of):
            return _check_array(_build(interface, of, known))
        case Table(of):
            return _check_table(_build(interface, of, known))
        case Maybe(of):
            return _check_maybe(_build(interface, of, known))
        case Members(fields):
            built = tuple((name, _build(interface, of, known), isinstance(of, Maybe)) for name, of in fields)
            return _check_members(built)
        case Named(name):
            return _check_named(interface, name, known)


def _check_named(interface: Interface, name: str, known: dict[str, Check]) -> Check:
    """A type may contain itself, so its check is looked up when it runs."""
    if name not in interface.types:
        message = f"{interface.name}: type {name} is used but not declared"
        raise TextError(message)

    def check(value: object, path: str) -> None:
        known[name](value, path)

    if name not in known:
        known[name] = check
        known[name] = _build(interface, interface.types[name], known)
    return check


def _check_bool(value: object, path: str) -> None:
    if type(value) is not bool:
        raise Misfit(path)


def _check_int(value: object, path: str) -> None:
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        raise Misfit(path)


def _check_float(value: object, path: str) -> None:
    """A whole number is a float too, as JSON does not tell them apart; NaN and infinity are not."""
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return
    if type(value) is not float or not isfinite(value):
        raise Misfit(path)


def _check_string(value: object, path: str) -> None:
    if type(value) is not str:
        raise Misfit(path)


def _check_object(value: object, path: str) -> None:
    if type(value) is not dict or _deeper_than(value, OBJECT_DEPTH_MAX):
        raise Misfit(path)


def _deeper_than(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper_than(part, levels - 1) for part in value.values())
    if isinstance(value, list | tuple):
        return levels == 0 or any(_deeper_than(part, levels - 1) for part in value)
    return False


_PLAIN_CHECKS: Final[Mapping[Plain, Check]] = {
    Plain.BOOL: _check_bool,
    Plain.INT: _check_int,
    Plain.FLOAT: _check_float,
    Plain.STRING: _check_string,
    Plain.OBJECT: _check_object,
}


def _check_choice(words: frozenset[str]) -> Check:
    def check(value: object, path: str) -> None:
        if type(value) is not str or value not in words:
            raise Misfit(path)

    return check


def _check_array(check_part: Check) -> Check:
    def check(value: object, path: str) -> None:
        if not isinstance(value, list | tuple):
            raise Misfit(path)
        for place, part in enumerate(value):
            check_part(part, f"{path}[{place}]")

    return check


def _check_table(check_part: Check) -> Check:
    def check(value: object, path: str) -> None:
        if type(value) is not dict:
            raise Misfit(path)
        for name, part in value.items():
            check_part(part, f"{path}.{name}")

    return check


def _check_maybe(check_part: Check) -> Check:
    def check(value: object, path: str) -> None:
        if value is not None:
            check_part(value, path)

    return check


def _check_members(fields: tuple[tuple[str, Check, bool], ...]) -> Check:
    names = frozenset(name for name, _, _ in fields)

    def check(value: object, path: str) -> None:
        if type(value) is not dict:
            raise Misfit(path)
        prefix = f"{path}." if path else ""
        if not value.keys() <= names:
            raise Misfit(prefix + next(str(name) for name in value if name not in names))
        for name, check_part, optional in fields:
            part = value.get(name)
            if part is not None:
                check_part(part, prefix + name)
            elif not optional:
                raise Misfit(prefix + name)

    return check
