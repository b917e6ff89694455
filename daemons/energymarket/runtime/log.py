"""Where log records go: the journal with fields, a terminal in colour, or lines with a `<N>` prefix.

Fields travel in `extra`: `log.warning("late batch", extra={"MESSAGE_ID": ..., "ENERGY_SLOT": 7})`. Names in
capitals become fields of the journal; elsewhere those that say something to a person end the line.
"""

from __future__ import annotations

import array
import contextlib
import logging
import os
import socket
import sys
from typing import Final, TextIO

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
# A larger datagram than the default send buffer holds goes over a memory file.
_DATAGRAM_BYTES_MAX: Final = 128 * 1024
_PREFIX: Final = "ENERGY_"

# syslog's priorities: 2 critical, 3 error, 4 warning, 6 informational, 7 debug
_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_COLOURS: Final = {2: "\033[1;31m", 3: "\033[31m", 4: "\033[33m", 7: "\033[2m"}
_PLAIN: Final = "\033[0m"


def priority(level: int) -> int:
    """The priority in syslog of a level of `logging`."""
    return next((number for floor, number in _PRIORITIES if level >= floor), 7)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """The record's extra fields with names that the journal takes: capitals, digits, underscores."""
    return {
        name: str(value)
        for name, value in record.__dict__.items()
        if name.isupper() and name.isascii() and name.replace("_", "a").isalnum() and name[0].isalpha()
    }


class LineFormatter(logging.Formatter):
    """One line per record, whatever is in its text; a traceback follows, each line with the same prefix."""

    def __init__(self, program: str, *, colour: bool, prefix: bool) -> None:
        super().__init__()
        self._program = program
        self._colour = colour
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """The text of the record, its ENERGY_ fields, and its traceback."""
        number = priority(record.levelno)
        fields = {name: text for name, text in fields_of(record).items() if name.startswith(_PREFIX)}
        said = record.getMessage()
        words = [
            f"{name.removeprefix(_PREFIX).lower()}={text}"
            for name, text in sorted(fields.items())
            if " " not in text or text not in said  # a sentence is not said twice
        ]
        text = " ".join([_one_line(said), *map(_one_line, words)])
        lines = [f"{self._program}: {text}"]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        if self._colour and number in _COLOURS:
            lines = [f"{_COLOURS[number]}{line}{_PLAIN}" for line in lines]
        if self._prefix:
            lines = [f"<{number}>{line}" for line in lines]
        return "\n".join(lines)


def _one_line(text: str) -> str:
    """Control characters are shown, not obeyed: a peer's text forges no line and paints no screen."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def journal_message(fields: dict[str, str]) -> bytes:
    """The journal's native datagram: NAME=value lines, or with a length where the value has a line end."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Sends records to the journal with their fields; what cannot be sent goes to stderr as a line."""

    def __init__(self, program: str, address: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._program = program
        self._address = address
        self._lines = logging.StreamHandler(sys.stderr)
        self._lines.setFormatter(LineFormatter(program, colour=False, prefix=True))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # A journal that does not read must not stop the market.
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
        fields = {
            "MESSAGE": message,
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": self._program,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            "LOGGER": record.name,
            "THREAD_NAME": record.threadName or "",
            **fields_of(record),
        }
        try:
            self._send(journal_message(fields))
        except OSError:
            self._lines.emit(record)

    def _send(self, message: bytes) -> None:
        if len(message) <= _DATAGRAM_BYTES_MAX:
            self._socket.sendto(message, self._address)
            return
        fd = os.memfd_create("energy-market-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(message)
            while view:
                view = view[os.write(fd, view) :]
            _seal(fd)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            self._socket.sendmsg([], rights, 0, self._address)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def _seal(fd: int) -> None:
    """The journal reads a memory file only when nobody can change it any more."""
    import fcntl  # noqa: PLC0415 for the rare large record only

    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def stderr_is_journal(stream: TextIO) -> bool:
    """Whether $JOURNAL_STREAM names the stream: a child whose stderr goes elsewhere inherits it too."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def handler_for(program: str, stream: TextIO) -> logging.Handler:
    """The handler that suits the stream: the journal's, or one of lines."""
    if stderr_is_journal(stream):
        # A unit without AF_UNIX has the stream only: its lines go the same way, without fields.
        with contextlib.suppress(OSError):
            if os.path.exists(JOURNAL_SOCKET):  # noqa: PTH110 pathlib costs a daemon's start
                return JournalHandler(program)
        prefix, colour = True, False
    else:
        prefix = not stream.isatty() and "JOURNAL_STREAM" in os.environ
        colour = stream.isatty() and "NO_COLOR" not in os.environ
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(program, colour=colour, prefix=prefix))
    return handler


def configure(program: str, level: int | str | None = None) -> None:
    """Send all log records of this process to where stderr leads. The level is INFO, or $ENERGY_LOG."""
    chosen = level if level is not None else os.environ.get("ENERGY_LOG", "INFO").upper()
    if isinstance(chosen, str) and chosen not in logging.getLevelNamesMapping():
        chosen = logging.INFO
    logging.basicConfig(level=chosen, handlers=[handler_for(program, sys.stderr)], force=True)
    logging.captureWarnings(capture=True)
