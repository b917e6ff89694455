"""The suite's units as the service manager sees them; asked and told by systemctl, which is there anyway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Final, Self

from energyctl.exits import Exit, ProblemError

TARGET: Final = "energy-market.target"
SLICE: Final = "energy.slice"
DAEMONS: Final = (
    "energy-market.service",
    "energy-weather.service",
    "energy-homes.service",
    "energy-check.service",
)
SOCKETS: Final = ("energy-trade.socket", "energy-control.socket")
CHECKED_FIRST: Final = ("energy-config-check.service", "energy-ipc.service")
ALL: Final = (
    TARGET,
    *CHECKED_FIRST,
    *SOCKETS,
    *DAEMONS,
    "energy-weather-fetch.service",
    "energy-singles.service",
)
SINGLE_HOMES: Final = "energy-home@*.service"  # those that were started one by one
PATTERNS: Final = ("energy-*.service", "energy-*.socket", "energy-*.timer")
PROPERTIES: Final = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "NRestarts",
    "StatusText",
    "ExecMainStatus",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "InvocationID",
    "StateChangeTimestampMonotonic",
    "WatchdogTimestampMonotonic",
)
SILENT_S_MAX: Final = 1.5
"""A market whose last sign to the watchdog is older is stuck: it gives one every half second."""
START_S_MAX: Final = 700  # the first start may compile a large scenario
STOP_S_MAX: Final = 60
SHOW_S_MAX: Final = 5


class Unit(dict[str, str]):
    """What systemctl shows of a unit."""

    @property
    def name(self) -> str:
        """Its name with its kind."""
        return self.get("Id", "")

    @property
    def state(self) -> str:
        """One word for people."""
        active, sub = self.get("ActiveState", ""), self.get("SubState", "")
        if active == "active" and sub in {"running", "listening", "exited", "waiting", "active"}:
            return "active"
        looked = self.get("ConditionTimestampMonotonic", "0") not in {"", "0"}
        if active == "inactive" and looked and self.get("ConditionResult") == "no":
            return "not needed"
        return sub if active == "activating" else active

    @property
    def failed(self) -> bool:
        """Whether it has failed for good."""
        return self.get("ActiveState") == "failed"

    @property
    def why(self) -> str:
        """How it failed, in the manager's words and with the meaning of the exit code."""
        result, status = self.get("Result", ""), self.get("ExecMainStatus", "")
        if result == "exit-code" and status.isdecimal():
            try:
                return f"exit {status}: {Exit(int(status)).meaning}"
            except ValueError:
                return f"exit {status}"
        return result

    @property
    def is_single_home(self) -> bool:
        """Whether it is a home that is a process of its own."""
        return self.name.startswith("energy-home@")

    @property
    def pid(self) -> int:
        """The main process; 0 without one."""
        return int(self.get("MainPID") or 0)

    @property
    def restarts(self) -> int:
        """How often the manager has started it again."""
        return int(self.get("NRestarts") or 0)

    def age_s(self, now_s: float) -> float | None:
        """How long it has been in its state, by the monotonic clock; None for a unit that never had one."""
        return self._since_s("StateChangeTimestampMonotonic", now_s)

    def silent_s(self, now_s: float) -> float | None:
        """Time since its last sign of life; None for a unit without a watchdog."""
        return self._since_s("WatchdogTimestampMonotonic", now_s)

    def _since_s(self, name: str, now_s: float) -> float | None:
        stamp_us = int(self.get(name) or 0)
        return max(0.0, now_s - stamp_us / 1e6) if stamp_us else None


class Showing:
    """`systemctl show` under way: begun first and taken last, so that it costs no time of its own."""

    def __init__(self, names: Sequence[str] = ALL, *, user: bool = False) -> None:
        self._command = [*manager(user=user), "show", f"--property={','.join(PROPERTIES)}", *names]
        self._running: subprocess.Popen[str] | None = None
        self.problem = ""  # why the manager said nothing, in systemctl's words

    def begin(self) -> Self:
        """Start it; where there is no manager nothing is started."""
        if is_booted():
            try:
                self._running = subprocess.Popen(
                    self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            except OSError as error:
                self.problem = f"systemctl: {error.strerror}"
        return self

    def units(self) -> list[Unit]:
        """What the manager knows; none where there is no manager, or none that answers."""
        if self._running is None:
            return []
        try:
            said, complaint = self._running.communicate(timeout=SHOW_S_MAX)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.communicate()
            self.problem = f"systemctl show has not answered for {SHOW_S_MAX} s"
            return []
        self.problem = complaint.strip() if self._running.returncode else ""
        units = []
        for block in said.strip().split("\n\n"):
            lines = (line.partition("=") for line in block.splitlines())
            units.append(Unit({name: value for name, _, value in lines}))
        return [unit for unit in units if unit.get("LoadState") == "loaded"]


def is_booted() -> bool:
    """Whether this machine runs systemd (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")  # noqa: PTH112 - pathlib costs a command's start


def manager(*, user: bool) -> list[str]:
    """The command that asks the manager of the system, or the user's."""
    return ["systemctl", *(["--user"] if user else [])]


def show(names: Sequence[str] = ALL, *, user: bool = False) -> list[Unit]:
    """What the manager knows of units; none where there is no manager."""
    return Showing(names, user=user).begin().units()


def installed(*, user: bool = False) -> bool:
    """Whether the suite's units are known here."""
    return any(unit.name == TARGET for unit in show((TARGET,), user=user))


def tell(
    words: Sequence[str],
    *,
    user: bool = False,
    timeout_s: float = START_S_MAX,
    about: Sequence[str] = ALL,
) -> None:
    """Give the manager an order and wait until it is carried out. ProblemError says what to do instead.

    `about` are the units of which one may be to blame.
    """
    showing = Showing((TARGET,), user=user).begin()
    known = showing.units()
    if not known and showing.problem:
        raise ProblemError(
            Exit.UNREACHABLE,
            "no_manager",
            "the service manager does not answer",
            showing.problem.splitlines()[0],
            "log in as this user (su does not do), or: loginctl enable-linger"
            if user
            else "sudo energyctl start",
        )
    if not known:
        raise ProblemError(
            Exit.NOT_RUNNING,
            "not_installed",
            "the suite's units are not installed here",
            "there is no energy-market.target" if is_booted() else "this machine does not run systemd",
            "energyctl up runs a market without them; sudo packaging/install installs them",
        )
    command = [*manager(user=user), "--no-ask-password", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise ProblemError(
            Exit.WAIT_TIMED_OUT,
            "not_done",
            f"{' '.join(command)} is not done after {timeout_s:g} s",
            hint="energyctl status; energyctl logs",
        ) from None
    if done.returncode != 0:
        raise _refused(command, done.stderr.strip(), show(about, user=user))


def _refused(command: Sequence[str], said: str, units: Sequence[Unit]) -> ProblemError:
    denied = any(word in said for word in ("authentication required", "Access denied", "Permission denied"))
    if denied:
        return ProblemError(
            Exit.PERMISSION,
            "permission_denied",
            "no permission to run the units",
            said.splitlines()[0],
            f"sudo {' '.join(word for word in command if word != '--no-ask-password')}, "
            "or once: sudo usermod -aG energy-ctl $USER, and log in again",
        )
    failed = [unit for unit in units if unit.failed]
    why = "; ".join(f"{unit.name}: {unit.why}" for unit in failed) or said.splitlines()[0] if said else ""
    last = failed[0].name if failed else TARGET
    ended = {unit.get("ExecMainStatus") for unit in failed}
    told = (Exit.CONFIGURATION, Exit.NO_SUCH_OBJECT)  # what a restart would not change
    code = next((each for each in told if str(int(each)) in ended), Exit.FAILED)
    return ProblemError(code, "not_started", "the units did not start", why, f"energyctl logs -u {last}")
