"""The ledger as CSV: prices.csv, homes.csv, and on demand homes_by_slot.csv and gifts.csv.

Numbers are exact: kWh with three digits, € with six, straight from the integers of the ledger.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit.figures import ABSENT
from energymarket.core import clock
from energymarket.core.records import SLOT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import numpy as np

    from energymarket.audit.figures import Figures
    from energymarket.audit.opened import Opened
    from energymarket.core.parameters import Period
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

_FLOWS: Final = (
    "produced_wh", "consumed_wh", "imported_wh", "exported_wh", "taken_wh", "returned_wh", "rest_sold_wh",
    "expired_wh", "sold_wh", "bought_wh", "short_wh", "long_wh", "homes_money_ueur", "operator_money_ueur",
    "grid_money_ueur", "fees_money_ueur",
)  # fmt: skip
_HOME: Final = tuple(name for name in SLOT_COLUMNS if name != "home")
_SUMMED: Final = (
    "produced_wh", "consumed_wh", "imported_wh", "exported_wh", "given_wh", "received_wh", "money_ueur",
)  # fmt: skip
POLICIES: Final = {1: "give", 2: "sell", 3: "give_then_sell"}


def decimal(value: int, digits: int) -> str:
    """An integer of thousandths or millionths as a decimal number, exact."""
    whole, rest = divmod(abs(value), 10**digits)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{digits}d}"


def shown(name: str, value: int) -> tuple[str, str]:
    """Name and number as people read them: energy_wh 1234 -> (energy_kwh, 1.234)."""
    for unit, people, digits in (
        ("_ueur_per_kwh", "_eur_per_kwh", 6),
        ("_wh", "_kwh", 3),
        ("_ueur", "_eur", 6),
    ):
        if name.endswith(unit):
            return name.removesuffix(unit) + people, decimal(value, digits)
    return name, str(value)


def times(slot: int, period: Period | None) -> dict[str, str]:
    """When a slot begins, if the scenario is known."""
    if period is None:
        return {}
    utc = clock.begins(slot, period.slot_s)
    local = clock.begins(slot, period.slot_s, period.timezone)
    return {"time_utc": utc.strftime("%Y-%m-%dT%H:%M:%SZ"), "time_local": local.isoformat()}


def write_prices(path: Path, slots: Figures, period: Period | None) -> None:
    """A line per slot: price, its terms, tariff, flows, money per account."""
    if not len(slots):
        _write(path, ["slot"], [])
        return
    lines = (_price_line(slots, at, period) for at in range(len(slots)))
    _write(path, list(_price_line(slots, 0, period)), lines)


def _price_line(slots: Figures, at: int, period: Period | None) -> dict[str, Any]:
    slot = int(slots.slot[at])
    line: dict[str, Any] = {"slot": slot} | times(slot, period)
    for name in ("price", "previous", "unclipped", "import", "export", "gift_fee"):
        line[f"{name}_eur_per_kwh"] = _known(getattr(slots, f"{name}_ueur_per_kwh")[at])
    for name, column in slots.terms.items():
        line[f"term_{name}_eur_per_kwh"] = _known(column[at])
    acting = ((name, int(column[at])) for name, column in slots.events.items())
    line["events"] = " ".join(f"{name}×{permille / 1000:g}" for name, permille in acting if permille)
    line |= {"gap": int(slots.gap[at]), "weather_stale": int(slots.weather_stale[at])}
    for name in _FLOWS:
        label, number = shown(name, int(slots.of(name)[at]))
        line[label.replace("taken_", "given_")] = number
    for name in ("late_batches", "shed_offers"):
        line[name] = int(getattr(slots, name)[at])
    return line | {"void_claims": int(slots.of("void_claims")[at]), "hash": slots.hash_at(at)}


def _known(value: np.int64) -> str:
    return "" if value == ABSENT else decimal(int(value), 6)


def write_homes(path: Path, sums: Mapping[str, I64], compiled: Compiled | None) -> None:
    """A line per home: its sums over the whole ledger."""
    policies = None if compiled is None else compiled.homes["policy"]
    lines = []
    for at in range(len(sums[_SUMMED[0]])):
        line: dict[str, Any] = {"home": at + 1}
        if policies is not None:
            policy = int(policies[at]) if at < len(policies) else 0
            line["policy"] = POLICIES.get(policy, str(policy))
        line |= dict(shown(name, int(sums[name][at])) for name in _SUMMED)
        lines.append(line)
    _write(path, list(lines[0]) if lines else ["home"], lines)


class SlotTables:
    """homes_by_slot.csv and gifts.csv, written while the slots are read. Compacted slots have no lines."""

    def __init__(self, stack: ExitStack, directory: Path, period: Period | None) -> None:
        self._period = period
        names = [*times(0, period), *(shown(name, 0)[0] for name in _HOME)]
        self._homes = _open(stack, directory / "homes_by_slot.csv", ["slot", "home", *names])
        self._gifts = _open(stack, directory / "gifts.csv", ["slot", "giver", "index", "taker", "energy_kwh"])

    def hear(self, row: SlotRow, slot: Opened | None) -> None:
        """One slot, as the checker hears it."""
        if slot is None:
            return
        at = list(times(row.slot, self._period).values())
        table = zip(*(slot.columns[name].tolist() for name in ("home", *_HOME)), strict=True)
        self._homes.writerows(
            [row.slot, home, *at, *(shown(name, value)[1] for name, value in zip(_HOME, values, strict=True))]
            for home, *values in table
        )
        gifts = zip(*(column.tolist() for column in slot.gifts.values()), strict=True)
        self._gifts.writerows([row.slot, *ids, decimal(energy, 3)] for *ids, energy in gifts)


def _open(stack: ExitStack, path: Path, names: Sequence[str]) -> Any:  # noqa: ANN401 csv's writer has no public type
    file = stack.enter_context(path.open("w", newline="", encoding="utf-8"))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    return writer


def _write(path: Path, names: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
