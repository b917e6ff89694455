"""A sealed slot, opened: head, columns, gifts, orders, totals and notes; or what keeps it shut."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.audit.findings import Findings, Kind
from energymarket.core import ledger

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.ledger import Columns, SlotHead
    from energymarket.core.units import I64
    from energymarket.transport.store import SlotRow

ENERGY_WH_MAX: Final = 100_000_000_000
"""Of one home in one slot, a gap of years included; times the dearest price it still fits int64."""

PRICE_UEUR_PER_KWH_MAX: Final = 100_000_000  # 100 €/kWh

_SHOWN: Final = (
    "slot",
    "price_ueur_per_kwh",
    "import_ueur_per_kwh",
    "export_ueur_per_kwh",
    "gap",
    "weather_stale",
)


@dataclass(frozen=True, slots=True)
class Notes:
    """What the row keeps beside the body."""

    totals: dict[str, int]
    meta: dict[str, Any]

    def in_batches(self, home: I64) -> npt.NDArray[np.bool_]:
        """Which of these homes handed in a batch."""
        inside = np.zeros(len(home), np.bool_)
        for first, count, *_ in self.meta.get("batches", ()):
            inside |= (home >= first) & (home < first + count)
        return inside


@dataclass(frozen=True, slots=True)
class Opened:
    """A slot with its detail."""

    row: SlotRow
    head: SlotHead
    columns: Columns
    gifts: Columns
    orders: Columns
    notes: Notes

    @property
    def slot(self) -> int:
        """Its number."""
        return self.row.slot

    @property
    def home(self) -> I64:
        """Home of each row."""
        return self.columns["home"]

    def sum_by_home(self, ids: I64, values: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
        """Values added up per row, and which of the ids have a row."""
        at = np.searchsorted(self.home, ids)
        known = np.zeros(len(ids), np.bool_)
        inside = at < len(self.home)
        known[inside] = self.home[at[inside]] == ids[inside]
        total = np.zeros(len(self.home), np.int64)
        np.add.at(total, at[known], values[known])
        return total, known


def notes_of(row: SlotRow, findings: Findings) -> Notes | None:
    """Totals and notes; None, and a finding, where they cannot be read."""
    try:
        totals, meta = json.loads(row.totals), json.loads(row.meta)
        good = isinstance(totals, dict) and isinstance(meta, dict)
        good = good and all(type(value) is int for value in totals.values())
        good = good and all(_is_batch(each) for each in meta.get("batches", ()))
    except ValueError:
        good, totals, meta = False, {}, {}
    if not good:
        findings.add(Kind.ROW_DIFFERS, "totals or notes of the row cannot be read", slot=row.slot)
        return None
    return Notes(totals, meta)


def _is_batch(each: object) -> bool:
    return isinstance(each, list) and len(each) == 3 and type(each[0]) is int and type(each[1]) is int


def opened(row: SlotRow, body: bytes, notes: Notes, findings: Findings) -> Opened | None:
    """A slot with its body unpacked; None, and a finding, where it is none or holds the impossible."""
    try:
        head, columns, gifts, orders = ledger.unpack(body)
    except ledger.LedgerCorrupt as error:
        twice = "gifts are not in order" in error.what
        kind = Kind.GIFT_DOUBLED if twice else Kind.BODY_MALFORMED
        findings.add(kind, str(error), slot=row.slot)
        return None
    slot = Opened(row, head, columns, gifts, orders, notes)
    return slot if _is_possible(slot, findings) else None


def _is_possible(slot: Opened, findings: Findings) -> bool:
    before = len(findings)
    head, row = slot.head, slot.row
    for name in _SHOWN:
        sealed, shown = getattr(head, name), getattr(row, name)
        findings.same(Kind.ROW_DIFFERS, "the row is not its body", sealed, shown, slot=row.slot, account=name)
    for name in ("price", "import", "export", "gift_fee", "previous"):
        price = getattr(head, f"{name}_ueur_per_kwh")
        if abs(price) > PRICE_UEUR_PER_KWH_MAX:
            findings.add(
                Kind.PRICE_WRONG, f"a price of {price}", slot=row.slot, account=f"{name}_ueur_per_kwh"
            )
    for name, column in slot.columns.items():
        low, high = (-(2**62), 2**62) if name == "money_ueur" else (0, ENERGY_WH_MAX)
        bad = (column < low) | (column > high)
        findings.at_homes(Kind.ENERGY_IMPOSSIBLE, f"{name} is impossible", slot.home, bad, slot=row.slot)
    for table, ids in ((slot.gifts, "taker"), (slot.orders, "home")):
        bad = np.abs(table["energy_wh"]) > ENERGY_WH_MAX
        bad |= table["energy_wh"] == 0
        if ids == "taker":
            bad |= table["energy_wh"] < 0
        findings.at_homes(Kind.ENERGY_IMPOSSIBLE, "energy_wh is impossible", table[ids], bad, slot=row.slot)
    return len(findings) == before
