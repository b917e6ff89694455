"""The market's child as a process: born of the main thread, dies with the market, never blocks or loses."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.events import arrivals
from energymarket.core.parameters import EventKind
from energymarket.core.records import Phase
from energymarket.core.weather import WEATHER, Sample
from energymarket.exits import Exit
from energymarket.runtime.child import Action, Child, Limits, Watch, spawn
from energymarket.runtime.clock import boottime_ns, monotonic_s, wait_readable
from energymarket.transport import resources
from energymarket.transport.doorbell import Doorbell
from energymarket.transport.page import BoardWriter, ClockWriter
from energymarket.transport.resources import Ipc
from energymarket.wire.clock_page import ClockPage, Flag
from energymarket.wire.event_record import EventRecord, RecordType
from energymarket.wire.external_task import ActiveEvent, ExternalTask
from tests.ipc.processes import environment, pass_time, process

pytestmark = pytest.mark.usefixtures("no_ipc_left")

S = 1_000_000_000
KINDS = (
    EventKind("gas shortage", 10_000.0, arrivals_per_slot=0.4, duration_slots_mean=3.0, rain_factor=4.0),
    EventKind("war", 50_000.0, arrivals_per_slot=0.1, duration_slots_mean=10.0, intensity_max=2.0),
)
SEED = 42
FIRST = 1_000


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    with Doorbell() as bell:
        yield bell


def weather_of(slot: int) -> Sample:
    """It rains in every third slot."""
    made = np.zeros(1, WEATHER)
    made["slot"] = slot
    made["rain_um_per_h"] = 500 if slot % 3 == 0 else 0
    found: Sample = made[0]
    return found


def open_page(slot: int, *, live: bool = False, slot_s: float = 10.0) -> ClockPage:
    now, slot_ns = boottime_ns(), int(slot_s * S)
    return ClockPage(
        slot=slot,
        epoch=0,
        phase=Phase.EXCHANGE,
        flags=Flag.LIVE if live else 0,
        open_ns=now,
        exchange_ns=now + slot_ns // 2,
        gate_ns=now + slot_ns * 8 // 10,
        next_open_ns=now + slot_ns,
        price=0,
        import_=0,
        export_=0,
        fee=0,
        slot_s=900,
        slot_ns=slot_ns,
        market_pid=os.getpid(),
    )


def expected(slots: range) -> list[EventRecord]:
    """What must be said of these slots, from the core's arrivals alone."""
    said = []
    for slot in slots:
        for new in arrivals(SEED, KINDS, slot, raining=slot % 3 == 0):
            until = slot + new.duration_slots
            said.append(EventRecord(RecordType.BEGIN, slot, new.kind, new.seq, new.intensity_permille, until))
    return said


def task(first: int = FIRST, active: tuple[ActiveEvent, ...] = ()) -> ExternalTask:
    return ExternalTask(SEED, KINDS, first, os.getpid(), active)


@contextmanager
def child_of(run_dir: Path, doorbell: Doorbell, its_task: ExternalTask | None = None) -> Iterator[Child]:
    words = ["-m", "energymarket.external", "--run", str(run_dir), "--task", (its_task or task()).to_text()]
    pidfd = os.pidfd_open(os.getpid())
    child = spawn(words, (pidfd, doorbell.write_fd), environment())
    os.close(pidfd)
    try:
        yield child
    finally:
        child.kill()
        wait_readable(child.fileno(), boottime_ns() + 5 * S)
        child.reap()
        child.close()


def listen(
    doorbell: Doorbell, until: Callable[[list[EventRecord]], bool], timeout_s: float = 15
) -> list[EventRecord]:
    """Everything heard until a condition holds; it must within the time."""
    heard: list[EventRecord] = []
    deadline = monotonic_s() + timeout_s
    while not until(heard):
        assert monotonic_s() < deadline, f"not heard in time; heard {heard[-5:]}"
        select.select(doorbell.descriptors, [], [], 0.05)
        heard += doorbell.drain()
    return heard


def reported(slot: int) -> Callable[[list[EventRecord]], bool]:
    def told(heard: list[EventRecord]) -> bool:
        return any(each.type is RecordType.REPORTED and each.slot >= slot for each in heard)

    return told


def begins(heard: list[EventRecord]) -> list[EventRecord]:
    return [each for each in heard if each.type is RecordType.BEGIN]


def beats(heard: list[EventRecord]) -> bool:
    return any(each.type is RecordType.HEARTBEAT for each in heard)


def test_it_tells_each_slot_one_ahead_as_the_core_says(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """Beginnings of thirty slots are those of core.events, rain included; each is told one ahead."""
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board, child_of(run_dir, doorbell) as child:
        board.post(weather_of(FIRST), boottime_ns())
        heard = listen(doorbell, reported(FIRST))
        for slot in range(FIRST, FIRST + 30):
            board.post(weather_of(slot + 1), boottime_ns())
            clock.write(open_page(slot, live=True))
            child.wake()
            heard += listen(doorbell, reported(slot + 1))
        assert not [each for each in heard if each.type is RecordType.REPORTED and each.slot > FIRST + 30]
        assert begins(heard) == expected(range(FIRST, FIRST + 31))
        ends = {(each.kind, each.seq): each.slot for each in heard if each.type is RecordType.END}
        over = {
            (each.kind, each.seq): each.until_slot for each in begins(heard) if each.until_slot <= FIRST + 30
        }
        assert ends == over
        assert len(over) > 5


def test_killed_and_started_again_it_goes_on(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """The successor starts with the first slot not yet told and ends the events that were active."""
    running = ActiveEvent(kind=1, seq=77, until_slot=FIRST + 2)
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board:
        for slot in range(FIRST, FIRST + 12):
            board.post(weather_of(slot), boottime_ns())
        with child_of(run_dir, doorbell, task(active=(running,))) as child:
            clock.write(open_page(FIRST + 4, live=True))
            heard = listen(doorbell, reported(FIRST + 5))
            child.kill()
            assert wait_readable(child.fileno(), boottime_ns() + 5 * S)
            death = child.reap()
            assert death is not None
            assert str(death) == "killed by SIGKILL"
        with child_of(run_dir, doorbell, task(FIRST + 6)):
            clock.write(open_page(FIRST + 9, live=True))
            heard += listen(doorbell, reported(FIRST + 10))
    assert begins(heard) == expected(range(FIRST, FIRST + 11))
    assert EventRecord(RecordType.END, FIRST + 2, kind=1, seq=77, until_slot=FIRST + 2) in heard


def test_in_lockstep_it_tells_thirty_two_slots_ahead(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """Up to the 32nd that has its weather, in the same words as one by one. Rung later, it tells the rest."""
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board, child_of(run_dir, doorbell) as child:
        for slot in range(FIRST, FIRST + 64):
            board.post(weather_of(slot), boottime_ns())
        clock.write(open_page(FIRST))
        heard = listen(doorbell, reported(FIRST + 32))
        clock.write(open_page(FIRST + 20))
        child.wake()
        heard += listen(doorbell, reported(FIRST + 52))
        assert not reported(FIRST + 53)(heard)
        assert begins(heard) == expected(range(FIRST, FIRST + 53))


def test_without_weather_it_waits_and_live_it_does_not(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """With the next slot's weather missing nothing is told until it comes; live it is told in time anyway."""
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board, child_of(run_dir, doorbell):
        board.post(weather_of(FIRST), boottime_ns())
        listen(doorbell, reported(FIRST))
        clock.write(open_page(FIRST))
        pass_time(0.3)
        assert not reported(FIRST + 1)(doorbell.drain())
        board.post(weather_of(FIRST + 1), boottime_ns())
        listen(doorbell, reported(FIRST + 1))
        page = open_page(FIRST + 1, live=True, slot_s=1.0)
        clock.write(page)
        listen(doorbell, reported(FIRST + 2))
        assert boottime_ns() < page.next_open_ns + 20_000_000
        assert boottime_ns() > page.next_open_ns - 200_000_000


def test_a_page_of_another_market_is_not_believed(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """A clock page left over from an earlier market does not make it tell that market's slots."""
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board:
        old = open_page(FIRST + 500)
        clock.write(ClockPage(**{name: getattr(old, name) for name in old.__slots__} | {"market_pid": 1}))
        with child_of(run_dir, doorbell):
            listen(doorbell, beats)
            pass_time(0.2)
            assert not reported(FIRST)(doorbell.drain())
            board.post(weather_of(FIRST), boottime_ns())
            heard = listen(doorbell, reported(FIRST))
            assert not reported(FIRST + 1)(heard)


def test_ps_shows_it_as_a_child_of_the_market(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """Its parent is the market, its name "external"; of the market it holds the two descriptors only."""
    del ipc
    with child_of(run_dir, doorbell) as child:
        listen(doorbell, beats)
        stat = Path(f"/proc/{child.pid}/stat").read_text()
        name, rest = stat[stat.index("(") + 1 :].split(") ")
        assert (name, int(rest.split()[1])) == ("external", os.getpid())
        links = [str(each.readlink()) for each in Path(f"/proc/{child.pid}/fd").iterdir()]
        pipe = str(Path(f"/proc/self/fd/{doorbell.write_fd}").readlink())
        outer = {str(Path(f"/proc/self/fd/{number}").readlink()) for number in (0, 1, 2)}
        strange = [each for each in links if each.startswith(("pipe:", "socket:")) and each not in outer]
        assert links.count(pipe) == 1
        assert len([each for each in strange if each != pipe]) <= 2  # both ends of its own bell


MARKET = """
from energymarket.runtime.child import spawn
from energymarket.runtime.clock import wait_readable
from energymarket.transport.doorbell import Doorbell
from energymarket.wire.external_task import ExternalTask
bell = Doorbell().open()
task = ExternalTask(1, (), 5, os.getpid())
words = ["-m", "energymarket.external", "--run", sys.argv[1], "--task", task.to_text()]
child = spawn(words, (os.pidfd_open(os.getpid()), bell.write_fd), os.environ)
if sys.argv[2] == "wait":
    while not bell.drain():
        select.select(bell.descriptors, [], [])
ready()
print(child.pid, flush=True)
for_ever()
"""


@pytest.mark.parametrize("moment", ["wait", "at once"])
def test_it_dies_with_the_market(ipc: Ipc, run_dir: Path, moment: str) -> None:
    """SIGKILL of the market, while the child serves or while it has not even begun: the child is gone."""
    del ipc
    for nth in range(3 if moment == "wait" else 15):
        with process(MARKET, run_dir, moment) as market:
            assert market.stdout is not None
            pidfd = os.pidfd_open(int(market.stdout.readline()))
            with pytest.raises(subprocess.TimeoutExpired):
                market.wait(0.01 * nth)
            market.kill()
            market.wait()
            assert wait_readable(pidfd, boottime_ns() + 5 * S), "the child outlives its market"
            os.close(pidfd)


def test_a_stopped_child_is_killed_and_replaced(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """SIGSTOP: the watch notices the silence within its bound, kills it, and the next one speaks."""
    del ipc
    watch = Watch(boottime_ns(), Limits(silence_ns_max=1 * S))
    with child_of(run_dir, doorbell) as child:
        watch.started(boottime_ns())
        listen(doorbell, beats)
        watch.heard(boottime_ns())
        child.send(signal.SIGSTOP)
        stopped_ns = boottime_ns()
        while watch.action(boottime_ns()) is not Action.KILL:
            doorbell.drain()
            select.poll().poll(10)
            assert boottime_ns() < stopped_ns + 3 * S
        child.kill()
        assert wait_readable(child.fileno(), boottime_ns() + 1 * S)
        assert child.reap() is not None
        watch.died(boottime_ns())
    while watch.action(boottime_ns()) is not Action.SPAWN:
        select.poll().poll(5)
    begin_ns = boottime_ns()
    with child_of(run_dir, doorbell):
        listen(doorbell, beats)
    assert boottime_ns() - begin_ns < 5 * S


def test_asked_to_stop_it_ends_well(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """SIGTERM: exit 0 at once; SIGINT from the terminal is the market's business and changes nothing."""
    del ipc
    with child_of(run_dir, doorbell) as child:
        listen(doorbell, beats)
        child.send(signal.SIGINT)
        listen(doorbell, beats)
        assert child.stop(boottime_ns() + 5 * S).code == Exit.OK


def test_a_market_that_does_not_read_blocks_and_loses_nothing(
    ipc: Ipc, run_dir: Path, doorbell: Doorbell
) -> None:
    """A full pipe: the child lives on without using the processor, and everything comes when it is read."""
    last = FIRST + 6_000
    busy = tuple(
        EventKind(f"kind {n}", 1.0, arrivals_per_slot=2.0, duration_slots_mean=1.0) for n in range(2)
    )
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board:
        board.post(weather_of(FIRST), boottime_ns())
        its_task = ExternalTask(SEED, busy, FIRST, os.getpid())
        with child_of(run_dir, doorbell, its_task) as child:
            clock.write(open_page(last))
            _wait_until_full(doorbell)
            _wait_for_a_second_at_rest(child.pid)
            board.post(weather_of(last + 1), boottime_ns())
            heard = listen(doorbell, reported(last), timeout_s=60)
    want = [new.seq for slot in range(FIRST, last + 1) for new in arrivals(SEED, busy, slot, raining=False)]
    assert len(want) > 4 * 65_536 // 32  # four pipes full
    assert [each.seq for each in begins(heard) if each.slot <= last] == want


def _wait_until_full(doorbell: Doorbell) -> None:
    end_s = monotonic_s() + 30
    while select.select([], [doorbell.write_fd], [], 0)[1]:
        assert monotonic_s() < end_s, "the pipe does not fill"
        pass_time(0.02)


def _wait_for_a_second_at_rest(pid: int) -> None:
    """Whoever spins never uses less than a twentieth of a second; how soon it rests, its machine says."""
    end_s = monotonic_s() + 30
    used = 100
    while used > 5:
        assert monotonic_s() < end_s, f"{used} ticks in a second"
        before = _cpu_ticks(pid)
        pass_time(1.0)
        used = _cpu_ticks(pid) - before


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_idle_it_costs_nothing(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """With everything said until the next opening it wakes for its heartbeat only: under 2 % of a core."""
    with ClockWriter(ipc) as clock, BoardWriter(ipc) as board, child_of(run_dir, doorbell) as child:
        for slot in (FIRST, FIRST + 1):
            board.post(weather_of(slot), boottime_ns())
        clock.write(open_page(FIRST, slot_s=100))
        listen(doorbell, reported(FIRST + 1))
        before = _cpu_ticks(child.pid)
        pass_time(2.0)
        assert _cpu_ticks(child.pid) - before <= 4


def test_eager_signals_kill_neither(ipc: Ipc, run_dir: Path, doorbell: Doorbell) -> None:
    """Signals to a child that has just been born, handlers not yet standing: it lives and speaks."""
    del ipc
    for _ in range(5):
        with child_of(run_dir, doorbell) as child:
            deadline = monotonic_s() + 0.3
            while monotonic_s() < deadline:
                child.wake()
            listen(doorbell, beats)
            assert child.reap() is None


def test_a_child_is_born_of_the_main_thread_with_handlers_standing() -> None:
    """From another thread, or before the doorbell: a bug of ours that says so."""
    refused: list[str] = []

    def from_a_thread() -> None:
        try:
            spawn(["-c", ""], (), {})
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=from_a_thread)
    thread.start()
    thread.join()
    assert "main thread" in refused[0]
    body = """
import signal
from energymarket.runtime.child import spawn
signal.signal(signal.SIGUSR1, signal.SIG_DFL)
spawn(["-c", ""], (), {})
"""
    ended = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, env=environment(), check=False
    )
    assert "doorbell" in ended.stderr


def test_it_hands_no_supervisor_variables_on(doorbell: Doorbell) -> None:
    """NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* of the market do not reach the child."""
    read_fd, write_fd = os.pipe()
    given = {**environment(), "NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "KEPT": "yes"}
    with spawn(
        ["-c", "import os; os.write(3, repr(sorted(os.environ)).encode())"], (write_fd,), given
    ) as child:
        assert wait_readable(child.fileno(), boottime_ns() + 10 * S)
        death = child.reap()
        assert death is not None
        assert str(death) == "exit 0"
    names = os.read(read_fd, 65_536).decode()
    assert "KEPT" in names
    assert not [name for name in ("NOTIFY", "WATCHDOG", "LISTEN_") if name in names]
    for descriptor in (read_fd, write_fd):
        os.close(descriptor)
    del doorbell


def test_alone_it_says_who_starts_it() -> None:
    """Started by hand: exit 2 and one line."""
    ended = subprocess.run(
        [sys.executable, "-m", "energymarket.external"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert ended.returncode == Exit.USAGE
    assert "energy-marketd" in ended.stderr
