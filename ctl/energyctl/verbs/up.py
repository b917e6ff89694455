"""`energyctl up`: the daemons in the foreground, with a live display; or detached."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.programs import run_program
from energyctl.quantities import finite
from energyctl.render import Answer
from energyctl.session import Session, default_state, run_directory, session

if TYPE_CHECKING:
    from energyctl.up.run import Order


Speed = Annotated[
    float | None,
    typer.Option(
        "--speed",
        min=0.001,
        max=1e6,
        callback=finite,
        metavar="N",
        help="Market seconds per second; 1: real time, now.",
    ),
]
"""Of live runs only."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("up")(up)


def up(
    ctx: typer.Context,
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="A shipped scenario, or a file.")
    ] = "default",
    *,
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="1d|96", help="End after so much market time, or so many slots."),
    ] = None,
    speed: Speed = None,
    homes: Annotated[
        int | None,
        typer.Option("--homes", min=1, metavar="N", help="So many homes in the scenario's groups."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Another seed of all chance.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Ledger and registers (default: below $XDG_STATE_HOME)."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin with an empty state; the old ledger is removed.")
    ] = False,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, metavar="N", help="Processes of the home pool.")
    ] = None,
    lockstep: Annotated[
        bool,
        typer.Option(
            "--lockstep", help="Without a clock, as fast as it goes: the ledger is that of simulate."
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="At the end, write report and CSV here.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all is ready; energyctl stop ends it.")
    ] = False,
) -> Answer | int:
    """Run a market here: its daemons are started, shown, and taken down together. Ctrl-C stops it.

    It needs neither root nor systemd. Without --fresh it goes on where the last run with the same state
    has ended. A daemon that dies or freezes is started again by the policy of its unit; one that refuses
    the first start ends the run, with its last words and its exit code.
    """
    from energyctl.up import detach as detaching
    from energyctl.up import run as running

    here = session(ctx)
    # Until the daemons run, SIGTERM ends us as Ctrl-C does: locks and directories are given back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        order = _order(
            stack, here, scenario, lasting=lasting, speed=speed, homes=homes, seed=seed, state=state,
            fresh=fresh, shards=shards, lockstep=lockstep,
        )  # fmt: skip
        if detach:
            return detaching.detached(order)
        code = running.in_foreground(order, here)
    told = running.tell_outcome(order, here) if code is Exit.OK else Exit.OK
    if report is None or code not in {Exit.OK, Exit.INTERRUPTED}:
        return told or code
    return told or _report(order, report) or code


def _order(
    stack: ExitStack,
    here: Session,
    scenario: str,
    *,
    lasting: str | None,
    speed: float | None,
    homes: int | None,
    seed: int | None,
    state: Path | None,
    fresh: bool,
    shards: int | None,
    lockstep: bool,
) -> Order:
    """Check, lock and compile: whatever can be refused is refused here, while nothing runs yet."""
    from energyctl import ledger_file
    from energyctl.quantities import duration_slots
    from energyctl.up import prepare, record
    from energyctl.up.plan import Plan
    from energyctl.up.run import Order
    from energyctl.verbs.config import good_scenario
    from energymarket.runtime.clock import boottime_ns

    checked = good_scenario(scenario)
    period, lockstep = checked.market.period, lockstep or checked.service.lockstep
    slots = duration_slots(lasting, period.slot_s) if lasting is not None else None
    if lockstep:
        slots = _without_clock(slots or period.slots, speed)
    run = run_directory(here.run, os.environ, os.getuid(), own=True)
    hold = record.hold(run)
    stack.callback(hold.release)
    removed = prepare.clear_leftovers(run)
    if [name for name in removed if name not in record.LOGS]:
        sys.stderr.write(f"removed what an earlier run had left: {', '.join(removed)}\n")
    state_dir = (state or default_state(os.environ, checked.name)).absolute()
    state_fd = prepare.hold_state(state_dir, checked.name, fresh=fresh)
    stack.callback(os.close, state_fd)
    begun_with = ledger_file.scenario_hash(state_dir / "market" / "ledger.db")
    compiled = prepare.read_compiled(
        prepare.compile_scenario(scenario, homes, seed, begun_with=begun_with, as_json=here.as_json)
    )
    left = prepare.left_the_pool(state_dir, compiled.homes_count)
    plan = Plan(
        compiled=compiled.directory,
        run=run,
        state=state_dir,
        homes_count=compiled.homes_count,
        single_homes=tuple(sorted({*compiled.single_homes, *left})),
        live_weather=compiled.live_weather,
        metered=compiled.metered,
        source=Path(checked.path).absolute(),
        shards=shards,
        speed=speed,
        slots=slots,
        lockstep=lockstep,
        meters=checked.meters.count if checked.meters is not None else 0,
        workers=checked.dispatch.workers,
        course=f"{boottime_ns()}-{os.getpid()}",
    )
    title = f"{compiled.name}: {compiled.homes_count} homes, {compiled.title}"
    return Order(plan, compiled.name, title, hold, state_fd)


def _without_clock(slots: int, speed: float | None) -> int:
    """So many slots as fast as they go; without a number the scenario's own period, as simulate has it."""
    if speed is not None:
        hint = "leave --speed out, or lockstep (the option, or the key in [service])"
        raise ProblemError(Exit.USAGE, "no_speed", "a market in lockstep has no speed", hint=hint)
    return slots


def _report(order: Order, directory: Path) -> int:
    plan = order.plan
    return run_program(
        "report", ["--state", str(plan.state), "--compiled", str(plan.compiled), "--out", str(directory)]
    )
