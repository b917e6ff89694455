"""The event bus: messages from one process to another, and a barrier of eight, against the raw mechanisms.

    python tests/bench/bench_event_bus.py [--pairs 7]

Messages: 64 bytes, one after the other, from one process to another, counted by the receiver's program; the
anchor is `multiprocessing.Pipe`. Barrier: rounds of eight processes that do nothing else; the anchor is two
turnstiles of `multiprocessing.Semaphore` around a shared counter (Downey, The Little Book of Semaphores,
3.6.7). The anchor's barrier is of eight live processes and knows no death; ours knows every one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from multiprocessing.context import ForkContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.runtime.clock import monotonic_s
from event_bus import Message, Process, ProcessManager
from tests.bench.pairs import head, in_turn, load, met

MESSAGES: Final = 50_000
PAYLOAD: Final = b"x" * 64
PROCESSES: Final = 8
WARM_UP: Final = 50
ROUNDS: Final = 1_500
FORK: Final[ForkContext] = multiprocessing.get_context("fork")

Answer = SimpleQueue[float]


class Talker(Process):
    """Number 0 sends, number 1 counts."""

    def __init__(self, process_id: int, bus_size: int, answer: Answer) -> None:
        super().__init__(process_id, bus_size)
        self.answer = answer
        self.count = 0
        self.begun_s = 0.0

    def process(self, message_box: list[Message]) -> None:
        """Send all at once; count what comes, from the first batch on."""
        if not message_box and self.process_id == 0:
            self.communicator.send_to("first", 1)
            for _ in range(MESSAGES):
                self.communicator.send_to(PAYLOAD, 1)
        elif message_box:
            self.begun_s = self.begun_s or monotonic_s()
            self.count += len(message_box)
            if self.count == MESSAGES + 1:
                self.answer.put(MESSAGES / (monotonic_s() - self.begun_s))


class Walker(Process):
    """Goes from barrier to barrier."""

    def __init__(self, process_id: int, bus_size: int, answer: Answer) -> None:
        super().__init__(process_id, bus_size)
        self.answer = answer

    def process(self, message_box: list[Message]) -> None:
        """All rounds; number 0 says how long one took."""
        del message_box
        for _ in range(WARM_UP):
            self.communicator.synchronize()
        begun_s = monotonic_s()
        for _ in range(ROUNDS):
            self.communicator.synchronize()
        if self.process_id == 0:
            self.answer.put((monotonic_s() - begun_s) / ROUNDS)


def on_bus(count: int, cls: type[Process]) -> float:
    """What the processes of a fresh bus answer."""
    answer: Answer = FORK.SimpleQueue()
    with ProcessManager() as manager:
        manager.add_process(count, cls, answer=answer)
        return answer.get()


def over_pipe() -> float:
    """Messages per second through a pipe."""
    reader, writer = FORK.Pipe(duplex=False)
    answer: Answer = FORK.SimpleQueue()

    def receive() -> None:
        reader.recv()
        begun_s = monotonic_s()
        for _ in range(MESSAGES):
            reader.recv()
        answer.put(MESSAGES / (monotonic_s() - begun_s))

    receiver = FORK.Process(target=receive)
    receiver.start()
    writer.send("first")
    for _ in range(MESSAGES):
        writer.send(PAYLOAD)
    rate = answer.get()
    receiver.join()
    return rate


class Turnstiles:
    """A barrier of semaphores: all are let in when the last has come, and out likewise."""

    def __init__(self) -> None:
        self._mutex = FORK.Semaphore(1)
        self._inward = FORK.Semaphore(0)
        self._outward = FORK.Semaphore(0)
        self._count = FORK.RawValue("i", 0)

    def wait(self) -> None:
        """One round."""
        with self._mutex:
            self._count.value += 1
            if self._count.value == PROCESSES:
                for _ in range(PROCESSES):
                    self._inward.release()
        self._inward.acquire()
        with self._mutex:
            self._count.value -= 1
            if self._count.value == 0:
                for _ in range(PROCESSES):
                    self._outward.release()
        self._outward.acquire()


def of_semaphores() -> float:
    """Seconds of a round."""
    barrier = Turnstiles()
    answer: Answer = FORK.SimpleQueue()

    def walk(number: int) -> None:
        for _ in range(WARM_UP):
            barrier.wait()
        begun_s = monotonic_s()
        for _ in range(ROUNDS):
            barrier.wait()
        if number == 0:
            answer.put((monotonic_s() - begun_s) / ROUNDS)

    processes = [FORK.Process(target=walk, args=(number,)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    span_s = answer.get()
    for process in processes:
        process.join()
    return span_s


def main() -> None:
    """Measure both against their anchors, in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    print(head())
    ours, pipe, ratio = in_turn(pairs, lambda: on_bus(2, Talker), over_pipe)
    print(f"messages of {len(PAYLOAD)} bytes per second: bus {ours:,.0f}, pipe {pipe:,.0f}")
    print(f"  ratio {ratio:.2f} (target >= 0.5: {met(ratio.median, 0.5)})")
    walks, turnstiles, ratio = in_turn(
        pairs, lambda: on_bus(PROCESSES, Walker) * 1e6, lambda: of_semaphores() * 1e6
    )
    print(f"a round of {PROCESSES} processes, µs: bus {walks:.0f}, semaphores {turnstiles:.0f}")
    print(f"  ratio {ratio:.2f} (target <= 3: {met(ratio.median, 3, at_most=True)})")
    print(f"load: {load()}")


if __name__ == "__main__":
    main()
