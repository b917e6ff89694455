"""Synchronous communication: who sends is blocked until the other has received, and the other way round.

Two processes meet twice. First the receiver comes late, and `send_to_sync` does not return before it has
received; then the sender comes late, and `receive_from_sync` does not return before it has sent. What the
receiver hands in goes back to the sender as the acknowledgement. Time is that of one clock for both.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from collections.abc import Sequence
from typing import Final

from event_bus import Message, Process, ProcessManager
from event_bus.examples.console import await_end, run, show
from event_bus.shell.clock import now_s

SENDER: Final = 0
RECEIVER: Final = 1


class Party(Process):
    """One of the two."""

    def __init__(self, process_id: int, bus_size: int, begin_s: float, late_s: float) -> None:
        super().__init__(process_id, bus_size)
        self.begin_s = begin_s
        self.late_s = late_s

    def process(self, message_box: list[Message]) -> None:
        """All of its life: nothing but what is awaited comes here."""
        for meeting, late in (("first", RECEIVER), ("second", SENDER)):
            self.communicator.synchronize()
            if self.process_id == late:
                self.say(f"does something else for {self.late_s:g} s")
                threading.Event().wait(self.late_s)
            if self.process_id == SENDER:
                self.say(f"sends the {meeting} message, and is blocked until it is received")
                answer = self.communicator.send_to_sync(f"the {meeting} message", RECEIVER)
                self.say(f"goes on; acknowledged with: {answer}")
            else:
                self.say("receives, and is blocked until something is sent")
                message = self.communicator.receive_from_sync(f"thanks for the {meeting}", SENDER)
                self.say(f"goes on; has received: {message.payload}")
        self.stop()

    def say(self, text: str) -> None:
        """With the time since the start."""
        who = "sender" if self.process_id == SENDER else "receiver"
        show(f"{now_s() - self.begin_s:5.2f} s  {who:8}  {text}")


def main(words: Sequence[str]) -> int:
    """Start the two and wait for their end; the answer is an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m event_bus.examples.synchronous_communication",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--late", type=float, default=1.0, metavar="S", help="how late one comes, default 1 s"
    )
    late_s = parser.parse_args(words).late
    if not (math.isfinite(late_s) and 0 <= late_s <= threading.TIMEOUT_MAX):
        parser.error(f"late by {late_s} s")
    with ProcessManager() as manager:
        handles = manager.add_process(
            2, Party, seat_names=["sender", "receiver"], begin_s=now_s(), late_s=late_s
        )
        return await_end(handles, manager)


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:])))
