"""When a PV service that was told to end after a silence does so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

from energymarket.meters import words
from energymarket.meters.message import Refusal
from energymarket.meters.recording import Recorder
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from energymarket.transport.amqp import Address, Link, new_loop


class Consumer:
    """A meter of whom nothing has come."""

    meter_id = "Meter_0"
    written = duplicates = 0
    is_consuming = False
    is_idle = True

    def __init__(self) -> None:
        self.refused: Counter[Refusal] = Counter()

    def link_up(self, link: Link) -> None:
        """It is consumed when the test says so."""

    def link_down(self) -> None:
        """Nothing was delivered."""

    def leave(self) -> None:
        """Nothing comes."""

    def committing(self) -> Generator[list[int], None, None]:
        """There is nothing to commit."""
        yield from ()


def test_a_silence_begins_when_all_queues_are_consumed() -> None:
    """A broker that takes its time to answer has not been silent: what waits in it comes afterwards."""
    silence_s = 0.05
    loop = new_loop()
    recorder = Recorder(loop, silence_s)
    consumer = Consumer()
    link = Link(loop, Address(), words.PACE, "test", recorder.shared.refusing, words.jitter)
    recorder.record([consumer], link)
    sleep_until_boottime_ns(boottime_ns() + round(2e9 * silence_s))
    assert not recorder.turn()
    consumer.is_consuming = True
    assert not recorder.turn()
    sleep_until_boottime_ns(boottime_ns() + round(2e9 * silence_s))
    assert recorder.turn()
    recorder.close()
    loop.close()
