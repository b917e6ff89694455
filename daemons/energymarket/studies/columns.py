"""The columns of a study's table: name, type and meaning of each, parameters first, then indicators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.kpi.definitions import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from energymarket.studies.axes import Axis
    from energymarket.studies.outcome import Value


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `kind` is int, float or text; every one may be null but `case` and `status`."""

    name: str
    kind: str
    meaning: str
    place: str = ""  # in the document of a run, "" if it is none of it


_PREFIXES: Final = {
    "energy": "energy_",
    "money": "money_",
    "kpi": "",
    "kpi.self_sufficiency": "self_sufficiency_",
    "kpi.self_consumption": "self_consumption_",
    "kpi.peaks": "peaks_",
    "kpi.co2": "co2_",
    "kpi.spread": "spread_",
    "kpi.price": "price_",
}
_WHOLE: Final = frozenset(
    {
        "slots", "first_slot", "last_slot", "slot_s", "homes", "detail_slots", "detail_first_slot",
        "line_import_slot", "line_export_slot", "jain_below_zero_homes", "homes_without_consumption",
    }
)  # fmt: skip
_LEFT_OUT: Final = frozenset({"kpi.notes", "kpi.self_sufficiency.slot_s", "kpi.self_consumption.slot_s"})


def _indicators() -> Iterator[Column]:
    for section, prefix in _PREFIXES.items():
        for each in SECTIONS[section]:
            place = f"{section}.{each.name}"
            if place not in _LEFT_OUT:
                kind = "int" if each.name in _WHOLE else "float"
                yield Column(prefix + each.name, kind, each.meaning, place)


COST: Final = "cost_eur_per_home"
MEASURED: Final = (
    Column("seed", "int", "of all chance of the case", "seed"),
    *_indicators(),
    Column(COST, "float", "the bill of all homes over their number"),
    Column("scenario_hash", "text", "of the compiled scenario of the case", "scenario_hash"),
    Column("ledger_hash", "text", "of the ledger's last slot: the same case has the same", "ledger_hash"),
    Column("wall_s", "float", "time that the case was played, without compiling it", "wall_s"),
    Column("cpu_s", "float", "CPU time likewise", "cpu_s"),
)
TIMES: Final = frozenset({"wall_s", "cpu_s"})
"""All that may differ between two runs of a study."""

CASE: Final = Column("case", "int", "number of the case, from 1, in the order of the study")
STATUS: Final = Column("status", "text", "done, or failed")
ERROR: Final = Column("error", "text", "why it failed")


def columns_of(axes: Sequence[Axis]) -> tuple[Column, ...]:
    """All columns of the table of a study."""
    varied = (Column(axis.column, axis.kind, f"{axis.path or axis.name}: {axis.meaning}") for axis in axes)
    return (CASE, *varied, STATUS, *MEASURED, ERROR)


def values_of(document: Mapping[str, Any]) -> dict[str, Value]:
    """The measured columns of a run's document."""
    found = {column.name: _at(document, column) for column in MEASURED if column.place}
    bill, homes = found["money_bill_eur"], found["homes"]
    known = isinstance(bill, float) and isinstance(homes, int) and homes > 0
    found[COST] = round(float(bill or 0.0) / int(homes or 1), 6) if known else None
    return {column.name: found[column.name] for column in MEASURED}


def _at(document: Mapping[str, Any], column: Column) -> Value:
    found: Any = document
    for name in column.place.split("."):
        found = found[name]
    return float(found) if column.kind == "float" and isinstance(found, int) else found
