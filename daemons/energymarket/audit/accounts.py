"""What the ledger adds up to per home, slot by slot, to be held against the homes' own registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.audit.findings import Findings, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from energymarket.audit.register_files import Registers
    from energymarket.core.units import I64

Mask: TypeAlias = npt.NDArray[np.bool_]

READINGS: Final = {
    "production_wh": "produced_wh",
    "consumption_wh": "consumed_wh",
    "import_wh": "imported_wh",
    "export_wh": "exported_wh",
}
"""Register of a home -> column of the ledger that adds up to it."""

GIFTS: Final = {"given_wh": "given_wh", "received_wh": "received_wh"}
_COLUMNS: Final = (*READINGS.values(), *GIFTS.values(), "money_ueur")

HOMES_MAX: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Standing:
    """All homes at the end of a slot; index = id − 1."""

    sums: Mapping[str, I64]
    before: Mapping[str, I64] | None  # gifts before the slot; None at the end of a compacted stretch
    in_batch: Mask  # the home handed in a batch for the slot


class Accounts:
    """Sums of all slots so far."""

    def __init__(self, homes: int, keep_last: int = 0) -> None:
        self.homes = 0
        self.sums: dict[str, I64] = {name: np.zeros(0, np.int64) for name in _COLUMNS}
        self._keep_last = keep_last
        self._wanted: frozenset[int] = frozenset()
        self.standings: dict[int, Standing] = {}
        self._agreed: dict[str, I64] = {}  # register -> last slot in which it agreed with the ledger, by home
        self._differences: dict[str, I64] = {}  # register -> what has been found already, by home
        self.compared: Mask = np.zeros(0, np.bool_)
        self._grow(homes)

    def want(self, slots: Iterable[int]) -> None:
        """Slots whose standing is to be kept."""
        self._wanted = frozenset(slots)

    def _grow(self, homes: int) -> None:
        more = min(homes, HOMES_MAX) - self.homes
        if more <= 0:
            return
        self.sums = {name: np.append(column, np.zeros(more, np.int64)) for name, column in self.sums.items()}
        self.compared = np.append(self.compared, np.zeros(more, np.bool_))
        for columns, value in ((self._agreed, -1), (self._differences, 0)):
            for name in (*READINGS, *GIFTS):
                old = columns.get(name, np.zeros(0, np.int64))
                columns[name] = np.append(old, np.full(more, value, np.int64))
        self.homes += more

    def add(self, slot: int, columns: Mapping[str, I64], in_batch: Mask, *, stretch: bool = False) -> None:
        """A slot's columns, or those of a compacted stretch that ends with the slot.

        `in_batch` says which of the rows' homes handed in a batch for this very slot.
        """
        home = columns["home"]
        if len(home):
            self._grow(int(home[-1]))
        rows = home - 1
        kept = slot in self._wanted or self._keep_last > 0
        before = {name: self.sums[name].copy() for name in GIFTS} if kept and not stretch else None
        for name, column in self.sums.items():
            column[rows] += columns[name]
        if kept:
            batch = np.zeros(self.homes, np.bool_)
            batch[rows] = in_batch
            sums = {name: self.sums[name].copy() for name in (*READINGS.values(), *GIFTS)}
            self.standings[slot] = Standing(sums, before, batch)
            self._forget(slot)

    def _forget(self, slot: int) -> None:
        old = [each for each in self.standings if each not in self._wanted and each <= slot - self._keep_last]
        for each in old:
            del self.standings[each]

    def compare(self, registers: Registers, findings: Findings) -> None:
        """A generation of registers against the ledger, for homes of which the ledger has that very slot."""
        standing = self.standings.get(registers.slot)
        last = int(registers.home[-1])
        if standing is None or last > len(standing.in_batch):
            return
        part = slice(registers.first - 1, last)
        there = standing.in_batch[part]
        self.compared[part] |= there
        for name, column in READINGS.items():
            more, less = (Kind.READING_LOST, Kind.READING_INVENTED)
            self._hold(name, standing.sums[column][part], registers, there, (more, less), findings)
        gifts = standing.sums if registers.settled else standing.before
        for name, column in GIFTS.items():
            if gifts is not None:
                kinds = (Kind.GIFT_LOST, Kind.GIFT_DOUBLED)
                self._hold(name, gifts[column][part], registers, there, kinds, findings)

    def _hold(
        self,
        name: str,
        ledger_wh: I64,
        registers: Registers,
        there: Mask,
        kinds: tuple[Kind, Kind],
        findings: Findings,
    ) -> None:
        """`kinds` are for a register that has gained on the ledger, and that has lost.

        A difference is told in the first slot that shows it, not in every one after it.
        """
        register_wh = registers.state.column(name).astype(np.int64)
        part = slice(registers.first - 1, registers.first - 1 + len(register_wh))
        known, agreed = self._differences[name][part], self._agreed[name][part]
        difference = register_wh - ledger_wh
        for kind, wrong in zip(kinds, (difference > known, difference < known), strict=True):
            at = np.flatnonzero(wrong & there)
            since = int(agreed[at[0]]) if len(at) else -1
            text = "register and ledger differ" + (f"; they did not in slot {since}" if since >= 0 else "")
            findings.same_by_home(
                kind,
                text,
                registers.home[at],
                register_wh[at],
                ledger_wh[at],
                slot=registers.slot,
                account=name,
            )
        known[there] = difference[there]
        agreed[there & (difference == 0)] = registers.slot
