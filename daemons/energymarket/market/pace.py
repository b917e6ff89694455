"""Whether slots are closed within what the scenario leaves behind the gate; said once where they are not."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from energymarket.market.timetable import Timetable

log = logging.getLogger(__name__)

CLOSES_KEPT: Final = 8
"""None of so many slots was closed in time: a disk that hangs once is no news."""


class Pace:
    """Hears how long each slot took to close."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self._closes_ns: deque[int] = deque(maxlen=CLOSES_KEPT)
        self._told = False

    def closed(self, close_ns: int) -> None:
        """A slot was closed: from its gate until everybody had been answered."""
        self._closes_ns.append(close_ns)
        if self._told or len(self._closes_ns) < CLOSES_KEPT or self._timetable.slot_ns == 0:
            return
        usual_ns = min(self._closes_ns)
        better = self._timetable.earlier(usual_ns)
        if better is not None:
            self._told = True
            log.warning(
                "closing a slot takes %.2f s, more than is left behind its gate: slots open late; "
                "in [service], exchange_until = %g and gate_at = %g would leave enough",
                usual_ns / 1e9,
                *better,
            )
