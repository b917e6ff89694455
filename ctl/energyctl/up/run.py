"""One run from its lock to its last leftover: in the foreground, or detached."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from energyctl.exits import Exit
from energyctl.programs import run_program
from energyctl.session import Session
from energyctl.up import core, prepare, proc, record
from energyctl.up.lines import JsonLines, PlainLines, StepLines
from energyctl.up.log import Log
from energyctl.up.loop import Supervisor, Watcher
from energyctl.up.plan import Plan, commands, environment
from energyctl.up.process import adopt_orphans
from energymarket.runtime import clock


@dataclass(frozen=True, slots=True)
class Order:
    """What `energyctl up` was asked for, every default filled in."""

    plan: Plan
    scenario: str
    title: str
    hold: record.Hold
    state_fd: int
    began_s: float = field(default_factory=clock.monotonic_s)


@contextmanager
def ipc_objects(run: Path) -> Iterator[None]:
    """The run's IPC objects: made, and removed whatever happens."""
    prepare.anchor(run, "create")
    try:
        yield
    finally:
        prepare.anchor(run, "remove")


def in_foreground(order: Order, session: Session) -> Exit:
    """Run in this process until the end; the answer is the exit code."""
    watcher = _watcher(order, session)
    with ExitStack() as stack:
        stack.callback(watcher.close)
        suite = supervise(order, watcher)
    _good_bye(suite, order, session)
    return suite.exit_code


def tell_outcome(order: Order, session: Session) -> int:
    """What a run in lockstep has come to, as `energyctl simulate` tells it; the program's exit code."""
    plan = order.plan
    if not plan.lockstep:
        return Exit.OK
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["--state", str(plan.state), "--compiled", str(plan.compiled), "--slots", str(plan.slots or 0)]
    words += ["--wall-s", f"{clock.monotonic_s() - order.began_s:.3f}"]
    words += ["--cpu-s", f"{children.ru_utime + children.ru_stime:.3f}"]
    return run_program("outcome", [*words, "--json"] if session.as_json else words)


def supervise(order: Order, watcher: Watcher) -> core.Suite:
    """Make the IPC objects, run the daemons, and take everything away again."""
    plan = order.plan
    adopt_orphans()
    order.hold.sign()
    me = proc.process("up", os.getpid())
    kept = proc.Record(me, (), order.scenario, str(plan.compiled), str(plan.state), ready=False)
    record.write(plan.run, kept)
    # The log of a run that went wrong is evidence: it stays until the next run, or `energyctl ipc clean`.
    order.hold.keep_log = True
    with ipc_objects(plan.run), Log(plan.run / record.LOG) as log:
        wanted = commands(plan)
        suite = Supervisor(plan.run, watcher, log, lockstep=plan.lockstep).supervise(
            wanted, environment(os.environ), kept
        )
    order.hold.keep_log = suite.exit_code not in {Exit.OK, Exit.INTERRUPTED}
    return suite


def _watcher(order: Order, session: Session) -> Watcher:
    if session.as_json:
        return StepLines(order.title, order.plan.slots) if order.plan.lockstep else JsonLines()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from energyctl.up.display import Display

        return Display(order.title)
    return PlainLines(order.title)


def _good_bye(suite: core.Suite, order: Order, session: Session) -> None:
    why = suite.cause.value if suite.cause else "ended"
    if order.plan.lockstep and suite.exit_code is Exit.OK:
        return  # its outcome is told
    if session.as_json:
        text = json.dumps({"type": "stopped", "cause": why, "code": int(suite.exit_code)})
        stream = sys.stdout
    else:
        text, stream = f"stopped: {why}", sys.stderr
        if order.hold.keep_log:
            text += f"\nhint:  all that was said: {order.plan.run / record.LOG}"
            if suite.was_ready:
                text += "; started again (without --fresh), the market goes on"
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        return  # the terminal is gone; the exit code says it too
