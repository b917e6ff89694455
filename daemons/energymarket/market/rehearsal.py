"""A moment before a slot opens it is opened for nobody: what opening needs is then near when it counts.

After the sleep of a slot, and with a million homes at work meanwhile, code and data of the owner lie in no
cache: the first walk through them takes three times as long as the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.market import clock_face
from energymarket.runtime.clock import boottime_ns

if TYPE_CHECKING:
    from energymarket.market.owner import Owner

BEFORE_NS: Final = 3_000_000
"""So long before: several times what a rehearsal takes, and too short to forget it again."""


def rehearse(owner: Owner) -> None:
    """Open the next slot and take it back; nobody is told, and nothing is different afterwards."""
    slot, now_ns = owner.next_to_open(), boottime_ns()
    if owner.course.slots is not None and slot > owner.course.end_slot:
        return
    owner.board.sample(slot, now_ns)
    owner.market.open_slot(slot, owner.outside, epoch=owner.epoch)
    owner.timetable.moments(now_ns)
    clock_face.of(owner)
    owner.market.take_back_slot()
