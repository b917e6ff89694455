"""Data replication: data on several of four replicas are edited on all of them, by anybody at any time.

`set` writes a datum on one replica, which holds it from then on. `edit` writes it on every replica that holds
it, in three steps: permission of all others, the value to the holders, their acknowledgements.

Two edits of one datum at the same time must not end as one here and the other there, nor wait for each other
for ever. So edits have a total order, their Lamport stamp and, of equal stamps, the replica's name: a replica
whose own edit of the datum is older gives its permission when that is done (Ricart & Agrawala, "An Optimal
Algorithm for Mutual Exclusion in Computer Networks", 1981). The older waits for nobody, hence no circle.

A replica that dies is waited for no longer. If it dies while it hands out a value, those who have it hand it
on, so that all holders get it or none.

    set 0, x, 1
    set 2, x, 5
    edit 3, x, 7
    edit 0, x, 8; edit 2, x, 9
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from event_bus import Message, NoSuchProcess, ProcessManager
from event_bus.examples.console import Console, Lost, Ordered, lines, run, show

NAMES: Final = ["replica 0", "replica 1", "replica 2", "replica 3"]
PROMPT: Final = "set id, name, value | edit id, name, value | show"


# What a person orders


class Set(NamedTuple):
    """Write a datum here."""

    datum: str
    value: str


class Edit(NamedTuple):
    """Write a datum wherever it is."""

    datum: str
    value: str


class Show(NamedTuple):
    """Say what is here."""


# What replicas say to each other, by name: the numbers on the bus close up when one dies, names stay.


class Stamp(NamedTuple):
    """The place of an edit in the order of all edits."""

    time: int  # Lamport's
    replica: str


class Ask(NamedTuple):
    """A replica asks whether it may edit a datum, and who holds it."""

    edit: Stamp
    datum: str


class Permit(NamedTuple):
    """A replica permits an edit."""

    edit: Stamp
    replica: str
    holds: bool


class Write(NamedTuple):
    """The value, for the holders."""

    edit: Stamp
    datum: str
    value: str
    holders: frozenset[str]


class Written(NamedTuple):
    """A replica has written it."""

    edit: Stamp
    replica: str


@dataclass
class Underway:
    """An edit of this replica's own: the first of its queue, until it is done."""

    order: Edit
    stamp: Stamp
    awaited: set[str]  # replicas that have not answered: first their permission, then that they have written
    holders: set[str]
    writing: bool = False  # all have permitted it
    later: list[Ask] = field(default_factory=list)  # who is permitted when it is done


class Replica(Ordered):
    """Holds data, asks for permission, and gives it."""

    def __init__(self, process_id: int, bus_size: int, **parameters: Any) -> None:
        super().__init__(process_id, bus_size, **parameters)
        self.others = {name for name in NAMES if name != NAMES[process_id]}  # that live
        self.data: dict[str, str] = {}
        self.edited: dict[str, Stamp] = {}  # by datum: the last edit that was written here
        self.queue: deque[Edit] = deque()
        self.mine: Underway | None = None

    # ------------------------------------------------------------------ orders

    def on_order(self, order: Set | Edit | Show | Lost) -> None:
        """A person, or the death of another replica."""
        match order:
            case Set(datum, value):
                self.data[datum] = value
                self.say(f"{datum} = {value}, here only")
                self.over()
            case Show():
                held = ", ".join(f"{datum} = {value}" for datum, value in sorted(self.data.items()))
                self.say(f"holds {held or 'nothing'}")
                self.over()
            case Edit():
                self.queue.append(order)
                if self.mine is None:
                    self.begin()
            case Lost(name):
                self.others.discard(name)
                if self.mine is not None:
                    self.mine.awaited.discard(name)
                    self.go_on(self.mine)

    def begin(self) -> None:
        """Ask for permission to make the next edit."""
        order = self.queue.popleft()
        stamp = Stamp(self.communicator.inc_clock(), self.name)
        holders = {self.name} if order.datum in self.data else set()
        self.mine = Underway(order, stamp, set(self.others), holders)
        self.say(f"edit of {order.datum} to {order.value}, stamp {stamp.time}: asks for permission")
        self.communicator.broadcast(Ask(stamp, order.datum))
        self.go_on(self.mine)

    def go_on(self, mine: Underway) -> None:
        """Take the next step of the edit when nobody is awaited any more."""
        if not mine.awaited and not mine.writing:
            mine.writing = True
            mine.awaited = mine.holders & self.others
            write = Write(mine.stamp, *mine.order, frozenset(mine.holders))
            holders = ", ".join(sorted(mine.holders)) or "nobody: no replica holds it"
            self.say(f"edit of {write.datum}: permitted; the value goes to {holders}")
            self.communicator.broadcast(write)
            self.write(write)
        if not mine.awaited and mine.writing:
            self.say(
                f"edit of {mine.order.datum} to {mine.order.value} is {'done' if mine.holders else 'void'}"
            )
            self.mine = None
            for ask in mine.later:
                self.permit(ask)
            if self.queue:
                self.begin()
            self.over()

    # ------------------------------------------------------------------ messages

    def on_message(self, message: Message) -> None:
        """Another replica."""
        mine = self.mine
        payload: Ask | Permit | Write | Written = message.payload
        match payload:
            case Ask() as ask:
                if mine is not None and mine.order.datum == ask.datum and mine.stamp < ask.edit:
                    self.say(f"edit of {ask.datum} by {ask.edit.replica} must wait: this one's is older")
                    mine.later.append(ask)
                else:
                    self.permit(ask)
            case Permit(edit, replica, holds):
                if mine is not None and mine.stamp == edit and replica in mine.awaited:
                    mine.holders |= {replica} if holds else set()
                    mine.awaited.discard(replica)
                    self.go_on(mine)
            case Write() as write:
                self.write(write)
            case Written(edit, replica):
                if mine is not None and mine.stamp == edit:
                    mine.awaited.discard(replica)
                    self.go_on(mine)

    def permit(self, ask: Ask) -> None:
        """Permit an edit, and say whether its datum is here."""
        self.say(f"permits the edit of {ask.datum} by {ask.edit.replica}")
        self.answer(Permit(ask.edit, self.name, ask.datum in self.data))

    def write(self, write: Write) -> None:
        """Write a value if it is for here and new, hand it on, acknowledge it."""
        last = self.edited.get(write.datum)
        if self.name not in write.holders or (last is not None and write.edit <= last):
            return
        self.data[write.datum] = write.value
        self.edited[write.datum] = write.edit
        self.say(f"{write.datum} = {write.value}, by {write.edit.replica}")
        if write.edit.replica != self.name:
            self.communicator.broadcast(write)  # its author may be dead, and others without it
            self.answer(Written(write.edit, self.name))

    def answer(self, answer: Permit | Written) -> None:
        """Answer the one whose edit it is, if it lives."""
        with suppress(NoSuchProcess):
            self.communicator.send_to(answer, answer.edit.replica)


def parse(line: str) -> list[tuple[int, Any]]:
    """The orders of a line; raises ValueError with what is wrong. Those between `;` begin together."""
    return [each for part in line.split(";") for each in _order(part.strip())]


def _order(text: str) -> list[tuple[int, Any]]:
    if text == "show":
        return [(index, Show()) for index in range(len(NAMES))]
    verb, _, rest = text.partition(" ")
    parts = [part.strip() for part in rest.split(",", 2)]
    if verb not in {"set", "edit"} or len(parts) < 3 or not parts[1]:
        raise ValueError(f"not understood: {text!r}: write `set 0, x, 1`, `edit 0, x, 1` or `show`")
    if not parts[0].isdecimal() or int(parts[0]) >= len(NAMES):
        raise ValueError(f"no replica {parts[0]!r}: they are 0 to {len(NAMES) - 1}")
    return [(int(parts[0]), (Set if verb == "set" else Edit)(parts[1], parts[2]))]


def main(words: Sequence[str]) -> int:
    """Ask for orders and have them carried out; the answer is an exit code."""
    argparse.ArgumentParser(
        prog="python -m event_bus.examples.data_replication",
        description=__doc__,
        epilog="`show` shows what each replica holds. The end of the input, or `quit`, ends it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(words)
    with ProcessManager() as manager:
        console = Console(manager, Replica, NAMES)
        for line in lines(PROMPT):
            try:
                orders = parse(line)
            except ValueError as error:
                show(str(error))
                continue
            living = console.living
            if line != "show" and not all(index in living for index, _ in orders):
                show("that replica is gone")
                continue
            console.carry_out([order for order in orders if order[0] in living])
    return 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:])))
