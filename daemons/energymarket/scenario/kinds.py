"""Kinds of values in a scenario file: how each is read from TOML, refused, and written back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final, Generic, TypeVar, cast

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

UEUR_PER_EUR: Final = 1_000_000  # as in core.units, which needs NumPy
LIST_ITEMS_MAX: Final = 4_000_000  # a list of one value per slot is as long as the longest period

_SPAN_S: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_SPAN_S_MAX: Final = 400 * 86_400
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE_MAX: Final = 1 << 50


class RefusedError(Exception):
    """A value that its key cannot take; says what was expected and, if known, what to do."""

    def __init__(self, reason: str, hint: str = "", choices: tuple[str, ...] = (), found: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.choices = choices  # words to suggest from
        self.found = found  # the word that is none of them


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How values of one kind are read and written, and the words for it."""

    words: str
    read: Callable[[object], T]
    write: Callable[[T], str]
    limits: str = ""  # what `read` refuses beyond, for the manual


@dataclass(frozen=True, slots=True)
class Range:
    """A value drawn uniformly between two ends for each home; a fixed value has equal ends."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """1 in the schema is 1.0 in a file that says so: they are hashed, and have to be the same."""
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))


@dataclass(frozen=True, slots=True)
class Key:
    """What the reader, the writer and the printed default know of one key."""

    name: str  # as in the file; "" means: as the field
    kind: Kind[object] | None  # None: a table or an array of tables
    table: type | None
    many: bool
    doc: str
    example: str


def key(kind: Kind[T], doc: str, default: T | None = None, *, name: str = "", required: bool = False) -> T:
    """Declare a key with a default value, or a required one."""
    noted = Key(name, cast("Kind[object]", kind), None, many=False, doc=doc, example="")
    start = MISSING if required else default
    answer: T = field(default=cast("T", start), metadata={"key": noted})
    return answer


def optional(kind: Kind[T], doc: str, example: str, *, name: str = "") -> T | None:
    """Declare a key that may be absent; the example stands in the printed default."""
    noted = Key(name, cast("Kind[object]", kind), None, many=False, doc=doc, example=example)
    return cast("T | None", field(default=None, metadata={"key": noted}))


def section(table: type[T], doc: str) -> T:
    """Declare a table that is there with its defaults when the file leaves it out."""
    noted = Key("", None, table, many=False, doc=doc, example="")
    answer: T = field(default_factory=table, metadata={"key": noted})
    return answer


def optional_section(table: type[T], doc: str) -> T | None:
    """Declare a table that may be absent."""
    noted = Key("", None, table, many=False, doc=doc, example="")
    return cast("T | None", field(default=None, metadata={"key": noted}))


def sections(table: type[T], doc: str, *, name: str = "") -> tuple[T, ...]:
    """Declare an array of tables."""
    noted = Key(name, None, table, many=True, doc=doc, example="")
    return cast("tuple[T, ...]", field(default=(), metadata={"key": noted}))


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def number(value: float) -> str:
    """A number as short as reads back to the same."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _finite(value: object, words: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(f"expected {words}, found {_named(value)}")
    if isinstance(value, int) and abs(value) > 1 << 63:
        raise RefusedError(f"expected {words}, found a number too large")
    if not math.isfinite(value):
        raise RefusedError(
            f"expected {words}, found {value}", "only finite numbers are prices, powers and energies"
        )
    return float(value) + 0.0  # turns -0.0 into 0.0


def _named(value: object) -> str:
    names: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "a table"}
    name = names.get(type(value), "a date or time")
    return (
        f"{name} ({value!r})"
        if isinstance(value, (bool, int, float, str)) and len(repr(value)) < 40
        else name
    )


def _limits(low: float, high: float) -> str:
    """The ends of a range as the manual shows them."""
    return f"{_end(low)} to {_end(high)}"


def _end(value: float) -> str:
    if isinstance(value, int) and value > 1 << 32:
        power = value.bit_length()
        return f"2^{power} - 1" if value == (1 << power) - 1 else f"2^{power - 1}"
    return number(value)


def _within(value: float, low: float, high: float) -> float:
    if value < low:
        raise RefusedError(f"{value:g} is below {low:g}", f"give {low:g} .. {high:g}")
    if value > high:
        raise RefusedError(f"{value:g} is above {high:g}", f"give {low:g} .. {high:g}")
    return value


def real(low: float, high: float, unit: str = "") -> Kind[float]:
    """A finite number from low to high, both included."""
    words = f"a number in {unit}" if unit else "a number"
    return Kind(words, lambda value: _within(_finite(value, words), low, high), number, _limits(low, high))


def whole(low: int, high: int, unit: str = "") -> Kind[int]:
    """A whole number from low to high, both included."""
    words = f"a whole number of {unit}" if unit else "a whole number"

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise RefusedError(f"expected {words}, found {_named(value)}")
        _within(value, low, high)
        return value

    return Kind(words, read, str, _limits(low, high))


def flag() -> Kind[bool]:
    """True or false."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise RefusedError(f"expected true or false, found {_named(value)}")
        return value

    return Kind("true or false", read, lambda value: "true" if value else "false")


def text(length_max: int = 400) -> Kind[str]:
    """Text of at least one character."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise RefusedError(f"expected text, found {_named(value)}", "write it in quotes")
        if not value or len(value) > length_max:
            raise RefusedError(f"expected text of 1 .. {length_max} characters, found {len(value)}")
        return value

    return Kind("text", read, quoted, f"at most {length_max} characters")


def choice(words: type[E]) -> Kind[E]:
    """One word of an enum."""
    names = tuple(str(word) for word in words)

    def read(value: object) -> E:
        if not isinstance(value, str):
            raise RefusedError(f"expected one of {', '.join(names)}, found {_named(value)}")
        if value not in names:
            raise RefusedError(f'"{value}" is none of {", ".join(names)}', choices=names, found=value)
        return words(value)

    return Kind("one of " + ", ".join(names), read, lambda value: quoted(str(value)))


def price(low_eur: float = -10.0, high_eur: float = 10.0) -> Kind[int]:
    """A price in €/kWh, kept in whole µ€/kWh."""
    words = "a price in €/kWh"

    def read(value: object) -> int:
        return round(_within(_finite(value, words), low_eur, high_eur) * UEUR_PER_EUR)

    return Kind(words, read, lambda value: number(value / UEUR_PER_EUR), _limits(low_eur, high_eur))


def span() -> Kind[int]:
    """A duration as "15min", "6h", "30s" or "2d", kept in whole seconds."""
    return _measured('a duration such as "15min", "6h", "30s" or "2d"', _SPAN_S, 1, _SPAN_S_MAX)


def size(low: int) -> Kind[int]:
    """An amount of bytes as "512MiB" or "2GiB"."""
    return _measured('a size such as "512MiB" or "2GiB"', _BYTES, low, _SIZE_MAX)


def _measured(words: str, units: dict[str, int], low: int, high: int) -> Kind[int]:
    """A number with its unit, kept in the smallest of the units, which ascend."""

    def read(value: object) -> int:
        if not isinstance(value, str):
            raise RefusedError(f"expected {words}, found {_named(value)}")
        amount = _amount(value, units, words)
        if not low <= amount <= high:
            side, end = ("below", low) if amount < low else ("above", high)
            raise RefusedError(
                f"{quoted(value)} is {side} {write(end)}", f"give {write(low)} .. {write(high)}"
            )
        return round(amount)

    def write(value: int) -> str:
        unit = next(name for name in reversed(units) if value % units[name] == 0)
        return f'"{value // units[unit]}{unit}"'

    return Kind(words, read, write, f"{write(low)} to {write(high)}".replace('"', ""))


def _amount(value: str, units: dict[str, int], words: str) -> float:
    digits = value.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = value[len(digits) :].strip()
    try:
        amount = float(digits)
    except ValueError:
        raise RefusedError(f'expected {words}, found "{value}"') from None
    if unit not in units or not math.isfinite(amount):
        raise RefusedError(f'expected {words}, found "{value}"', f"units are {', '.join(units)}")
    return amount * units[unit]


def between(low: float, high: float, unit: str = "") -> Kind[Range]:
    """A number, or [lowest, highest] to draw from for each home."""
    words = f"a number in {unit} or [lowest, highest]" if unit else "a number or [lowest, highest]"

    def read(value: object) -> Range:
        ends = value if isinstance(value, list) else [value, value]
        if len(ends) != 2:
            raise RefusedError(f"expected {words}, found a list of {len(ends)}")
        first, last = (_within(_finite(end, words), low, high) for end in ends)
        if first > last:
            raise RefusedError(
                f"the range runs backwards: {first:g} > {last:g}", "write the smaller number first"
            )
        return Range(first, last)

    def write(value: Range) -> str:
        if value.low == value.high:
            return number(value.low)
        return f"[{number(value.low)}, {number(value.high)}]"

    return Kind(words, read, write, _limits(low, high))


def series(low: float, high: float, unit: str) -> Kind[tuple[float, ...]]:
    """A number for all slots, or a list with one number per slot; a list repeats from its beginning."""
    words = f"a number in {unit} or a list of them, one per slot"

    def read(value: object) -> tuple[float, ...]:
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= LIST_ITEMS_MAX:
            raise RefusedError(f"expected {words}, found a list of {len(items)}")
        return tuple(_within(_finite(item, words), low, high) for item in items)

    return Kind(words, read, _one_or_list(number), _limits(low, high))


def prices() -> Kind[tuple[int, ...]]:
    """A list of prices in €/kWh, one per slot, kept in whole µ€/kWh; it repeats from its beginning."""
    each = price()
    words = "a list of prices in €/kWh, one per slot"

    def read(value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= LIST_ITEMS_MAX:
            raise RefusedError(f"expected {words}, found {_named(value)}")
        return tuple(each.read(item) for item in value)

    return Kind(words, read, lambda value: "[" + ", ".join(map(each.write, value)) + "]")


def points() -> Kind[tuple[tuple[int, float], ...]]:
    """[[price in €/kWh, factor], ...] with rising prices; between them the factor is linear."""
    words = "a list of [price in €/kWh, factor]"
    of_price, of_factor = price(), real(0, 10)

    def read(value: object) -> tuple[tuple[int, float], ...]:
        if not isinstance(value, list) or not value:
            raise RefusedError(f"expected {words}, found {_named(value)}")
        pairs = []
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise RefusedError(f"expected {words}, found {_named(pair)}")
            pairs.append((of_price.read(pair[0]), of_factor.read(pair[1])))
        if any(first[0] >= second[0] for first, second in pairwise(pairs)):
            raise RefusedError("the prices of the points do not rise", "sort them, each price once")
        return tuple(pairs)

    def write(value: tuple[tuple[int, float], ...]) -> str:
        return "[" + ", ".join(f"[{of_price.write(x)}, {number(y)}]" for x, y in value) + "]"

    return Kind(words, read, write)


def wholes(low: int, high: int) -> Kind[tuple[int, ...]]:
    """A list of whole numbers."""
    each = whole(low, high)

    def read(value: object) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise RefusedError(f"expected a list of whole numbers, found {_named(value)}")
        return tuple(each.read(item) for item in value)

    def write(value: tuple[int, ...]) -> str:
        return "[" + ", ".join(map(str, value)) + "]"

    return Kind("a list of whole numbers", read, write, _limits(low, high))


def moment() -> Kind[datetime]:
    """A local date, or a local date and time."""
    words = 'a date or a local time such as 2025-06-16 or "2025-06-16T06:00"'

    def read(value: object) -> datetime:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise RefusedError(f'expected {words}, found "{value}"') from None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - local by time.timezone
        if not isinstance(value, datetime):
            raise RefusedError(f"expected {words}, found {_named(value)}")
        if value.tzinfo is not None:
            raise RefusedError("the start is a local time without offset", "say the zone in timezone")
        return value

    return Kind(words, read, lambda value: value.isoformat())


def _one_or_list(write: Callable[[float], str]) -> Callable[[tuple[float, ...]], str]:
    return lambda value: write(value[0]) if len(value) == 1 else "[" + ", ".join(map(write, value)) + "]"
