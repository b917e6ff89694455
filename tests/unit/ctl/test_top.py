"""The live view: rates, percentiles and growth by hand, processes against psutil, and what fits a screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyctl.top import processes, screen
from energyctl.top.processes import Use
from energyctl.top.record import Before, record_of
from energyctl.top.slots import RATE_S, Slots, percentile

FIRST = 1_944_472


def snapshot(slot: int, **more: Any) -> dict[str, Any]:
    """A slot of 15 minutes in June 2025, as Watch tells it."""
    begin = slot - FIRST
    return {
        "type": "slot",
        "slot": slot,
        "time": f"2025-06-16T{begin // 4 % 24:02}:{begin % 4 * 15:02}:00Z",
        "phase": "clearing",
        "homes": 1000,
        "batches": 2,
        "orders": 0,
        "refusals": 0,
        "void_claims": 0,
        "late_batches": 0,
        "shed_offers": 0,
        "lateness_us": 500,
        "totals": {"gifts": 10},
        "speed": 3600.0,
    } | more


def heard(times_s: list[float], **more: Any) -> Slots:
    slots = Slots()
    for at, time_s in enumerate(times_s):
        slots.hear(snapshot(FIRST + at, **more), time_s)
    return slots


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1 .. 100 the 99th is 99; of five values the median is the third, the 99th the last."""
    assert percentile(range(1, 101), 50) == 50
    assert percentile(range(1, 101), 99) == 99
    assert percentile([10, 20, 30, 40, 50], 50) == 30
    assert percentile([10, 20, 30, 40, 50], 99) == 50
    assert percentile([], 50) is None


def test_rates_are_slots_over_time() -> None:
    """Five slots 0.25 s apart: 4 a second, of 900 s each: 3,600 times real time."""
    slots = heard([10.0, 10.25, 10.5, 10.75, 11.0])
    assert slots.rate_per_s(11.0) == pytest.approx(4.0)
    assert slots.reached_speed(11.0) == pytest.approx(3_600.0)


def test_slots_that_were_not_heard_count() -> None:
    """A reader that was away for two slots does not say that the market was slower."""
    slots = Slots()
    slots.hear(snapshot(FIRST), 10.0)
    slots.hear(snapshot(FIRST + 3), 10.75)
    assert slots.rate_per_s(10.75) == pytest.approx(4.0)


def test_a_market_that_stalls_gets_slower() -> None:
    """Two seconds after the last of five slots 0.25 s apart: 4 steps in 3 seconds."""
    assert heard([10.0, 10.25, 10.5, 10.75, 11.0]).rate_per_s(13.0) == pytest.approx(4 / 3)


def test_rates_are_of_the_last_minute() -> None:
    """What was slow before does not linger; where slots are rarer the last two say it."""
    slow_then_fast = [0.0, 101.0 - RATE_S - 1, 100.0, 100.5, 101.0]
    assert heard(slow_then_fast).rate_per_s(101.0) == pytest.approx(2.0)
    assert heard([0.0, 900.0]).rate_per_s(1000.0) == pytest.approx(1 / 900)


def test_a_slot_counts_once_and_another_ledger_begins_anew() -> None:
    """The snapshot of a phase names a slot again; a lower number is another run."""
    slots = heard([1.0, 2.0])
    assert not slots.hear(snapshot(FIRST + 1), 2.5)
    assert not slots.hear(snapshot(FIRST + 2, type="phase"), 2.6)
    assert slots.hear(snapshot(FIRST - 500), 3.0)
    assert [each.slot for each in slots.kept] == [FIRST - 500]


def test_claims_are_gifts_and_void_ones() -> None:
    """10 gifts and 2 void claims a slot: 12 claims; the mean of 1 and 4 refusals is 2.5."""
    slots = Slots()
    for at, refusals in enumerate((1, 4)):
        slots.hear(snapshot(FIRST + at, void_claims=2, refusals=refusals), float(at))
    means = slots.means(2.0)
    assert means["claims"] == 12
    assert means["refusals"] == 2.5


def use(name: str, pid: int, cpu_s: float, own_bytes: int = 0) -> Use:
    return Use(name, pid, "1", cpu_s, own_bytes + 5_000, own_bytes)


def status(done: int, size: int, **more: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "homes": 1000,
        "homes_joined": 1000,
        "late_ms": 0,
        "counts": {"slots_done": done},
        "ledger": {"bytes": size},
        "market": {"pid": 7, "generation": 3, "external_starts": 2},
    } | more


def test_shares_and_growth_are_differences() -> None:
    """0.5 s of CPU in 2 s is a quarter; 80 kB more in 8 slots and 2 s; a new process has no share yet."""
    before, slots = Before(), heard([1.0, 2.0])
    record_of(slots, status(100, 1_000_000), "", [use("market", 7, 3.0)], 0, before, 10.0)
    uses = [use("market", 7, 3.5), use("homes", 8, 1.0, 600_000), use("homes 1–1000", 9, 1.0, 400_000)]
    found = record_of(slots, status(108, 1_080_000), "", uses, 5, before, 12.0)
    assert [row["cpu"] for row in found["processes"]] == [0.25, None, None]
    assert found["ledger"] == {"bytes": 1_080_000, "bytes_per_s": 40_000.0, "bytes_per_slot": 10_000.0}
    assert found["memory"]["homes_own_bytes"] == 1_000_000
    assert found["memory"]["own_bytes_per_home"] == 1_000
    assert found["restarts"] == {"units": 5, "external": 1, "market": 2}
    assert found["home_slots_per_s"] == pytest.approx(found["slots_per_s"] * 1000, rel=1e-3)


def test_another_process_under_the_same_id_has_no_share() -> None:
    """A restart may take the id: the start tells the two apart."""
    before, slots = Before(), Slots()
    record_of(slots, None, "", [Use("market", 7, "1", 9.0, 1, 1)], 0, before, 10.0)
    found = record_of(slots, None, "away", [Use("market", 7, "2", 9.5, 1, 1)], 0, before, 11.0)
    assert found["processes"][0]["cpu"] is None
    assert (found["state"], found["problem"]) == ("unreachable", "away")


def test_processes_are_what_psutil_says() -> None:
    """Memory and CPU of a program that holds 30 MB, and its child, made by a thread of it."""
    text = (
        "import subprocess, sys, threading\nheld = bytearray(b'x') * 30_000_000\n"
        "begin = lambda: subprocess.Popen([sys.executable, '-c', 'input()', '--shard', '11:10', 'x'],"
        " stdin=0)\n"
        "thread = threading.Thread(target=begin); thread.start(); thread.join(); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout is not None
        made.stdout.readline()
        try:
            theirs = psutil.Process(made.pid)
            children = [child.pid for child in theirs.children()]
            while "--shard" not in psutil.Process(children[0]).cmdline():
                pass  # between its exec and its first words
            found = processes.of_suite([("homes", made.pid), ("gone", 2**22 - 3)])
            assert [each.name for each in found] == ["homes", "homes 11–20"]
            assert [each.pid for each in found] == [made.pid, *children]
            memory = theirs.memory_info()
            assert found[0].resident_bytes == pytest.approx(memory.rss, rel=0.02)
            assert 30_000_000 < found[0].own_bytes <= memory.rss - memory.shared + 4_096 * 64
            times = theirs.cpu_times()
            assert found[0].cpu_s == pytest.approx(times.user + times.system, abs=0.05)
        finally:
            for pid in [made.pid, *children]:
                os.kill(pid, 9)


RECORD = record_of(
    heard([1.0, 2.0, 3.0]),
    status(100, 1_000_000, queue={"messages": 3, "bytes": 8_192, "limit_bytes": 16_384}, notes=["x" * 300]),
    "",
    [use(f"home {n}", n, 1.0, 1_000_000) for n in range(1, 41)],
    0,
    Before(),
    4.0,
)


@given(columns=st.integers(1, 300), lines=st.integers(1, 120), helping=st.booleans())
def test_the_screen_is_as_large_as_the_terminal(columns: int, lines: int, helping: bool) -> None:
    """Whatever the size: no line is wider, there are exactly as many, and the last says how to quit."""
    kept = heard([1.0, 2.0, 3.0]).kept
    shown = screen.lines_of(RECORD, kept, (columns, lines), interval_s=1, helping=helping, colour=False)
    assert len(shown) == max(4, lines)
    assert all(len(line) <= max(20, columns) for line in shown)
    assert shown[-1].startswith("q quits")


def test_processes_that_do_not_fit_are_summed_up() -> None:
    """Forty processes on 24 lines: the first ones, and the memory of the others in one line."""
    shown = screen.lines_of(RECORD, [], (80, 24), interval_s=1, helping=False, colour=False)
    rows = [line for line in shown if re.match(r"home \d", line)]
    rest = next(line for line in shown if re.match(r"\d+ more", line))
    count = int(rest.split()[0])
    assert len(rows) + count == 40
    assert f"{count}.0 MB" in rest


def test_what_others_say_does_not_steer_the_terminal() -> None:
    """A note with an escape sequence is shown, not obeyed."""
    record = RECORD | {"notes": ["\x1b[2Jboo"]}
    shown = screen.lines_of(record, [], (80, 24), interval_s=1, helping=False, colour=False)
    assert not any("\x1b" in line for line in shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00111, "0.0011"), (0.5, "0.5"), (4.0, "4"), (53.84, "53.8"), (312.4, "312"), (100_282.0, "100,282")],
)
def test_figures_are_short(value: float, text: str) -> None:
    """Three digits that count; thousands are told apart."""
    assert screen.short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (960, "960 B"), (9_100, "9.1 kB"), (999_600, "1.0 MB"), (62e6, "62.0 MB")]
)
def test_sizes_are_short(value: float, text: str) -> None:
    """Powers of a thousand, as disks are sold and `ls --si` shows."""
    assert screen.size(value) == text
