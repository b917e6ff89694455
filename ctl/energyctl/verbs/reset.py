"""`energyctl reset`: units that gave up may try again; with --state, a new ledger begins, the old is kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users
from energyctl.render import Answer
from energyctl.verbs.start import USER
from energymarket.runtime.clock import wall_ns

STATE = Path("/var/lib/energy-market")
PARTS = ("market", "homes", "weather")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("reset")(reset)


def reset(
    *,
    state: Annotated[
        bool,
        typer.Option(
            "--state",
            help="Set ledger and registers aside, so that a new ledger begins; the suite must be stopped.",
        ),
    ] = False,
    user: Annotated[bool, USER] = False,
) -> Answer:
    """Let units that have given up try again; they are not started.

    With --state also ledger and registers are set aside, never deleted: the way to begin anew after the
    configuration has changed in more than its price.
    """
    user = means_users(user=user)
    failed = [unit.name for unit in systemd.show(user=user) if unit.failed]
    if failed:
        systemd.tell(["reset-failed", *failed], user=user)
    aside = _set_aside(user=user) if state else None
    lines = [f"may try again: {', '.join(failed)}" if failed else "no unit had given up"]
    lines += [f"the old ledger and registers are in {aside}; energyctl start begins anew"] if aside else []
    return Answer({"type": "reset", "units": failed, "aside": str(aside) if aside else None}, tuple(lines))


def state_of(*, user: bool) -> Path:
    """Where the suite of the system, or of this user, keeps ledger and registers."""
    base = os.environ.get("XDG_STATE_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return home / "energy-market" if user else STATE


def _set_aside(*, user: bool) -> Path:
    """Move the state away; what is money is never deleted here."""
    busy = [unit.name for unit in systemd.show(user=user) if unit.get("MainPID", "0") != "0"]
    if busy:
        raise ProblemError(
            Exit.TRY_AGAIN, "running", f"the suite runs: {', '.join(busy)}", hint="energyctl stop, then again"
        )
    root = state_of(user=user)
    moment = datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    place = root / f"before-{moment}"
    try:
        place.mkdir(mode=0o700)
        for part in PARTS:
            if (root / part).exists():
                (root / part).rename(place / part)
    except OSError as error:
        code = Exit.PERMISSION if isinstance(error, PermissionError) else Exit.IO_ERROR
        raise ProblemError(
            code, "not_moved", f"{error.filename}: {error.strerror}", hint="sudo energyctl reset --state"
        ) from error
    return place
