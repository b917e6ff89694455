"""The slots of a ledger, live or from its file, as passages: what indicators hear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from energymarket.audit import opened
from energymarket.audit.findings import Findings
from energymarket.audit.source import LedgerDamagedError
from energymarket.core import ledger
from energymarket.core.kpi.community_sums import TOTALS, SlotTotals
from energymarket.core.kpi.home_sums import SUMMED
from energymarket.core.passage import Passage
from energymarket.core.records import SLOT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from energymarket.audit.opened import Notes, Opened
    from energymarket.audit.source import Source, Stretch
    from energymarket.core.units import I64
    from energymarket.transport.store import SlotRow

SLOTS_MAX: Final = 64
"""Of one passage. Less where there are so many homes that ROOM_BYTES would not hold it."""

ROOM_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class StretchSums:
    """What a compacted stretch still says of its homes: sums by the names of SUMMED, home 1 first."""

    columns: Mapping[str, I64]


Piece: TypeAlias = Passage | SlotTotals | StretchSums


class Passages:
    """One reading of a ledger, slot after slot.

    Slots with detail come as `Passage`s; a compacted one as its prices and totals (`SlotTotals`), and what
    its stretch says per home once, as `StretchSums`, when its last slot has been read. `carried` counts
    readings that hold the energy of slots before: of homes that were late, or after a slot that was a gap.
    """

    def __init__(self, source: Source, homes: int) -> None:
        self._source = source
        self._homes = homes
        self._per_passage = max(1, min(SLOTS_MAX, ROOM_BYTES // (8 * len(SLOT_COLUMNS) * max(1, homes))))
        self._kept: list[Opened] = []
        self._absent: npt.NDArray[np.bool_] = np.zeros(homes, np.bool_)
        self.carried = 0

    def read(self) -> Iterator[Piece]:
        """Every piece, in order of slots.

        Raises LedgerDamagedError at what cannot be believed, LedgerMovedError where the market compacts
        meanwhile: then another reading begins anew.
        """
        stretches = {each.last: each for each in self._source.stretches()}
        for row in self._source.rows(0):
            if row.seal_now() != row.seal:
                raise LedgerDamagedError(f"slot {row.slot}: the seal does not hold: its row was changed")
            findings = Findings()
            notes = opened.notes_of(row, findings)
            if notes is None:
                raise _damaged(findings)
            if row.body is None:
                yield from self._take_rest()
                if not any(each.first <= row.slot <= each.last for each in stretches.values()):
                    raise LedgerDamagedError(f"slot {row.slot}: its detail is gone, and no sums have it")
                yield _totals(row, notes)
            else:
                slot = opened.opened(row, row.body, notes, findings)
                if slot is None:
                    raise _damaged(findings)
                if self._kept and slot.slot != self._kept[-1].slot + 1:
                    yield from self._take_rest()
                self._keep(slot)
                if len(self._kept) == self._per_passage:
                    yield from self._take_rest()
            if row.slot in stretches:
                yield self._sums(stretches[row.slot])
        yield from self._take_rest()

    def _keep(self, slot: Opened) -> None:
        home = slot.home
        if len(home) and int(home[-1]) > self._homes:
            raise LedgerDamagedError(f"slot {slot.slot}: a row of home {home[-1]}, of {self._homes} homes")
        here = np.zeros(self._homes, np.bool_)
        here[home[slot.notes.in_batches(home)] - 1] = True
        self.carried += int(np.count_nonzero(here & self._absent))
        self._absent = ~here
        self._kept.append(slot)

    def _take_rest(self) -> Iterator[Passage]:
        kept, self._kept = self._kept, []
        if not kept:
            return
        shape = (len(kept), self._homes)
        columns = {name: np.zeros(shape, np.int64) for name in SLOT_COLUMNS[1:]}
        for at, slot in enumerate(kept):
            for name, column in columns.items():
                column[at, slot.home - 1] = slot.columns[name]
        price, import_, export = (
            np.array([getattr(slot.head, f"{name}_ueur_per_kwh") for slot in kept], np.int64)
            for name in ("price", "import", "export")
        )
        yield Passage(kept[0].slot, price, import_, export, columns)

    def _sums(self, stretch: Stretch) -> StretchSums:
        try:
            _, columns, _, _ = ledger.unpack(stretch.body)
        except ledger.LedgerCorrupt as error:
            raise LedgerDamagedError(f"slots {stretch.first} to {stretch.last}: {error}") from error
        home = columns["home"]
        if len(home) and int(home[-1]) > self._homes:
            raise LedgerDamagedError(f"slots {stretch.first} to {stretch.last}: a row of home {home[-1]}")
        sums = {name: np.zeros(self._homes, np.int64) for name in SUMMED}
        for name, column in sums.items():
            column[home - 1] = columns[name]
        return StretchSums(sums)


def _totals(row: SlotRow, notes: Notes) -> SlotTotals:
    missing = [name for name in TOTALS if name not in notes.totals]
    if missing:
        raise LedgerDamagedError(f"slot {row.slot}: its totals lack {', '.join(missing)}")
    price, import_, export = (
        np.array([each], np.int64)
        for each in (row.price_ueur_per_kwh, row.import_ueur_per_kwh, row.export_ueur_per_kwh)
    )
    totals = {name: np.array([notes.totals[name]], np.int64) for name in TOTALS}
    return SlotTotals(row.slot, price, import_, export, totals)


def _damaged(findings: Findings) -> LedgerDamagedError:
    return LedgerDamagedError("; ".join(finding.line() for finding in findings.kept))
