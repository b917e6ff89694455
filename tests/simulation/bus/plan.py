"""What a seed decides before anything happens: how many, what they do, and what befalls them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random  # noqa: TID251 - one stream of chance, in the order of steps
from typing import Final

DOINGS: Final = ("send", "broadcast", "sync", "broadcast_sync", "section", "section", "barrier", "clock")
FAULTS: Final = (
    "kill",
    "freeze",
    "thaw",
    "drop",
    "stall",
    "sleep",
    "quit",
    "batch",
    "replace",
    "tick",
    "stop",
)
_WEIGHTS: Final = {
    "kill": 3,
    "freeze": 2,
    "thaw": 2,
    "drop": 5,
    "stall": 6,
    "batch": 2,
    "replace": 3,
    "tick": 4,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed's plan. Each leaves some doings and some faults out, so that the others meet more often."""

    processes: int
    turns: int
    lockstep: bool
    rounds: int
    errands: int
    doings: tuple[str, ...]
    faults: tuple[str, ...]  # each as often as it is likely
    fault: float  # per turn
    leavers: float
    failures: float
    lives_max: int
    laziness: float  # how long the program leaves messages in the mailbox
    impatience: float  # how likely a thread gives up that is looked at and waits


def planned(rng: Random) -> Plan:
    """The plan of a seed."""
    many, some = rng.random(), rng.random()
    doings = tuple(doing for doing in DOINGS if rng.random() < many) or (rng.choice(DOINGS),)
    faults = tuple(
        fault
        for fault in FAULTS
        if rng.random() < (0.1 if fault == "stop" else some)
        for _ in range(_WEIGHTS.get(fault, 1))
    )
    processes = rng.choice((1, 2, 2, 2, 3, 3, 3, 4, 4, 5))
    return Plan(
        processes=processes,
        turns=rng.randrange(100, 2400),
        lockstep=rng.random() < 0.4,
        rounds=rng.randrange(1, 12),
        errands=rng.randrange(1, 40),
        doings=doings,
        faults=faults,
        fault=rng.choice((0.0, 0.01, 0.03, 0.06)) if faults else 0.0,
        leavers=rng.choice((0.0, 0.0, 0.03)),
        failures=rng.choice((0.0, 0.0, 0.1)),
        lives_max=processes + rng.randrange(8),
        laziness=rng.choice((0.0, 0.0, 0.8, 0.97)),
        impatience=rng.choice((0.0, 0.02, 0.2, 0.5)),
    )
