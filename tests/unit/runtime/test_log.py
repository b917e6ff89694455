"""Where records go: native datagrams of the journal, prefixed lines, coloured lines."""

from __future__ import annotations

import io
import logging
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from energymarket.runtime import log as logs


def record(text: str, *, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("energymarket.test", level, "/x/y.py", 12, text, None, None, "func")
    made.__dict__.update(extra)
    return made


@pytest.fixture
def journal(run_dir: Path) -> Iterator[socket.socket]:
    """A real datagram socket in the journal's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(run_dir / "journal"))
        listener.settimeout(5)
        yield listener


def fields_in(message: bytes) -> dict[str, bytes]:
    """The fields of a native datagram, read as systemd's JOURNAL_NATIVE_PROTOCOL describes it."""
    fields: dict[str, bytes] = {}
    while message:
        line, _, rest = message.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
            message = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            name, value, message = line, rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value
    return fields


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_levels_have_the_priorities_of_syslog(level: int, number: int) -> None:
    """The priorities are syslog(3)'s: LOG_CRIT 2, LOG_ERR 3, LOG_WARNING 4, LOG_INFO 6, LOG_DEBUG 7."""
    assert logs.priority(level) == number


def test_journal_gets_the_fields(journal: socket.socket) -> None:
    """Message, priority, identifier, place and the fields of our own arrive under their names."""
    handler = logs.JournalHandler("energy-marketd", journal.getsockname())
    handler.emit(record("late €", MESSAGE_ID="ab" * 16, ENERGY_SLOT=7, ENERGY_HOME=3))
    fields = fields_in(journal.recv(65536))
    assert fields["MESSAGE"] == "late €".encode()
    assert fields["PRIORITY"] == b"4"
    assert fields["SYSLOG_IDENTIFIER"] == b"energy-marketd"
    assert fields["MESSAGE_ID"] == b"ab" * 16
    assert fields["ENERGY_SLOT"] == b"7"
    assert fields["ENERGY_HOME"] == b"3"
    assert fields["CODE_LINE"] == b"12"
    handler.close()


def test_a_line_end_makes_no_field(journal: socket.socket) -> None:
    """A text with a line end is carried with its length, so nobody's text becomes a field."""
    handler = logs.JournalHandler("x", journal.getsockname())
    handler.emit(record("one\nENERGY_SLOT=9"))
    fields = fields_in(journal.recv(65536))
    assert fields["MESSAGE"] == b"one\nENERGY_SLOT=9"
    assert "ENERGY_SLOT" not in fields
    handler.close()


def test_a_large_record_goes_by_a_sealed_memory_file(journal: socket.socket) -> None:
    """What no datagram holds arrives as a descriptor, whole."""
    handler = logs.JournalHandler("x", journal.getsockname())
    handler.emit(record("y" * 1_000_000))
    _, descriptors, _, _ = socket.recv_fds(journal, 16, 1)
    with mmap.mmap(descriptors[0], 0, prot=mmap.PROT_READ) as mapped:
        assert fields_in(mapped[:])["MESSAGE"] == b"y" * 1_000_000
    os.close(descriptors[0])
    handler.close()


def test_without_a_journal_lines_go_to_stderr(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be sent is not lost."""
    handler = logs.JournalHandler("energy-homesd", str(run_dir / "nobody"))
    handler.emit(record("something", level=logging.ERROR))
    assert capsys.readouterr().err == "<3>energy-homesd: something\n"
    handler.close()


def line(text: str, *, colour: bool = False, prefix: bool = False, **extra: object) -> str:
    made = record(text)
    made.__dict__.update(extra)
    return logs.LineFormatter("p", colour=colour, prefix=prefix).format(made)


def test_fields_end_a_line() -> None:
    """Fields that say something to a person are words at the end; the message's id is not."""
    assert line("late", ENERGY_SLOT=7, ENERGY_HOME=3, MESSAGE_ID="x") == "p: late home=3 slot=7"
    assert line("gone (no room)", ENERGY_CAUSE="no room") == "p: gone (no room)"  # not said twice
    assert line("gone", ENERGY_CAUSE="no room") == "p: gone cause=no room"


def test_lines_for_a_pipe_carry_the_priority() -> None:
    """Where the journal reads a pipe, the priority stands before the line as sd-daemon(3) says."""
    assert line("late", prefix=True) == "<4>p: late"


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """A peer's text neither forges a line nor paints the screen."""
    assert line("a\nb\x1b[31m€") == "p: a\\nb\\x1b[31m€"


def test_a_terminal_gets_colour() -> None:
    """A warning is yellow and ends plain."""
    assert line("late", colour=True) == "\033[33mp: late\033[0m"


def test_every_line_of_a_traceback_has_the_priority() -> None:
    """A traceback under a prefix is not half at another priority."""
    made = record("bad")
    try:
        int("x")
    except ValueError:
        made.exc_info = sys.exc_info()
    lines = logs.LineFormatter("p", colour=False, prefix=True).format(made).splitlines()
    assert len(lines) > 2
    assert all(text.startswith("<4>") for text in lines)


def test_stderr_elsewhere_is_not_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """JOURNAL_STREAM counts only if it names the device and inode of the stream itself."""
    with (tmp_path / "err").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert logs.stderr_is_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert not logs.stderr_is_journal(stream)
    assert not logs.stderr_is_journal(io.StringIO())


@pytest.mark.parametrize(("level", "expected"), [("DEBUG", "p: seen\n"), ("WARNING", ""), ("nonsense", "")])
def test_level_comes_from_the_environment(level: str, expected: str) -> None:
    """$ENERGY_LOG sets the level; a level that is none is taken as INFO."""
    program = (
        "import logging; from energymarket.runtime import log; log.configure('p');"
        "logging.getLogger('x').debug('seen')"
    )
    environment = {key: text for key, text in os.environ.items() if key != "JOURNAL_STREAM"}
    environment |= {"ENERGY_LOG": level, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stderr == expected
