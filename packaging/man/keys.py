"""The keys of the configuration as the schema has them: type, default, limits, meaning, and reload."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field
from typing import Any, Final

import mdoc

from energymarket.scenario.kinds import Key
from energymarket.scenario.reader import keys_of
from energymarket.scenario.schema import Document, EventSection, FactorSection, PriceSection
from energymarket.studies.document import Study

LIVE: Final = frozenset(
    {
        *((PriceSection, name) for name in ("form", "gamma", "half_life_h", "floor", "cap")),
        *((FactorSection, name) for name in ("name", "alpha", "reference_c")),
        (EventSection, "beta"),
    }
)
"""What `energyctl reload` brings into the next slot."""
OF_EXTERNAL: Final = frozenset(
    (EventSection, name)
    for name in ("per_year", "probability_per_slot", "duration", "intensity", "rain_factor")
)
"""What a reload brings too, and `external` draws by from its next start on."""

Entry = tuple[str, Field[Any], Key]


def tables(root: type = Document) -> dict[type, list[tuple[str, str]]]:
    """Every table of the file, in its order, with the headings under which it may stand and their words."""
    found: dict[type, list[tuple[str, str]]] = {}

    def walk(table: type, path: str) -> None:
        for name, _, noted in entries(table):
            if noted.table is None:
                continue
            inner = f"{path}.{name}" if path else name
            if is_map(table):
                inner = f"{path}.KIND"
            heading = f"[[{inner}]]" if noted.many else f"[{inner}]"
            places = found.setdefault(noted.table, [])
            if heading not in {place for place, _ in places}:
                places.append((heading, noted.doc))
            walk(noted.table, inner)

    walk(root, "")
    return found


def entries(table: type) -> Iterator[Entry]:
    """Name, field and key of each entry of a table."""
    for name, (entry, noted) in keys_of(table).items():
        yield name, entry, noted


def is_map(table: type) -> bool:
    """Whether a table has nothing but tables of one kind: their names are words of the user's."""
    kinds = {noted.table for _, _, noted in entries(table)}
    return len(kinds) == 1 and None not in kinds


def sections() -> list[str]:
    """A section of the page for every table of a scenario."""
    return _sections(Document)


def study() -> list[str]:
    """The same of a study."""
    return _sections(Study)


def _sections(root: type) -> list[str]:
    lines = [".Ss Top level", *_keys(root)]
    for table, places in tables(root).items():
        lines.append(f".Ss {' , '.join(mdoc.argument(heading) for heading, _ in places)}")
        words = "the same for all kinds" if places[0][0].endswith(".KIND]") else places[0][1]
        lines += mdoc.sentence(words)
        lines += _words_of(table) if is_map(table) else _keys(table)
    return lines


def _keys(table: type) -> list[str]:
    return mdoc.tags(_key(table, each) for each in entries(table) if each[2].kind is not None)


def _words_of(table: type) -> list[str]:
    return mdoc.tags((f"Ic {name}", mdoc.sentence(noted.doc)) for name, _, noted in entries(table))


def _key(table: type, entry: Entry) -> mdoc.Item:
    name, place, noted = entry
    kind = noted.kind
    if kind is None:
        raise LookupError(f"{name} is a table")
    words = "" if kind.words.startswith("one of ") and all_said(kind.words, noted.doc) else kind.words
    kinds = "; ".join(
        each for each in (", ".join(filter(None, (words, kind.limits))), _reloads(table, name)) if each
    )
    below = mdoc.text(f"{noted.doc.removeprefix('€/kWh: ')}{kinds and f' [{kinds}]'}.")
    head = f"Ic {mdoc.escaped(name)}"
    if place.default is MISSING:
        return f"{head} No (required)", below
    if place.default is None:
        return f"{head} No (absent)", [*below, *mdoc.text(f"For example {noted.example}.")]
    return f"{head} No = Li {mdoc.argument(kind.write(place.default))}", below


def all_said(words: str, doc: str) -> bool:
    """Whether the meaning of a key names every word that it takes."""
    return all(word in doc for word in words.removeprefix("one of ").split(", "))


def _reloads(table: type, name: str) -> str:
    if (table, name) in LIVE:
        return "`live`"
    return "`live` from the next start of external on" if (table, name) in OF_EXTERNAL else ""
