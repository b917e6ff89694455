"""The report in words: energy, money, price, what happened, and what the checker says."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from energymarket.audit import telling
from energymarket.audit.telling import eur, kwh
from energymarket.core import clock
from energymarket.daybook.balance import ACCOUNTS, Balance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energymarket.audit.checker import Result
    from energymarket.audit.figures import Figures
    from energymarket.scenario.compiled import Compiled

WIDTH = 44  # of a label


def lines_of(
    slots: Sequence[Figures], balance: Balance, result: Result, compiled: Compiled | None
) -> list[str]:
    """The whole report."""
    if not slots:
        return ["The ledger is empty: no slot was settled."]
    parts = [
        _head(slots, result, compiled),
        _energy(balance),
        _money(balance),
        _price(slots, compiled),
        _happened(slots, result, compiled),
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


def _head(slots: Sequence[Figures], result: Result, compiled: Compiled | None) -> list[str]:
    first, last = slots[0].slot, slots[-1].slot
    span = f"{when(first, compiled)} to {when(last + 1, compiled)}"
    title = "energy-market" if compiled is None else compiled.title
    zone = "" if compiled is None else f" ({compiled.period.timezone})"
    length = "" if compiled is None else f" of {compiled.period.slot_s // 60} min"
    return [
        title,
        "=" * len(title),
        f"{span}{zone}: {len(slots)} slots{length}, {result.homes} homes",
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


def _price(slots: Sequence[Figures], compiled: Compiled | None) -> list[str]:
    low = min(slots, key=lambda each: each.price_ueur_per_kwh)
    high = max(slots, key=lambda each: each.price_ueur_per_kwh)
    mean = round(sum(each.price_ueur_per_kwh for each in slots) / len(slots))
    clipped = sum(each.unclipped_ueur_per_kwh not in {None, each.price_ueur_per_kwh} for each in slots)
    return [
        "Local price, per kWh",
        _line("mean of the slots", eur(mean)),
        _line("lowest", eur(low.price_ueur_per_kwh), when(low.slot, compiled)),
        _line("highest", eur(high.price_ueur_per_kwh), when(high.slot, compiled)),
        _line("slots at floor or cap", str(clipped)),
    ]


def _happened(slots: Sequence[Figures], result: Result, compiled: Compiled | None) -> list[str]:
    counts = {
        "batches after the gate": sum(int(each.meta.get("late_batches", 0)) for each in slots),
        "offers shed at a full queue": sum(int(each.meta.get("shed_offers", 0)) for each in slots),
        "readings that came with a later slot": sum(
            max(0, result.homes - each.of("homes")) for each in slots
        ),
        "void claims": sum(each.of("void_claims") for each in slots),
        "refusals": sum(len(each.meta.get("refusals", ())) for each in slots),
        "slots closed late (gaps)": sum(each.gap for each in slots),
        "slots with stale weather": sum(each.weather_stale for each in slots),
    }
    lines = ["What happened", *(_line(name, str(count)) for name, count in counts.items())]
    events = list(spells_of(slots))
    if not events:
        return [*lines, _line("events", "none")]
    for name, first, last in events:
        until = when(last + 1, compiled)
        lines.append(_line(f"event {name.replace('_', ' ')}", "", f"{when(first, compiled)} to {until}"))
    return lines


def spells_of(slots: Sequence[Figures]) -> Iterator[tuple[str, int, int]]:
    """Each kind of event with the first and last slot of every time it acted without a break."""
    for name in dict.fromkeys(name for each in slots for name, _ in each.events):
        acting = [each.slot for each in slots if name in dict(each.events)]
        for _, spell in groupby(enumerate(acting), key=lambda pair: pair[1] - pair[0]):
            run = [slot for _, slot in spell]
            yield name, run[0], run[-1]


def _checks(result: Result) -> list[str]:
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
