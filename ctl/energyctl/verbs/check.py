"""`energyctl check`: one line, performance data and exit code as monitoring systems expect of a plugin.

Format and codes: https://www.monitoring-plugins.org/doc/guidelines.html. A range is their `[@]start:end`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from energyctl import standing
from energyctl.exits import Exit, Plugin, ProblemError
from energyctl.quantities import UEUR_PER_EUR
from energyctl.render import Answer
from energyctl.session import session

_NUMBER: Final = r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?"
_RANGE: Final = rf"(@?)(?:(~|{_NUMBER})?:)?({_NUMBER})?"
_PASSING: Final = frozenset({Exit.TRY_AGAIN})
_UNKNOWN: Final = frozenset({Exit.PERMISSION})


class Range:
    """Values that are fine: `10` is 0 to 10, `10:` from 10 on, `~:10` up to 10, `@5:10` all but 5 to 10."""

    __slots__ = ("end", "inside", "start", "text")

    def __init__(self, text: str) -> None:
        match = re.fullmatch(_RANGE, text)
        if match is None or not text.strip("@"):
            raise _wrong(text, "a range is 10, 10:, ~:10, 10:20 or @10:20")
        self.text = text
        self.inside = bool(match[1])
        start = match[2]
        self.start = -math.inf if start == "~" else float(start or 0)
        self.end = math.inf if match[3] is None else float(match[3])
        if self.start > self.end:
            raise _wrong(text, "its start is beyond its end")

    def alerts(self, value: float) -> bool:
        """Whether the value is not fine."""
        return (self.start <= value <= self.end) is self.inside


class Measure:
    """One thing that is looked at: its name, value and unit, and the ranges that are fine."""

    __slots__ = ("critical", "name", "unit", "value", "warning")

    def __init__(
        self,
        name: str,
        value: float,
        unit: str = "",
        warning: Range | None = None,
        critical: Range | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.unit = unit
        self.warning = warning
        self.critical = critical

    @property
    def state(self) -> Plugin:
        """What the ranges say."""
        if self.critical is not None and self.critical.alerts(self.value):
            return Plugin.CRITICAL
        if self.warning is not None and self.warning.alerts(self.value):
            return Plugin.WARNING
        return Plugin.OK

    @property
    def complaint(self) -> str:
        """What is wrong, with the range that it left."""
        bound = self.critical if self.state is Plugin.CRITICAL else self.warning
        said = f"{self.name.replace('_', ' ')} is {self.value:g}{self.unit}"
        return said if bound is None else f"{said} (range {bound.text})"

    def perfdata(self) -> str:
        """`name=value[unit];warning;critical`."""
        ranges = ";".join("" if bound is None else bound.text for bound in (self.warning, self.critical))
        return f"{self.name}={self.value:.6f}".rstrip("0").rstrip(".") + f"{self.unit};{ranges}".rstrip(";")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("check")(check)


def _range(name: str, text: str) -> object:
    return typer.Option(f"--{name}", metavar="RANGE", help=text)


def check(
    ctx: typer.Context,
    price_warning: Annotated[
        str | None, _range("price-warning", "Fine prices in €/kWh, for example 0.05:0.35.")
    ] = None,
    price_critical: Annotated[str | None, _range("price-critical", "Beyond these, CRITICAL.")] = None,
    late_warning: Annotated[str, _range("late-warning", "Seconds that a slot may be late.")] = "1",
    late_critical: Annotated[str, _range("late-critical", "Beyond these, CRITICAL.")] = "5",
    missing_warning: Annotated[str, _range("missing-warning", "Homes that may be missing.")] = "0",
    missing_critical: Annotated[
        str | None, _range("missing-critical", "Beyond these, CRITICAL; by default half of the homes.")
    ] = None,
    restarts_warning: Annotated[
        str, _range("restarts-warning", "Restarts of any unit since its last start by hand.")
    ] = "0",
    restarts_critical: Annotated[str, _range("restarts-critical", "Beyond these, CRITICAL.")] = "5",
    *,
    stale_critical: Annotated[
        bool, typer.Option("--stale-critical", help="Stale weather is CRITICAL, not WARNING.")
    ] = False,
) -> Answer:
    """Print one line for a monitoring system, with its own exit codes.

    They are those of plugins, not those of the other verbs: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (also
    for wrong words). A RANGE holds what is fine: 10 is 0 to 10, 10: from 10 on, ~:10 up to 10, and @5:10
    all but 5 to 10.
    """
    try:
        bounds = {
            "price": (_bound(price_warning), _bound(price_critical)),
            "late": (_bound(late_warning), _bound(late_critical)),
            "homes_missing": (_bound(missing_warning), _bound(missing_critical)),
            "restarts": (_bound(restarts_warning), _bound(restarts_critical)),
        }
        found = standing.look(session(ctx))
    except ProblemError as problem:
        return _said(Plugin.UNKNOWN, [f"{problem.message} ({problem.why})"], [])
    if found.status is None:
        return _unanswered(found)
    measures = _measures(found, found.status, bounds)
    states = dict(_states(found, found.status, stale_critical=stale_critical))
    states |= {each.complaint: each.state for each in measures if each.state is not Plugin.OK}
    worst = max(states.values(), default=Plugin.OK)
    complaints = sorted(states, key=lambda complaint: -states[complaint])
    return _said(worst, complaints or [_all_well(found.status)], measures)


def _bound(text: str | None) -> Range | None:
    return None if text is None else Range(text)


def _unanswered(found: standing.Standing) -> Answer:
    problem = found.problem
    if problem is None:
        return _said(Plugin.CRITICAL, ["the market does not answer"], [])
    state = Plugin.CRITICAL
    if problem.exit_code in _PASSING:
        state = Plugin.WARNING
    if problem.exit_code in _UNKNOWN:
        state = Plugin.UNKNOWN
    why = f" ({problem.why})" if problem.why else ""
    failed = [f"{unit.name}: {unit.why}" for unit in found.units if unit.failed]
    return _said(state, [problem.message + why, *failed], [])


def _measures(
    found: standing.Standing,
    status: Mapping[str, Any],
    bounds: Mapping[str, tuple[Range | None, Range | None]],
) -> list[Measure]:
    snapshot, homes = status.get("snapshot") or {}, int(status.get("homes", 0))
    price = snapshot.get("open_price_ueur_per_kwh", snapshot.get("price_ueur_per_kwh"))
    late_s = max(int(status.get("late_ms", 0)) / 1e3, int(snapshot.get("lateness_us", 0)) / 1e6)
    missing_warning, missing_critical = bounds["homes_missing"]
    measures = [] if price is None else [Measure("price", price / UEUR_PER_EUR, "", *bounds["price"])]
    return [
        *measures,
        Measure("late", late_s, "s", *bounds["late"]),
        Measure(
            "homes_missing",
            homes - int(status.get("homes_joined", 0)),
            "",
            missing_warning,
            missing_critical or Range(str(homes // 2)),
        ),
        Measure("homes", homes),
        Measure("queue", int((status.get("queue") or {}).get("bytes", 0)), "B"),
        Measure("restarts", max((unit.restarts for unit in found.units), default=0), "", *bounds["restarts"]),
    ]


def _states(
    found: standing.Standing, status: Mapping[str, Any], *, stale_critical: bool
) -> list[tuple[str, Plugin]]:
    """What is no number: notes of the market, units and processes that are not as they should be."""
    stale = Plugin.CRITICAL if stale_critical else Plugin.WARNING
    told = [("the weather is stale", stale)] if status.get("weather_stale") else []
    told += [
        (str(note), Plugin.CRITICAL if "ledger" in str(note) else Plugin.WARNING)
        for note in status.get("notes") or ()
        if note != "the weather is stale"
    ]
    if status.get("state") in {"starting", "stopping", "ended"}:
        told.append((f"the market is {status['state']}", Plugin.WARNING))
    told += [
        (
            f"{unit.name} is {unit.state} {unit.why if unit.failed else ''}".strip(),
            Plugin.CRITICAL if unit.failed else Plugin.WARNING,
        )
        for unit in found.units
        if standing.is_bad(unit)
    ]
    told += [
        (f"{row['name']} is {row['state']}", Plugin.CRITICAL)
        for row in found.process_rows()
        if row["state"] != "running"
    ]
    return told


def _all_well(status: Mapping[str, Any]) -> str:
    last = status.get("last_slot") or {}
    slot = f"slot {last['slot']}, " if "slot" in last else ""
    return f"{slot}{status.get('homes_joined')} of {status.get('homes')} homes trade"


def _said(state: Plugin, complaints: list[str], measures: list[Measure]) -> Answer:
    # `|` begins the performance data, so it may stand nowhere else
    said = "; ".join(complaints).replace("|", "/").replace("\n", " ")
    perfdata = " ".join(each.perfdata() for each in measures)
    line = f"ENERGY MARKET {state.name} - {said}" + (f" | {perfdata}" if perfdata else "")
    data = {
        "type": "check",
        "state": state.name,
        "said": complaints,
        "values": {each.name: each.value for each in measures},
    }
    return Answer(data, (line,), state)


def _wrong(text: str, why: str) -> ProblemError:
    return ProblemError(Exit.USAGE, "bad_range", f"{text!r} is no range", why)
