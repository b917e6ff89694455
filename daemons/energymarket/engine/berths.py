"""Shared memory between the processes of a run: what homes did in some slots, and how it was settled.

Anonymous mappings that are made before the workers are forked: nothing has a name, so nothing is left
in the kernel however the processes end.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.fleet import Lived
from energymarket.core.records import SLOT_COLUMNS
from energymarket.engine.settling import Settled, passage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.market import Opening
    from energymarket.core.totals import Totals

_COLUMNS: Final = tuple((name, np.dtype("i8" if name == "money_ueur" else "i4")) for name in SLOT_COLUMNS[1:])
_ROW_BYTES: Final = 3 * 4 + sum(kind.itemsize for _, kind in _COLUMNS)
_BODY_BYTES_PER_HOME: Final = 48
_BODY_BYTES_PER_SLOT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Note:
    """What a settling process says of the slots that it has left in a berth."""

    totals: Sequence[Totals]
    body_bytes: Sequence[int]
    bodies: Sequence[bytes] | None  # where the berth has no room for them


class Berth:
    """Room for one passage: K slots of N homes. Memory that is never touched costs nothing."""

    def __init__(self, slots: int, homes: int) -> None:
        self.slots = slots
        rows = slots * homes
        self._room = slots * (_BODY_BYTES_PER_SLOT + homes * _BODY_BYTES_PER_HOME)
        memory = memoryview(mmap.mmap(-1, rows * _ROW_BYTES + self._room))
        at = 0
        arrays = []
        for kind in (*(np.dtype("i4"),) * 3, *(kind for _, kind in _COLUMNS)):
            arrays.append(np.frombuffer(memory, kind, rows, at).reshape(slots, homes))
            at += rows * kind.itemsize
        self.lived = Lived(*arrays[:3])
        self._columns = dict(zip((name for name, _ in _COLUMNS), arrays[3:], strict=True))
        self._bodies = memory[at:]

    def leave(self, settled: Settled) -> Note:
        """Leave what was settled, for `take` in another process."""
        slots = len(settled.openings)
        for name, column in settled.passage.columns.items():
            np.copyto(self._columns[name][:slots], column, casting="same_kind")
        sizes = [len(body) for body in settled.bodies]
        if sum(sizes) > self._room:
            return Note(settled.totals, sizes, [bytes(body) for body in settled.bodies])
        at = 0
        for body, size in zip(settled.bodies, sizes, strict=True):
            self._bodies[at : at + size] = body
            at += size
        return Note(settled.totals, sizes, None)

    def take(self, openings: Sequence[Opening], note: Note, everyone: tuple[int, int, str]) -> Settled:
        """What was left, as views that hold until the berth is used again."""
        slots = len(openings)
        bodies: list[bytes | memoryview] = []
        at = 0
        for size in note.body_bytes:
            bodies.append(self._bodies[at : at + size])
            at += size
        return Settled(
            openings=openings,
            totals=note.totals,
            bodies=bodies if note.bodies is None else note.bodies,
            passage=passage_of(openings, {name: c[:slots] for name, c in self._columns.items()}),
            batches=((everyone,),) * slots,
            voids=((),) * slots,
        )
