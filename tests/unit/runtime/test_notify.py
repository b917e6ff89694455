"""What the supervisor hears, byte for byte as sd_notify(3) describes it."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from energymarket.runtime import notify


@pytest.fixture
def supervisor(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A real datagram socket in the supervisor's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(run_dir / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(run_dir / "notify"))
        yield listener


@pytest.fixture
def notifier(supervisor: socket.socket) -> Iterator[notify.Notifier]:
    """A notifier of that supervisor."""
    del supervisor
    made = notify.Notifier()
    yield made
    made.close()


def test_ready_carries_its_status(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """READY and STATUS travel in one datagram, one per line."""
    notifier.ready("slot 7 is open")
    assert supervisor.recv(4096) == b"READY=1\nSTATUS=slot 7 is open"


def test_status_is_utf_8(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """Euro sign and degree sign arrive as UTF-8."""
    notifier.status("0.154 €/kWh at 21 °C")
    assert supervisor.recv(4096) == b"STATUS=0.154 \xe2\x82\xac/kWh at 21 \xc2\xb0C"


def test_a_status_is_one_line(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """A line end in a status cannot smuggle in another assignment."""
    notifier.status("all well\nMAINPID=1")
    assert supervisor.recv(4096) == b"STATUS=all well MAINPID=1"


def test_a_long_status_is_cut_between_characters(
    supervisor: socket.socket, notifier: notify.Notifier
) -> None:
    """A status ends within its limit and is still valid UTF-8."""
    notifier.status("x" + "€" * 1000)
    text = supervisor.recv(4096).removeprefix(b"STATUS=")
    assert len(text) <= notify.STATUS_BYTES_MAX
    assert text.decode() == "x" + "€" * ((notify.STATUS_BYTES_MAX - 1) // 3)


def test_watchdog_and_stopping(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """Progress and the way out have their words."""
    notifier.watchdog()
    notifier.stopping()
    assert supervisor.recv(4096) == b"WATCHDOG=1"
    assert supervisor.recv(4096) == b"STOPPING=1"


def test_reloading_says_when(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """RELOADING comes with the monotonic time in microseconds, as Type=notify-reload wants it."""
    notifier.reloading()
    first, second = supervisor.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    name, _, value = second.partition(b"=")
    assert name == b"MONOTONIC_USEC"
    assert int(value) > 0


def test_nothing_without_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without $NOTIFY_SOCKET nothing is opened and nothing fails."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    gc.collect()  # what tests before this one have left open
    descriptors = sorted(Path("/proc/self/fd").iterdir())
    notifier = notify.Notifier()
    notifier.ready("here")
    notifier.watchdog()
    notifier.close()
    assert sorted(Path("/proc/self/fd").iterdir()) == descriptors


def test_a_supervisor_that_is_gone_stops_nobody(supervisor: socket.socket, notifier: notify.Notifier) -> None:
    """Telling a closed socket raises nothing."""
    supervisor.close()
    notifier.status("still here")


def test_a_supervisor_that_does_not_read_stops_nobody(
    supervisor: socket.socket, notifier: notify.Notifier
) -> None:
    """A full socket is not waited for."""
    for _ in range(2000):
        notifier.watchdog()
    assert supervisor.recv(4096) == b"WATCHDOG=1"


def test_watchdog_interval_is_half_of_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """WATCHDOG_USEC of 10 s for this process means every 5 s; for another process, or none, nothing."""
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_interval_s() == 5.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_interval_s() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    assert notify.watchdog_interval_s() is None
