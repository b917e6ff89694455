"""The terminal while a program fills it: its own screen, keys at once, and given back on every way out."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
from types import FrameType, TracebackType
from typing import Any, Final, Self

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"  # alternate screen, no cursor, empty
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """A signal has asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Terminal:
    """Use it with `with`. Ctrl-C, SIGTERM, SIGHUP are exceptions inside; Ctrl-Z gives it back meanwhile."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        for number in _ENDING:
            self._handlers[number] = signal.signal(number, self._end)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._pause)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resized)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give_back()
        os.close(self._woken)
        os.close(self._wake)

    def wakes(self) -> tuple[int, int]:
        """The descriptors of keys, and of a change of the screen."""
        return self._fd, self._woken

    def keys(self) -> str:
        """What was typed; nothing if the terminal is gone."""
        return os.read(self._fd, 64).decode("utf-8", "replace")

    def drain(self) -> None:
        """Take the wakings."""
        while True:
            try:
                os.read(self._woken, 64)
            except BlockingIOError:
                return

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = shutil.get_terminal_size()
        try:
            asked = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return found.columns, found.lines
        return asked.columns or found.columns, asked.lines or found.lines

    def draw(self, lines: list[str]) -> None:
        """Show these lines in one write, over what was there: it does not flicker."""
        text = HOME + "".join(f"{line}{REST_OF_LINE}\r\n" for line in lines[:-1])
        text += f"{lines[-1]}{REST_OF_LINE}" if lines else ""
        sys.stdout.write(text + REST_OF_SCREEN)
        sys.stdout.flush()

    def _take(self) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[3] &= ~(termios.ICANON | termios.ECHO)  # keys at once, and unseen; Ctrl-C stays a signal
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)
        sys.stdout.write(ENTER)
        sys.stdout.flush()

    def _give_back(self) -> None:
        try:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
            if self._before is not None:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return  # the terminal is gone: nobody misses it

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        raise Ended(number)

    def _pause(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: whoever looks at the shell meanwhile finds the terminal as it was."""
        del number, frame
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._resized(signal.SIGWINCH, None)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        try:
            os.write(self._wake, b"w")
        except BlockingIOError:
            return  # it is awake
