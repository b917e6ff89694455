"""What is wrong with a scenario is found at once and named: file, line, path, reason, hint."""

from __future__ import annotations

import re

import pytest

from energymarket.scenario import toml
from tests.unit.scenario.two_homes import SMALL, changed, problems_of

WRONG = [
    ('title = "two homes"', 'tile = "two homes"', "tile", "unknown key", 'did you mean "title"?'),
    ('title = "two homes"', "title = 5", "title", "expected text, found a whole number (5)", "quotes"),
    ("seed = 7", "seed = 7.0", "seed", "expected a whole number", ""),
    ("seed = 7", "seed = true", "seed", "true or false", ""),
    ("seed = 7", "seed = 7\nspeed = 3", "speed", "unknown key", 'did you mean "seed"?'),
    ("slots = 4", "slots = 4\nregion = 3", "time.region", "unknown key", "region belongs to [weather]"),
    ("slots = 4", 'slots = 4\nslot = "7min"', "time.slot", "does not fit", "whole part of a day"),
    (
        "slots = 4",
        'slots = 4\nslot = "15 minutes"',
        "time.slot",
        "expected a duration",
        "units are s, min, h, d",
    ),
    ("slots = 4", "slots = 0", "time.slots", "0 is below 1", ""),
    ("slots = 4", 'days = 3660\nslot = "1s"', "time.days", "316,224,000 slots are too many", "4,000,000"),
    ("2025-06-16", '"2025-06-16T00:00:01"', "time.start", "beginning of a slot", ""),
    ("2025-06-16", "2025-06-16T00:00:00Z", "time.start", "without offset", "timezone"),
    ("2025-06-16", "1950-01-01", "time.start", "year", ""),
    ('"UTC"', '"Europe/Berlon"', "time.timezone", "there is no time zone", 'did you mean "Europe/Berlin"?'),
    ('"constant"', '"constnt"', "weather.source", "none of", 'did you mean "constant"?'),
    ('"constant"', '"epw"', "weather.file", "is missing", ""),
    ('"constant"', '"constant"\nregion = 3', "weather.region", 'no effect with source = "constant"', "leave"),
    ('"constant"', '"constant"\ntemperature_c = [5, 900]', "weather.temperature_c", "900 is above 60", ""),
    ('"scaled"\nhalf_life_h = 6', '"raw"\ngamma = 1.0', "price.gamma", "|gamma| = 1 is not below 1", "0.99"),
    ('"scaled"\nhalf_life_h = 6', '"raw"\ngamma = -1.5', "price.gamma", "|gamma| = 1.5", ""),
    ('"scaled"\nhalf_life_h = 6', '"raw"', "price.gamma", 'is missing with form = "raw"', ""),
    ('"scaled"', '"scaled"\ngamma = 0.9', "price.gamma", "no effect", ""),
    ("half_life_h = 6", "half_life_h = nan", "price.half_life_h", "found nan", "finite"),
    ("half_life_h = 6", "half_life_h = -inf", "price.half_life_h", "found -inf", "finite"),
    ("half_life_h = 6", "half_life_h = 6\nfloor = 0.5\ncap = 0.5", "price.floor", "not below the cap", ""),
    ("half_life_h = 6", "half_life_h = 6\ninitial = 2", "price.initial", "outside floor .. cap", ""),
    ('"imbalance"', '"base"', "price.factor[1].name", '"base" is there twice', ""),
    ('"imbalance"', '"imbalances"', "price.factor[1].name", "none of", 'did you mean "imbalance"?'),
    ("alpha = 0.05", "alpha = 1e308", "price.factor[1].alpha", "above 100", ""),
    ("alpha = 0.05", "", "price.factor[1].alpha", "is missing", "alpha = ..."),
    ("policy = 2", "policy = 4", "home[1].policy", "there is no policy 4", "3 give_then_sell"),
    (
        "policy = 2",
        'policy = "give-then-sell"',
        "home[1].policy",
        "none of",
        'did you mean "give_then_sell"?',
    ),
    (
        "policy = 2",
        "id = 1\nconsumption_wh = 1\n[[home]]\nname = 'c'\nid = 1",
        "home[2].id",
        "two homes have the id 1",
        "",
    ),
    ("policy = 2", "id = 3", "home[1].id", "beyond the 2 homes", "1 .. 2"),
    ("policy = 2", 'name = "a"', "", "this is no TOML", ""),
    ('name = "b"', 'name = "a"', "home[1].name", 'the name "a" is there twice', ""),
    ("consumption_wh = 300", "consumption_wh = -1", "home[1].consumption_wh", "-1 is below 0", ""),
    ("consumption_wh = 300", "", "home[1]", "neither consumes nor produces", "consumption_wh"),
    ("consumption_wh = 300", "consumption_wh = 9e6", "home[1].consumption_wh", "more than 10,000,000 W", ""),
    ("consumption_wh = 300", "consumption_wh = []", "home[1].consumption_wh", "list of 0", ""),
    ("= 300", "= 300\nconsumption_w = 3", "home[1].consumption_w", "exclude each other", "leave one out"),
    ("= 300", '= 300\n[home.load]\nkind = "constant"', "home[1].load", "exclude each other", ""),
    ("= 300", "= 300\n[home.load]\npower_w = 1", "home[1].load.kind", "is missing", ""),
    ("= 300", "= 300\n[home.battery]\nefficiency = 1.1", "home[1].battery.efficiency", "1.1 is above 1", ""),
    ("= 300", '= 300\nmeter = "a/b"', "home[1].meter", "'a/b' is no meter's id", "letters"),
    ("= 300", '= 300\nmeter = "M"\nelastic = true', "home[1].elastic", "does not answer", "leave it out"),
    ("= 300", '= 300\nmeter = "M"\n[home.battery]', "home[1].battery", "has no battery beside", "leave it"),
    ("= 300", "= 300\n[home.battery]\nkwh = 0", "home[1].battery.kwh", "without capacity", ""),
    ("= 300", "= 300\n[home.battery]\nkwh = [9, 5]", "home[1].battery.kwh", "runs backwards", "smaller"),
    ("= 300", "= 300\n[home.pv]\ntilt_deg = 91", "home[1].pv.tilt_deg", "91 is above 90", ""),
    ("= 300", "= 300\n[home.scene]\nlate_slots = [4]", "home[1].scene.late_slots", "after the end", "0 .. 3"),
    ("= 300", "= 300\n[home.scene]\nsilent = 1", "home[1].scene.silent", "unknown key", ""),
    ("= 300", "= 300\n[[homes]]\nname='g'\ncount=0", "homes[0].count", "0 is below 1", ""),
    ("= 300", "= 300\n[homes]\nname='g'\ncount=1", "homes", "expected an array of tables", "[[homes]]"),
    ("= 300", "= 300\n[[homes]]\nname='g'\ncount=3", "homes[0]", "neither consume nor produce", ""),
    ("= 300", "= 300\n[tariff]\nexport = 0.5", "tariff.export", "below the export price 0.5", "circle"),
    ("= 300", "= 300\n[tariff]\nimport_prices = [0.3, 0.05]", "tariff.export", "in slot 1", ""),
    ("= 300", "= 300\n[grid]\nco2_g_per_kwh = -1", "grid.co2_g_per_kwh", "-1 is below 0", ""),
    ("= 300", "= 300\n[grid]\nco2_column = 'a'", "grid.co2_column", "there is no file", "give file"),
    ("= 300", "= 300\n[grid]\nfile = 'a.csv'", "grid.file", "no column of it is named", "co2_column"),
    (
        "= 300",
        "= 300\n[grid]\nfile = 'a.csv'\nco2_column = 'a'\nco2_g_per_kwh = 3",
        "grid.co2_column",
        "co2_g_per_kwh is given too",
        "keep one",
    ),
    ("= 300", "= 300\n[service]\nexchange_until = 0.9", "service.exchange_until", "before gate_at", ""),
    (
        "= 300",
        "= 300\n[service.retention]\ndisk_max = '1MiB'",
        "service.retention.disk_max",
        '"1MiB" is below "8MiB"',
        'give "8MiB" .. "1024TiB"',
    ),
    (
        "= 300",
        "= 300\n[service.retention]\ndisk_max = '2 giga'",
        "service.retention.disk_max",
        "a size",
        "GiB",
    ),
    ("= 300", "= 300\n[sharing]\nrule = 'statickey'", "sharing.rule", "none of", 'mean "static_key"?'),
    (
        "= 300",
        "= 300\n[sharing]\nrule = 'pro_rata'\ntake = 'exact'",
        "sharing.take",
        'has no effect with rule = "pro_rata"',
        "leave it out",
    ),
    (
        "= 300",
        "= 300\n[sharing]\nrule = 'mid_market'\n[tariff]\nfollows_price = true",
        "sharing.rule",
        "half way between",
        "another rule",
    ),
    ("= 300", "= 300\nkey_share = -1", "home[1].key_share", "-1 is below 0", ""),
    ("= 300", "= 300\n[sharing]\ntake = 'exakt'", "sharing.take", "none of", 'did you mean "exact"?'),
    (
        "= 300",
        "= 300\n[elasticity]\npoints = [[0.3, 1], [0.2, 1]]",
        "elasticity.points",
        "do not rise",
        "sort",
    ),
    (
        "= 300",
        "= 300\n[price.events.gas_shortages]\nbeta = 1",
        "price.events.gas_shortages",
        "unknown key",
        'did you mean "gas_shortage"?',
    ),
    (
        "= 300",
        "= 300\n[price.events.law]\nbeta = 0.1\nprobability_per_slot = 1\nrain_factor = 9",
        "price.events.law.per_year",
        "more than 4 events in a slot",
        "",
    ),
]


@pytest.mark.parametrize(("old", "new", "path", "message", "hint"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_named(old: str, new: str, path: str, message: str, hint: str) -> None:
    """One planted mistake gives one problem: with its path, reason and hint, and the line it stands in."""
    text = changed(old, new)
    problems = problems_of(text)
    assert [problem.path for problem in problems] == [path]
    assert message in problems[0].message
    assert hint in problems[0].hint
    last_key = re.sub(r"\[\d+\]$", "", path.rsplit(".", maxsplit=1)[-1])
    line = text.splitlines()[problems[0].line - 1]
    if "is missing" not in message and path not in (
        "",
        "tariff.export",
        "price.events.law.per_year",
        "time.days",
    ):
        assert last_key in line


def test_a_gain_of_one_or_more_is_refused_with_the_reason() -> None:
    """Imbalance 2 €/kWh, demand -0.5 at 0.25 €/kWh down to 0.5: gain = 2 x -0.5 / 0.25 / 0.5 / 2 = -4."""
    text = changed("alpha = 0.05", "alpha = 2") + "[elasticity]\nreference = 0.25\nslope = -0.5\n"
    (problem,) = problems_of(text)
    assert problem.path == "price.factor[1].alpha"
    assert problem.line == SMALL.splitlines().index("alpha = 0.05") + 1
    assert "closed-loop gain = -4" in problem.message


def test_all_problems_are_found_at_once() -> None:
    """Four mistakes in four places: four lines in the order of the file, and their number."""
    text = changed("seed = 7", "sed = 7").replace('"scaled"', '"raw"\ngamma = 1.5')
    text = text.replace("policy = 2", "policy = 9").replace("half_life_h = 6", "cap = inf")
    text = text.replace("consumption_wh = 300", "consumption_wh = [1, 'x']")
    rendered = toml.render_problems(problems_of(text)).splitlines()
    places = [line.split(": ")[:2] for line in rendered[:-1]]
    wrong = {
        "sed = 7": "sed",
        "cap = inf": "price.cap",
        "policy = 9": "home[1].policy",
        "consumption_wh = [1, 'x']": "home[1].consumption_wh",
    }
    lines = text.splitlines()
    assert places == [[f"x.toml:{lines.index(line) + 1}", path] for line, path in wrong.items()]
    assert rendered[-1] == "4 errors"


def test_one_problem_is_one_error() -> None:
    """The count has a singular, and a problem reads file:line: path: message (hint)."""
    (problem,) = problems_of(changed("seed = 7", "sede = 7"))
    assert toml.render_problems([problem]) == 'x.toml:3: sede: unknown key (did you mean "seed"?)\n1 error'


def test_an_empty_file_lacks_what_is_required() -> None:
    """Schema and title are asked for; no exception."""
    assert [problem.path for problem in problems_of("")] == ["schema", "title"]


def test_sections_that_are_required_are_asked_for() -> None:
    """Without [time], [weather], a price and homes, each is named once."""
    paths = [problem.path for problem in problems_of('schema = 1\ntitle = "x"\n')]
    assert paths == ["time", "weather", "price.half_life_h", "homes"]


def test_two_homes_do_not_live_by_one_meter() -> None:
    """One of both would sell what the other has consumed."""
    text = SMALL.replace('name = "a"\n', 'name = "a"\nmeter = "M"\n').replace("policy = 2", 'meter = "M"')
    (problem,) = problems_of(text)
    assert problem.path == "home[1].meter"
    assert "two homes live by M" in problem.message
