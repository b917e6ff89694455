"""A whole check: registers first, then the ledger, then both held together; once, or again as slots come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.audit.checker import Checker
from energymarket.audit.findings import Findings, Kind
from energymarket.audit.register_files import read_all
from energymarket.audit.source import Facts, LedgerDamagedError, LedgerMovedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from energymarket.audit.opened import Opened
    from energymarket.audit.register_files import Registers
    from energymarket.audit.source import Source
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

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
        on_slot: Callable[[SlotRow, Opened | None], None] | None = None,
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
