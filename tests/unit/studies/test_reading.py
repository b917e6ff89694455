"""Reading a study: everything that is wrong with it is said with file and line, before anything is played."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.exits import ConfigError, Exit
from energymarket.scenario import toml
from energymarket.studies import shipped
from energymarket.studies.cases import scenario_of
from energymarket.studies.reading import Plan, plan_of

HEAD = 'schema = 1\ntitle = "a study"\n'
RULE = '[[vary]]\nkey = "sharing.rule"\n'
EXPORT = '[[vary]]\nkey = "tariff.export"\n'
CAP = '[[vary]]\nkey = "price.cap"\n'


def read(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + text)
    return plan_of(str(path))


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert error.value.code is Exit.CONFIGURATION
    return str(error.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("name", shipped.names())
def test_every_case_of_a_shipped_study_is_a_scenario(name: str) -> None:
    """Shipped studies are read, and each of their cases passes every check of a scenario."""
    plan = plan_of(name)
    for case in plan.cases:
        found = scenario_of(plan.base, plan.common + case.settings)
        assert found.homes_count == 40


def test_a_misspelt_parameter_is_named_with_file_line_and_guess(tmp_path: Path) -> None:
    """The fifth line of the file has the key that is unknown."""
    said = refused(tmp_path, '\n[[vary]]\nkey = "homes.bttery.share"\nvalues = [0, 1]\n')
    assert said.startswith("/mine.toml:5: vary[0].key: there is no parameter homes.bttery.share")
    assert 'did you mean "homes.battery.share"?' in said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (f'{RULE}values = ["queue", "pro_rate"]', '5: vary[0].values: sharing.rule: "pro_rate"'),
        (f"{EXPORT}values = [99]", "5: vary[0].values: tariff.export: 99 is above 10"),
        (f"{EXPORT}values = [0.1, 0.1]", "0.1 is there twice"),
        (f"{EXPORT}from = 0.1\nto = 0.2", "steps: is missing"),
        (f"{EXPORT}from = 0.2\nto = 0.1\nsteps = 3", "has to be below to"),
        (EXPORT, "values, a range (from, to), or levels"),
        ("[[vary]]\nvalues = [1]", "vary[0].key: is missing"),
        ("vari = 1", "3: vari: unknown key"),
        ('duration = "a week"', "3: duration: 'a week' is no duration"),
        ('scenario = "deffolt"', "there is no such scenario or file"),
        ('[set]\n"tariff.exprt" = 1', "4: set.tariff.exprt: there is no parameter"),
        ('[set]\nhomes = 5\n[[vary]]\nkey = "homes"\nvalues = [6]', "homes is set elsewhere"),
        ('[[vary]]\nkey = "price.gamma"\nvalues = [0.1, 0.2]', "price.gamma has no effect in any case"),
        ('[[vary]]\nkey = "homes[flat].pv.share"\nvalues = [0]', "has nothing that homes[flat].pv.share"),
        ("this is no TOML", "this is no TOML"),
        (f"{EXPORT}from = 0\nto = 1\nsteps = 400\n{CAP}from = 0.4\nto = 1\nsteps = 400", "160,000 cases"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(tmp_path: Path, text: str, part: str) -> None:
    """Each mistake has its line, and names what was expected."""
    assert part in refused(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Three parameters wrong, three lines and their number."""
    said = refused(tmp_path, "".join(f'[[vary]]\nkey = "x{at}"\nvalues = [1]\n' for at in range(3)))
    assert said.count("there is no parameter") == 3
    assert said.endswith("3 errors")


def test_a_key_that_another_one_makes_idle_is_left_out(tmp_path: Path) -> None:
    """Under grid_only `sharing.take` has no effect: that case is one all the same, for it has in others."""
    text = '[[vary]]\nkey = "sharing.rule"\nvalues = ["grid_only", "queue"]\n'
    plan = read(tmp_path, text + '[[vary]]\nkey = "sharing.take"\nvalues = ["exact", "greedy"]\n')
    scenarios = [scenario_of(plan.base, plan.common + case.settings) for case in plan.cases]
    assert [str(each.sharing.rule) for each in scenarios] == ["grid_only", "grid_only", "queue", "queue"]
    assert "take" not in scenarios[1].text
    assert 'take = "greedy"' in scenarios[3].text


def test_a_case_is_the_scenario_that_somebody_would_write(tmp_path: Path) -> None:
    """The printed scenario of a case reads back to the scenario that is played."""
    text = (
        '[set]\nhomes = 12\ntariff.export = 0.05\n[[vary]]\nkey = "homes[*].battery.share"\nvalues = [0.5]\n'
    )
    plan = read(tmp_path, text)
    played = scenario_of(plan.base, plan.common + plan.cases[0].settings)
    again, problems = toml.parse(toml.show(played), plan.base.path)
    assert problems == []
    assert again == played
    assert played.homes_count == 12
    assert [group.battery is not None and group.battery.share for group in played.groups] == [0.5, 0.5, 0.5]
    assert played.tariff.export_ueur_per_kwh == 50_000


def test_levels_set_several_parameters_at_once(tmp_path: Path) -> None:
    """A level's name is the value of the case, its parameters are those of the scenario."""
    text = """
[[vary]]
name = "tariff"
level = [
    { name = "as it is", set = {} },
    { name = "flat", set = { "tariff.energy" = 0.2, "tariff.grid_fee" = 0.05, tariff.tax = 0.03 } },
]
"""
    plan = read(tmp_path, text)
    assert [case.shown for case in plan.cases] == [("as it is",), ("flat",)]
    played = scenario_of(plan.base, plan.cases[1].settings)
    assert played.market.tariff.import_ueur_per_kwh == 280_000
