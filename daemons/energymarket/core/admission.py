"""What may enter a slot: a batch, the last readings, and the guards, one per line, each with its refusal.

A batch comes from a peer that may be broken or hostile; after `check` no sum over it can overflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.block import NARROW_HOMES
from energymarket.core.claims import Seen, blocks, offer_key, seen, woven
from energymarket.core.limits import (
    CLAIMS_PER_HOME_MAX,
    ENERGY_WH_MAX,
    REGISTER_JUMP_WH_MAX,
    REGISTER_WH_MAX,
)
from energymarket.core.nothing import is_nothing
from energymarket.core.records import BATCH_COLUMNS, CLAIM, Policy
from energymarket.core.refusals import Refusal
from energymarket.core.sums import bounds, total
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READING_COLUMNS: Final = ("production_wh", "consumption_wh", "import_wh", "export_wh")
"""The registers of a batch, and the columns of `Readings`."""

_AGREED_COLUMNS: Final = ("offered_wh", "returned_wh", "sold_wh", "bought_wh")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a range of homes hands in for a slot."""

    id: str
    first: int  # home id
    count: int
    columns: Mapping[str, npt.NDArray[Any]]  # BATCH_COLUMNS, one value per home, of these types or narrower
    claims: npt.NDArray[np.void]  # CLAIM
    since: int | None = None  # slot of the reading that the registers are growth from; None: they are whole
    registers: int = 0  # of a batch that grows: what they come to, all together, modulo 2**64
    looked: list[Seen] = field(init=False, default_factory=list, compare=False, repr=False)

    def claims_seen(self) -> Seen:
        """Its claims, looked through: when it was checked, or now."""
        if not self.looked:
            self.looked.append(seen(self.claims))
        return self.looked[0]

    def flow(self, register: str, before: Readings) -> npt.NDArray[np.signedinteger[Any]]:
        """What flowed through a register since the last reading: int64, or narrower where it is said so."""
        if self.since is not None:
            return self.columns[register]
        last: I64 = getattr(before, register)
        grown: I64 = self.columns[register] - last[self.first - 1 : self.first - 1 + self.count]
        return grown


@dataclass(frozen=True, slots=True)
class Readings:
    """The registers at the last committed reading: one value per home of the market, 0 before the first."""

    production_wh: I64
    consumption_wh: I64
    import_wh: I64
    export_wh: I64

    @classmethod
    def zero(cls, homes: int) -> Readings:
        """Meters fresh from the factory."""
        return cls(*(np.zeros(homes, np.int64) for _ in READING_COLUMNS))

    def total(self, here: slice) -> int:
        """What all four registers of some homes come to."""
        return sum(int(getattr(self, name)[here].sum(dtype=np.int64)) for name in READING_COLUMNS)


def check(batch: Batch, homes: int, readings: Readings) -> list[Refusal]:
    """Every reason to refuse the batch whole, in the order of the guards; empty if it may enter.

    `homes` is the number of homes of the market, `readings` the last committed ones.
    """
    if not _in_range(batch, homes):
        return [Refusal.UNKNOWN_HOME]
    if not _well_formed(batch):
        return [Refusal.BATCH_MALFORMED]
    found = [*_agreed(batch), *_registers(batch, readings), *_claims(batch, homes)]
    return list(dict.fromkeys(found))


def _in_range(batch: Batch, homes: int) -> bool:
    return batch.first >= 1 and batch.count >= 1 and batch.first - 1 + batch.count <= homes


def _well_formed(batch: Batch) -> bool:
    for name, kind in BATCH_COLUMNS:
        column = batch.columns.get(name)
        if column is None or column.shape != (batch.count,):
            return False
        if column.dtype.kind != kind.kind or column.itemsize > kind.itemsize:
            return False
    return batch.claims.dtype == CLAIM and batch.claims.ndim == 1


def _agreed(batch: Batch) -> Iterator[Refusal]:
    columns = batch.columns
    for name in _AGREED_COLUMNS:
        low, high = bounds(columns[name])
        if low < 0:
            yield Refusal.ENERGY_NEGATIVE
        if high > ENERGY_WH_MAX:
            yield Refusal.ENERGY_TOO_LARGE
    policy, offered = columns["policy"], columns["offered_wh"]
    if policy.min() < Policy.GIVE or policy.max() > Policy.GIVE_THEN_SELL:
        yield Refusal.POLICY_UNKNOWN
    if not is_nothing(offered) and ((policy == Policy.SELL) & (offered > 0)).any():
        yield Refusal.SELLER_OFFERS
    if not is_nothing(columns["returned_wh"]) and (columns["returned_wh"] > offered).any():
        yield Refusal.RETURNED_MORE_THAN_OFFERED


def _registers(batch: Batch, readings: Readings) -> Iterator[Refusal]:
    found: set[Refusal] = set()
    for name in READING_COLUMNS:
        before: I64 = getattr(readings, name)
        for start in range(0, batch.count, NARROW_HOMES):
            said = batch.columns[name][start : start + NARROW_HOMES]
            at = batch.first - 1 + start
            last = before[at : at + len(said)]
            found |= _said_whole(said, last) if batch.since is None else _said_as_growth(said, last)
    yield from (each for each in _OF_REGISTERS if each in found)


def _said_whole(now: npt.NDArray[Any], last: I64) -> set[Refusal]:
    if now.min() < 0 or now.max() > REGISTER_WH_MAX:
        return {Refusal.REGISTER_OUT_OF_RANGE}  # its difference might not fit
    return _growth(now.astype(np.int64) - last)


def _said_as_growth(grown: npt.NDArray[Any], last: I64) -> set[Refusal]:
    found = _growth(grown)
    # A register of 32 bits is far from its end.
    if not found and last.itemsize > 4 and int((last + grown).max()) > REGISTER_WH_MAX:
        found.add(Refusal.REGISTER_OUT_OF_RANGE)
    return found


def _growth(grown: npt.NDArray[Any]) -> set[Refusal]:
    found = set()
    low, high = bounds(grown)
    if low < 0:
        found.add(Refusal.REGISTER_RUNS_BACKWARDS)
    if high > REGISTER_JUMP_WH_MAX:
        found.add(Refusal.REGISTER_JUMPS)
    return found


_OF_REGISTERS: Final = (
    Refusal.REGISTER_OUT_OF_RANGE, Refusal.REGISTER_RUNS_BACKWARDS, Refusal.REGISTER_JUMPS,
)  # fmt: skip


def _claims(batch: Batch, homes: int) -> Iterator[Refusal]:
    claims = batch.claims
    if len(claims) == 0:
        return
    if len(claims) > CLAIMS_PER_HOME_MAX * homes:
        yield Refusal.TOO_MANY_CLAIMS
        return  # and no time is spent on them
    found = set()
    looked = Seen(claims)
    narrow, all_wh = np.zeros(batch.count, np.int16), 0
    for part in looked.blocks():
        energy, row = part["energy_wh"].astype(np.int64), part["taker"].astype(np.int64) - batch.first
        if energy.min() == 0:
            found.add(Refusal.CLAIM_EMPTY)
        if row.min() < 0 or row.max() >= batch.count:
            found.add(Refusal.CLAIM_BY_STRANGER)
        elif Refusal.CLAIM_BY_STRANGER not in found:
            np.add.at(narrow, row, energy.astype(np.int16))
            all_wh += int(energy.sum())
    if Refusal.CLAIM_BY_STRANGER not in found:
        # As in `claims.summed`: where a sum did not fit 16 bits, they come to less than they should.
        looked.taken_wh = narrow if total(narrow) == all_wh else _taken(batch)
        if looked.taken_wh.max() > ENERGY_WH_MAX:
            found.add(Refusal.ENERGY_TOO_LARGE)
    batch.looked.append(looked)
    if woven([looked]) is None and _stands_twice(claims):
        found.add(Refusal.CLAIM_TWICE)
    yield from (each for each in _OF_CLAIMS if each in found)


def _taken(batch: Batch) -> I64:
    """What each home of a batch takes, whose claims are all of its own homes."""
    received = np.zeros(batch.count, np.int64)
    for part in blocks(batch.claims):
        np.add.at(received, part["taker"].astype(np.int64) - batch.first, part["energy_wh"].astype(np.int64))
    return received


_OF_CLAIMS: Final = (
    Refusal.CLAIM_EMPTY, Refusal.CLAIM_BY_STRANGER, Refusal.ENERGY_TOO_LARGE, Refusal.CLAIM_TWICE,
)  # fmt: skip


def _stands_twice(claims: npt.NDArray[np.void]) -> bool:
    key = offer_key(claims)
    key.sort(kind="stable")
    return bool((key[1:] == key[:-1]).any())
