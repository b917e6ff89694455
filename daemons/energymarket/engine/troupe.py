"""The players of a run on a cluster: one for each shard, and another in its place when one is lost.

Between two legs the run holds every shard's state. A player that is lost in between, with its process or
its machine, is made again from that state and lives the leg's slots again at the prices it was told; what
flows must be what flowed, to the Wh, or the run ends.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from energymarket.engine.player import Flowed, Passage, pack_state, unpack_state
from energymarket.exits import Exit, Failure
from energymarket.runtime.clock import boottime_ns, wall_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from energymarket.core.course import Lived
    from energymarket.core.state import State
    from energymarket.engine.parcel import Parcel
    from energymarket.engine.player import Entrance

LOSSES_MAX: Final = 5
"""So often may one shard be lost in one leg: then it is not the machines that are at fault."""


class PlayerLost(Exception):
    """A player does not answer and never will; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of a cluster."""

    id: str
    address: str
    host: str
    cpus: int
    alive: bool


class Cluster(Protocol):
    """Where players live. A handle is what `place` answers, a promise what `ask` answers."""

    @property
    def cpus(self) -> int:
        """Processors for players, all machines together."""

    def join(self) -> None:
        """Join it before anything else. Failure says why that cannot be."""

    def leave(self) -> None:
        """Leave it, also if it was not joined."""

    def account(self) -> dict[str, Any]:
        """What is told of the cluster as a whole, as JSON."""

    # `Any` is what the cluster's own library uses there: handles, promises, and any answer

    def send(self, parcel: Parcel) -> Any:  # noqa: ANN401
        """Make a parcel known to all machines."""

    def place(self, parcel: Any, first: int, count: int, slots_max: int, avoided: str) -> Any:  # noqa: ANN401
        """A player on one of the machines, spread over them; the avoided one only if there is no other."""

    def ask(self, handle: Any, what: str, *words: Any) -> Any:  # noqa: ANN401
        """Ask a player; it is asked in order, and not waited for."""

    def answers(self, promises: Sequence[Any]) -> list[Any]:
        """Wait for all. In the place of an answer PlayerLost, or what the player itself has raised."""

    def machines(self) -> list[Machine]:
        """All machines that there are, and have been."""

    def dismiss(self, handle: Any) -> None:  # noqa: ANN401
        """End a player, if it has not ended."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A player was lost, and another took its place."""

    at: str  # UTC
    shard: int
    slot: int  # that was being played
    reason: str
    left_node: str
    node: str
    slots_again: int
    took_s: float


@dataclass(slots=True)
class Seat:
    """A shard's place in the run: who plays it, and what it was told since the run has its state."""

    number: int
    first: int
    count: int
    handle: Any = None
    machine: str = ""
    host: str = ""
    pid: int = 0
    passages: list[Passage] = field(default_factory=list)
    losses: int = 0  # since the run has its state

    @property
    def slot(self) -> int:
        """The slot that is being played."""
        if not self.passages:
            return -1
        last = self.passages[-1]
        return last.slots[min(len(last.flowed_wh), len(last.slots) - 1)]


class Troupe:
    """All players, told the same and heard together."""

    def __init__(
        self,
        cluster: Cluster,
        parcel: Parcel,
        state: State,
        ranges: Sequence[tuple[int, int]],
        slots_max: int,
        noted: Callable[[str], None],
    ) -> None:
        """`state` is the run's: read where a player begins, written by `bring_home`."""
        self._cluster = cluster
        self._state = state
        self._slots_max = slots_max
        self._noted = noted
        self._parcel = cluster.send(parcel)
        self._seats = [Seat(number, *each) for number, each in enumerate(ranges, 1)]
        self.replacements: list[Replacement] = []

    # one for each shard

    def begin(self) -> None:
        """Place all players. Failure says why that cannot be."""
        promises = [self._invite(seat) for seat in self._seats]
        for seat, found in zip(self._seats, self._cluster.answers(promises), strict=True):
            if isinstance(found, PlayerLost):
                self._replace(seat, str(found))
            else:
                self._enter(seat, _sound(found))
        self._noted(self.sentence())

    def _invite(self, seat: Seat, avoided: str = "") -> Any:  # noqa: ANN401 - a promise
        seat.handle = self._cluster.place(self._parcel, seat.first, seat.count, self._slots_max, avoided)
        base = pack_state(self._state.part(seat.first, seat.first + seat.count))
        return self._cluster.ask(seat.handle, "begin", base, seat.passages)

    def _enter(self, seat: Seat, entrance: Entrance) -> None:
        seat.machine, seat.host, seat.pid = entrance.machine, entrance.host, entrance.pid
        for passage, again in zip(seat.passages, entrance.flowed_wh, strict=True):
            if again != passage.flowed_wh:
                what = f"shard {seat.number} flows otherwise on {seat.host}, slots {passage.slots}"
                raise Failure(what, "a machine of the cluster computes wrongly: take it out", Exit.FAILED)

    def _replace(self, seat: Seat, reason: str) -> None:
        """Another player for a shard, where this one has been. Failure if that is to no avail."""
        began_ns, left, at = boottime_ns(), seat.machine, datetime.fromtimestamp(wall_ns() // 10**9, UTC)
        while True:
            seat.losses += 1
            if seat.losses > LOSSES_MAX:
                what = f"shard {seat.number} was lost {seat.losses} times at slot {seat.slot}: {reason}"
                raise Failure(what, "--resume goes on from the last checkpoint", Exit.FAILED)
            self._cluster.dismiss(seat.handle)
            (found,) = self._cluster.answers([self._invite(seat, left)])
            if not isinstance(found, PlayerLost):
                break
            reason = f"{reason}; then {found}"
        self._enter(seat, _sound(found))
        took_s = round((boottime_ns() - began_ns) / 1e9, 3)
        again = sum(len(passage.flowed_wh) for passage in seat.passages)
        told = Replacement(at.isoformat(), seat.number, seat.slot, reason, left, seat.machine, again, took_s)
        self.replacements.append(told)
        self._noted(
            f"shard {seat.number} was lost at slot {seat.slot} ({reason}); {seat.host} goes on with it"
            f" after {took_s:.1f} s, {again} slots played again"
        )

    # slot after slot

    def look(self, slots: range) -> None:
        """Turn to the slots that come next. Nobody waits for it."""
        for seat in self._seats:
            seat.passages.append(Passage(slots))
            self._cluster.ask(seat.handle, "look", slots)

    def live(self, at: int, price_ueur_per_kwh: int, into: Lived) -> Flowed:
        """Play the slot at a place of those that were looked at; what all homes have consumed and produced.

        With the last place `into` has what every home did in all of them.
        """
        words = ("live", at, price_ueur_per_kwh)
        consumed_wh = produced_wh = 0
        for seat, (flowed, columns) in zip(self._seats, self._ask_all(*words), strict=True):
            passage = seat.passages[-1]
            passage.prices_ueur_per_kwh.append(price_ueur_per_kwh)
            passage.flowed_wh.append(flowed)
            consumed_wh += flowed[0]
            produced_wh += flowed[1]
            if columns is not None:
                part = into.part(seat.first, seat.count, len(passage.slots))
                part.consumption_wh[:], part.production_wh[:], part.net_wh[:] = columns
        return consumed_wh, produced_wh

    def bring_home(self) -> None:
        """Write all homes' state into the run's: whoever is lost from here on begins with it."""
        for seat, packed in zip(self._seats, self._ask_all("state"), strict=True):
            unpack_state(packed, self._state.part(seat.first, seat.first + seat.count))
            seat.passages.clear()
            seat.losses = 0

    def _ask_all(self, what: str, *words: Any) -> list[Any]:  # noqa: ANN401 - as the question is
        """Ask all players; their answers. Whoever is lost is replaced and asked again."""
        promises = [self._cluster.ask(seat.handle, what, *words) for seat in self._seats]
        found = self._cluster.answers(promises)
        for place, seat in enumerate(self._seats):
            while isinstance(lost := found[place], PlayerLost):
                self._replace(seat, str(lost))
                (found[place],) = self._cluster.answers([self._cluster.ask(seat.handle, what, *words)])
        return [_sound(answer) for answer in found]

    # what is told of it

    def sentence(self) -> str:
        """Where the players are, for people."""
        machines = len({seat.machine for seat in self._seats})
        return (
            f"{len(self._seats)} actor{'s' * (len(self._seats) > 1)} on {machines} node{'s' * (machines > 1)}"
        )

    def account(self) -> dict[str, Any]:
        """Actors, nodes and replacements, as the result of a run has them."""
        return {
            "nodes": [asdict(machine) for machine in self._cluster.machines()],
            "actors": [
                {
                    "shard": seat.number,
                    "first_home": seat.first + 1,
                    "homes": seat.count,
                    "node": seat.machine,
                    "host": seat.host,
                    "pid": seat.pid,
                }
                for seat in self._seats
            ],
            "replacements": [asdict(each) for each in self.replacements],
        }

    def close(self) -> None:
        """End all players."""
        for seat in self._seats:
            if seat.handle is not None:
                self._cluster.dismiss(seat.handle)


def _sound(answer: Any) -> Any:  # noqa: ANN401 - any answer
    """An answer. Raises what a player has raised."""
    if isinstance(answer, BaseException):
        raise answer
    return answer
