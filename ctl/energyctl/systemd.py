"""The suite's units as the service manager sees them; asked and told by systemctl, which is there anyway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Final

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
)
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
)
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
    if not is_booted():
        return []
    command = [*manager(user=user), "show", f"--property={','.join(PROPERTIES)}", *names]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SHOW_S_MAX, check=False, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    units = []
    for block in done.stdout.strip().split("\n\n"):
        lines = (line.partition("=") for line in block.splitlines())
        units.append(Unit({name: value for name, _, value in lines}))
    return [unit for unit in units if unit.get("LoadState") == "loaded"]


def installed(*, user: bool = False) -> bool:
    """Whether the suite's units are known here."""
    return any(unit.name == TARGET for unit in show((TARGET,), user=user))


def tell(words: Sequence[str], *, user: bool = False, timeout_s: float = START_S_MAX) -> None:
    """Give the manager an order and wait until it is carried out. ProblemError says what to do instead."""
    if not installed(user=user):
        raise ProblemError(
            Exit.NOT_RUNNING,
            "not_installed",
            "the suite's units are not installed here",
            "there is no energy-market.target" if is_booted() else "this machine does not run systemd",
            "energyctl up runs a market without them; sudo packaging/install, or without root "
            "energyctl install-units --user, installs them",
        )
    order(words, user=user, timeout_s=timeout_s)


def order(words: Sequence[str], *, user: bool, timeout_s: float = STOP_S_MAX) -> None:
    """The same without a look whether the suite is installed."""
    command = [*manager(user=user), "--no-ask-password", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired:
        raise ProblemError(
            Exit.WAIT_TIMED_OUT,
            "not_done",
            f"{' '.join(command)} is not done after {timeout_s:g} s",
            hint="energyctl status; energyctl logs",
        ) from None
    if done.returncode != 0:
        raise _refused(command, done.stderr.strip(), user=user)


def _refused(command: Sequence[str], said: str, *, user: bool) -> ProblemError:
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
    failed = [unit for unit in show(user=user) if unit.failed]
    why = "; ".join(f"{unit.name}: {unit.why}" for unit in failed) or said.splitlines()[0] if said else ""
    last = failed[0].name if failed else TARGET
    code = Exit.CONFIGURATION if any(unit.get("ExecMainStatus") == "78" for unit in failed) else Exit.FAILED
    return ProblemError(code, "not_started", "the units did not start", why, f"energyctl logs -u {last}")
