"""`energyctl stop`: the market settles and says good-bye, all processes go, and nothing is left."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from energyctl import ledger_file, systemd
from energyctl.asking import ask
from energyctl.carrier import carrier_of, unit_name
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import Keeper, keeper_of
from energyctl.render import Answer
from energyctl.session import Session, session
from energyctl.up import proc, record
from energyctl.up.events import says_killed
from energyctl.up.life import Role
from energyctl.verbs.start import UNITS, USER

_FILES = ("control", "trade", "ipc.json")
STOP_S_MAX = 30.0  # the market's last slot, then every daemon's good-bye


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("stop")(stop)


def stop(
    ctx: typer.Context,
    units: Annotated[list[str] | None, UNITS] = None,
    *,
    user: Annotated[bool, USER] = False,
) -> Answer:
    """Stop the market: close the gate, settle, end every process, and check that nothing is left.

    With units only these are stopped, and stay so until energyctl start.
    """
    here = session(ctx).of(user=user)
    if units:
        names = [unit_name(text) for text in units]
        carrier_of(here, user=user).stop(names)
        return Answer({"type": "stopped", "units": names}, (f"stopped: {', '.join(names)}",))
    keeper = keeper_of(here.run_dir)
    if keeper is not None and systemd.installed(user=keeper is Keeper.USER):
        return _stop_units(here, user=keeper is Keeper.USER)
    kept = proc.read(here.run_dir)
    supervised = kept is not None and kept.up.alive()
    slot: object = None
    if kept is not None and supervised and (frozen := [each for each in _markets(kept) if each.frozen()]):
        sys.stderr.write(
            f"the market (process {frozen[0].pid}) is frozen: the run ends without its good-bye\n"
        )
    else:
        slot = _ask(here, supervised=supervised)
    left: list[str] = []
    killed: ProblemError | None = None
    if kept is not None and supervised:
        _end(kept.up, answered=slot is not None)
        left, killed = leftovers(here, kept), _killed(here, kept)
    if left:
        raise ProblemError(
            Exit.FAILED, "leftovers", "something is left", ", ".join(left), "energyctl ipc clean"
        )
    if killed is not None:
        raise killed
    last = f"; the last slot is {slot}" if slot is not None else ""
    return Answer({"type": "stopped", "slot": slot, "left": left}, (f"stopped, nothing is left{last}",))


def _ask(here: Session, *, supervised: bool) -> object:
    """The last slot as the market says it; None where it does not answer, and a supervisor ends it."""
    try:
        return ask(here, "Stop", timeout_s=STOP_S_MAX).get("slot")
    except ProblemError as problem:
        # A supervisor can also end a market that does not answer, or is not there yet.
        if not supervised or problem.exit_code is Exit.PERMISSION:
            raise
    return None


def _markets(kept: proc.Record) -> list[proc.Process]:
    return [child for child in kept.children if child.role == Role.MARKET.value]


def _killed(here: Session, kept: proc.Record) -> ProblemError | None:
    """What it means that the supervisor had to kill the market; None if it had not. Its log tells."""
    try:
        said = (here.run_dir / record.LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None  # a run that ended well takes its log along
    if not any(f"energyctl: {says_killed(market.name)}" in said for market in _markets(kept)):
        return None
    last = ledger_file.last_slot(Path(kept.state) / "market" / "ledger.db")
    goes_on = f"; the next start goes on after slot {last}" if last is not None else ""
    return ProblemError(
        Exit.DEGRADED,
        "market_killed",
        f"the market was frozen and was killed: its open slot is not settled{goes_on}",
        "nothing else is left of the run, and what was acknowledged is in the ledger",
        f"all that was said: {here.run_dir / record.LOG}",
    )


def _stop_units(here: Session, *, user: bool) -> Answer:
    """The gate over the socket, then all units at once, waited for and looked at."""
    slot: object = None
    if any(
        unit.name == "energy-market.service" and unit.state == "active" for unit in systemd.show(user=user)
    ):
        # A market that does not answer is stopped all the same; the units' time-outs bound it.
        with suppress(ProblemError):
            slot = ask(here, "Stop", timeout_s=STOP_S_MAX).get("slot")
    systemd.tell(["stop", *systemd.EVERYTHING], user=user, timeout_s=systemd.STOP_S_MAX)
    units = systemd.show(user=user)
    left = [unit.name for unit in units if unit.state not in {"inactive", "not needed", "failed"}]
    left += [str(path) for name in _FILES if (path := here.run_dir / name).exists()]
    if left:
        raise ProblemError(
            Exit.FAILED, "leftovers", "something is left", ", ".join(left), "energyctl doctor; energyctl stop"
        )
    last = f"; the last slot is {slot}" if slot is not None else ""
    return Answer({"type": "stopped", "slot": slot, "left": []}, (f"stopped, nothing is left{last}",))


def _end(up: proc.Process, *, answered: bool) -> None:
    """Wait until the supervisor is gone; one whose market did not answer is told to end the run itself."""
    import select

    try:
        pidfd = os.pidfd_open(up.pid)
    except ProcessLookupError:
        return
    try:
        # The number may be somebody else's by now: the descriptor is not, so look again behind it.
        if not up.alive():
            return
        if not answered:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        # One that is stopped (Ctrl-Z) would hear it when somebody thinks of it again.
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        if not select.select([pidfd], [], [], 2 * STOP_S_MAX)[0]:
            raise ProblemError(
                Exit.WAIT_TIMED_OUT,
                "not_gone",
                f"energyctl up (process {up.pid}) is still there after {2 * STOP_S_MAX:.0f} s",
                hint=f"kill -9 {up.pid} ends all of it; then: energyctl ipc clean",
            )
    finally:
        os.close(pidfd)


def leftovers(here: Session, kept: proc.Record) -> list[str]:
    """What a run should have taken with it: processes, sockets, IPC objects."""
    left = [f"{child.name} (process {child.pid})" for child in kept.children if child.alive()]
    names = (*_FILES, proc.RECORD)
    return left + [str(path) for path in (Path(here.run_dir) / name for name in names) if path.exists()]
