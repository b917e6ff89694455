"""A whole check: registers first, then the ledger, then both held together; once, or again as slots come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from energymarket.audit.accounts import Accounts
from energymarket.audit.checker import Checker
from energymarket.audit.findings import Findings, Kind
from energymarket.audit.opened import notes_of, opened
from energymarket.audit.register_files import read_all
from energymarket.audit.source import Facts, LedgerDamagedError, LedgerMovedError
from energymarket.core import ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from energymarket.audit.opened import Opened
    from energymarket.audit.register_files import Registers
    from energymarket.audit.source import Source
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

OnSlot: TypeAlias = "Callable[[SlotRow, Opened | None], None]"
"""Hears each sealed slot, with its detail where it has one."""

PASSES_MAX: Final = 4
"""A market that compacts while it is read is read again so often."""

STANDINGS_KEPT: Final = 8
"""Slots whose sums a watcher remembers: a home's file is at most two slots away from the ledger."""


class Check:
    """A check that can be carried on."""

    def __init__(
        self,
        source: Source,
        homes: Path | None,
        compiled: Compiled | None,
        *,
        chain_only: bool = False,
        watching: bool = False,
        on_slot: OnSlot | None = None,
    ) -> None:
        self._source = source
        self._homes = homes
        self._compiled = compiled
        self._chain_only = chain_only
        self._watching = watching
        self._on_slot = on_slot
        self._next = 0
        self.checker = Checker(Facts(), compiled)

    def run(self) -> Checker:
        """Read everything once. What the ledger's file itself refuses is a finding."""
        missing = -1
        for _ in range(PASSES_MAX):
            try:
                self._pass()
            except LedgerMovedError as moved:
                missing = moved.slot
                continue
            except LedgerDamagedError as error:
                self.checker.findings.add(Kind.DATABASE_DAMAGED, str(error))
            return self.checker
        text = "its body is gone, and no compacted stretch covers it"
        self.checker.findings.add(Kind.DETAIL_MISSING, text, slot=missing)
        return self.checker

    def _pass(self) -> None:
        self._next = 0
        self.checker = Checker(Facts(), self._compiled, chain_only=self._chain_only)
        facts = self._source.facts()
        keep_last = STANDINGS_KEPT if self._watching else 0
        self.checker = Checker(facts, self._compiled, keep_last=keep_last, chain_only=self._chain_only)
        registers = self._registers()
        beside = self._source.beside()
        self.checker.begin(self._source.stretches(), beside, (each.slot for each in registers))
        self._hear()
        self.checker.end(beside)
        self.checker.hold(registers)

    def go_on(self) -> None:
        """Hear what has come since, and hold it against the registers as they are now."""
        registers = self._registers()
        self._hear()
        self.checker.hold(registers)

    def _hear(self) -> None:
        for row in self._source.rows(self._next):
            slot = self.checker.hear(row)
            if self._on_slot is not None:
                self._on_slot(row, slot)
            self._next = row.slot + 1

    def _registers(self) -> list[Registers]:
        if self._homes is None or self._chain_only:
            return []
        scenario_hash = None if self._compiled is None else self._compiled.hash
        findings: Findings = self.checker.findings
        return read_all(self._homes, findings, scenario_hash)


def believed(source: Source, on_slot: OnSlot) -> Accounts:
    """Read everything without a check; the answer is what each home's rows add up to.

    What cannot be unpacked is left out. Raises LedgerDamagedError, and LedgerMovedError where a market
    compacts faster than it can be read.
    """
    for _ in range(PASSES_MAX - 1):
        try:
            return _believed(source, on_slot)
        except LedgerMovedError:
            continue
    return _believed(source, on_slot)


def _believed(source: Source, on_slot: OnSlot) -> Accounts:
    accounts, unheard = Accounts(source.facts().homes or 0), Findings()
    nobody = np.zeros(0, np.bool_)
    for stretch in source.stretches():
        try:
            _, columns, _, _ = ledger.unpack(stretch.body)
        except ledger.LedgerCorrupt:
            continue
        accounts.add(stretch.last, columns, nobody, stretch=True)
    for row in source.rows(0):
        notes = None if row.body is None else notes_of(row, unheard)
        slot = None if row.body is None or notes is None else opened(row, row.body, notes, unheard)
        if slot is not None:
            accounts.add(slot.slot, slot.columns, nobody)
        on_slot(row, slot)
    return accounts
