"""`energyctl top` against a running suite: its figures; a terminal that is given back on every way out."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from energyctl.top.terminal import ENTER, LEAVE
from energymarket.runtime.clock import monotonic_s
from tests.ipc.suite_fixture import Suite, real_at

pytestmark = pytest.mark.timeout(120)

PROCESSES = ["external", "home-1", "home-2", "home-3", "home-4", "home-5", "home-6", "market", "weather"]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The assignment's six homes, four slots a second."""
    suite = real_at(tmp_path_factory.mktemp("top"))
    with suite.running("--speed", "3600"):
        yield suite


@contextmanager
def on_a_terminal(suite: Suite, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int, list[Any]]]:
    """The program on a terminal of 80 columns and 24 lines; its master, and the mode from before."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        suite.command("top", *words),
        env={**suite.environ, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=lead,  # noqa: PLW1509 - no threads here
    )
    try:
        yield process, master, before
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


def read_until(master: int, text: str, within_s: float = 20.0) -> str:
    """What the terminal shows until a text comes."""
    seen, end_s = b"", monotonic_s() + within_s
    while text.encode() not in seen:
        left_s = end_s - monotonic_s()
        assert left_s > 0, seen.decode(errors="replace")
        if select.select([master], [], [], left_s)[0]:
            seen += os.read(master, 65_536)
    return seen.decode(errors="replace")


def test_the_figures_are_those_of_the_suite(market: Suite) -> None:
    """Two refreshes: the processes that run, the rate that was asked for, the ledger as it lies there."""
    done = market.ctl("top", "--json", "-w", "1.5", "-n", "2")
    assert done.returncode == 0, done.stderr
    first, found = (json.loads(line) for line in done.stdout.splitlines())
    assert {first["type"], found["type"]} == {"top"}
    assert sorted(row["name"] for row in found["processes"]) == PROCESSES
    assert all(Path(f"/proc/{row['pid']}").exists() for row in found["processes"])
    assert all(0 <= row["cpu"] < 1.5 for row in found["processes"])
    assert found["slots_per_s"] == pytest.approx(4, rel=0.4)
    assert found["speed_reached"] == pytest.approx(900 * found["slots_per_s"], rel=1e-3)
    assert (found["homes"], found["state"]) == (6, "running")
    assert 0 < found["per_slot"]["batches"] <= 6
    assert found["queue"]["limit_bytes"] == 16_384
    assert found["restarts"] == {"units": 0, "external": 0, "market": 0}
    assert found["slot"] > first["slot"]
    ledger = market.path / "state" / "market" / "ledger.db"
    lies = sum(path.stat().st_size for path in (ledger, Path(f"{ledger}-wal")))
    assert first["ledger"]["bytes"] <= found["ledger"]["bytes"] <= lies
    assert found["memory"]["homes_own_bytes"] > 6 * 5_000_000  # six interpreters


@pytest.mark.parametrize(
    ("key", "code"), [("q", 0), ("\x03", 130), ("TERM", 128 + signal.SIGTERM), ("HUP", 128 + signal.SIGHUP)]
)
def test_the_terminal_is_given_back(market: Suite, key: str, code: int) -> None:
    """By q, Ctrl-C, SIGTERM, SIGHUP: its mode is as before, the cursor is there, the screen the old one."""
    with on_a_terminal(market) as (process, master, _):
        seen = read_until(master, "slots/s")
        assert ENTER in seen
        if len(key) == 1:
            os.write(master, key.encode())
        else:
            process.send_signal(signal.Signals[f"SIG{key}"])
        assert read_until(master, LEAVE)
        assert process.wait(20) == code


def test_a_question_mark_explains_and_a_frame_fits(market: Suite) -> None:
    """`?` shows what the figures mean, and goes away again; a frame has 24 lines of at most 80 letters."""
    with on_a_terminal(market, "-w", "0.5") as (process, master, _):
        read_until(master, "slots/s")
        os.write(master, b"?")
        assert "home-slots (a home in a slot)" in read_until(master, "q quits, ? comes back")
        os.write(master, b"?")
        seen = read_until(master, "slots/s")
        frame = (seen + read_until(master, "\x1b[J")).rsplit("\x1b[H", 1)[-1]
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).split("\r\n")
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        os.write(master, b"q")
        assert process.wait(20) == 0


def test_a_frozen_market_is_told_and_comes_back(market: Suite) -> None:
    """While it is stopped the records say so, and go on; then figures are there again."""
    processes = json.loads(market.ctl("status", "--json").stdout)["processes"]
    pid = next(each["pid"] for each in processes if each["name"] == "market")
    with subprocess.Popen(
        market.command("top", "--json", "-w", "0.3"), env=market.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["state"] == "running"
            os.kill(pid, signal.SIGSTOP)
            states = {}
            while "unreachable" not in states:
                record = json.loads(process.stdout.readline())
                states[record["state"]] = record["problem"]
            assert "stopped by a signal" in states["unreachable"]
        finally:
            os.kill(pid, signal.SIGCONT)
        while (record := json.loads(process.stdout.readline()))["state"] != "running":
            assert record["problem"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_without_a_market_it_says_so(tmp_path: Path) -> None:
    """Exit code 3, and nothing on the screen."""
    done = real_at(tmp_path).ctl("top")
    assert done.returncode == 3
    assert "the market is not running" in done.stderr
    assert done.stdout == ""


def test_it_ends_with_the_market(tmp_path: Path) -> None:
    """A run of a few slots: the last record is of its end, exit code 0."""
    suite = real_at(tmp_path)
    with (
        suite.running("--speed", "3600", "--for", "16"),
        subprocess.Popen(
            suite.command("top", "--json"), env=suite.environ, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        records = [json.loads(line) for line in process.stdout]
        assert process.wait(30) == 0
        assert records[-1]["slot"] - records[0]["slot"] <= 16
