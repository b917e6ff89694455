"""`energyctl meters`: what the PV services have written: a list, live lines, Parquet, a picture of a day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.programs import run_program
from energyctl.session import Session, session
from energyctl.up import proc

SYSTEM_FILES = Path("/var/lib/energy-market/pv")

_DIRECTORY = typer.Option(
    "--directory", metavar="DIR", help="Where PV services write (default: here, or what runs)."
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Meters and PV over RabbitMQ: list, watch, export, plot.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_meters)
    group.command("list")(list_them)
    group.command("watch")(watch)
    group.command("export")(export)
    group.command("plot")(plot)
    app.add_typer(group, name="meters")


def _meters() -> None:
    """Meters and PV over RabbitMQ: list, watch, export, plot."""


def list_them(ctx: typer.Context, directory: Annotated[Path | None, _DIRECTORY] = None) -> int:
    """List meters: days, rows, duplicates that were dropped, sequences that are missing, the last sample."""
    return run_program("meter_files", ["list", *_common(ctx, directory)])


def watch(
    ctx: typer.Context,
    directory: Annotated[Path | None, _DIRECTORY] = None,
    every: Annotated[
        float, typer.Option("--every", min=0.05, metavar="S", help="Seconds between two looks.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="So many looks, then end.")
    ] = None,
) -> int:
    """Watch a live line per meter, until Ctrl-C."""
    chosen = [] if count is None else [f"--count={count}"]
    return run_program("meter_files", ["watch", f"--every={every}", *chosen, *_common(ctx, directory)])


def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file to write.")],
    meter_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[METER]...", help="Of these meters; without, of all.")
    ] = None,
    directory: Annotated[Path | None, _DIRECTORY] = None,
) -> int:
    """Export all rows as one Parquet file, in order of meter and time."""
    return run_program(
        "meter_files", ["export", *_common(ctx, directory), "--", str(out), *(meter_ids or [])]
    )


def plot(
    ctx: typer.Context,
    meter_id: Annotated[str, typer.Argument(metavar="METER", help="The meter.")],
    day: Annotated[
        str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="The day (default: its last).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The picture, .png or .svg (default: ID-DAY.png)."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="NAME", help="Of the meter's clock (default: the machine's)."),
    ] = None,
    directory: Annotated[Path | None, _DIRECTORY] = None,
) -> int:
    """Draw a meter's day: consumption, PV, and their sum."""
    chosen = [] if day is None else [f"--day={day}"]
    chosen += [] if out is None else [f"--out={out}"]
    chosen += [] if timezone is None else [f"--timezone={timezone}"]
    return run_program("meter_files", ["plot", *chosen, *_common(ctx, directory), "--", meter_id])


def _common(ctx: typer.Context, directory: Path | None) -> list[str]:
    here = session(ctx)
    return [f"--directory={directory or place(here)}", *(["--json"] if here.as_json else [])]


def place(here: Session) -> Path:
    """Where meters are looked for: here, where PV services wrote; else in what runs; else the suite's."""
    if any(Path().glob("*.sidecar")):
        return Path()
    kept = proc.read(here.run_dir)
    of_run = None if kept is None else Path(kept.state) / "pv"
    return next((each for each in (of_run, SYSTEM_FILES) if each is not None and each.is_dir()), Path())
