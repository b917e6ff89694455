"""energy-import: measured homes, of CSV or CityLearn, become a scenario, with a report on their quality."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.archive.progress import shown
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.intake import telling, writing
from energymarket.intake.columns import Unit, Wishes
from energymarket.intake.limits import INTERPOLATE_S_MAX, POWER_KW_MAX
from energymarket.intake.quantities import Role
from energymarket.intake.scenario_text import Placing
from energymarket.intake.survey import Choice, Survey, survey
from energymarket.runtime import service
from energymarket.runtime.service import StopFlag
from energymarket.scenario import kinds, toml

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "energy-import"
EXITS: Final = (
    "exit: 0 written, 1 the file cannot be taken, or there is a result already, 4 no such file, "
    "5 --strict and faults were found: nothing written, 74 no room, 77 not readable, "
    "78 what the file does not say must be said by an option, 130 interrupted: nothing written"
)
_ROLES: Final = {
    Role.LOAD: "--load", Role.PV: "--pv", Role.NET: "--net", Role.IMPORT: "--import", Role.EXPORT: "--export",
    Role.TARIFF: "--tariff-column", Role.FEED_IN: "--feed-in-column", Role.CARBON: "--carbon-column",
}  # fmt: skip


def _span(text: str) -> int:
    try:
        return kinds.span().read(text)
    except kinds.RefusedError as refused:
        raise argparse.ArgumentTypeError(str(refused)) from None


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    usage = "%(prog)s FILE [--tz ZONE] [--unit UNIT] [--registers] [--out DIR] [OPTION ...]"
    parser = argparse.ArgumentParser(PROGRAM, usage=usage, description=__doc__, epilog=EXITS)
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV (also .gz), or CityLearn's directory")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the result goes (default: named as FILE)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier result")
    parser.add_argument(
        "--strict", action="store_true", help="refuse a file with faults instead of repairing it"
    )
    parser.add_argument("--tz", metavar="ZONE", help="clock of the times, as Europe/Berlin, UTC or +01:00")
    parser.add_argument(
        "--unit", choices=[str(unit) for unit in Unit], help="where names of columns do not say it"
    )
    parser.add_argument("--registers", action="store_true", help="values are cumulative counters")
    parser.add_argument(
        "--stamp", choices=("begin", "end"), default="begin", help="which end of its interval a time is"
    )
    parser.add_argument(
        "--slot", type=_span, metavar="SPAN", help="length of the scenario's slots (default: the data's)"
    )
    parser.add_argument("--time-column", metavar="NAME", help="or DATE+TIME")
    parser.add_argument("--home-column", metavar="NAME", help="the column of homes in the long form")
    for role, option in _ROLES.items():
        parser.add_argument(option, dest=f"role_{role}", metavar="NAME", help=f"column of {role}")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="HOME,...", help="homes to leave out"
    )
    parser.add_argument("--time-format", metavar="FORMAT", help="of strptime, as '%%d/%%m/%%Y %%H:%%M'")
    parser.add_argument("--delimiter", metavar="CHAR", help="what parts the columns")
    parser.add_argument("--decimal", choices=(",", "."), help="the decimal mark")
    parser.add_argument("--year", type=int, metavar="YEAR", help="of hours without dates")
    parser.add_argument("--interpolate", type=_span, metavar="SPAN", default=INTERPOLATE_S_MAX,
                        help="gaps up to this are bridged by a line (default: 1h)")  # fmt: skip
    parser.add_argument("--limit-kw", type=float, metavar="KW", default=POWER_KW_MAX,
                        help=f"more than this is a spike (default: {POWER_KW_MAX})")  # fmt: skip
    parser.add_argument("--latitude", type=float, metavar="DEG", help="of the homes (default: Mannheim)")
    parser.add_argument("--longitude", type=float, metavar="DEG", help="of the homes")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return _checked(parser, parser.parse_args(arguments))


def _checked(parser: argparse.ArgumentParser, given: argparse.Namespace) -> argparse.Namespace:
    if (given.latitude is None) != (given.longitude is None):
        parser.error("--latitude and --longitude belong together")
    if given.latitude is not None and not (abs(given.latitude) <= 90 and abs(given.longitude) <= 180):
        parser.error("--latitude is -90 .. 90, --longitude -180 .. 180")
    if not 0 < given.limit_kw <= 1e6:
        parser.error("--limit-kw is above 0 and at most 1,000,000")
    if given.delimiter is not None:
        given.delimiter = {"\\t": "\t", "tab": "\t"}.get(given.delimiter, given.delimiter)
        if len(given.delimiter) != 1 or given.delimiter in '"\r\n':
            parser.error("--delimiter is one character, or tab")
    if given.slot is not None and (given.slot > 3_600 or 86_400 % given.slot):
        parser.error("--slot is at most 1h, and a whole part of a day")
    if given.year is not None and not 1971 <= given.year <= 2900:
        parser.error("--year is 1971 .. 2900")
    return given


def choice_of(given: argparse.Namespace) -> Choice:
    """The command line as the import wants it."""
    unit = None if given.unit is None else Unit(given.unit)
    roles = {role: name for role in _ROLES if (name := getattr(given, f"role_{role}")) is not None}
    return Choice(
        zone=given.tz,
        unit=unit,
        wishes=Wishes(given.time_column, given.home_column, roles, unit),
        registers=given.registers,
        ends=given.stamp == "end",
        slot_s=given.slot,
        exclude=tuple(name.strip() for names in given.exclude for name in names.split(",") if name.strip()),
        delimiter=given.delimiter,
        decimal=given.decimal,
        time_format=given.time_format,
        year=given.year,
        interpolate_s=given.interpolate,
        power_max_kw=given.limit_kw,
    )


def take_in(given: argparse.Namespace, stop: StopFlag) -> int:
    """Read, judge, write; the answer is an exit code."""
    if not given.file.exists():
        raise NoSuchObject(f"{given.file}: no such file", "name a CSV file or a directory of CityLearn")
    if not (given.file.is_file() or given.file.is_dir()):
        raise Failure(f"{given.file} is neither a file nor a directory", "write it into a file first")
    out = given.out or Path(_stem(given.file))
    if not given.strict:
        writing.check_place(out, force=given.force)
    with shown() as bar:

        def told(what: str, done: int, total: int) -> None:
            if stop.is_set():
                raise Failure("interrupted: nothing was written", code=Exit.INTERRUPTED)
            bar(what, done, total)

        found = survey(given.file, choice_of(given), told)
        if given.strict and (found.quality.findings or found.quality.changes):
            return _refused(given, found)
        writing.write(found, Placing(given.latitude, given.longitude), out, told, force=given.force)
    scenario = out / "scenario.toml"
    read, problems = toml.read(str(scenario))
    if read is None:  # a bug of ours: what we write is to be read
        raise ConfigError(toml.render_problems(problems))
    document = telling.document_of(found) | {"directory": str(out), "scenario": str(scenario)}
    lines = [*telling.lines_of(found), "", f"written: {out}/ with {', '.join(writing.WRITTEN)}",
             f"next: energyctl simulate {scenario}, or live: energyctl up {scenario}"]  # fmt: skip
    sys.stdout.write((json.dumps(document, ensure_ascii=False) if given.json else "\n".join(lines)) + "\n")
    return Exit.OK


def _stem(file: Path) -> str:
    path = file.resolve()
    name = path.parent.name if path.name == "schema.json" else path.name
    for ending in (".gz", ".csv", ".txt", ".tsv"):
        name = name.removesuffix(ending)
    return name if not Path(name).exists() or Path(name).resolve() != path else f"{name}-imported"


def _refused(given: argparse.Namespace, found: Survey) -> int:
    faults = len(found.quality.findings)
    changed = sum(found.quality.counts().values())
    failure = Failure(
        f"{given.file}: {faults} findings, {changed:,} values to change: nothing was written (--strict)",
        "without --strict it is repaired, and every change is listed",
        Exit.DEGRADED,
    )
    if given.json:
        sys.stdout.write(
            json.dumps(telling.document_of(found) | {"directory": None}, ensure_ascii=False) + "\n"
        )
    else:
        sys.stdout.write("\n".join(telling.lines_of(found)) + "\n")
    raise failure


def main(arguments: Sequence[str] | None = None) -> int:
    """Import a file; the answer is an exit code."""
    given = _words(arguments)
    return service.run_once(PROGRAM, lambda stop: take_in(given, stop), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
