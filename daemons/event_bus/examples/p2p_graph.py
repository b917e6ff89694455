"""Peer to peer: messages flood a graph in which each node talks to its neighbours only.

A node knows its neighbours, and nothing of the rest. A message is given to all neighbours, which give it to
theirs, and so on; each copy may make a number of hops (10), and what comes a second time is known by its
origin and number and goes no further. When every copy has ended (arrived, or died somewhere) the origin
knows it, by echoes (Chang, "Echo Algorithms", 1982): a node answers a copy when all the copies that it made
of it have been answered.

    send 0, to 8, hello
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from event_bus import BusError, Message, ProcessManager
from event_bus.examples.console import Console, Lost, Ordered, lines, run, show

GRAPH: Final = {
    0: [1],
    1: [0, 2, 3],
    2: [1],
    3: [4, 1],
    4: [3, 5, 6, 7],
    5: [4],
    6: [4, 8],
    7: [4],
    8: [6],
}

HOPS_MAX: Final = 10
PROMPT: Final = "send id, to id, message"


class Send(NamedTuple):
    """The order of a person."""

    to: int
    text: str


class Copy(NamedTuple):
    """One copy of a message on its way."""

    origin: int
    number: int  # counted by the origin: the two together are the message's name
    to: int
    text: str
    path: tuple[int, ...]  # the nodes that have sent it: as many as it has made hops


class Echo(NamedTuple):
    """What goes back to where a copy came from: it has ended, and all copies made of it."""

    origin: int
    number: int
    arrived: bool  # one of them was where it should go


@dataclass
class Wave:
    """What a node remembers of a message that has come through."""

    parent: int | None  # who gave it first; None at the origin
    awaited: int = 0  # copies that were given on and have not ended
    arrived: bool = False


class Node(Ordered):
    """A node: its number in the graph is its number on the bus."""

    def __init__(self, process_id: int, bus_size: int, hops_max: int, **parameters: Any) -> None:
        super().__init__(process_id, bus_size, **parameters)
        self.neighbours = GRAPH[process_id]
        self.hops_max = hops_max
        self.sent = 0
        self.waves: dict[tuple[int, int], Wave] = {}

    def tell(self, neighbour: int, payload: Copy | Echo) -> None:
        """Send; the only line of this program that does."""
        if neighbour not in self.neighbours:
            raise ValueError(f"node {neighbour} is no neighbour of {self.name}")
        self.communicator.send_to(payload, neighbour)

    def on_order(self, order: Send | Lost) -> None:
        """A message of this node's sets out."""
        if isinstance(order, Send):
            self.sent += 1
            self.on_copy(Copy(self.process_id, self.sent, order.to, order.text, ()), None)

    def on_message(self, message: Message) -> None:
        """A copy, or the echo of one."""
        if isinstance(message.payload, Copy):
            self.on_copy(message.payload, message.sender)
        else:
            self.on_echo(message.payload)

    def on_copy(self, copy: Copy, sender: int | None) -> None:
        """Keep it, give it on, or let it die."""
        title, hops = f"message {copy.origin}.{copy.number}", len(copy.path)
        if (copy.origin, copy.number) in self.waves:
            self.say(f"{title} dies here: it was here before")
            self.tell(copy.path[-1], Echo(copy.origin, copy.number, arrived=False))
            return
        wave = self.waves[copy.origin, copy.number] = Wave(sender)
        on = [each for each in self.neighbours if each != sender]
        if copy.to == self.process_id:
            wave.arrived = True
            way = "-".join(map(str, (*copy.path, self.process_id)))
            self.say(f"{title} has arrived, by {way}: {copy.text}")
        elif not on:
            self.say(f"{title} dies here: there is no other neighbour")
        elif hops == self.hops_max:
            self.say(f"{title} dies here: it has made {hops} hops, which is the limit")
        else:
            self.say(f"{title} for node {copy.to} goes on to {', '.join(map(str, on))}")
            wave.awaited = len(on)
            for neighbour in on:
                self.tell(neighbour, copy._replace(path=(*copy.path, self.process_id)))
        self.end_if_over(copy.origin, copy.number)

    def on_echo(self, echo: Echo) -> None:
        """A copy that was given on has ended."""
        wave = self.waves[echo.origin, echo.number]
        wave.awaited -= 1
        wave.arrived |= echo.arrived
        self.end_if_over(echo.origin, echo.number)

    def end_if_over(self, origin: int, number: int) -> None:
        """If nothing of the message is under way beyond this node, say so to where it came from."""
        wave = self.waves[origin, number]
        if wave.awaited:
            return
        if wave.parent is not None:
            self.tell(wave.parent, Echo(origin, number, wave.arrived))
            return
        end = "it has arrived" if wave.arrived else "it died and has not arrived"
        self.say(f"message {origin}.{number} is over: {end}")
        self.over()


def parse(line: str) -> tuple[int, Send]:
    """Who is to send what; raises ValueError with what is wrong.

    Nobody in the graph knows whether there is a node of the number that a message is for: it sets out.
    """
    parts = [part.strip() for part in line.split(",", 2)]
    if len(parts) < 3:
        raise ValueError(f"not understood: {line!r}: write `send 0, to 8, hello`")
    sender, to = (
        part.removeprefix(word).strip() for part, word in zip(parts[:2], ("send", "to"), strict=True)
    )
    if not sender.isdecimal() or int(sender) not in GRAPH:
        raise ValueError(f"no node {sender!r} to send it: they are {', '.join(map(str, GRAPH))}")
    if not to.isdecimal():
        raise ValueError(f"not a node's number: {to!r}")
    return int(sender), Send(int(to), parts[2])


def main(words: Sequence[str]) -> int:
    """Ask for messages and let them flood; the answer is an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m event_bus.examples.p2p_graph",
        description=__doc__,
        epilog="The end of the input, or `quit`, ends it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--hops", type=int, default=HOPS_MAX, metavar="N", help=f"hop limit, default {HOPS_MAX}"
    )
    hops_max = parser.parse_args(words).hops
    if hops_max < 0:
        parser.error(f"a hop limit of {hops_max}")
    with ProcessManager() as manager:
        console = Console(manager, Node, [f"node {each}" for each in GRAPH], hops_max=hops_max)
        for line in lines(PROMPT):
            if len(console.living) == len(GRAPH):
                try:
                    console.carry_out([parse(line)], needs_all=True)
                except ValueError as error:
                    show(str(error))
            if len(console.living) < len(GRAPH):
                raise BusError("the graph has lost a node, and this example cannot do without")
    return 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:])))
