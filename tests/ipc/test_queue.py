"""The queue of offers and its semaphore, with holders that are killed and stopped."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import sysv_ipc

from energymarket.core.records import OFFER
from energymarket.runtime.clock import monotonic_s
from energymarket.transport import resources
from energymarket.transport.queue import RINGS_MAX, OfferQueue, QueueFrozen, QueueGone
from energymarket.transport.resources import Ipc, Kind
from energymarket.wire import offer_message
from energymarket.wire.fault import WireError
from tests.ipc.processes import PRELUDE, environment, pass_time, process

pytestmark = pytest.mark.usefixtures("no_ipc_left")

WAITER = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
ready()
with queue.locked(20):
    print("held", flush=True)
"""
HOLDER = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
with queue.locked(5):
    ready()
    for_ever()
"""


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


@pytest.fixture
def queue(ipc: Ipc) -> OfferQueue:
    return OfferQueue(ipc)


def message(giver: int, offers: int = 1) -> bytes:
    made = np.zeros(offers, OFFER)
    made["giver"] = giver
    made["energy_wh"] = 100
    return offer_message.pack(made, slot=7, epoch=0)


def taken(queue: OfferQueue) -> list[int]:
    with queue.locked():
        return [got[0] for got in iter(queue.take, None)]


def test_oldest_first_and_own_type_only(queue: OfferQueue) -> None:
    """take() is FIFO; take(type) answers that giver's messages and no other; take(-n) the lowest type."""
    with queue.locked():
        for giver in (5, 3, 9, 3):
            assert queue.put(giver, message(giver))
        assert queue.take(3) == (3, message(3))
        assert queue.take(4) is None
        assert queue.take(-9) == (3, message(3))
        assert queue.take() == (5, message(5))
        assert queue.take() == (9, message(9))
        assert queue.take() is None


def test_a_full_queue_is_an_answer(queue: OfferQueue) -> None:
    """The 16 KiB hold four messages of 255 offers; the fifth is answered False at once."""
    with queue.locked():
        assert [queue.put(1, message(1, 255)) for _ in range(5)] == [True] * 4 + [False]
    assert queue.depth() == (4, 16_384)


def test_depth_is_what_the_kernel_says(queue: OfferQueue, ipc: Ipc) -> None:
    """Messages and bytes agree with /proc/sysvipc/msg."""
    with queue.locked():
        for giver in range(1, 8):
            queue.put(giver, message(giver, giver))
    line = next(
        line.split()
        for line in Path("/proc/sysvipc/msg").read_text().splitlines()
        if line.split()[0] == str(ipc.key(Kind.QUEUE))
    )
    assert queue.depth() == (int(line[4]), int(line[3])) == (7, 7 * 16 + 28 * 16)


def test_a_rest_keeps_its_place(queue: OfferQueue) -> None:
    """put_first puts the rest of a split offer before all others and leaves their order as it was."""
    with queue.locked():
        for giver in (4, 2, 8):
            queue.put(giver, message(giver))
        got = queue.take()
        assert got is not None
        assert queue.put_first(*got)
    assert taken(queue) == [4, 2, 8]


def test_put_first_into_a_full_queue_changes_nothing(queue: OfferQueue) -> None:
    """Without room for the rest the answer is False, and what was there is there in its order."""
    with queue.locked():
        for giver in (1, 2, 3, 4):
            assert queue.put(giver, message(giver, 255))
        assert not queue.put_first(9, message(9, 255))
    assert taken(queue) == [1, 2, 3, 4]
    assert queue.lost == 0


def test_nothing_is_done_without_the_semaphore(queue: OfferQueue) -> None:
    """put, put_first and take outside of a hold are a bug of ours, and say so."""
    for call in (lambda: queue.put(1, b"x"), lambda: queue.put_first(1, b"x"), queue.take):
        with pytest.raises(RuntimeError, match="locked"):
            call()


def test_a_killed_holder_frees_the_semaphore(queue: OfferQueue, run_dir: Path) -> None:
    """SIGKILL of the holder: SEM_UNDO gives the semaphore back, ten times out of ten, and only once."""
    for _ in range(10):
        with process(HOLDER, run_dir) as holder:
            with pytest.raises(QueueFrozen), queue.locked(0.01):
                pass
            holder.kill()
            holder.wait()
            with queue.locked(0.5):
                pass
    assert sysv_ipc.Semaphore(queue._mutex_handle.key).value == 1


def test_a_stopped_holder_costs_the_bound_and_no_more(queue: OfferQueue, run_dir: Path) -> None:
    """A holder under SIGSTOP: QueueFrozen after the bound, the slot's drain answers 0, then all goes on."""
    with process(HOLDER, run_dir) as holder:
        holder.send_signal(signal.SIGSTOP)
        begin = monotonic_s()
        with pytest.raises(QueueFrozen), queue.locked(0.2):
            pass
        assert 0.2 <= monotonic_s() - begin < 1.0
        assert queue.drain_unless_frozen(0.05) == 0
        holder.kill()
        holder.wait()
    with queue.locked(0.5):
        assert queue.put(1, message(1))


def test_a_reset_frees_what_a_stopped_holder_has(queue: OfferQueue, run_dir: Path) -> None:
    """reset() empties the queue and frees the semaphore; the old holder's death adds nothing to it later."""
    with queue.locked():
        queue.put(1, message(1))
    with process(HOLDER, run_dir) as holder:
        holder.send_signal(signal.SIGSTOP)
        queue.reset()
        assert queue.depth() == (0, 0)
        with queue.locked(0.1):
            pass
        holder.kill()
        holder.wait()
    assert sysv_ipc.Semaphore(queue._mutex_handle.key).value == 1


RELEASING = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
with queue.locked(5):
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
ready()
for_ever()
"""


def test_who_lost_the_semaphore_by_a_reset_does_not_free_it_twice(queue: OfferQueue, run_dir: Path) -> None:
    """A holder whose semaphore was reset goes on and leaves its hold: free once, not twice."""
    with process(RELEASING, run_dir) as holder:
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        queue.reset()
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "ready"
        assert sysv_ipc.Semaphore(queue._mutex_handle.key).value == 1


def test_types_wider_than_31_bits_are_sent_and_taken(queue: OfferQueue) -> None:
    """Lockstep's epochs need them: lowest first, by exact type, oversized ones dropped, a full queue told."""
    low, high = (1 << 40) + 1, (1 << 40) + 2
    with queue.locked():
        assert queue.take(-high) is None
        assert queue.put(high, message(2))
        assert queue.put(low, message(1))
        assert queue.take(-low) == (low, message(1))
        assert queue.take(low) is None
        assert queue.take(high) == (high, message(2))
        while queue.put(high, bytes(4096)):
            pass
        assert queue.room() == 0
        assert queue.take(-(1 << 41)) == (high, bytes(4096))
        assert queue.room() == 4096


def test_who_waits_and_is_stopped_again_and_again_waits_on(queue: OfferQueue, run_dir: Path) -> None:
    """SIGSTOP and SIGCONT interrupt the call each time: that is no trouble to it."""
    hold = ExitStack()
    hold.enter_context(queue.locked())
    with hold, process(WAITER, run_dir) as waiter:
        for _ in range(10):
            waiter.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, waiter.pid, os.WSTOPPED)
            waiter.send_signal(signal.SIGCONT)
            os.waitid(os.P_PID, waiter.pid, os.WCONTINUED)
            signal.sigtimedwait((), 0.02)  # until it waits again
        hold.close()
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "held\n"
        assert waiter.wait(30) == 0


def test_a_storm_of_signals_does_not_stretch_the_bound(queue: OfferQueue, run_dir: Path) -> None:
    """A thousand signals a second while waiting for a frozen holder: the wait ends at its bound."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    stop = threading.Event()

    def storm() -> None:
        while not stop.wait(0.001):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    stormer = threading.Thread(target=storm)
    try:
        with process(HOLDER, run_dir):
            stormer.start()
            begin = monotonic_s()
            with pytest.raises(QueueFrozen), queue.locked(0.3):
                pass
            assert 0.3 <= monotonic_s() - begin < 1.0
    finally:
        stop.set()
        stormer.join()
        signal.signal(signal.SIGUSR1, before)


def test_signals_interrupt_no_operation(queue: OfferQueue) -> None:
    """With a signal every 200 µs, twenty thousand puts and takes neither fail nor lose a message."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        for _ in range(20_000):
            with queue.locked():
                assert queue.put(1, b"x")
                assert queue.take() == (1, b"x")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_garbage_is_drained_and_counted(queue: OfferQueue, ipc: Ipc) -> None:
    """Oversize, empty and senseless messages of strangers never get stuck; good ones behind them come."""
    stranger = sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE), max_message_size=16_384)
    stranger.send(b"\xff" * 8_000, False, 3)
    stranger.send(b"", False, 1)
    stranger.send(b"\0" * 4_096, False, 2)
    with queue.locked():
        assert queue.put(6, message(6))
        assert queue.take() == (1, b"")
        assert queue.garbage == 1  # the one of 8,000 bytes was passed over
        kind, data = queue.take() or (0, b"")
        assert kind == 2
        with pytest.raises(WireError):
            offer_message.unpack(data)
        assert queue.take() == (6, message(6))
        assert queue.take() is None


def test_a_message_beyond_every_buffer_is_dropped(queue: OfferQueue, ipc: Ipc) -> None:
    """Even where the kernel lets a bigger message in than our buffer holds, it is dropped, not stuck."""
    narrow = sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE), max_message_size=64)
    queue._queue = narrow
    sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE), max_message_size=8_192).send(b"\xff" * 8_000, False, 3)
    sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE)).send(message(6), False, 6)
    with queue.locked():
        assert queue.take() == (6, message(6))
    assert queue.garbage == 1


def test_a_full_queue_of_nothing_is_drained(queue: OfferQueue, ipc: Ipc) -> None:
    """Sixteen thousand empty messages (a queue may hold as many as it has bytes) are gone after one drain."""
    stranger = sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE))
    sent = 0
    while True:
        try:
            stranger.send(b"", False, 1)
        except sysv_ipc.BusyError:
            break
        sent += 1
    assert sent >= 16_000
    assert queue.drain() == sent
    assert queue.depth() == (0, 0)


def test_a_ring_before_the_wait_is_not_lost(queue: OfferQueue) -> None:
    """Who rings before anybody waits is heard by the next who does; many rings are a few."""
    queue.ring()
    assert queue.wait(1.0)
    assert not queue.wait(0.01)
    for _ in range(1_000):
        queue.ring()
    heard = 0
    while queue.wait(0.01):
        heard += 1
    assert 1 <= heard <= RINGS_MAX


def test_a_ring_wakes_everybody_who_waits(queue: OfferQueue, run_dir: Path) -> None:
    """Four processes wait; one ring wakes all four."""
    body = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
ready()
sys.exit(0 if queue.wait(20) else 1)
"""
    with process(body, run_dir) as a, process(body, run_dir) as b, process(body, run_dir) as c:
        waiters = (a, b, c)
        deadline = monotonic_s() + 10
        while queue._bell_handle.waiting_for_nonzero < len(waiters) and monotonic_s() < deadline:
            pass_time(0.01)
        queue.ring()
        assert [waiter.wait(5) for waiter in waiters] == [0, 0, 0]


def test_a_removed_queue_is_told(queue: OfferQueue, run_dir: Path) -> None:
    """After `energy-ipc remove` each call says QueueGone (exit 75), and so does an attach with old ids."""
    ipc = resources.attach(run_dir)
    resources.remove(run_dir)
    for call in (lambda: queue.wait(0.1), queue.ring, queue.depth, queue.drain, queue.reset):
        with pytest.raises(QueueGone):
            call()
    with pytest.raises(QueueGone), queue.locked():
        pass
    with pytest.raises(QueueGone):
        OfferQueue(ipc)


def test_processes_under_one_semaphore_lose_and_double_nothing(queue: OfferQueue, run_dir: Path) -> None:
    """Three givers send 2,000 numbered messages each; two takers receive every one exactly once."""
    giver = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
ready()
sent = 0
while sent < 2000:
    with queue.locked(10):
        while sent < 2000 and queue.put(int(sys.argv[2]), int(sent).to_bytes(4, "little")):
            sent += 1
    queue.ring()
    queue.wait(0.005)
"""
    taker = """
queue, over = OfferQueue(resources.attach(Path(sys.argv[1]))), Path(sys.argv[2])
ready()
while True:
    is_over = over.exists()
    with queue.locked(10):
        got = [each for each in (queue.take() for _ in range(40)) if each]
        if got and len(got) % 2:
            queue.put_first(*got.pop())
    if got:
        queue.ring()
    for kind, data in got:
        print(kind, int.from_bytes(data, "little"), flush=True)
    if not got and is_over:
        break
    got or queue.wait(0.1)
"""
    found: list[str] = []
    over = run_dir / "over"  # all that will come is there: how long givers take to start, nobody knows
    with process(taker, run_dir, over) as one, process(taker, run_dir, over) as two:
        givers = [
            subprocess.Popen(
                [sys.executable, "-c", PRELUDE + giver, str(run_dir), str(nth)],
                stdout=subprocess.DEVNULL,
                env=environment(),
            )
            for nth in (1, 2, 3)
        ]
        readers = [
            threading.Thread(target=lambda each=each: found.extend(each.stdout or ())) for each in (one, two)
        ]
        for reader in readers:
            reader.start()
        assert [each.wait(60) for each in givers] == [0, 0, 0]
        over.touch()
        for reader in readers:
            reader.join(30)
    expected = sorted(f"{kind} {number}\n" for kind in (1, 2, 3) for number in range(2_000))
    assert sorted(found) == expected
    assert queue.depth() == (0, 0)


def test_the_layout_of_msqid_is_120_bytes() -> None:
    """The kernel's msqid_ds of 64-bit Linux has 120 bytes (asm-generic/msgbuf.h)."""
    from energymarket.transport.queue import _MSQID

    assert _MSQID.size == 120 == struct.calcsize("@48x3l3L2i2L")
