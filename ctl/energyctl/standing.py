"""How the suite stands: market, units, sockets and processes, all asked at once and none waited for in vain.

A market that is frozen is known without waiting: its process is stopped, or its last sign to the watchdog is
old. Only where neither says anything is the answer waited for, and not for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from energyctl import asking, client, systemd
from energyctl.carrier import SERVES, Unit, kept_units
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import Keeper, keeper_of
from energyctl.session import Session
from energyctl.up import proc
from energymarket.runtime.clock import monotonic_s
from energymarket.wire.messages import CONTROL_SOCKET, TRADE_SOCKET

MARKET: Final = "energy-market.service"
CONNECT_S_MAX: Final = 0.04
"""A market that serves takes a connection at once; a frozen one with a full backlog would never."""
ANSWER_S_MAX: Final = 2.0
"""A market that gives signs of life, but is at work."""
ANSWERED_S_MAX: Final = 0.005
"""One that gives none: its answer is here already, or will not come."""


class Standing:
    """What was found."""

    __slots__ = ("now_s", "problem", "processes", "run_dir", "status", "units")

    def __init__(
        self,
        here: Session,
        status: dict[str, Any] | None,
        problem: ProblemError | None,
        units: Sequence[Unit],
        processes: list[proc.Process],
    ) -> None:
        self.run_dir = here.run_dir
        self.status = status  # the market's own words; None if it does not say any
        self.problem = problem  # why not
        self.units = units
        self.processes = processes
        self.now_s = monotonic_s()

    def unit_rows(self) -> list[dict[str, Any]]:
        """The units for programs."""
        return [_unit_row(unit, self.now_s) for unit in self.units]

    def socket_rows(self) -> list[dict[str, Any]]:
        """The sockets for programs: whether their file is there, and what their unit says."""
        states = {unit.name: unit.state for unit in self.units}
        return [
            {
                "socket": name,
                "path": str(path),
                "present": _is_present(path),
                "state": states.get(f"energy-{name}.socket"),
            }
            for name in (TRADE_SOCKET, CONTROL_SOCKET)
            for path in (self.run_dir / name,)
        ]

    def process_rows(self) -> list[dict[str, Any]]:
        """The processes of `energyctl up` for programs."""
        return [{"name": each.name, "pid": each.pid, "state": _state(each)} for each in self.processes]


def look(here: Session) -> Standing:
    """Ask the manager and the market at the same time. It raises nothing: what failed is in the answer."""
    keeper = keeper_of(here.run_dir)
    showing = None
    if keeper is not None:
        showing = systemd.Showing(systemd.SHOWN, user=keeper is Keeper.USER).begin()
    kept = proc.read(here.run_dir)
    processes = [] if kept is None else [kept.up, *kept.children]
    if any(each.role == "market" and each.frozen() for each in processes):
        return Standing(here, None, asking.silent(here), _units(here, showing), processes)
    connection = client.Connection(here.control, CONNECT_S_MAX)
    status: dict[str, Any] | None = None
    problem: ProblemError | None = None
    try:
        connection.open().send(asking.full_name("Status"))
    except client.FAILURES as error:
        problem = asking.in_words(here, error)
    units = _units(here, showing)  # the market answers meanwhile
    stuck = _stuck(here, units)
    try:
        if problem is None:
            answer, _ = connection.receive(ANSWER_S_MAX if stuck is None else ANSWERED_S_MAX)
            status = answer.get("status") or {}
    except client.FAILURES as error:
        problem = asking.in_words(here, error)
        if stuck is not None and isinstance(error, client.Unreachable) and error.why is client.Why.SILENT:
            problem = stuck
    finally:
        connection.close()
    return Standing(here, status, problem, units, processes)


def _units(here: Session, showing: systemd.Showing | None) -> Sequence[Unit]:
    """All units of the suite, and those of single homes and workers that are not simply stopped."""
    if showing is None:
        return kept_units(here)
    return [unit for unit in showing.units() if unit.is_shown]


def _stuck(here: Session, units: Sequence[Unit]) -> ProblemError | None:
    """What is known of a market that will not answer, without asking it."""
    unit = next((each for each in units if each.name == MARKET), None)
    if unit is None or not unit.pid:
        return None
    if proc.stat_field(unit.pid, 3) in {"T", "t"}:
        why = f"process {unit.pid} is stopped by a signal or a debugger"
    elif (silent_s := unit.silent_s(monotonic_s()) or 0.0) > systemd.SILENT_S_MAX:
        why = f"process {unit.pid} has given no sign of life for {silent_s:.1f} s"
    else:
        return None
    order = (
        "energyctl restart market" if keeper_of(here.run_dir) is None else f"sudo systemctl restart {MARKET}"
    )
    hint = f"the watchdog restarts it within seconds; else: {order}"
    return ProblemError(Exit.UNREACHABLE, "unreachable", "the market does not answer", why, hint)


def is_bad(unit: Unit) -> bool:
    """Whether a unit is not as it should be while the market runs."""
    return unit.state not in SERVES


def _unit_row(unit: Unit, now_s: float) -> dict[str, Any]:
    age_s = unit.age_s(now_s)
    return {
        "unit": unit.name,
        "state": unit.state,
        "why": unit.why if unit.failed or unit.state == "auto-restart" else "",
        "pid": unit.pid,
        "restarts": unit.restarts,
        "age_s": None if age_s is None else round(age_s, 3),
        "says": unit.says,
    }


def _is_present(path: Path) -> bool | None:
    """Whether a socket's file is there; None for who may not look."""
    try:
        return path.is_socket()
    except PermissionError:
        return None


def _state(process: proc.Process) -> str:
    if process.frozen():
        return "frozen"
    return "running" if process.alive() else "gone"
