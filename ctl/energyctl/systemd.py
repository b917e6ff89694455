"""The suite's units as the service manager sees them; asked and told by systemctl, which is there anyway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Final, Self

from energyctl import keeper
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users

TARGET: Final = keeper.TARGET
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
    "energy-dispatcher.service",
    "energy-workers.service",
)
SINGLE_HOMES: Final = "energy-home@*.service"  # those that were started one by one
WORKERS: Final = "energy-worker@*.service"
STARTS_WORKERS: Final = "energy-workers.service"
SHOWN: Final = (*ALL, SINGLE_HOMES, WORKERS)
"""What a look at the suite shows; instances that are simply stopped are left out."""
PATTERNS: Final = ("energy-*.service", "energy-*.socket", "energy-*.timer")
EVERYTHING: Final = (SLICE, TARGET, *SOCKETS)
"""What a stop names: the slice waits for its services, the target for the rest."""
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
LOOK_S: Final = 0.5
"""While an order is carried out: how often to look whether a unit has failed that others wait for."""


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
    def says(self) -> str:
        """Its own last words."""
        return self.get("StatusText", "")

    @property
    def exit_status(self) -> str:
        """The exit code of its last life as digits."""
        return self.get("ExecMainStatus", "")

    @property
    def is_single_home(self) -> bool:
        """Whether it is a home that is a process of its own."""
        return self.name.startswith("energy-home@")

    @property
    def is_shown(self) -> bool:
        """Whether it is worth a line: of homes and workers, those that run, will, or have failed."""
        return "@" not in self.name or self.state != "inactive"

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
                    self._command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=_environment(),
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
    return ["systemctl", *(["--user"] if means_users(user=user) else [])]


def _environment() -> dict[str, str]:
    """A user's manager is found by a variable that su, cron and their like do not set."""
    return {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"} | dict(os.environ)


def version() -> int:
    """The version of the systemd here; 0 if there is none."""
    command = [*manager(user=False), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SHOW_S_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def answers(*, user: bool) -> bool:
    """Whether there is a manager to talk to."""
    command = [*manager(user=user), "show", "--property=Version"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SHOW_S_MAX, check=False, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


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
    unless_failed: Sequence[str] = (),
) -> None:
    """Give the manager an order and wait until it is carried out. ProblemError says what to do instead.

    `about` are the units of which one may be to blame. As soon as one of `unless_failed` has failed for good,
    the rest is not waited for: it waits for that one in vain, and its state says why.
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
            if means_users(user=user)
            else "sudo energyctl start",
        )
    if not known:
        raise ProblemError(
            Exit.NOT_RUNNING,
            "not_installed",
            "the suite's units are not installed here",
            "there is no energy-market.target" if is_booted() else "this machine does not run systemd",
            "energyctl up runs a market without them; sudo packaging/install, or without root "
            "energyctl install-units --user, installs them",
        )
    order(words, user=user, timeout_s=timeout_s, about=about, unless_failed=unless_failed)


def order(
    words: Sequence[str],
    *,
    user: bool,
    timeout_s: float = STOP_S_MAX,
    about: Sequence[str] = ALL,
    unless_failed: Sequence[str] = (),
) -> None:
    """The same without a look whether the suite is installed."""
    command = [*manager(user=user), "--no-ask-password", *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_environment()
    ) as running:
        said = _carried_out(running, " ".join(command), timeout_s, unless_failed, user=user)
    if running.returncode > 0:
        raise _refused(command, said.strip(), show(about, user=user))


def _carried_out(
    running: subprocess.Popen[str], words: str, timeout_s: float, unless_failed: Sequence[str], *, user: bool
) -> str:
    """What systemctl complains of at its end. Sent away, it ends; the manager goes on with its order."""
    left_s = timeout_s
    while left_s > 0:
        try:
            return running.communicate(timeout=min(left_s, LOOK_S))[1]
        except subprocess.TimeoutExpired:
            left_s -= LOOK_S
        if unless_failed and any(unit.failed for unit in show(unless_failed, user=user)):
            running.terminate()
            return ""
    running.terminate()
    raise ProblemError(
        Exit.WAIT_TIMED_OUT,
        "not_done",
        f"{words} is not done after {timeout_s:g} s",
        hint="energyctl status; energyctl logs",
    )


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
