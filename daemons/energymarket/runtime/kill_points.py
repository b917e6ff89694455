"""Named points at which a test can have a process killed: where a death would hurt most.

The environment variable ENERGY_KILL_POINTS names a directory. A process that reaches a point looks there
for a file `POINT` or `POINT@SLOT`; it removes the file, so that each is good for one death, and kills
itself with SIGKILL. Without the variable reaching a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "ENERGY_KILL_POINTS"
_DIRECTORY: Final = os.environ.get(VARIABLE)


class Point(StrEnum):
    """Every named point, and what is true there."""

    MARKET_OPENED = "market-opened"  # the slot is open and everybody has been told
    MARKET_HEARD = "market-heard"  # a batch is in, not durable
    MARKET_ORDERED = "market-ordered"  # orders are durable, not answered
    MARKET_CLOSED = "market-closed"  # settled, nothing written
    MARKET_BODY_WRITTEN = "market-body-written"  # a large slot's body is durable, its row is not
    MARKET_WRITING = "market-writing"  # inside the slot's transaction
    MARKET_COMMITTED = "market-committed"  # the slot is durable, no receipt has left
    MARKET_TOLD = "market-told"  # receipts have left, the next slot is not open
    MARKET_COMPACTED = "market-compacted"  # sums are durable, the files of the bodies are still there
    MARKET_TAKING_BACK = "market-taking-back"  # the new epoch is out, the queue not yet emptied
    LIVED = "lived"  # homes have lived the slot, nothing is durable
    TURN_TAKEN = "turn-taken"  # the one turn that goes round is in this process's hands
    OFFER_PUT = "offer-put"
    OFFER_TAKEN = "offer-taken"  # a message is out of the queue, its claims in no batch
    EXCHANGED = "exchanged"  # claims are known, the state not durable
    STATE_WRITTEN = "state-written"  # the state of the slot is durable, its batch not handed in
    HANDED_IN = "handed-in"  # the receipt is here, the registers of gifts do not have it
    POOL_REPLACING = "pool-replacing"  # the master knows of a dead shard
    WEATHER_POSTED = "weather-posted"
    EXTERNAL_SAID = "external-said"  # events of a slot are in the pipe, the word that it was told is not


def reach(point: Point, slot: int = -1) -> None:
    """Die here, if that is what the directory says."""
    if _DIRECTORY is not None:
        _die_if_told(Path(_DIRECTORY), point, slot)


def _die_if_told(directory: Path, point: Point, slot: int) -> None:
    for name in (f"{point}@{slot}", str(point)):
        try:
            (directory / name).unlink()
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
