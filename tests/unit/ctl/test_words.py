"""What people and programs read: numbers, tables, equations, errors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from energyctl import quantities
from energyctl.app import hoist
from energyctl.exits import Exit, ProblemError
from energyctl.render import Alert, Answer, Table, show, show_problem, wants_colour
from energyctl.session import run_directory
from energyctl.slotline import explanation, notes, slot_line, sparkline

EXAMPLE = {
    "slot": 1234,
    "time": "2026-06-15T12:00:00Z",
    "previous_ueur_per_kwh": 145_000,
    "gamma": 0.99,
    "terms": [
        {"name": "inertia", "value_ueur_per_kwh": 143_550},
        {"name": "inverse_temperature", "value_ueur_per_kwh": 200},
        {"name": "gas_shortage", "value_ueur_per_kwh": 10_000},
    ],
    "unclipped_ueur_per_kwh": 153_750,
    "price_ueur_per_kwh": 153_750,
}


def text_of(answer: Answer, *, as_json: bool = False) -> str:
    out = io.StringIO()
    show(answer, as_json=as_json, out=out)
    return out.getvalue()


def test_the_statements_example_reads_as_an_equation() -> None:
    """0.99 × 0.145 + 0.001/5 + 0.01 = 0.15375, term by term."""
    (line,) = explanation(EXAMPLE)
    assert line == (
        "slot 1234 (2026-06-15 12:00 UTC)  0.153750 = 0.143550 inertia (0.99 × 0.145000)"
        " + 0.000200 inverse_temperature + 0.010000 gas_shortage"
    )


def test_terms_below_zero_are_subtracted_and_a_bound_is_named() -> None:
    """A negative term has its sign before it; a clipped price says what held it."""
    terms = [
        {"name": "inertia", "value_ueur_per_kwh": 500_000},
        {"name": "imbalance", "value_ueur_per_kwh": -20_000},
    ]
    told = explanation(
        {**EXAMPLE, "terms": terms, "unclipped_ueur_per_kwh": 480_000, "price_ueur_per_kwh": 320_000}
    )
    assert told[0].endswith(
        "0.320000 = 0.500000 inertia (0.99 × 0.145000) − 0.020000 imbalance → 0.480000, held by the cap"
    )


def test_what_is_left_of_events_is_told_apart() -> None:
    """The rest of a past event is called inertia, and named."""
    rests = [{"name": "gas_shortage", "value_ueur_per_kwh": 9_900}]
    assert (
        explanation({**EXAMPLE, "inertia_of_events": rests})[1]
        == "  of the inertia, past events left: 0.009900 gas_shortage"
    )


@pytest.mark.parametrize(
    ("energy_wh", "text"),
    [(1234, "1.234 kWh"), (0, "0.000 kWh"), (-7, "-0.007 kWh"), (-12_000, "-12.000 kWh")],
)
def test_energy_is_shown_exactly(energy_wh: int, text: str) -> None:
    """Wh are thousandths of kWh, also below zero."""
    assert quantities.kwh(energy_wh) == text


@pytest.mark.parametrize(
    ("text", "slots"), [("96", 96), ("1d", 96), ("2h", 8), ("90min", 6), ("20min", 2), ("1s", 1), ("0.5h", 2)]
)
def test_durations_round_up_to_slots(text: str, slots: int) -> None:
    """In slots of 15 minutes a day has 96; 20 minutes need two."""
    assert quantities.duration_slots(text, 900) == slots


@pytest.mark.parametrize("text", ["", "0", "-1", "1_0", "٣", "2 h", "1e3", "nan", "0h", "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Digits that Python would take, and people would not mean, are refused too."""
    with pytest.raises(ProblemError) as caught:
        quantities.duration_slots(text, 900)
    assert caught.value.exit_code is Exit.USAGE


def test_json_and_run_are_understood_everywhere_but_behind_two_dashes() -> None:
    """`--json` before, behind and between; what stands behind `--` is data."""
    session, words = hoist(["--json", "price", "--run=/a", "--last", "3"])
    assert (session.as_json, session.run, words) == (True, "/a", ["price", "--last", "3"])
    session, words = hoist(["call", "X", "--", "--json", "--run"])
    assert (session.as_json, words) == (False, ["call", "X", "--", "--json", "--run"])


def test_the_run_directory_has_an_order(tmp_path: Path) -> None:
    """As told; the environment; the service if its socket is there; the user's own."""
    system, own = tmp_path / "system", tmp_path / "own"
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert run_directory("/x", {"ENERGY_MARKET_RUN": "/y"}, 1, system) == Path("/x")
    assert run_directory(None, {"ENERGY_MARKET_RUN": "/y"}, 1, system) == Path("/y")
    assert run_directory(None, environ, 1, system) == tmp_path / "energy-market"
    assert run_directory(None, {"XDG_RUNTIME_DIR": str(own)}, 17, system) == Path("/tmp/energy-market-17")
    system.mkdir()
    (system / "control").touch()
    assert run_directory(None, environ, 1, system) == system
    assert run_directory(None, environ, 1, system, own=True) == tmp_path / "energy-market"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colour_follows_terminal_and_environment(
    environ: dict[str, str], terminal: bool, wanted: bool
) -> None:
    """no-color.org: NO_COLOR counts when it is not empty, and wins."""
    assert wants_colour(Terminal() if terminal else io.StringIO(), environ) is wanted


def test_an_answer_is_text_or_one_line_of_json() -> None:
    """Columns are aligned, alerts marked; JSON keeps raw integers and readable letters."""
    answer = Answer(
        {"type": "x", "price_ueur_per_kwh": 1, "ä": 2},
        (Table((">n", "what"), [("10", "a"), ("2", "b")]), Alert("oh")),
    )
    assert text_of(answer) == " n  what\n10  a\n 2  b\n! oh\n"
    assert text_of(answer, as_json=True) == '{"type": "x", "price_ueur_per_kwh": 1, "ä": 2}\n'


def test_what_a_daemon_says_does_not_steer_the_terminal() -> None:
    """Escape sequences of others are shown as what they are not: commands."""
    assert "\x1b" not in text_of(Answer({}, ("a\x1b[2Jb", Table(("x",), [("\x1b]0;t\x07",)]))))


def test_an_error_is_what_why_and_do_this() -> None:
    """Three lines for people, one document for programs."""
    problem = ProblemError(Exit.PERMISSION, "permission_denied", "no", "because", "do this")
    out = io.StringIO()
    show_problem(problem, as_json=False, err=out)
    assert out.getvalue() == "error: no\nwhy:   because\nhint:  do this\n"
    out = io.StringIO()
    show_problem(problem, as_json=True, err=out)
    assert json.loads(out.getvalue()) == {
        "type": "error",
        "code": 77,
        "name": "permission_denied",
        "message": "no",
        "why": "because",
        "hint": "do this",
    }


def test_a_slot_is_one_line() -> None:
    """Time, price, given, traded, grid, events, notes."""
    snapshot = {
        "slot": 7,
        "local_time": "2026-06-15T14:00:00+02:00",
        "price_ueur_per_kwh": 153_750,
        "totals": {"given_wh": 250, "sold_wh": 300, "bought_wh": 100, "imported_wh": 100, "exported_wh": 700},
        "events": [{"kind": "strike", "intensity_permille": 1500}],
        "late_batches": 2,
        "homes": 3,
        "homes_in": 2,
    }
    assert slot_line(snapshot) == (
        "2026-06-15 14:00  slot 7  0.153750 €/kWh  given 0.250 kWh  traded 0.400 kWh  grid -0.600 kWh"
        "  strike ×1.5  [2 late, 1 of 3 homes missing]"
    )
    assert notes({"gap": True, "weather": {"stale": True}}) == ["gap", "stale weather"]


def test_a_sparkline_spans_low_to_high() -> None:
    """The lowest value is the lowest block, the highest the highest; a level line is in the middle."""
    assert sparkline([0, 7, 3], 80) == "▁█▄"
    assert sparkline([5, 5], 80) == "▄▄"
    assert sparkline([9, 0, 7], 2) == "▁█"
    assert sparkline([], 80) == ""


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"from_slot": 7, "until_slot": 12}, "strike ×1.5 until slot 12"),
        ({"from_slot": 7, "until_slot": None}, "strike ×1.5 until cleared"),
        ({"from_slot": None, "until_slot": None}, "strike ×1.5"),
    ],
)
def test_an_event_of_a_sealed_slot_has_no_end(more: dict[str, object], text: str) -> None:
    """Its row keeps kind and intensity: "until cleared" would be made up."""
    assert quantities.event({"kind": "strike", "intensity_permille": 1500, **more}) == text
