"""`energyctl check` speaks as a monitoring plugin does: ranges, states, one line, performance data."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from energyctl import standing, systemd
from energyctl.exits import Exit, Plugin, ProblemError
from energyctl.render import Answer, show
from energyctl.session import Session
from energyctl.standing import Standing
from energyctl.verbs import check

HERE = Session(as_json=False, run="/nonexistent")
STATUS: dict[str, Any] = {
    "state": "running",
    "snapshot": {"open_price_ueur_per_kwh": 250_000, "lateness_us": 2_000},
    "last_slot": {"slot": 7},
    "late_ms": 0,
    "weather_stale": False,
    "homes": 10,
    "homes_joined": 10,
    "queue": {"bytes": 72},
    "notes": [],
}
# https://www.monitoring-plugins.org/doc/guidelines.html, "Plugin Output for Nagios"
LINE = re.compile(r"ENERGY MARKET (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| [^|\n]+)?\n")
DATUM = re.compile(r"[a-z_]+=-?[0-9]+(\.[0-9]+)?(s|B)?(;[~@:0-9.-]*){0,2}")


class Context:
    """What typer hands in."""

    obj = HERE


def looked(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | None, **options: Any
) -> tuple[Plugin, str]:
    found = options.pop("found", None) or Standing(HERE, status, None, options.pop("units", []), [])
    monkeypatch.setattr(standing, "look", lambda _here: found)
    answer: Answer = check.check(Context(), **options)  # type: ignore[arg-type]
    out = io.StringIO()
    show(answer, as_json=False, out=out)
    line = out.getvalue()
    assert LINE.fullmatch(line), line
    for datum in line.partition(" | ")[2].split():
        assert DATUM.fullmatch(datum), datum
    assert isinstance(answer.exit_code, Plugin)
    assert line.startswith(f"ENERGY MARKET {answer.exit_code.name} ")
    return answer.exit_code, line


@pytest.mark.parametrize(
    ("text", "fine", "alerts"),
    [  # the table of the guidelines, "Example ranges"
        ("10", [0, 10], [-1, 11]),
        ("10:", [10, 1e9], [9]),
        ("~:10", [-1e9, 10], [11]),
        ("10:20", [10, 20], [9, 21]),
        ("@10:20", [9, 21], [10, 20]),
        ("0.05:0.35", [0.05, 0.35], [0.04, 0.36]),
        ("-0.1:0.1", [-0.1, 0], [-0.2]),
    ],
)
def test_a_range_is_that_of_the_guidelines(text: str, fine: list[float], alerts: list[float]) -> None:
    """Alert outside of start:end, ends included in what is fine; with @ inside of it."""
    bound = check.Range(text)
    assert [value for value in fine if bound.alerts(value)] == []
    assert [value for value in alerts if not bound.alerts(value)] == []


@pytest.mark.parametrize("text", ["", "@", "x", "1:2:3", "20:10", "1,5", "nan", "1e3"])
def test_what_is_no_range_is_unknown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Exit code 3, not 2: a mistake in a monitoring system's words is no alarm of the market."""
    assert looked(monkeypatch, STATUS, late_warning=text)[0] is Plugin.UNKNOWN


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slot and homes, and every value with its ranges."""
    code, line = looked(monkeypatch, STATUS)
    assert code is Plugin.OK
    assert line == (
        "ENERGY MARKET OK - slot 7, 10 of 10 homes trade | price=0.25 late=0.002s;1;5 homes_missing=0;0;5"
        " homes=10 queue=72B restarts=0;0;5\n"
    )


@pytest.mark.parametrize(
    ("changed", "options", "code", "words"),
    [
        ({"late_ms": 1_500}, {}, Plugin.WARNING, "late is 1.5s (range 1)"),
        ({"late_ms": 6_000}, {}, Plugin.CRITICAL, "late is 6s (range 5)"),
        ({"homes_joined": 9}, {}, Plugin.WARNING, "homes missing is 1 (range 0)"),
        ({"homes_joined": 4}, {}, Plugin.CRITICAL, "homes missing is 6 (range 5)"),
        ({"homes_joined": 4}, {"missing_critical": "9"}, Plugin.WARNING, "homes missing is 6"),
        ({"weather_stale": True}, {}, Plugin.WARNING, "the weather is stale"),
        ({"weather_stale": True}, {"stale_critical": True}, Plugin.CRITICAL, "the weather is stale"),
        ({}, {"price_warning": "0.05:0.2"}, Plugin.WARNING, "price is 0.25 (range 0.05:0.2)"),
        ({}, {"price_warning": "0.05:0.2", "price_critical": "0:0.24"}, Plugin.CRITICAL, "(range 0:0.24)"),
        ({"state": "starting"}, {}, Plugin.WARNING, "the market is starting"),
        ({"notes": ["the ledger cannot be written: full"]}, {}, Plugin.CRITICAL, "cannot be written"),
    ],
)
def test_what_is_out_of_bounds_is_said(
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    options: dict[str, Any],
    code: Plugin,
    words: str,
) -> None:
    """The worst decides; the words name the value and the range that it left."""
    found, line = looked(monkeypatch, STATUS | changed, **options)
    assert found is code
    assert words in line.partition(" | ")[0]


def test_the_worst_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pager shows the beginning of the line."""
    _, line = looked(monkeypatch, STATUS | {"weather_stale": True, "late_ms": 9_000})
    assert line.index("late is 9s") < line.index("the weather is stale")


def test_units_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed unit is CRITICAL, restarts beyond the bound are told with their number."""
    units = [
        systemd.Unit(
            {"Id": "energy-homes.service", "ActiveState": "failed", "Result": "signal", "NRestarts": "7"}
        )
    ]
    code, line = looked(monkeypatch, STATUS, units=units)
    assert code is Plugin.CRITICAL
    assert "energy-homes.service is failed signal" in line
    assert "restarts=7;0;5" in line


@pytest.mark.parametrize(
    ("exit_code", "state"),
    [
        (Exit.NOT_RUNNING, Plugin.CRITICAL),
        (Exit.UNREACHABLE, Plugin.CRITICAL),
        (Exit.TRY_AGAIN, Plugin.WARNING),
        (Exit.PERMISSION, Plugin.UNKNOWN),
    ],
)
def test_without_an_answer_the_reason_decides(
    monkeypatch: pytest.MonkeyPatch, exit_code: Exit, state: Plugin
) -> None:
    """Down and frozen are alarms; who may not look does not know."""
    found = Standing(HERE, None, ProblemError(exit_code, "x", "no|answer", "because"), [], [])
    assert looked(monkeypatch, None, found=found)[0] is state
