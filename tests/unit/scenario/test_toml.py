"""Scenario files: everything wrong is found at once, with line and reason; what is printed reads back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.parameters import (
    EventKind,
    Excess,
    Factor,
    Period,
    PriceModel,
    Sharing,
    Take,
    Tariff,
    Turn,
)
from energymarket.core.records import Policy
from energymarket.scenario import resolve, toml
from energymarket.scenario.cache import source_hash
from energymarket.scenario.homes_schema import PolicyName
from energymarket.scenario.kinds import Range
from energymarket.scenario.lines import key_lines
from tests.unit.scenario.two_homes import SMALL, changed, problems_of


def _read(text: str) -> toml.Scenario:
    scenario, problems = toml.parse(text, "x.toml")
    assert scenario is not None, toml.render_problems(problems)
    return scenario


def test_the_small_scenario_is_sound() -> None:
    """The base of the other tests has no problem; period and homes are as written."""
    scenario = _read(SMALL)
    assert scenario.market.period == Period(900, 1_944_480, 4, 900.0, "UTC")
    assert [(home.id, home.name, home.policy.number) for home in scenario.homes] == [(1, "a", 3), (2, "b", 2)]
    assert scenario.homes_count == 2


def test_scaled_coefficients_become_raw_ones() -> None:
    """Half-life 6 h, 15 min: gamma = 2^(-1/24) = 0.971531941154; 0.25 €/kWh x (1 - gamma) per slot."""
    model = _read(SMALL).market.price
    assert model.gamma == 0.971531941154  # bc: e(-l(2)/24) = .97153194115360...
    assert model.factors[0] == Factor("base", pytest.approx(7_117.0147115), 15.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("slot", ["1min", "15min", "1h"])
def test_the_scaled_form_does_not_depend_on_the_length_of_a_slot(slot: str) -> None:
    """Half-life in hours and steady price are the same for slots of 1, 15 and 60 min."""
    scenario = _read(changed("slots = 4", f'slots = 4\nslot = "{slot}"'))
    found = resolve.analyse(scenario.market.price, scenario.elasticity)
    hours = found.half_life_slots * scenario.market.period.slot_s / 3600
    assert hours == pytest.approx(6)
    assert found.steady_calm_ueur_per_kwh == pytest.approx(250_000)


def test_raw_coefficients_are_kept_to_the_last_digit() -> None:
    """0.001 €/kWh is 1000 µ€/kWh, 0.01 is 10000, gamma stays 0.99: the statement's example needs it."""
    model = _toml_price('form = "raw"\ngamma = 0.99\ninitial = 0.145')
    assert (model.initial_ueur_per_kwh, model.gamma) == (145_000, 0.99)
    assert model.factors == (Factor("inverse_temperature", 1000.0, 15.0),)
    assert model.events == (EventKind("law", 10_000.0, 96 / 35_040, 24.0, 1.0, 1.0, 1.0),)


def _toml_price(head: str) -> PriceModel:
    text = SMALL[: SMALL.index("[price]")] + f"[price]\n{head}\n"
    text += '[[price.factor]]\nname = "inverse_temperature"\nalpha = 0.001\n'
    text += "[price.events.law]\nbeta = 0.01\nper_year = 96\n" + SMALL[SMALL.index("[[home]]") :]
    return _read(text).market.price


def test_the_import_price_is_the_sum_of_its_parts() -> None:
    """0.15 + 0.1 + 0.05 = 0.30 €/kWh; export and gift fee stand alone."""
    text = SMALL + "[tariff]\nenergy = 0.15\ngrid_fee = 0.1\ntax = 0.05\nexport = 0.07\ngift_fee = 0.01\n"
    assert _read(text).market.tariff == Tariff(300_000, 70_000, 10_000)


def test_the_sharing_model_is_the_one_of_the_file() -> None:
    """take, turn and excess arrive in the core's words."""
    text = SMALL + '[sharing]\ntake = "greedy"\nturn = "fair"\nexcess = "mean"\n'
    assert _read(text).market.sharing == Sharing(Take.GREEDY, Turn.FAIR, Excess.MEAN)


@pytest.mark.parametrize(
    ("slot", "start", "first_slot"),
    [("15min", "2025-06-16", 1_944_472), ("1s", '"2025-06-16T12:00:30"', 1_750_068_030)],
)
def test_the_start_is_local_time(slot: str, start: str, first_slot: int) -> None:
    """Midnight in Berlin in June is 22:00 UTC: 8 quarter-hours before slot 1,944,480; noon is 10:00 UTC."""
    text = changed('timezone = "UTC"', f'timezone = "Europe/Berlin"\nslot = "{slot}"')
    assert _read(text.replace("2025-06-16", start)).market.period.first_slot == first_slot


def test_policy_numbers_are_those_of_the_records() -> None:
    """1 give, 2 sell, 3 give_then_sell, said twice because the files are read without NumPy."""
    assert {name.number: name.name for name in PolicyName} == {policy.value: policy.name for policy in Policy}


def test_homes_without_an_id_take_what_is_free() -> None:
    """The second says 1, so the first becomes 2; they are listed by id."""
    text = SMALL.replace('name = "b"', 'name = "b"\nid = 1')
    assert [(home.id, home.name) for home in _read(text).homes] == [(1, "b"), (2, "a")]


def test_groups_count_as_homes() -> None:
    """Two by hand and 30 in a group are 32; shares and ranges are kept."""
    text = SMALL + '[[homes]]\nname = "g"\ncount = 30\npolicy = { give = 0.5, sell = 0.5 }\n'
    text += '[homes.load]\nkind = "household"\nannual_kwh = [2000, 4000]\n'
    scenario = _read(text)
    assert scenario.homes_count == 32
    assert scenario.groups[0].policy.give == 0.5
    assert scenario.groups[0].load is not None
    assert scenario.groups[0].load.annual_kwh == Range(2000, 4000)


def test_a_slope_of_demand_is_a_line_between_its_bounds() -> None:
    """Elasticity -0.2 at 0.25 €/kWh: factor 1.1 at half the price, 0.9 at one and a half times."""
    text = SMALL + "[elasticity]\nreference = 0.25\nslope = -0.2\nfactor_min = 0.9\nfactor_max = 1.1\n"
    assert resolve.demand_points(_read(text).elasticity) == ((125_000, 1.1), (375_000, 0.9))


# text that is no TOML, and its lines


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = = 2\n", 2), ("a = [1,\n\n", 3), ('a = "x\n', 1), ("[a]\n[a]\n", 2)]
)
def test_a_syntax_error_names_its_line(text: str, line: int) -> None:
    """Whatever tomllib says, the line is where the text goes wrong."""
    (problem,) = problems_of(text)
    assert problem.line == line
    assert problem.message.startswith("this is no TOML")


def test_deep_nesting_is_a_problem_not_a_crash() -> None:
    """A hundred thousand brackets are refused in words."""
    (problem,) = problems_of("a = " + "[" * 100_000)
    assert problem.message


@settings(max_examples=200)
@given(st.text(alphabet="[]{}=\"'.,#\n abz019-", max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    """Any text gives a scenario or problems."""
    toml.parse(text, "x.toml")


def test_lines_of_keys_are_found_through_every_form_of_toml() -> None:
    """Headers, arrays of tables, dotted and quoted keys, inline tables, multi-line values, comments."""
    text = '''# comment [x]
a = """
b = 1
"""
"q.r" = [ # [c]
  1, 2 ] # d = 1
e.f = 'x = y'
[t]
u = { v = 1, w = { z = 2 } }
[[h]]
n = 1
[[h]]
n = 2
[h.s]
m = [[1], ["]"]]
[[h.k]]
o = 1
[[h.k]]
o = 2
'''
    lines = key_lines(text)
    expected: dict[tuple[str | int, ...], int] = {
        ("a",): 2, ("q.r",): 5, ("e", "f"): 7, ("t",): 8, ("t", "u"): 9, ("t", "u", "v"): 9,
        ("h", 0): 10, ("h", 0, "n"): 11, ("h", 1): 12, ("h", 1, "n"): 13, ("h", 1, "s"): 14,
        ("h", 1, "s", "m"): 15, ("h", 1, "k", 0, "o"): 17, ("h", 1, "k", 1, "o"): 19,
    }  # fmt: skip
    assert {path: lines.get(path) for path in expected} == expected
    assert ("b",) not in lines
    assert ("d",) not in lines


# what is printed


@pytest.mark.parametrize("name", toml.shipped())
def test_every_shipped_scenario_is_sound_and_reads_back(name: str) -> None:
    """No problem, and the resolved text gives the same scenario, plain and explained."""
    scenario, problems = toml.read(name)
    assert scenario is not None, toml.render_problems(problems)
    assert scenario.name == name
    for explained in (False, True):
        assert _read(toml.show(scenario, explained=explained)) == scenario
    # 1 and 1.0 are equal, and hashed they are not: a printed scenario has to come to the same ledger
    again = replace(_read(toml.show(scenario)), name=name, path=scenario.path, text=scenario.text)
    assert source_hash(again) == source_hash(scenario)


def test_the_small_scenario_reads_back_with_every_kind_of_home() -> None:
    """Optional tables of homes, points of demand, lists of prices and a data set survive printing."""
    text = SMALL + (
        "[home.pv]\nkwp = [3, 5]\nazimuth_deg = [90, 270]\n[home.wind]\n[home.battery]\n[home.heat_pump]\n"
        "[home.scene]\nmisreports_wh = [1, -2.5]\n[home.scene.phantom_claim]\ngiver = 1\nenergy_wh = 5\n"
        'slots = [0]\n[data]\nfile = "a \\"b\\".csv"\nexclude = [12, 15]\n[elasticity]\n'
        "points = [[0.1, 1.1], [0.3, 0.9]]\n[tariff]\nimport_prices = [0.3, 0.25]\nexport_prices = [0.05]\n"
    )
    scenario = _read(text)
    assert scenario.homes_count == 2 + 15
    assert _read(toml.show(scenario)) == scenario


def test_the_printed_default_is_the_default_scenario() -> None:
    """`config default` parses to the same scenario, and mentions every key with its meaning."""
    assert _read(toml.default_text()) == toml.read("default")[0]
    for word in ("half_life_h", "gamma", "rain_factor", "misreports_wh", "disk_max", "[data]", "efficiency"):
        assert word in toml.default_text()


def test_the_default_scenario_keeps_what_the_rules_ask() -> None:
    """1,000 homes, r > cap, floor > e, a steady price of 0.15 .. 0.35 €/kWh, a gain far below 1."""
    scenario, _ = toml.read("default")
    assert scenario is not None
    assert scenario.homes_count == 1_000
    market = scenario.market
    export, floor = market.tariff.export_ueur_per_kwh, market.price.floor_ueur_per_kwh
    cap, import_ = market.price.cap_ueur_per_kwh, market.tariff.import_ueur_per_kwh
    assert export < floor < cap < import_
    found = resolve.analyse(market.price, scenario.elasticity)
    assert 150_000 <= found.steady_calm_ueur_per_kwh <= 350_000
    assert abs(found.closed_loop_gain) < 0.1


def test_the_classic_scenario_is_the_assignment() -> None:
    """Six single processes, two of each policy, the statement's coefficients, r = e = p, U curve and rain."""
    scenario, _ = toml.read("classic")
    assert scenario is not None
    assert [home.policy.number for home in scenario.homes] == [1, 1, 2, 2, 3, 3]
    assert {home.process.value for home in scenario.homes} == {"single"}
    loads = {(h.load.curvature, h.load.comfort_c, h.load.rain_factor) for h in scenario.homes if h.load}
    assert loads == {(0.002, 17.0, 1.2)}
    price = scenario.market.price
    assert (price.gamma, price.initial_ueur_per_kwh) == (0.99, 145_000)
    assert price.factors[0] == Factor("inverse_temperature", 1000.0, 15.0)
    assert price.events[0].name == "gas_shortage"
    assert price.events[0].beta_ueur_per_kwh == 10_000.0
    assert scenario.market.tariff.follows_price


# files


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    """The name is the stem; the path is kept, because files it names lie beside it."""
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    scenario, _ = toml.read(str(path))
    assert scenario is not None
    assert (scenario.name, scenario.path) == ("mine", str(path))


def test_what_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A missing file, a directory, bytes that are no UTF-8: words, no exception."""
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe4"')
    found = {name: toml.read(str(tmp_path / name))[1][0].message for name in ("none.toml", "latin.toml", ".")}
    assert "no such scenario" in found["none.toml"]
    assert "not UTF-8" in found["latin.toml"]
    assert "cannot be read" in found["."]
    assert 'did you mean "classic"?' in str(toml.read("classics")[1][0])


def test_reading_needs_the_standard_library_only() -> None:
    """A scenario is read by energyctl: neither NumPy nor msgspec comes in with it."""
    code = (
        "import sys; from energymarket.scenario import toml; toml.default_text();"
        "print(sorted({'numpy', 'msgspec', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
