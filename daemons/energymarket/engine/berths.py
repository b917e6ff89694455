"""Shared memory between the processes of a run: what homes did in some slots, and how it was settled.

Anonymous mappings that are made before the workers are forked: nothing has a name, so nothing is left
in the kernel however the processes end.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from energymarket.core.course import Lived
from energymarket.core.kpi.home_sums import size_of
from energymarket.core.nothing import zeros
from energymarket.engine.settling import Room, Settled, Width, passage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.core.market import Opening
    from energymarket.core.totals import Totals
    from energymarket.engine.settling import Body

_LIVED_BYTES: Final = 3 * 4
_PARTS_BYTES_PER_HOME: Final = 48
_PARTS_BYTES_PER_SLOT: Final = 1 << 16

Spans: TypeAlias = "tuple[tuple[int, int], ...]"
"""Where the parts of a body lie in a berth: first byte and number of bytes of each."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a settling process says of the slots that it has left in a berth."""

    totals: Sequence[Totals]
    sizes: Mapping[str, int]  # of the passage
    width: Width
    spans: Sequence[Spans]  # of each body
    bodies: Sequence[bytes] | None  # where the berth has no room for them


class Berth:
    """Room for one passage: K slots of N homes. Memory that is never touched costs nothing."""

    def __init__(self, slots: int, homes: int) -> None:
        self.slots = slots
        rows = slots * homes
        columns_at = rows * _LIVED_BYTES
        self._parts_at = columns_at + Room.size_bytes(slots, homes)
        room = slots * (_PARTS_BYTES_PER_SLOT + homes * _PARTS_BYTES_PER_HOME)
        self._memory = memoryview(mmap.mmap(-1, self._parts_at + room))
        self._bytes = np.frombuffer(self._memory, np.uint8)
        lived = np.frombuffer(self._memory, np.int32, 3 * rows).reshape(3, slots, homes)
        self.lived = Lived(*lived)
        self.room = Room(slots, homes, self._memory[columns_at : self._parts_at])

    def leave(self, settled: Settled) -> Note:
        """Leave what was settled in the berth's own room, for `take` in another process."""
        passage = settled.passage
        sizes = passage.sizes or {name: size_of(column) for name, column in passage.columns.items()}
        energy = passage.columns["consumed_wh"].dtype
        width = next(width for width in Width if width.of("consumed_wh") == energy)
        spans, at = [], self._parts_at
        for body in settled.bodies:
            places = []
            for part in body:
                size = memoryview(part).nbytes
                start = self._start_of(part)
                if start is None:
                    start, at = at, at + size
                    if at > len(self._bytes):
                        bodies = [b"".join(each) for each in settled.bodies]
                        return Note(settled.totals, sizes, width, (), bodies)
                    self._memory[start:at] = part
                places.append((start, size))
            spans.append(tuple(places))
        return Note(settled.totals, sizes, width, spans, None)

    def _start_of(self, part: bytes | memoryview) -> int | None:
        """Where a part of a body lies, if it is of a column that the berth has."""
        if isinstance(part, bytes):
            return None
        here = np.frombuffer(part, np.uint8)
        if not np.may_share_memory(here, self._bytes):
            return None
        return here.ctypes.data - self._bytes.ctypes.data

    def take(self, openings: Sequence[Opening], note: Note, everyone: tuple[int, int, str]) -> Settled:
        """What was left, as views that hold until the berth is used again."""
        slots = len(openings)
        if note.bodies is None:
            bodies: list[Body] = [
                tuple(self._memory[start : start + size] for start, size in places) for places in note.spans
            ]
        else:
            bodies = [(body,) for body in note.bodies]
        columns = {
            name: column if note.sizes[name] else zeros(column.shape, column.dtype)
            for name, column in self.room.columns(slots, note.width).items()
        }
        return Settled(
            openings=openings,
            totals=note.totals,
            bodies=bodies,
            passage=passage_of(openings, columns, note.totals, note.sizes),
            batches=((everyone,),) * slots,
            voids=((),) * slots,
        )
