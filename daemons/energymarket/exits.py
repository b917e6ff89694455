"""The exit codes of all programs: one table for daemons and energyctl.

69 to 78 are those of BSD's sysexits.h, as systemd's and other programs use them; 130 is 128 + SIGINT, as a
shell shows it. A unit never restarts a program that ended with 78 (configuration).
"""

from __future__ import annotations

import errno
from enum import IntEnum


class Exit(IntEnum):
    """How a program ended, as its parent sees it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NO_SUCH_OBJECT = 4
    DEGRADED = 5
    WAIT_TIMED_OUT = 6
    UNREACHABLE = 69
    SECOND_INSTANCE = 73
    IO_ERROR = 74
    TRY_AGAIN = 75
    PERMISSION = 77
    CONFIGURATION = 78
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for the manual and for `--help`."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed; the message says what and where",
    Exit.USAGE: "wrong words on the command line",
    Exit.NOT_RUNNING: "the daemons are not running",
    Exit.NO_SUCH_OBJECT: "there is no such home, slot or event",
    Exit.DEGRADED: "runs, but something is wrong: a daemon is gone or late, or the checker disagrees",
    Exit.WAIT_TIMED_OUT: "what was waited for did not come in time",
    Exit.UNREACHABLE: "a daemon is there but does not answer",
    Exit.SECOND_INSTANCE: "another instance holds the runtime directory, the state directory or the port",
    Exit.IO_ERROR: "reading or writing failed: a full or failing disk, a broken file",
    Exit.TRY_AGAIN: "not now: starting, stopping or full; the same command may do in a moment",
    Exit.PERMISSION: "the permission is missing",
    Exit.CONFIGURATION: "the configuration or the scenario is wrong; a restart would change nothing",
    Exit.INTERRUPTED: "interrupted from the keyboard",
}


# What an administrator can do about it differs, so these have codes of their own.
_OF_ERRNO = {
    errno.EACCES: Exit.PERMISSION,
    errno.EPERM: Exit.PERMISSION,
    errno.EAGAIN: Exit.TRY_AGAIN,
    errno.EADDRINUSE: Exit.SECOND_INSTANCE,
}


def exit_of(error: OSError) -> Exit:
    """The exit code of a failed system call that nobody expected."""
    return _OF_ERRNO.get(error.errno or 0, Exit.IO_ERROR)


class Plugin(IntEnum):
    """The exit codes of `energyctl check` alone: those that monitoring systems expect of their plugins.

    https://www.monitoring-plugins.org/doc/guidelines.html, "Plugin Return Codes".
    """

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @property
    def meaning(self) -> str:
        """One line for the manual."""
        return _PLUGIN_MEANINGS[self]


_PLUGIN_MEANINGS = {
    Plugin.OK: "everything looked at is within its bounds",
    Plugin.WARNING: "a bound of warning is passed, or the market is starting",
    Plugin.CRITICAL: "a bound of alarm is passed, or the market is down or does not answer",
    Plugin.UNKNOWN: "it could not be found out: wrong words, or no permission",
}


class Failure(Exception):
    """A failure for a person: what happened and where, and in `hint` one line of what to do.

    It ends a program with its `code`. Whatever else is raised to the top is a bug and shown as one.
    """

    code: Exit = Exit.FAILED

    def __init__(self, message: str, hint: str = "", code: Exit | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if code is not None:
            self.code = code

    def document(self) -> dict[str, object]:
        """The same for programs, as energyctl tells its own failures."""
        return {
            "type": "error",
            "code": int(self.code),
            "name": self.code.name.lower(),
            "message": str(self.args[0]),
            "hint": self.hint,
        }

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message} ({self.hint})" if self.hint else message


class ConfigError(Failure):
    """The configuration or the scenario is wrong."""

    code = Exit.CONFIGURATION


class SecondInstance(Failure):
    """Somebody else holds what there is only one of."""

    code = Exit.SECOND_INSTANCE


class Unreachable(Failure):
    """A daemon that is needed does not answer."""

    code = Exit.UNREACHABLE


class NotRunning(Failure):
    """The daemons are not running."""

    code = Exit.NOT_RUNNING


class NoSuchObject(Failure):
    """The thing that was named does not exist."""

    code = Exit.NO_SUCH_OBJECT


class WaitTimedOut(Failure):
    """What was waited for did not come in time."""

    code = Exit.WAIT_TIMED_OUT
