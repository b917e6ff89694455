"""`energyctl simulate`: a scenario as fast as the machine goes, into a ledger like a live one's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.programs import run_program
from energyctl.session import default_simulation, session

ENGINES: Final = ("embedded", "local", "ray")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("simulate")(simulate)


def simulate(
    ctx: typer.Context,
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="A shipped scenario, or a file.")
    ] = "default",
    *,
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="1y|7d|96", help="So much market time, or so many slots."),
    ] = None,
    homes: Annotated[
        int | None,
        typer.Option("--homes", min=1, metavar="N", help="So many homes in the scenario's groups."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Another seed of all chance.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, metavar="N", help="Ranges that the homes are cut into.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="embedded|local|ray",
            help="One process, the cores (default), or actors of Ray.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Head of the Ray cluster to play on (engine ray; default: one of this machine alone).",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Processes on this machine (default: cores)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the results go (default: below $XDG_STATE_HOME)."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Tell each home's bill under every sharing rule, side by side.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of an unfinished run.")
    ] = False,
) -> int:
    """Play a scenario without a clock: a year of a thousand homes in seconds, the ledger like a live one's.

    The ledger's hash depends on scenario and seed only: not on engine, shards, workers or interruptions.
    Ctrl-C ends it with what there is. Earlier results in the same place stay until the new ones are whole.
    """
    here = session(ctx)
    _check(engine, address)
    place = out or default_simulation(os.environ, Path(scenario).stem)
    words = [scenario, "--out", str(place)]
    options = {
        "--for": lasting, "--homes": homes, "--seed": seed, "--shards": shards, "--engine": engine,
        "--workers": workers, "--address": address,
    }  # fmt: skip
    for name, value in options.items():
        if value is not None:
            words += [name, str(value)]
    flags = {"--compare": compare, "--resume": resume, "--json": here.as_json}
    words += [name for name, is_set in flags.items() if is_set]
    return run_program("fastforward", words)


def _check(engine: str | None, address: str | None) -> None:
    """Refuse an engine that there is not, and an address for one that has none."""
    if engine not in {None, *ENGINES}:
        hint = f"engines: {', '.join(ENGINES)}"
        raise ProblemError(Exit.USAGE, "no_such_engine", f"there is no engine {engine!r}", hint=hint)
    if address is not None and engine != "ray":
        hint = "--engine ray --address HOST:PORT"
        raise ProblemError(Exit.USAGE, "address_without_ray", "--address is that of a Ray cluster", hint=hint)
