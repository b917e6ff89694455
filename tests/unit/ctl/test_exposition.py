"""Metrics are what Prometheus reads: checked by a parser of our own, made from the published format alone.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format (version 0.0.4).
"""

from __future__ import annotations

import re

import pytest

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.exposition import Family, text_of
from energyctl.session import Session
from energyctl.standing import Standing
from energyctl.verbs import metrics

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
STATE = "energy_market_state"
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|Inf|NaN)"
PAIR = rf'({LABEL})="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{PAIR})(?:,{PAIR})*)?\}})? ({NUMBER})")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Every sample. AssertionError where the text breaks the format."""
    assert text.endswith("\n"), "the last line must end with a line feed"
    found: Samples = {}
    described: dict[str, str] = {}
    current = ""
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) ((?:[^\\\n]|\\[\\n])*)", line):
            assert match[1] not in described, f"two HELP lines for {match[1]}"
            described[match[1]] = ""
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram|summary|untyped)", line):
            assert described.get(match[1]) == "", f"TYPE of {match[1]} without HELP, or twice"
            described[match[1]], current = match[2], match[1]
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, f"no line of the format: {line!r}"
            assert match[1] == current, f"{match[1]} does not stand in one group behind its TYPE"
            labels = tuple(
                sorted((name, unescaped(value)) for name, value in re.findall(PAIR, match[2] or ""))
            )
            assert len({name for name, _ in labels}) == len(labels), f"a label twice: {line}"
            assert (match[1], labels) not in found, f"twice: {line}"
            found[match[1], labels] = float(match[match.lastindex or 0])
    return found


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def unit(**properties: str) -> systemd.Unit:
    return systemd.Unit({"LoadState": "loaded", "ActiveState": "active", "SubState": "running", **properties})


def page(standing: Standing) -> str:
    families = [
        *metrics._market(standing),
        *metrics._prices(standing.status or {}),
        *metrics._inside(standing.status or {}),
        *metrics._units(standing),
    ]
    return text_of(families) + "\n"


HERE = Session(as_json=False, run="/nonexistent")
STATUS = {
    "state": "running",
    "market": {"pid": 1, "generation": 3, "external_pid": 9, "external_starts": 2},
    "snapshot": {
        "price_ueur_per_kwh": 153_750,
        "import_ueur_per_kwh": 330_000,
        "export_ueur_per_kwh": -5_000,
        "open_slot": 8,
        "open_price_ueur_per_kwh": 160_000,
        "lateness_us": 1_500,
        "events": [
            {"kind": 'a "b"\\c\nd', "intensity_permille": 1500},
            {"kind": 'a "b"\\c\nd', "intensity_permille": 500},
        ],
    },
    "last_slot": {"slot": 7, "age_ms": 250},
    "late_ms": 0,
    "weather_stale": True,
    "homes": 4,
    "homes_joined": 3,
    "queue": {"messages": 2, "bytes": 72},
    "transactions": {"permits": 16, "busy": 1, "waiting": 0},
    "counts": {"slots_done": 5, "late_batches": 1, "energy_wh": {"sold": 1_000}},
}


def test_values_labels_and_units_are_those_of_the_market() -> None:
    """1 kWh is 3.6 MJ; -5000 µ€/kWh are -0.005 €/kWh; two events of a kind act together."""
    found = parsed(page(Standing(HERE, STATUS, None, [], [])))
    expected = {
        "up": 1,
        "price_euros_per_kilowatthour": 0.15375,
        "export_price_euros_per_kilowatthour": -0.005,
        "open_price_euros_per_kilowatthour": 0.16,
        "slot": 7,
        "slot_age_seconds": 0.25,
        "slot_lateness_seconds": 0.0015,
        "homes_joined": 3,
        "queue_bytes": 72,
        "weather_stale": 1,
        "external_up": 1,
        "late_batches_total": 1,
    }
    for name, value in expected.items():
        assert found[f"energy_market_{name}", ()] == value, name
    assert found["energy_market_energy_joules_total", (("kind", "sold"),)] == 3_600_000
    assert found["energy_market_event_intensity_ratio", (("kind", 'a "b"\\c\nd'),)] == 2.0


def test_exactly_one_state_is_on() -> None:
    """A set of states is one metric with a label: their sum is 1."""
    for said in ("running", "degraded", "starting", "stopping", "ended"):
        found = parsed(page(Standing(HERE, STATUS | {"state": said}, None, [], [])))
        on = [dict(labels)["state"] for (name, labels), value in found.items() if value and name == STATE]
        assert on == [said]


def test_a_market_that_is_down_is_zero_beside_its_units() -> None:
    """`up` is 0, no price is invented, and the units say what the manager knows."""
    problem = ProblemError(Exit.NOT_RUNNING, "not_running", "the market is not running")
    units = [unit(Id="energy-market.service", ActiveState="failed", NRestarts="20")]
    found = parsed(page(Standing(HERE, None, problem, units, [])))
    assert found["energy_market_up", ()] == 0
    assert found["energy_market_state", (("state", "down"),)] == 1
    assert not [name for name, _ in found if "price" in name or "homes" in name]
    named = ("unit", "energy-market.service")
    assert found["energy_market_unit_state", (("state", "failed"), named)] == 1
    assert found["energy_market_unit_state", (("state", "active"), named)] == 0
    assert found["energy_market_unit_restarts_total", (named,)] == 20


@pytest.mark.parametrize("value", ["plain", 'quo"te', "back\\slash", "line\nfeed", "\\n", 'é "\\\n'])
def test_every_label_reads_back(value: str) -> None:
    """Backslash, double quote and line feed are escaped, and nothing else is."""
    family = Family("x", "gauge", "one\ntwo \\ three")
    family.add(1, label=value)
    assert parsed(text_of([family]) + "\n") == {("energy_market_x", (("label", value),)): 1.0}


def test_names_tell_their_unit_and_kind() -> None:
    """Counters end with _total and gauges do not; no name has a unit that is not a base one."""
    text = page(Standing(HERE, STATUS, None, [unit(Id="a.service")], []))
    for name, kind in re.findall(rf"# TYPE ({NAME}) (\w+)", text):
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|us|milliseconds|kwh|wh|mb|kb|percent|minutes|hours)(_|$)", name)


def test_the_parser_refuses_what_the_format_forbids() -> None:
    """The test's own parser is no rubber stamp."""
    head = "# HELP a b\n# TYPE a gauge\n"
    for bad in (
        head + "a 1", head + 'a{b="c} 1\n', head + "a{b=c} 1\n", head + "a one\n", "a 1\n",
        head + "a 1\na 1\n",
        head + 'a{b="\\x"} 1\n', head + "c 1\n", head + head + "a 1\n", head + "a  1\n",
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            parsed(bad)
