"""`energyctl workers`: the dispatcher and its workers: who is there, and who is served."""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import Any, Final

import typer

from energyctl import client
from energyctl.asking import TIMEOUT_S, denied
from energyctl.awaiting import RETRY_S
from energyctl.carrier import Unit, is_kept, kept_units
from energyctl.exits import Exit, ProblemError
from energyctl.render import Alert, Answer, Block, Table
from energyctl.session import Session, session
from energymarket.runtime.clock import monotonic_s
from energymarket.wire.dispatch_text import DIRECTORY, NAME, SOCKET

DEAD_S_MAX: Final = 3.0
"""A dispatcher that died is replaced within a second, by either carrier."""
FINDING_S: Final = 2.5
"""A dispatcher as young as this has perhaps not found all workers yet: it asks once a second."""
_HEADINGS: Final = ("worker", "state", ">pid", ">exchanges", ">restarts", "serves")
_DISPATCHER: Final = "energy-dispatcher.service"
_WANTING: Final = frozenset({"absent", "lost"})
_PASSING: Final = frozenset({client.Why.DEAD, client.Why.LOST})

Worker = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("workers")(workers)


def workers(ctx: typer.Context) -> Answer:
    """Show the dispatcher and its workers: state, process, exchanges, restarts, and who is served.

    Exit code 5 says that a worker is missing or does not answer. A dispatcher that has just been started
    again is given a moment to find them.
    """
    here = session(ctx)
    status, found = _found(here)
    units = {unit.name: unit for unit in kept_units(here)}
    for worker in found:
        unit = units.get(_unit_of(worker))
        if unit is not None:  # who starts them has counted; the dispatcher only since it was started itself
            worker["restarts"] = unit.restarts
    missing = [worker for worker in found if worker["state"] in _WANTING]
    blocks: list[Block] = [_line(status), Table(_HEADINGS, [_row(worker) for worker in found])]
    if missing:
        names = ", ".join(_missing(worker, units) for worker in missing)
        blocks.append(Alert(f"not at work: worker {names}; energyctl status and energyctl logs say more"))
    code = Exit.DEGRADED if missing else Exit.OK
    return Answer({"type": "workers", "dispatcher": status, "workers": found}, tuple(blocks), code)


def _found(here: Session) -> tuple[dict[str, Any], list[Worker]]:
    """What the dispatcher says; one that has died, or does not know all workers yet, is asked again."""
    give_up_s = monotonic_s() + DEAD_S_MAX
    while True:
        try:
            with client.Connection(here.run_dir / DIRECTORY / SOCKET, TIMEOUT_S) as connection:
                status = connection.call(f"{NAME}.Status")
                found: list[Worker] = connection.call(f"{NAME}.Workers")["workers"]
        except client.FAILURES as error:
            passing = isinstance(error, client.Unreachable) and error.why in _PASSING
            if not passing or monotonic_s() >= give_up_s or not is_kept(here):
                raise _in_words(here, error) from error
        else:
            young = status.get("age_ms", 0) < FINDING_S * 1000
            if not young or not any(worker["state"] in _WANTING for worker in found):
                return status, found
        select.select([], [], [], RETRY_S)


def _unit_of(worker: Worker) -> str:
    return f"energy-worker@{worker['number']}.service"


def _missing(worker: Worker, units: Mapping[str, Unit]) -> str:
    unit = units.get(_unit_of(worker))
    failed = unit is not None and unit.failed
    return f"{worker['number']} (given up: {unit.why})" if unit and failed else str(worker["number"])


def _line(status: dict[str, Any]) -> str:
    said = f"{status['address']} port {status['port']}, {status['mode']}"
    counts = (
        f"{status['asked']} asked, {status['served']} served, {status['refused']} refused, "
        f"{status['expired']} never came, {status['failed']} failed; {status['waiting']} wait"
    )
    return f"dispatcher (process {status['pid']}): {said}\n{counts}"


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    served = ""
    if worker.get("request"):
        served = f"{worker.get('client')}: {worker['request']}"
    if worker.get("doing"):
        served += f", {worker.get('progress') or 0.0:.0%} {worker['doing']}"
    cells = (
        worker["number"],
        worker["state"],
        worker.get("pid") or "",
        worker["exchanges"],
        worker["restarts"],
    )
    return (*map(str, cells), served)


def _in_words(
    here: Session, error: client.VarlinkError | client.Refused | client.Unreachable
) -> ProblemError:
    match error:
        case client.Refused():
            return denied(here)
        case client.Unreachable(why=client.Why.DEAD) if not is_kept(here):
            return ProblemError(
                Exit.NOT_RUNNING,
                "no_dispatcher",
                "the dispatcher has died, and so has who kept it",
                f"nobody listens on {here.run_dir / DIRECTORY / SOCKET}",
                "energyctl ipc clean removes what is left, energyctl up goes on",
            )
        case client.Unreachable(why=client.Why.DEAD):
            return ProblemError(
                Exit.NOT_RUNNING,
                "no_dispatcher",
                "the dispatcher has died",
                f"nobody listens on {here.run_dir / DIRECTORY / SOCKET}",
                "while the suite runs it is started again within seconds; energyctl status says more",
            )
        case client.Unreachable(why=client.Why.MISSING):
            unit = next((unit for unit in kept_units(here) if unit.name == _DISPATCHER), None)
            return ProblemError(
                Exit.NOT_RUNNING,
                "no_dispatcher",
                "no dispatcher is running",
                f"it was given up: {unit.why}"
                if unit is not None and unit.failed
                else f"nobody listens on {here.run_dir / DIRECTORY / SOCKET}",
                "energyctl status shows whether it has ended or failed; where there is none, set workers in"
                " [dispatch] of the configuration, then start the suite again",
            )
        case _:
            return ProblemError(
                Exit.UNREACHABLE,
                "unreachable",
                "the dispatcher does not answer",
                str(error),
                "a frozen one is replaced within seconds: try again; energyctl logs says more",
            )
