"""Why connections ended: counted by reason, and logged without letting a flood of bad peers flood the log."""

from __future__ import annotations

import logging
from collections import Counter
from enum import Enum
from typing import Final

from energymarket.transport.call import Peer

_log = logging.getLogger(__name__)

LOG_EVERY_S: Final = 60.0
"""Of one kind of misbehaviour."""


class End(Enum):
    """Why a connection was closed; the words appear in counters and in the log."""

    PEER_LEFT = "peer left"
    HALF_A_FRAME = "half a frame for too long"
    FRAME_TOO_BIG = "frame too big"
    TOO_MUCH_INPUT = "too many unread bytes of all peers"
    MALFORMED = "too many malformed frames"
    TOO_MANY_CALLS = "too many calls per second"
    TOO_MANY_DESCRIPTORS = "too many descriptors"
    NOT_READING = "does not read its answers"
    TOO_MANY_CONNECTIONS = "too many connections"
    NO_DESCRIPTOR_LEFT = "no descriptor left for it"
    STOPPED = "server stopped"


_QUIET: Final = frozenset({End.PEER_LEFT, End.STOPPED})


class Ends:
    """How many connections ended for each reason."""

    def __init__(self) -> None:
        self.counts: Counter[End] = Counter()
        self._silent_until_s: dict[End, float] = {}

    def count(self, reason: End, peer: Peer | None, now_s: float) -> None:
        """Count one; misbehaviour is logged once a minute and kind, with the count so far."""
        self.counts[reason] += 1
        if reason in _QUIET or now_s < self._silent_until_s.get(reason, now_s):
            return
        self._silent_until_s[reason] = now_s + LOG_EVERY_S
        _log.warning("connection closed: %s (%s; %d so far)", reason.value, peer, self.counts[reason])
