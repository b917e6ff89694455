"""What the documents take from the code of studies: the keys of a study, the columns of its table."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field
from typing import Any, Final

from layouts import Source, table


def study_keys() -> str:
    """The keys of a study, table by table."""
    keys_of = Source("scenario.reader").names["keys_of"]
    rows: list[tuple[str, str, str]] = []

    def walk(tabled: type, prefix: str) -> None:
        for name, (place, noted) in keys_of(tabled).items():
            if noted.table is not None:
                inner = f"{prefix.strip('[]')}.{name}".strip(".")
                walk(noted.table, f"[[{inner}]]" if noted.many else f"[{inner}]")
                continue
            rows.append((f"`{prefix} {name}`".replace("` ", "`"), _default(place, noted), noted.doc))

    walk(Source("studies.document").names["Study"], "")
    return table(("key", "default", "meaning"), rows)


def _default(place: Field[Any], noted: Any) -> str:  # noqa: ANN401 - a scenario.kinds.Key
    if place.default is MISSING:
        return "required"
    if place.default is None:
        return f"for example `{noted.example}`"
    return f"`{noted.kind.write(place.default)}`"


def study_columns() -> str:
    """The columns of a study's table that are no indicators of kpi.md."""
    columns = Source("studies.columns").names
    known = [each for each in columns["MEASURED"] if not each.place or "." not in each.place]
    fixed = [columns["CASE"], columns["STATUS"], *known, columns["ERROR"]]
    return table(
        ("column", "type", "meaning"), [(f"`{each.name}`", each.kind, each.meaning) for each in fixed]
    )


PARTS: Final[dict[str, Callable[[], str]]] = {"study columns": study_columns, "study keys": study_keys}
