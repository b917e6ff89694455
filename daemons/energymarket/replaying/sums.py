"""What the ledger itself adds up to per home before a start, so that a replay may begin there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import ledger
from energymarket.core.market import Accounts

if TYPE_CHECKING:
    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.transport.ledger_rows import SlotRow

_NAMES = ("production_wh", "consumption_wh", "import_wh", "export_wh", "balance_ueur")


class Sums:
    """Registers and balances from compacted stretches and the bodies of slots that cannot be played."""

    def __init__(self, source: LedgerFile) -> None:
        self._stretches = {each.last: each.body for each in source.stretches()}
        self._accounts = Accounts.fresh(source.facts().homes or 0)

    def take(self, accounts: Accounts) -> None:
        """Go on from where a replay has come to."""
        self._accounts = accounts.copy()

    def hear(self, row: SlotRow) -> None:
        """A slot that was not played. Raises LedgerCorrupt."""
        body = self._stretches.get(row.slot) if row.body is None else row.body
        if body is not None:
            columns = ledger.unpack(body)[1]
            if len(columns["home"]) and columns["home"][-1] > len(self._accounts.balance_ueur):
                raise ledger.LedgerCorrupt(f"home {columns['home'][-1]} is none of this market", 0)
            self._accounts.apply(row.slot, columns, ())

    def difference(self, accounts: Accounts) -> str | None:
        """The first account that differs, in words; None where all are equal."""
        for name, found, summed in zip(
            _NAMES, accounts.columns()[:5], self._accounts.columns()[:5], strict=True
        ):
            if found.shape != summed.shape:
                return f"{len(found)} homes, the ledger has {len(summed)}"
            for at in np.flatnonzero(found != summed)[:1].tolist():
                return f"{name} of home {at + 1} is {found[at]}, detail and sums come to {summed[at]}"
        return None
