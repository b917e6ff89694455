"""The checker's answer for people: what was checked, and each finding in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energymarket.audit.checker import Result

FINDINGS_SHOWN_MAX = 40


def kwh(energy_wh: int) -> str:
    """1234567 Wh -> `1,234.567 kWh`: exact, from the integer."""
    whole, rest = divmod(abs(energy_wh), 1000)
    return f"{'−' if energy_wh < 0 else ''}{whole:,}.{rest:03d} kWh"


def eur(money_ueur: int) -> str:
    """1234567 µ€ -> `1.234567 €`: exact, from the integer."""
    whole, rest = divmod(abs(money_ueur), 1_000_000)
    return f"{'−' if money_ueur < 0 else ''}{whole:,}.{rest:06d} €"


def lines_of(result: Result, *, chain_only: bool = False) -> list[str]:
    """The whole answer."""
    lines = [_slots(result)]
    if not chain_only:
        lines += _what(result)
    lines += [f"note: {note}" for note in result.notes]
    if result.ok:
        return [*lines, "nothing is wrong"]
    lines += [each.line() for each in result.findings[:FINDINGS_SHOWN_MAX]]
    more = result.findings_count - min(len(result.findings), FINDINGS_SHOWN_MAX)
    return [*lines, *([f"… and {more} more"] if more else []), f"{result.findings_count} findings"]


def _slots(result: Result) -> str:
    if result.first_slot is None:
        return "an empty ledger"
    compacted = f" ({result.compacted} of them compacted)" if result.compacted else ""
    return (
        f"{result.slots} slots, {result.first_slot} to {result.last_slot}{compacted}: "
        f"hash chain and seals, last hash {result.hash}"
    )


def _what(result: Result) -> list[str]:
    totals = result.totals
    names = {"produced": "produced_wh", "consumed": "consumed_wh", "given": "taken_wh"}
    energy = [f"{name} {kwh(totals.get(total, 0))}" for name, total in names.items()]
    accounts = ("homes", "operator", "grid", "fees")
    money = [f"{name} {eur(totals.get(f'{name}_money_ueur', 0))}" for name in accounts]
    lines = [
        f"energy of {result.homes} homes: {', '.join(energy)}",
        f"money: {', '.join(money)}",
    ]
    if result.homes_compared or result.homes_uncompared:
        later = f", {result.homes_uncompared} not yet comparable" if result.homes_uncompared else ""
        lines.append(f"own registers of {result.homes_compared} homes held against the ledger{later}")
    return lines
