"""The indicators of a ledger: its passages in a tally, the homes' registers for what their batteries hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.audit.findings import Findings
from energymarket.audit.register_files import columns_of, read_all
from energymarket.audit.source import LedgerDamagedError, LedgerMovedError
from energymarket.core.kpi.community_sums import SlotTotals
from energymarket.core.kpi.document import by_home, document
from energymarket.core.kpi.storage import Storage, taken_in_wh
from energymarket.core.kpi.tally import Tally
from energymarket.core.passage import Passage
from energymarket.core.sharing.comparison import Comparison
from energymarket.daybook.passages import Passages
from energymarket.scenario.indicators import carbon_of, expectation_of, frame_of, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from energymarket.audit.source import Source
    from energymarket.scenario.compiled import Compiled

READINGS_MAX: Final = 4
"""A market that compacts while it is read is read again so often."""


@dataclass(frozen=True, slots=True)
class Indicators:
    """A tally of all slots, and what is known beside it."""

    tally: Tally
    storage: Storage
    carried: int  # readings that hold the energy of slots before
    compiled: Compiled
    comparison: Comparison | None = None  # of the sharing rules, over the slots with detail

    def document(self, *, home_table: bool = True) -> dict[str, Any]:
        """As `core/kpi/document.py`, with a note where readings came late."""
        expectation = expectation_of(self.compiled, self.tally)
        made = document(self.tally, self.storage, expectation, home_table=home_table)
        if self.carried:
            made["kpi"]["notes"].append(
                f"{self.carried} readings hold the energy of slots before (late batches, gaps): peaks, "
                "carbon and what is met within a slot take it as of the slot in which it came"
            )
        return made

    def of_home(self, home: int) -> dict[str, Any]:
        """One row of the table of homes."""
        return {name: values[0] for name, values in by_home(self.tally, self.storage, only=home).items()}


def indicators_of(
    source: Source,
    homes_dir: Path | None,
    compiled: Compiled,
    *,
    compares: bool = False,
    told: Callable[[int], None] | None = None,
) -> Indicators:
    """Read a ledger once, and the registers where there are some. Raises LedgerDamagedError.

    With `compares` every home's bill under every sharing rule is added up on the way. `told` hears how many
    slots have been read.
    """
    for _ in range(READINGS_MAX):
        try:
            passages = Passages(source, compiled.homes_count)
            comparison = Comparison(terms_of(compiled)) if compares else None
            tally = _heard(passages, compiled, comparison, told)
        except LedgerMovedError:
            continue
        storage = storage_of(homes_dir, tally, compiled)
        return Indicators(tally, storage, passages.carried, compiled, comparison)
    raise LedgerDamagedError("the market compacts faster than its ledger is read")


def _heard(
    passages: Passages,
    compiled: Compiled,
    comparison: Comparison | None,
    told: Callable[[int], None] | None,
) -> Tally:
    tally = Tally(frame_of(compiled))
    for piece in passages.read():
        match piece:
            case Passage():
                tally.add(piece, carbon_of(compiled, piece.first_slot, piece.slots))
                if comparison is not None:
                    comparison.add(piece)
            case SlotTotals():
                tally.add_totals(piece, carbon_of(compiled, piece.first_slot, piece.slots))
            case _:
                tally.add_compacted(piece.columns)
        if told is not None:
            told(tally.community.slots)
    return tally


def storage_of(homes_dir: Path | None, tally: Tally, compiled: Compiled) -> Storage:
    """What the registers of the tally's last slot say; unknown for homes that have none of it.

    Registers count from the beginning of the ledger, so what went in, less what came out, less losses is
    the change of content. A register file that is damaged is the checker's business: here it is unknown.
    """
    found = Storage.unknown(tally.frame.homes)
    if homes_dir is None or not homes_dir.is_dir():
        return found
    taken_in = taken_in_wh(tally)
    for registers in read_all(homes_dir, Findings(), compiled.hash):
        home = registers.home
        if registers.slot != tally.community.last_slot or int(home[-1]) > tally.frame.homes:
            continue
        columns, rows = columns_of(registers.state), home - 1
        kept = columns["battery_in_wh"] - columns["battery_out_wh"]
        found.change_wh[rows] = kept - columns["losses_wh"]
        found.losses_wh[rows] = columns["losses_wh"]
        found.known[rows] = kept == taken_in[rows]
    unknown = np.flatnonzero(~found.known)
    found.change_wh[unknown] = found.losses_wh[unknown] = 0
    return found
