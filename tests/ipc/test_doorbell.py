"""The pipe that tells and the signal that wakes: storms, strangers, garbage, a full pipe, a dead market."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from energymarket.transport.doorbell import PENDING_MAX, Doorbell, MarketGone, Ringer
from energymarket.wire.event_record import EventRecord, RecordType
from tests.ipc.processes import environment, process


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    with Doorbell() as bell:
        yield bell


@pytest.fixture
def ringer(doorbell: Doorbell) -> Iterator[Ringer]:
    pidfd = os.pidfd_open(os.getpid())
    yield Ringer(doorbell.write_fd, pidfd)
    os.close(pidfd)


def begin(seq: int) -> EventRecord:
    return EventRecord(
        RecordType.BEGIN, slot=seq, kind=seq % 7, seq=seq, intensity_permille=1000, until_slot=seq + 3
    )


def readable(doorbell: Doorbell) -> set[int]:
    return set(select.select(doorbell.descriptors, [], [], 0)[0])


def test_what_is_said_is_heard_once(doorbell: Doorbell, ringer: Ringer) -> None:
    """Records come in their order; the signal and the pipe both wake; a drain leaves nothing to wake for."""
    assert not readable(doorbell)
    said = [begin(seq) for seq in range(300)]
    for record in said:
        ringer.add(record)
    assert ringer.flush()
    assert readable(doorbell) == set(doorbell.descriptors)
    assert doorbell.drain() == said
    assert not readable(doorbell)
    assert doorbell.drain() == []


STORM = """
pidfd = os.pidfd_open(int(sys.argv[1]))
ready()
for nth in range(100_000):
    signal.pidfd_send_signal(pidfd, signal.SIGUSR1 if nth % 2 else signal.SIGUSR2)
sys.exit(0)
"""


def test_a_hundred_thousand_stray_signals_change_nothing(doorbell: Doorbell, ringer: Ringer) -> None:
    """A stranger's SIGUSR1 and SIGUSR2, 100,000 of them: no event appears, none of ours is lost."""
    heard: list[EventRecord] = []
    with process(STORM, str(os.getpid())) as stranger:
        seq = 0
        while stranger.poll() is None:
            ringer.add(begin(seq))
            ringer.flush()
            seq += 1
            heard += doorbell.drain()
        assert stranger.returncode == 0
    ringer.flush()
    heard += doorbell.drain()
    assert heard == [begin(number) for number in range(seq)]
    assert doorbell.invalid == 0


def test_a_thousand_signals_a_second_invert_nothing(doorbell: Doorbell, ringer: Ringer) -> None:
    """On and off told 1,000 times, each with its signal: the last word about the event stands."""
    active: set[int] = set()
    for nth in range(1_000):
        kind = RecordType.BEGIN if nth % 2 == 0 else RecordType.END
        ringer.add(EventRecord(kind, slot=nth, kind=1, seq=1, intensity_permille=1000, until_slot=nth))
        ringer.flush()
        if nth % 10 == 9:
            for record in doorbell.drain():
                active = {record.seq} if record.type is RecordType.BEGIN else set()
    assert active == set()
    assert doorbell.drain() == []


def test_garbage_in_the_pipe_is_passed_over(doorbell: Doorbell) -> None:
    """Rubbish, half records and forged ones before, between and after good ones: the good ones come."""
    forged = bytearray(begin(9).pack())
    forged[20] ^= 1
    stretch = (
        b"rubbish" + begin(1).pack() + bytes(forged) + begin(2).pack()[:17] + begin(3).pack() + b"EVEVEV" * 20
    )
    os.write(doorbell.write_fd, stretch)
    os.write(doorbell.write_fd, begin(4).pack())
    assert doorbell.drain() == [begin(1), begin(3), begin(4)]
    assert doorbell.invalid >= 3


def test_a_record_in_two_pieces_is_one(doorbell: Doorbell) -> None:
    """The beginning waits for its end; when its writer has died it is forgotten."""
    raw = begin(5).pack()
    os.write(doorbell.write_fd, raw[:10])
    assert doorbell.drain() == []
    os.write(doorbell.write_fd, raw[10:])
    assert doorbell.drain() == [begin(5)]
    os.write(doorbell.write_fd, raw[:10])
    assert doorbell.drain() == []
    doorbell.forget_rest()
    os.write(doorbell.write_fd, raw)
    assert doorbell.drain() == [begin(5)]
    assert doorbell.invalid == 1


def test_a_full_pipe_blocks_nobody_and_loses_no_event(doorbell: Doorbell, ringer: Ringer) -> None:
    """A market that does not read: the child goes on, keeps what does not fit, and delivers it later."""
    said = [begin(seq) for seq in range(PENDING_MAX)]
    for nth, record in enumerate(said):
        ringer.add(record)
        ringer.add(EventRecord(RecordType.REPORTED, slot=nth))
        ringer.add(EventRecord(RecordType.HEARTBEAT, seq=nth))
        ringer.flush()
    assert not ringer.flush()
    heard = doorbell.drain()
    while not ringer.flush():
        heard += doorbell.drain()
    heard += doorbell.drain()
    assert [record for record in heard if record.type is RecordType.BEGIN] == said
    reported = [record.slot for record in heard if record.type is RecordType.REPORTED]
    assert reported[-1] == PENDING_MAX - 1
    assert reported == sorted(reported)
    assert len(reported) < PENDING_MAX  # old news was not kept


def test_pending_records_are_bounded(ringer: Ringer) -> None:
    """At the limit the child is told to make no more; heartbeats and reports never add up."""
    fullness = []
    for seq in range(PENDING_MAX):
        fullness.append(ringer.full)
        ringer.add(begin(seq))
    assert not any(fullness)
    assert ringer.full
    for nth in range(1_000):
        ringer.add(EventRecord(RecordType.HEARTBEAT, seq=nth))
        ringer.add(EventRecord(RecordType.REPORTED, slot=nth))
    assert ringer.pending == PENDING_MAX + 2


def test_a_dead_market_is_told(ringer: Ringer, doorbell: Doorbell) -> None:
    """Writing into a pipe that nobody reads any more, or ringing at a dead process: MarketGone."""
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment())
    pidfd = os.pidfd_open(gone.pid)
    gone.communicate(b"\n")
    to_the_dead = Ringer(doorbell.write_fd, pidfd)
    to_the_dead.add(begin(1))
    with pytest.raises(MarketGone):
        to_the_dead.flush()
    os.close(pidfd)
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    closed = Ringer(write_fd, ringer._market_pidfd)
    closed.add(begin(1))
    with pytest.raises(MarketGone):
        closed.flush()
    os.close(write_fd)


def test_after_close_a_late_signal_kills_nobody() -> None:
    """The handlers are replaced by "ignore", not by the default, which is death."""
    body = """
from energymarket.transport.doorbell import Doorbell
bell = Doorbell().open()
bell.close()
bell.close()
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR2)
"""
    command = [sys.executable, "-c", "import os, signal\n" + body]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0
