"""`energyctl import`: measured homes become a scenario, with a report on their quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.programs import run_program
from energyctl.session import session

_SIGNS = "Name, or pattern with {home}, of the columns of"
_FILE = typer.Argument(metavar="FILE", help="CSV, also packed (.gz), or CityLearn's directory.")
_OUT = typer.Option("-o", "--out", metavar="DIR", help="Where the result goes (default: named as FILE).")
_FORCE = typer.Option("--force", help="Replace an earlier result.")
_STRICT = typer.Option("--strict", help="Refuse a file with faults (exit 5) instead of repairing it.")
_TZ = typer.Option(
    "--tz", metavar="ZONE", help="Clock of the times: Europe/Berlin, UTC, or +01:00 (no summer time)."
)
_UNIT = typer.Option("--unit", metavar="kWh|Wh|kW|W", help="Where names of columns do not say it.")
_REGISTERS = typer.Option("--registers", help="Values are cumulative counters, to be differenced.")
_STAMP = typer.Option("--stamp", metavar="begin|end", help="Which end of its interval a time is (begin).")
_SLOT = typer.Option("--slot", metavar="SPAN", help="Slots of the scenario, as 15min (default: the data's).")
_TIME_COLUMN = typer.Option("--time-column", metavar="NAME", help="Column of times, or DATE+TIME.")
_HOME_COLUMN = typer.Option(
    "--home-column", metavar="NAME", help="Column of homes, one line per home and time."
)
_LOAD = typer.Option("--load", metavar="NAME", help=f"{_SIGNS} load.")
_PV = typer.Option("--pv", metavar="NAME", help=f"{_SIGNS} generation.")
_NET = typer.Option("--net", metavar="NAME", help=f"{_SIGNS} load minus generation.")
_BOUGHT = typer.Option("--import", metavar="NAME", help=f"{_SIGNS} import from the grid.")
_FED = typer.Option("--export", metavar="NAME", help=f"{_SIGNS} export to the grid.")
_TARIFF_COLUMN = typer.Option("--tariff-column", metavar="NAME", help="Column of import prices per kWh.")
_FEED_IN_COLUMN = typer.Option("--feed-in-column", metavar="NAME", help="Column of export prices per kWh.")
_CARBON_COLUMN = typer.Option("--carbon-column", metavar="NAME", help="Column of carbon intensity per kWh.")
_EXCLUDE = typer.Option("--exclude", metavar="HOME,...", help="Homes to leave out, by their names.")
_TIME_FORMAT = typer.Option("--time-format", metavar="FORMAT", help="Of strptime, as '%d/%m/%Y %H:%M'.")
_DELIMITER = typer.Option("--delimiter", metavar="CHAR", help="What parts the columns (default: looked at).")
_DECIMAL = typer.Option("--decimal", metavar=",|.", help="The decimal mark (default: looked at).")
_YEAR = typer.Option("--year", metavar="YEAR", help="Of a file of hours without dates.")
_INTERPOLATE = typer.Option(
    "--interpolate", metavar="SPAN", help="Gaps up to this are bridged by a line (1h)."
)
_LIMIT_KW = typer.Option("--limit-kw", metavar="KW", help="More power than this is a spike (43.5).")
_LATITUDE = typer.Option("--latitude", metavar="DEG", help="Of the homes (default: Mannheim).")
_LONGITUDE = typer.Option("--longitude", metavar="DEG", help="Of the homes.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import")(import_homes)


def import_homes(
    ctx: typer.Context,
    file: Annotated[Path, _FILE],
    *,
    out: Annotated[Path | None, _OUT] = None,
    force: Annotated[bool, _FORCE] = False,
    strict: Annotated[bool, _STRICT] = False,
    tz: Annotated[str | None, _TZ] = None,
    unit: Annotated[str | None, _UNIT] = None,
    registers: Annotated[bool, _REGISTERS] = False,
    stamp: Annotated[str | None, _STAMP] = None,
    slot: Annotated[str | None, _SLOT] = None,
    time_column: Annotated[str | None, _TIME_COLUMN] = None,
    home_column: Annotated[str | None, _HOME_COLUMN] = None,
    load: Annotated[str | None, _LOAD] = None,
    pv: Annotated[str | None, _PV] = None,
    net: Annotated[str | None, _NET] = None,
    bought: Annotated[str | None, _BOUGHT] = None,
    fed: Annotated[str | None, _FED] = None,
    tariff_column: Annotated[str | None, _TARIFF_COLUMN] = None,
    feed_in_column: Annotated[str | None, _FEED_IN_COLUMN] = None,
    carbon_column: Annotated[str | None, _CARBON_COLUMN] = None,
    exclude: Annotated[list[str] | None, _EXCLUDE] = None,
    time_format: Annotated[str | None, _TIME_FORMAT] = None,
    delimiter: Annotated[str | None, _DELIMITER] = None,
    decimal: Annotated[str | None, _DECIMAL] = None,
    year: Annotated[int | None, _YEAR] = None,
    interpolate: Annotated[str | None, _INTERPOLATE] = None,
    limit_kw: Annotated[float | None, _LIMIT_KW] = None,
    latitude: Annotated[float | None, _LATITUDE] = None,
    longitude: Annotated[float | None, _LONGITUDE] = None,
) -> int:
    """Make a scenario of measured homes; report gaps, clocks, counters, signs, and what was repaired."""
    said = {
        "--out": out, "--tz": tz, "--unit": unit, "--stamp": stamp, "--slot": slot,
        "--time-column": time_column, "--home-column": home_column,
        "--load": load, "--pv": pv, "--net": net, "--import": bought,
        "--export": fed, "--tariff-column": tariff_column, "--feed-in-column": feed_in_column,
        "--carbon-column": carbon_column, "--time-format": time_format, "--delimiter": delimiter,
        "--decimal": decimal, "--year": year, "--interpolate": interpolate, "--limit-kw": limit_kw,
        "--latitude": latitude, "--longitude": longitude,
    }  # fmt: skip
    flags = {"--force": force, "--strict": strict, "--registers": registers, "--json": session(ctx).as_json}
    # As one word each, so that a value may begin with a dash (a longitude does).
    words = [f"{option}={value}" for option, value in said.items() if value is not None]
    words += [f"--exclude={names}" for names in exclude or ()]
    words += [option for option, wanted in flags.items() if wanted]
    return run_program("importing", [*words, "--", str(file)])
