"""What a ledger says of each slot, as reports and exports need it: a column per figure, a number per slot."""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.audit.opened import Opened
    from energymarket.core.units import I64
    from energymarket.transport.store import SlotRow

F64: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

ABSENT: Final = -(1 << 63)
"""Stands where a slot does not tell: a term that it does not have, the prices of a compacted one."""

_HASH_BYTES: Final = 32
_ROW: Final = ("slot", "price_ueur_per_kwh", "import_ueur_per_kwh", "export_ueur_per_kwh")
_HEAD: Final = ("gift_fee_ueur_per_kwh", "previous_ueur_per_kwh", "unclipped_ueur_per_kwh")
_COUNTS: Final = ("late_batches", "shed_offers")


@dataclass(frozen=True, slots=True)
class Figures:
    """S slots in order; every column has the shape (S,). About 600 bytes a slot, whatever the homes."""

    slot: I64
    price_ueur_per_kwh: I64
    import_ueur_per_kwh: I64
    export_ueur_per_kwh: I64
    gift_fee_ueur_per_kwh: I64  # ABSENT without detail, likewise the next two
    previous_ueur_per_kwh: I64
    unclipped_ueur_per_kwh: I64
    gap: Mask
    weather_stale: Mask
    detailed: Mask  # the slot's body is there, with terms and events
    gamma: F64
    late_batches: I64
    shed_offers: I64
    refusals: I64
    totals: Mapping[str, I64]
    terms: Mapping[str, I64]  # µ€/kWh, inertia first; ABSENT in slots without the term
    events: Mapping[str, I64]  # intensity in thousandths; 0 in slots without the event
    hashes: bytes

    def __len__(self) -> int:
        return len(self.slot)

    def of(self, total: str) -> I64:
        """A total by its name; zeros where no row has it."""
        found = self.totals.get(total)
        return np.zeros(len(self.slot), np.int64) if found is None else found

    def part(self, first: int, stop: int) -> Figures:
        """Of the S slots those at first to stop − 1."""
        cut: dict[str, Any] = {}
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if isinstance(value, dict):
                cut[name] = {key: column[first:stop] for key, column in value.items()}
            elif isinstance(value, bytes):
                cut[name] = value[first * _HASH_BYTES : stop * _HASH_BYTES]
            else:
                cut[name] = value[first:stop]
        return Figures(**cut)

    def hash_at(self, at: int) -> str:
        """The hash of a slot, in hexadecimal digits."""
        return self.hashes[at * _HASH_BYTES : (at + 1) * _HASH_BYTES].hex()

    @property
    def traded_wh(self) -> I64:
        """Bought and sold within the neighbourhood: what sellers and buyers had in common."""
        shared: I64 = np.minimum(self.of("sold_wh"), self.of("bought_wh"))
        return shared

    @property
    def bought_from_grid_wh(self) -> I64:
        """What the operator had to buy from the grid for the homes."""
        bought: I64 = np.maximum(self.of("bought_wh") - self.of("sold_wh"), 0)
        return bought

    @property
    def sold_to_grid_wh(self) -> I64:
        """What the operator sold on to the grid."""
        sold: I64 = np.maximum(self.of("sold_wh") - self.of("bought_wh"), 0)
        return sold

    @property
    def clipped(self) -> Mask:
        """Slots whose price floor or cap holds."""
        held: Mask = self.detailed & (self.unclipped_ueur_per_kwh != self.price_ueur_per_kwh)
        return held


class _Columns:
    """Columns that grow by a slot at a time. A name that comes later has the filling before."""

    def __init__(self, filling: int) -> None:
        self._filling = filling
        self._length = 0
        self.columns: dict[str, array[int]] = {}

    def put(self, values: Mapping[str, object]) -> None:
        """One slot. What is no whole number of 64 bits is left out: the checker has said so already."""
        for name, value in values.items():
            if name not in self.columns:
                self.columns[name] = array("q", [self._filling]) * self._length
            if type(value) is int and -(1 << 62) < value < 1 << 62:
                self.columns[name].append(value)
        self._length += 1
        for column in self.columns.values():
            if len(column) < self._length:
                column.append(self._filling)

    def arrays(self) -> dict[str, I64]:
        """As NumPy has them."""
        return {name: np.array(column, np.int64) for name, column in self.columns.items()}


class Gathered:
    """The figures of all slots, in order; a slot that comes again starts anew."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._last: int | None = None
        self._plain = _Columns(ABSENT)
        self._totals, self._terms, self._events = _Columns(0), _Columns(ABSENT), _Columns(0)
        self._gamma = array("d")
        self._hashes = bytearray()

    @property
    def count(self) -> int:
        """How many slots have been heard."""
        return len(self._gamma)

    def hear(self, row: SlotRow, slot: Opened | None) -> None:
        """One slot, as the checker hears it."""
        if self._last is not None and row.slot <= self._last:
            self._begin()
        self._last = row.slot
        meta = _object(row.meta) if slot is None else slot.notes.meta
        head = None if slot is None else slot.head
        plain: dict[str, object] = {name: getattr(row, name) for name in _ROW}
        plain |= {name: ABSENT if head is None else getattr(head, name) for name in _HEAD}
        counts = {name: meta.get(name, 0) for name in _COUNTS}
        plain |= {name: value if type(value) is int else 0 for name, value in counts.items()}
        refusals = meta.get("refusals", ())
        plain["refusals"] = len(refusals) if isinstance(refusals, list) else 0
        plain |= {
            "gap": int(row.gap),
            "weather_stale": int(row.weather_stale),
            "detailed": int(head is not None),
        }
        self._plain.put(plain)
        self._totals.put(_object(row.totals) if slot is None else slot.notes.totals)
        self._terms.put({} if head is None else dict(head.terms))
        self._events.put({} if head is None else dict(head.events))
        gamma = meta.get("gamma", 0.0)
        known = isinstance(gamma, int | float) and math.isfinite(gamma)
        self._gamma.append(float(gamma) if known else 0.0)
        self._hashes += row.hash[:_HASH_BYTES].ljust(_HASH_BYTES, b"\0")

    def figures(self) -> Figures:
        """What has been heard."""
        plain = self._plain.arrays()
        names = (*_ROW, *_HEAD, *_COUNTS, "refusals", "gap", "weather_stale", "detailed")
        found: dict[str, Any] = {name: plain.get(name, np.zeros(0, np.int64)) for name in names}
        for name in ("gap", "weather_stale", "detailed"):
            found[name] = found[name] == 1
        return Figures(
            **found,
            gamma=np.array(self._gamma, np.float64),
            totals=self._totals.arrays(),
            terms=self._terms.arrays(),
            events=self._events.arrays(),
            hashes=bytes(self._hashes),
        )


def _object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one where there is none: the checker has said so already."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
