"""The supervisor of `energyctl up` as a carrier: its units over its socket, in the words of systemd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from energyctl import client
from energyctl.exits import Exit, ProblemError
from energyctl.session import Session
from energyctl.up.proc import Process
from energymarket.wire.messages import SUPERVISOR, SUPERVISOR_SOCKET

LOOK_S_MAX: Final = 0.5
"""It answers between two rounds, which take milliseconds; one that is frozen is not waited for."""
ORDER_S_MAX: Final = 120.0
"""Longer than a start or a stop may take by the policies of all units."""
_STATES: Final = {
    "ready": "active",
    "starting": "start",
    "waiting": "auto-restart",
    "stopping": "deactivating",
    "failed": "failed",
}
"""What systemd says of the same; everything else is inactive."""


class Unit:
    """A row of `Units`."""

    __slots__ = ("row",)

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    @property
    def name(self) -> str:
        """Its name under systemd."""
        return str(self.row.get("unit", ""))

    @property
    def state(self) -> str:
        """One word for people, systemd's."""
        return _STATES.get(str(self.row.get("state")), "inactive")

    @property
    def failed(self) -> bool:
        """Whether it has failed for good."""
        return self.state == "failed"

    @property
    def why(self) -> str:
        """How it fell; with the countdown, if it is to be started again."""
        why, in_ms = str(self.row.get("why", "")), self.row.get("restart_in_ms")
        return f"{why}; again in {in_ms / 1000:.1f} s" if isinstance(in_ms, int) else why

    @property
    def says(self) -> str:
        """Its own last words."""
        return str(self.row.get("says", ""))

    @property
    def exit_status(self) -> str:
        """The exit code of its last life."""
        code = self.row.get("code")
        return str(code) if isinstance(code, int) else ""

    @property
    def is_single_home(self) -> bool:
        """Whether it is a home that is a process of its own."""
        return self.name.startswith("energy-home@")

    @property
    def pid(self) -> int:
        """The main process; 0 without one."""
        return int(self.row.get("pid") or 0)

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return int(self.row.get("restarts") or 0)

    def age_s(self, now_s: float) -> float | None:
        """How long it has been in its state."""
        del now_s
        return float(self.row.get("age_ms", 0)) / 1000

    def silent_s(self, now_s: float) -> float | None:
        """Time since its last sign of life; None for a unit without a watchdog."""
        del now_s
        silent_ms = self.row.get("silent_ms")
        return silent_ms / 1000 if isinstance(silent_ms, int) else None


class Supervised:
    """The supervisor that lives in a run directory."""

    def __init__(self, here: Session, up: Process) -> None:
        self._path = here.run_dir / SUPERVISOR_SOCKET
        self._up = up

    def units(self) -> Sequence[Unit]:
        """What it knows; none if it does not answer: its process says why."""
        if self._up.frozen():
            return []
        try:
            with client.Connection(self._path, LOOK_S_MAX) as connection:
                answer = connection.call(f"{SUPERVISOR}.Units")
        except client.FAILURES:
            return []
        return [Unit(row) for row in answer.get("units") or ()]

    def start(self, names: Sequence[str]) -> None:
        """The named units, or all."""
        self._order("Start", names)

    def stop(self, names: Sequence[str]) -> None:
        """The named units."""
        self._order("Stop", names)

    def restart(self, names: Sequence[str]) -> None:
        """The named units, or all in the order of a stop."""
        self._order("Restart", names)

    def _order(self, method: str, names: Sequence[str]) -> None:
        if self._up.frozen():
            raise frozen(self._up)
        try:
            with client.Connection(self._path, ORDER_S_MAX) as connection:
                connection.call(f"{SUPERVISOR}.{method}", {"units": list(names)})
        except client.VarlinkError as error:
            raise _refused(error) from error
        except client.Refused as error:
            raise ProblemError(
                Exit.PERMISSION, "permission_denied", f"no permission on {self._path}", str(error)
            ) from error
        except client.Unreachable as error:
            raise ProblemError(
                Exit.UNREACHABLE,
                "unreachable",
                f"energyctl up (process {self._up.pid}) does not answer",
                error.why.value,
                "energyctl status",
            ) from error


def frozen(up: Process) -> ProblemError:
    """A supervisor that is stopped carries out nothing."""
    return ProblemError(
        Exit.UNREACHABLE,
        "supervisor_frozen",
        f"energyctl up (process {up.pid}) is stopped by a signal or a debugger",
        "the market goes on, but nobody is started again meanwhile",
        f"kill -CONT {up.pid}, or fg in its shell",
    )


def _refused(error: client.VarlinkError) -> ProblemError:
    given = error.parameters
    match error.name.rpartition(".")[2]:
        case "NoSuchUnit":
            known = ", ".join(given.get("units") or ())
            return ProblemError(
                Exit.NO_SUCH_OBJECT,
                "no_such_unit",
                f"{given.get('unit')} is no unit of this run",
                f"it has {known}",
            )
        case "PermissionDenied":
            who = str(given.get("needs"))
            return ProblemError(Exit.PERMISSION, "permission_denied", "no permission to run the units", who)
        case "Stopping":
            return ProblemError(Exit.NOT_RUNNING, "stopping", "the run is on its way to the end")
        case _:
            return ProblemError(Exit.FAILED, "refused", error.name, str(given))
