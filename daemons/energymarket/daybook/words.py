"""The report in words: energy, money, price, what happened, and what the checker says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.audit import telling
from energymarket.audit.telling import eur, kwh
from energymarket.core import clock
from energymarket.daybook.balance import ACCOUNTS, Balance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.audit.checker import Result
    from energymarket.audit.figures import Figures
    from energymarket.scenario.compiled import Compiled

WIDTH = 44  # of a label


def lines_of(
    slots: Figures, balance: Balance, homes: int, result: Result | None, compiled: Compiled | None
) -> list[str]:
    """The whole report. Without a result nothing was checked, and the report says so."""
    if not len(slots):
        return ["The ledger is empty: no slot was settled."]
    parts = [
        _head(slots, homes, compiled),
        _energy(balance),
        _money(balance),
        _price(slots, compiled),
        _happened(slots, homes, compiled),
        _checks(result),
    ]
    return [line for part in parts for line in (*part, "")][:-1]


def when(slot: int, compiled: Compiled | None) -> str:
    """Local time of a slot; its number where the scenario is not known."""
    if compiled is None:
        return f"slot {slot}"
    return clock.begins(slot, compiled.period.slot_s, compiled.period.timezone).strftime("%Y-%m-%d %H:%M")


def _line(label: str, value: str, note: str = "") -> str:
    return f"  {label:<{WIDTH}}{value:>20}{'  ' + note if note else ''}"


def _head(slots: Figures, homes: int, compiled: Compiled | None) -> list[str]:
    first, last = int(slots.slot[0]), int(slots.slot[-1])
    span = f"{when(first, compiled)} to {when(last + 1, compiled)}"
    title = "energy-market" if compiled is None else compiled.title
    zone = "" if compiled is None else f" ({compiled.period.timezone})"
    length = "" if compiled is None else f" of {compiled.period.slot_s // 60} min"
    return [
        title,
        "=" * len(title),
        f"{span}{zone}: {len(slots)} slots{length}, {homes} homes",
    ]


def _energy(balance: Balance) -> list[str]:
    out = [
        "Energy of the homes",
        _line("produced", kwh(balance.produced_wh)),
        _line("+ taken in over the meters", kwh(balance.imported_wh)),
        _line("− consumed", kwh(balance.consumed_wh)),
        _line("− given out over the meters", kwh(balance.exported_wh)),
        _line("= stored or lost in their batteries", kwh(balance.in_batteries_wh)),
        "",
        "What passed the meters",
        _line("given to neighbours", kwh(balance.given_wh)),
        _line("traded with neighbours", kwh(balance.traded_wh)),
        _line("bought from the grid", kwh(balance.bought_from_grid_wh)),
        _line("sold to the grid", kwh(balance.sold_to_grid_wh)),
        _line("gifts nobody took, fed in unpaid", kwh(balance.expired_wh)),
        _line("imbalance: short of the contract", kwh(balance.short_wh), "billed at the import price"),
        _line("imbalance: beyond the contract", kwh(balance.long_wh), "paid at the export price"),
        _line("= energy exchanged", kwh(balance.exchanged_wh)),
    ]
    out.append(_line("gifts, of all energy exchanged", f"{balance.gifts_share:.1%}"))
    return [
        *out,
        _line("meters less contracts, at the grid's line", kwh(balance.grid_difference_wh), "must be 0"),
    ]


def _money(balance: Balance) -> list[str]:
    lines = ["Money (above zero: income)"]
    lines += [_line(name, eur(balance.money_ueur[name])) for name in ACCOUNTS]
    total = sum(balance.money_ueur.values())
    return [*lines, _line("all accounts together", eur(total), "must be 0")]


def _price(slots: Figures, compiled: Compiled | None) -> list[str]:
    price = slots.price_ueur_per_kwh
    low, high = int(price.argmin()), int(price.argmax())
    mean = round(int(price.sum()) / len(slots))
    return [
        "Local price, per kWh",
        _line("mean of the slots", eur(mean)),
        _line("lowest", eur(int(price[low])), when(int(slots.slot[low]), compiled)),
        _line("highest", eur(int(price[high])), when(int(slots.slot[high]), compiled)),
        _line("slots at floor or cap", str(int(slots.clipped.sum()))),
    ]


def counts_of(slots: Figures, homes: int) -> dict[str, int]:
    """What went otherwise than planned, and how often."""
    return {
        "batches after the gate": int(slots.late_batches.sum()),
        "offers shed at a full queue": int(slots.shed_offers.sum()),
        "readings that came with a later slot": int(np.maximum(homes - slots.of("homes"), 0).sum()),
        "void claims": int(slots.of("void_claims").sum()),
        "refusals": int(slots.refusals.sum()),
        "slots closed late (gaps)": int(slots.gap.sum()),
        "slots with stale weather": int(slots.weather_stale.sum()),
    }


def _happened(slots: Figures, homes: int, compiled: Compiled | None) -> list[str]:
    counts = counts_of(slots, homes)
    lines = ["What happened", *(_line(name, str(count)) for name, count in counts.items())]
    events = list(spells_of(slots))
    if not events:
        return [*lines, _line("events", "none")]
    for name, first, last in events:
        until = when(last + 1, compiled)
        lines.append(_line(f"event {name.replace('_', ' ')}", "", f"{when(first, compiled)} to {until}"))
    return lines


def spells_of(slots: Figures) -> Iterator[tuple[str, int, int]]:
    """Each kind of event with the first and last slot of every time it acted without a break."""
    for name, intensity in slots.events.items():
        acting = slots.slot[intensity != 0]
        for run in np.split(acting, np.flatnonzero(np.diff(acting) != 1) + 1):
            if len(run):
                yield name, int(run[0]), int(run[-1])


def _checks(result: Result | None) -> list[str]:
    if result is None:
        return ["Nothing was checked: the ledger is believed (--no-check)"]
    lines = ["The checker, which shares no code with the settlement, says"]
    held = f"{result.homes_compared} of {result.homes}"
    lines += [
        _line("hash chain and seals", f"{result.slots} slots"),
        _line("own registers held against the ledger", f"{held} homes"),
        _line("findings", str(result.findings_count)),
        *(f"  note: {note}" for note in result.notes),
        *(f"  {finding.line()}" for finding in result.findings[: telling.FINDINGS_SHOWN_MAX]),
        f"  last hash {result.hash}",
    ]
    return lines
