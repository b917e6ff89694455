"""What the market tells `external` when it starts it: one argument of the command line, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from energymarket.core.parameters import EventKind
from energymarket.wire.fault import WireError, WireFault


@dataclass(frozen=True, slots=True)
class ActiveEvent:
    """An event that began before the start and whose end has not been said."""

    kind: int
    seq: int
    until_slot: int


@dataclass(frozen=True, slots=True)
class ExternalTask:
    """Everything that `external` needs to know; all it says is a function of this and of the rain."""

    seed: int
    kinds: tuple[EventKind, ...]
    first_slot: int  # not yet reported
    market_pid: int  # a clock page of another market is not believed
    active: tuple[ActiveEvent, ...] = ()

    def to_text(self) -> str:
        """The task as one line of JSON; floats come back to the last bit."""
        return json.dumps(asdict(self), separators=(",", ":"))


def from_text(text: str) -> ExternalTask:
    """Read a task. Raises WireError."""
    try:
        raw = json.loads(text)
        return ExternalTask(
            seed=int(raw["seed"]),
            kinds=tuple(EventKind(**kind) for kind in raw["kinds"]),
            first_slot=int(raw["first_slot"]),
            market_pid=int(raw["market_pid"]),
            active=tuple(ActiveEvent(**event) for event in raw["active"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(WireFault.KIND, f"not a task for external: {error}") from error
