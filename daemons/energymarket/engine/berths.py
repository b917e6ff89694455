"""Shared memory between the processes of a run: what homes did in some slots, and how it was settled.

Anonymous mappings that are made before the workers are forked: nothing has a name, so nothing is left
in the kernel however the processes end.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.course import Lived
from energymarket.engine.settling import COLUMN_TYPES, Settled, passage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.core.market import Opening
    from energymarket.core.postings import Columns
    from energymarket.core.totals import Totals

_COLUMNS: Final = {
    name: kind for name, kind in COLUMN_TYPES.items() if name not in {"produced_wh", "consumed_wh"}
}
"""What a berth keeps beside what the homes lived."""

_ROW_BYTES: Final = 3 * 4 + sum(kind.itemsize for kind in _COLUMNS.values())
_BODY_BYTES_PER_HOME: Final = 48
_BODY_BYTES_PER_SLOT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Note:
    """What a settling process says of the slots that it has left in a berth."""

    totals: Sequence[Totals]
    sizes: Mapping[str, int] | None  # of the passage
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
        for kind in (*(np.dtype("i4"),) * 3, *_COLUMNS.values()):
            arrays.append(np.frombuffer(memory, kind, rows, at).reshape(slots, homes))
            at += rows * kind.itemsize
        self.lived = Lived(*arrays[:3])
        self._columns: Columns = {
            "produced_wh": self.lived.production_wh,
            "consumed_wh": self.lived.consumption_wh,
            **dict(zip(_COLUMNS, arrays[3:], strict=True)),
        }
        self._bodies = memory[at:]

    def columns(self, slots: int) -> Columns:
        """Where the first so many slots are settled."""
        return {name: column[:slots] for name, column in self._columns.items()}

    def leave(self, settled: Settled) -> Note:
        """Leave what was settled in its columns, for `take` in another process."""
        known = settled.passage.sizes
        sizes = [len(body) for body in settled.bodies]
        if sum(sizes) > self._room:
            return Note(settled.totals, known, sizes, [bytes(body) for body in settled.bodies])
        at = 0
        for body, size in zip(settled.bodies, sizes, strict=True):
            self._bodies[at : at + size] = body
            at += size
        return Note(settled.totals, known, sizes, None)

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
            passage=passage_of(openings, self.columns(slots), note.totals, note.sizes),
            batches=((everyone,),) * slots,
            voids=((),) * slots,
        )
