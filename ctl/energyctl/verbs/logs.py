"""`energyctl logs`: the suite's journal."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.carrier import unit_name
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import keeper_of, means_users
from energyctl.render import Answer
from energyctl.session import Session, session
from energyctl.up import record
from energyctl.up.log import before
from energyctl.up.names import unit_of
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs")(logs)


def logs(
    ctx: typer.Context,
    unit: Annotated[
        str | None,
        typer.Option("--unit", "-u", metavar="UNIT", help="Only this unit, for example energy-market."),
    ] = None,
    home: Annotated[
        int | None, typer.Option("--home", min=1, metavar="ID", help="Only what concerns this home.")
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, metavar="N", help="The last so many lines.")
    ] = 100,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", "-x", help="With the catalog's explanations: what it means, and what to do."
        ),
    ] = False,
    user: Annotated[bool, USER] = False,
) -> Iterator[Answer]:
    """Show the journal of the suite's units: all of them, one unit, or what concerns one home.

    Of a run of energyctl up it is the log in its run directory.
    """
    here = session(ctx).of(user=user)
    if not user and keeper_of(here.run_dir) is None and (log := here.run_dir / record.LOG).exists():
        return _of_run(log, unit, home, lines, follow=follow)
    if not systemd.is_booted():
        raise _no_journal("systemd does not run here", session(ctx))
    words = ["journalctl", f"--lines={lines}", *(["--follow"] if follow else ["--no-pager"])]
    words += ["--catalog"] if explain else []
    user = means_users(user=user)
    words += ["--user"] if user else []
    kind = "--user-unit" if user else "--unit"
    words += [f"{kind}={unit}"] if unit else [f"{kind}={pattern}" for pattern in systemd.PATTERNS]
    if home is not None:
        words.append(f"ENERGY_HOME={home}")
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell: the journal's own program takes our place
    except OSError as error:
        raise _no_journal(f"journalctl cannot be started: {error.strerror}", session(ctx)) from error


def _of_run(log: Path, unit: str | None, home: int | None, lines: int, *, follow: bool) -> Iterator[Answer]:
    """The last lines of a run's own log, and those that come."""
    if home is not None:
        raise ProblemError(
            Exit.USAGE, "only_in_journal", "--home is a field of the journal", f"{log} has lines only"
        )
    last: deque[str] = deque(maxlen=lines)
    for path in (before(log), log):
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            last.extend(_of_unit(file, unit))
    yield from map(_line, last)
    if follow:
        command = ["tail", "--lines=0", "--follow=name", str(log)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as tail:
            try:
                yield from map(_line, _of_unit(tail.stdout or (), unit))
            finally:
                tail.terminate()


def _of_unit(lines: Iterable[str], unit: str | None) -> Iterator[str]:
    """Lines that a daemon has said; `energyctl up` says what it does with it in lines of its own."""
    wanted = None if unit is None else unit_name(unit)
    for line in lines:
        name, colon, _ = line.partition(": ")
        if wanted is None or (colon and unit_of(name) == wanted):
            yield line.rstrip("\n")


def _line(text: str) -> Answer:
    name, _, said = text.partition(": ")
    return Answer({"type": "log", "name": name, "line": said}, (text,))


def _no_journal(why: str, here: Session) -> ProblemError:
    log = here.run_dir / record.LOG
    hint = "`energyctl up` says all on its own stderr; with --detach in up.log of its run directory"
    if log.exists():
        hint = f"the log of the market here is {log}"
    return ProblemError(Exit.FAILED, "no_journal", "there is no journal of the suite", why, hint)
