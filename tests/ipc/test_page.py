"""The pages in shared memory under writers that storm, die in the middle, freeze, or write rubbish."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sysv_ipc

from energymarket.core import weather
from energymarket.core.records import Phase
from energymarket.exits import Exit
from energymarket.runtime.clock import boottime_ns, monotonic_s
from energymarket.transport import page, resources
from energymarket.transport.page import BoardReader, BoardWriter, ClockReader, ClockWriter
from energymarket.transport.resources import Ipc, ResourceError
from energymarket.wire import board, cell
from energymarket.wire.clock_page import ClockPage, Flag
from tests.ipc.processes import PRELUDE, environment, killed_again_and_again, pass_time, process

pytestmark = pytest.mark.usefixtures("no_ipc_left")

S = 1_000_000_000


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


def clock_page(slot: int) -> ClockPage:
    """A page in which every field follows from the slot, so that a mixture of two shows."""
    return ClockPage(
        slot=slot,
        epoch=slot % 1000,
        phase=Phase(slot % 6),
        flags=slot % 16,
        open_ns=slot * 11,
        exchange_ns=slot * 13,
        gate_ns=slot * 17,
        next_open_ns=slot * 19,
        price=-slot,
        import_=slot * 23,
        export_=-slot * 29,
        fee=slot * 31,
        slot_s=900,
        slot_ns=slot * 37,
        market_pid=slot % 4_000_000,
        end_slot=slot * 41,
        cookie=slot * 43,
        generation=slot % 100,
    )


def sample(slot: int) -> weather.Sample:
    """A sample in which every field follows from the slot, and is possible."""
    made = np.zeros(1, weather.WEATHER)
    made["slot"] = slot
    for name, (_, high) in weather.LIMITS.items():
        made[name] = slot % (high + 1)
    found: weather.Sample = made[0]
    return found


def test_what_was_written_is_read(ipc: Ipc) -> None:
    """Every field comes back, negative prices included; before the first writing there is None."""
    with ClockWriter(ipc) as writer, ClockReader(ipc) as reader:
        assert reader.read() is None
        for slot in (1, 2**33, 1_971_900):
            writer.write(clock_page(slot))
            assert reader.read() == clock_page(slot)
        writer.write(clock_page(17))  # 17 = weather stale + 16: flags keep unknown bits out
        page = reader.read()
        assert page is not None
        assert page.weather_stale == bool(17 % 16 & Flag.WEATHER_STALE)


IMPORTS = """
sys.path.insert(0, sys.argv[2])
from tests.ipc.test_page import clock_page, sample
"""
WRITER = """
ipc = resources.attach(Path(sys.argv[1]))
clock, board = page.ClockWriter(ipc), page.BoardWriter(ipc)
clock.write(clock_page(1))
ready()
slot = 1
while True:
    slot += 1
    clock.write(clock_page(slot))
    board.post(sample(slot), slot)
"""


def test_no_torn_page_is_accepted_under_a_storm_of_writes(ipc: Ipc, run_dir: Path, root: Path) -> None:
    """While another process writes without pause, every page and sample read is one that was written."""
    with (
        process(IMPORTS + WRITER, run_dir, root),
        ClockReader(ipc) as clock,
        BoardReader(ipc) as weather_board,
    ):
        pages = samples = last = 0
        end = monotonic_s() + 3
        while monotonic_s() < end:
            page = clock.read()
            if page is None:
                continue
            assert page == clock_page(page.slot)
            assert page.slot >= last
            last = page.slot
            pages += 1
            found = weather_board.sample(page.slot, 0).sample
            if found is not None:
                assert found == sample(int(found["slot"]))
                samples += 1
    assert pages > 1_000
    assert samples > 1_000


def test_a_reader_without_the_checks_would_see_torn_pages(ipc: Ipc, run_dir: Path, root: Path) -> None:
    """The storm is a real one: copies taken without looking at sequence and checksum are torn at times."""
    torn = 0
    with process(IMPORTS + WRITER, run_dir, root), ClockReader(ipc) as clock:
        view = clock._cell._view
        end = monotonic_s() + 20
        while not torn and monotonic_s() < end:
            torn += cell.unseal(view.tobytes()) is None
    assert torn


def test_a_writer_killed_in_the_middle_is_survived(ipc: Ipc) -> None:
    """An odd sequence: the reader gives up after its tries, at once; the next writer makes it whole."""
    with ClockWriter(ipc) as writer, ClockReader(ipc) as reader:
        writer.write(clock_page(5))
        writer._cell._sequence[0] |= 1
        begin = monotonic_s()
        assert reader.read() is None
        assert monotonic_s() - begin < 2  # six offers of the processor, on however busy a machine
        with ClockWriter(ipc) as successor:
            successor.write(clock_page(6))
        assert reader.read() == clock_page(6)


def test_kill_minus_nine_in_a_storm_of_writes(ipc: Ipc, run_dir: Path, root: Path) -> None:
    """Twenty writers are killed at random instants: a reader sees a whole page or None, never a mixture."""
    with (
        ClockReader(ipc) as clock,
        BoardReader(ipc) as weather_board,
        killed_again_and_again(IMPORTS, WRITER, run_dir, root) as kill_a_writer,
    ):
        for nth in range(20):
            kill_a_writer(0.002 * nth)
            page = clock.read()
            assert page is None or page == clock_page(page.slot)
            found = weather_board.sample(2**40, 0).sample
            assert found is None or found == sample(int(found["slot"]))


def test_a_damaged_sample_is_passed_over(ipc: Ipc) -> None:
    """A flipped byte in the entry of a slot: the reader has the one before, marked stale."""
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        writer.post(sample(7), S)
        writer.post(sample(8), S)
        assert reader.sample(8, S) == (sample(8), False)
        writer._page.view[board.entry_at(8) + cell.SEAL_BYTES + 9] ^= 1
        found, stale = reader.sample(8, S)
        assert found is not None
        assert (int(found["slot"]), stale) == (7, True)


def test_stale_is_an_earlier_sample_or_a_silent_writer(ipc: Ipc) -> None:
    """Of the slot and with a heartbeat within 2 s: fresh; else the last value, and it says so."""
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        assert reader.sample(100, 0) == (None, True)
        writer.post(sample(100), 10 * S)
        assert reader.sample(100, 12 * S).stale is False
        assert reader.sample(100, 12 * S + 1).stale is True
        writer.beat(13 * S)
        assert reader.sample(100, 14 * S).stale is False
        assert reader.sample(101, 13 * S) == (sample(100), True)
        assert reader.sample(99, 13 * S) == (None, True)
        assert reader.age_ns(13 * S + 5) == 5
        status = reader.status()
        assert status is not None
        assert (status.last_slot, status.writer_pid) == (100, os.getpid())


def test_the_ring_keeps_128_slots(ipc: Ipc) -> None:
    """Of 300 slots posted the last 128 are there; an older one is answered by none older than it."""
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        for slot in range(1_000, 1_300):
            writer.post(sample(slot), S)
        assert all(reader.sample(slot, S) == (sample(slot), False) for slot in range(1_172, 1_300))
        assert reader.sample(1_171, S) == (None, True)
        assert reader.sample(5_000, S) == (sample(1_299), True)


def test_a_slot_not_posted_yet_costs_two_looks(ipc: Ipc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board full of samples is not looked through: who waits for weather asks several times a slot."""
    looks: list[object] = []
    seen = page._sample_in

    def counted(entry: page._Cell) -> weather.Sample | None:
        looks.append(entry)
        return seen(entry)

    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        for slot in range(1_000, 1_200):
            writer.post(sample(slot), S)
        monkeypatch.setattr(page, "_sample_in", counted)
        assert reader.sample(1_200, S) == (sample(1_199), True)
        assert len(looks) <= 3


def test_a_writer_that_died_before_its_status_is_believed(ipc: Ipc) -> None:
    """The sample is posted first, then the status says so: killed in between, the sample is the latest."""
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        for slot in range(7, 10):
            writer.post(sample(slot), S)
        writer._entries[10].write(board.pack(sample(10)))
        assert reader.sample(20, S) == (sample(10), True)
        assert reader.sample(10, S) == (sample(10), False)


def test_a_stopped_weather_daemon_is_noticed(ipc: Ipc, run_dir: Path) -> None:
    """SIGSTOP of the writer: two seconds of boot time later its samples are stale."""
    body = """
ipc = resources.attach(Path(sys.argv[1]))
board = page.BoardWriter(ipc)
board.post(weather.standard(3), boottime_ns())
ready()
while True:
    board.beat(boottime_ns())
    select.poll().poll(100)
"""
    with process(body, run_dir) as writer, BoardReader(ipc) as reader:
        assert not reader.sample(3, boottime_ns()).stale
        writer.send_signal(signal.SIGSTOP)
        pass_time(2.2)
        assert reader.sample(3, boottime_ns()).stale


def test_a_reader_cannot_write(ipc: Ipc, run_dir: Path) -> None:
    """Readers map the page read-only: a store is refused by Python, and behind it by the processor."""
    with ClockReader(ipc) as reader, pytest.raises(TypeError, match="read-only"):
        reader._page.view[100] = 1
    body = """
reader = page.ClockReader(resources.attach(Path(sys.argv[1])))
memoryview(reader._page._shared)[100] = 1
"""
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE + body, str(run_dir)],
        env=environment(),
        check=False,
        capture_output=True,
    )
    assert ended.returncode == -signal.SIGSEGV


def test_a_page_of_another_run_is_refused(ipc: Ipc) -> None:
    """With another cookie, magic or version in the header nobody reads or writes the page."""
    segment = sysv_ipc.attach(ipc.clock)
    header = bytes(segment.read(cell.HEADER.size))
    for at in (0, 8, 16):
        damaged = bytearray(header)
        damaged[at] ^= 1
        segment.write(bytes(damaged))
        with pytest.raises(ResourceError, match="not of this run"):
            ClockReader(ipc)
    segment.write(header)
    segment.detach()
    ClockReader(ipc).close()


def test_a_removed_page_stays_readable_until_closed(ipc: Ipc, run_dir: Path) -> None:
    """After `energy-ipc remove` a reader still has the last page; a new one is told to try again (75)."""
    with ClockWriter(ipc) as writer, ClockReader(ipc) as reader:
        writer.write(clock_page(3))
        resources.remove(run_dir)
        assert reader.read() == clock_page(3)
        with pytest.raises(ResourceError) as refused:
            ClockReader(ipc)
        assert refused.value.code is Exit.TRY_AGAIN


def test_a_closed_page_is_an_error_not_a_crash(ipc: Ipc) -> None:
    """Reading after close is a ValueError; closing twice is allowed."""
    reader = ClockReader(ipc)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="released"):
        reader.read()


@pytest.mark.parametrize("name", weather.LIMITS)
def test_weather_that_cannot_be_is_not_believed(ipc: Ipc, name: str) -> None:
    """A sealed sample outside what is possible on Earth counts as missing: the one before holds, stale."""
    low, high = weather.LIMITS[name]
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        writer.post(weather.sample_of({name: high}, 7), S)
        assert reader.sample(7, S) == (weather.sample_of({name: high}, 7), False)
        for value in (high + 1, low - 1):
            if value < 0 and not np.issubdtype(weather.WEATHER[name], np.signedinteger):
                continue
            writer.post(weather.sample_of({name: value}, 8), S)
            assert reader.sample(8, S) == (weather.sample_of({name: high}, 7), True)


def test_a_heartbeat_from_the_future_is_stale(ipc: Ipc) -> None:
    """A writer whose heartbeat lies further ahead than one may lie behind is not fresh for ever."""
    with BoardWriter(ipc) as writer, BoardReader(ipc) as reader:
        writer.post(weather.standard(7), 1_000 * S)
        assert reader.sample(7, S).stale
        assert not reader.sample(7, 999 * S).stale
