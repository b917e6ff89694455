"""The life of a daemon: signals set flags, failures end with their documented codes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from energymarket.exits import Exit
from energymarket.runtime import clock, service

MS = 1_000_000


def daemon(body: str, shell: str = 'exec "$@"') -> subprocess.Popen[str]:
    """A process that runs `body` (with `stop` at hand) as its life, as a shell starts it."""
    program = "\n".join(
        (
            "import os, sys, logging",
            "from energymarket.exits import *",
            "from energymarket.runtime import clock, service",
            "def serve(stop):",
            *(f"    {text}" for text in body.splitlines()),
            "sys.exit(service.run('energy-testd', serve))",
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(body: str) -> tuple[int, str]:
    process = daemon(body)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


def test_a_daemon_lives_without_its_streams(tmp_path: Path) -> None:
    """Started with all three closed: its log goes nowhere, and never into a file that it opened."""
    written = tmp_path / "state"
    body = f"file = open({str(written)!r}, 'w')\nlogging.getLogger().error('a word')\nfile.write('kept')"
    process = daemon(body, 'exec "$@" <&- >&- 2>&-')
    process.communicate(timeout=30)
    assert process.returncode == Exit.OK
    assert written.read_text() == "kept"


def test_the_codes_are_those_of_the_manual() -> None:
    """The numbers are sysexits.h's where it has one, and 130 for an interrupt."""
    assert Exit.UNREACHABLE == os.EX_UNAVAILABLE == 69
    assert Exit.SECOND_INSTANCE == os.EX_CANTCREAT == 73
    assert Exit.IO_ERROR == os.EX_IOERR == 74
    assert Exit.TRY_AGAIN == os.EX_TEMPFAIL == 75
    assert Exit.PERMISSION == os.EX_NOPERM == 77
    assert Exit.CONFIGURATION == os.EX_CONFIG == 78
    assert Exit.INTERRUPTED == 128 + signal.SIGINT
    assert all(one.meaning for one in Exit)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return None", 0),
        ("return 5", 5),
        ("raise ConfigError('a.toml:3: price: below zero', 'use 0 or more')", 78),
        ("raise SecondInstance('there is a market already')", 73),
        ("raise Unreachable('no market')", 69),
        ("raise Failure('no')", 1),
        ("raise Failure('no', code=Exit.TRY_AGAIN)", 75),
        ("open('/proc/1/mem/x')", 74),
        ("raise PermissionError(13, 'no', '/x')", 77),
        ("1 / 0", 1),
    ],
)
def test_failures_end_with_their_code(body: str, code: int) -> None:
    """Each kind of end has the exit code that the table of exit codes gives it."""
    assert ended(body)[0] == code


def test_a_named_failure_is_one_line() -> None:
    """A failure for a person says what and what to do, without a traceback."""
    _, err = ended("raise ConfigError('a.toml:3: price: below zero', 'use 0 or more')")
    assert err == "energy-testd: a.toml:3: price: below zero (use 0 or more)\n"


def test_a_bug_is_told_with_its_traceback() -> None:
    """What nobody expected is called a bug and shown."""
    _, err = ended("1 / 0")
    assert "this is a bug of energy-testd" in err
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_ordered_life_with_success(number: signal.Signals) -> None:
    """SIGTERM and SIGINT wake the wait, the life returns, the exit code is 0."""
    process = daemon(
        "print('up', flush=True)\n"
        "assert stop.wait_until(clock.boottime_ns() + 20 * clock.NS_PER_S)\n"
        "print(stop.reason, stop.interrupted)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert out == f"{number.name} {number == signal.SIGINT}\n"
    assert (process.returncode, err) == (0, "")


def test_a_sigterm_behind_a_crash_does_not_hide_it() -> None:
    """A dying daemon is told to stop, while its traceback is written and while Python ends: exit code 1."""
    code, err = ended(
        "import atexit, os, signal\n"
        "tell = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "class Told(logging.Handler):\n"
        "    emit = tell\n"
        "class Last:\n"
        "    __del__ = tell\n"
        "logging.getLogger().addHandler(Told())\n"
        "sys.last_of_all = Last()\n"
        "atexit.register(tell)\n"
        "1 / 0"
    )
    assert code == Exit.FAILED
    assert "this is a bug of energy-testd" in err


def test_a_flag_is_readable_while_it_is_set() -> None:
    """Its descriptor wakes select; clearing takes that back and says whether it was set."""
    with service.Flag() as flag:
        assert not flag
        assert not select.select([flag], [], [], 0)[0]
        flag.set()
        flag.set()
        assert flag.is_set()
        assert select.select([flag], [], [], 0)[0] == [flag]
        assert flag.clear()
        assert not flag.clear()
        assert not select.select([flag], [], [], 0)[0]


def test_a_thread_wakes_who_waits() -> None:
    """A flag that another thread sets ends the wait before its deadline."""
    with service.Flag() as flag:
        threading.Timer(0.02, flag.set).start()
        deadline_ns = clock.boottime_ns() + 20_000 * MS
        assert flag.wait_until(deadline_ns)
        assert clock.boottime_ns() < deadline_ns


def test_a_wait_ends_at_its_deadline() -> None:
    """A flag that nobody sets is waited for until the deadline."""
    with service.Flag() as flag:
        deadline_ns = clock.boottime_ns() + 20 * MS
        assert not flag.wait_until(deadline_ns)
        assert clock.boottime_ns() >= deadline_ns


def test_the_first_reason_stands() -> None:
    """A second request to stop does not hide why the first came."""
    with service.StopFlag() as stop:
        stop.stop("the child died")
        stop.stop("SIGTERM")
        assert stop.reason == "the child died"


def test_handlers_are_put_back() -> None:
    """When the stack closes, the signal has the handler that it had before."""
    before = signal.getsignal(signal.SIGUSR2)
    with service.Flag() as flag:
        with ExitStack() as stack:
            service.install(stack, signal.SIGUSR2, flag)
            signal.raise_signal(signal.SIGUSR2)
            assert flag.is_set()
        assert signal.getsignal(signal.SIGUSR2) == before


def test_100_000_signals_set_one_flag() -> None:
    """A storm of signals leaves a set flag and nothing else."""
    with service.Flag() as flag, ExitStack() as stack:
        service.install(stack, signal.SIGUSR1, flag)
        for _ in range(100_000):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert flag.clear()
        assert not flag.is_set()
