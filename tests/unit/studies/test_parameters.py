"""Parameters: what a path names in a scenario, what it sets there, and what a wrong one may have meant."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from energymarket.scenario.kinds import RefusedError
from energymarket.studies.parameters import all_paths, flattened, parameter

TWO_GROUPS = """
[tariff]
export = 0.08
[[price.factor]]
name = "base"
alpha = 0.18
[[price.factor]]
name = "imbalance"
alpha = 0.05
[[homes]]
name = "row houses"
count = 2
[homes.battery]
share = 0.1
kwh = 7
[[homes]]
name = "flats"
count = 3
"""


def put(path: str, value: object) -> dict[str, Any]:
    raw = tomllib.loads(TWO_GROUPS)
    parameter(path).put(raw, value)
    return raw


def test_a_key_of_a_table_is_set() -> None:
    """`tariff.export` sets that key, and nothing else."""
    expected = tomllib.loads(TWO_GROUPS) | {"tariff": {"export": 0.05}}
    assert put("tariff.export", 0.05) == expected


def test_an_absent_table_is_made() -> None:
    """A single table that the file leaves out is there with its one key."""
    assert put("price.events.war.beta", 0.04)["price"]["events"] == {"war": {"beta": 0.04}}


@pytest.mark.parametrize("path", ["price.factor[imbalance].alpha", "price.factor[1].alpha"])
def test_a_table_is_chosen_by_name_or_place(path: str) -> None:
    """Of an array of tables one is meant, the others stay."""
    assert [each["alpha"] for each in put(path, 0.09)["price"]["factor"]] == [0.18, 0.09]


def test_without_a_choice_those_are_meant_that_have_it() -> None:
    """`homes.battery.share` leaves a group without batteries without one."""
    groups = put("homes.battery.share", 0.9)["homes"]
    assert [group.get("battery") for group in groups] == [{"share": 0.9, "kwh": 7}, None]


def test_with_each_also_those_that_lack_it() -> None:
    """`homes[*].battery.share` gives a battery to a group that has none."""
    groups = put("homes[*].battery.share", 0.9)["homes"]
    assert [group["battery"] for group in groups] == [{"share": 0.9, "kwh": 7}, {"share": 0.9}]


def test_a_name_with_blanks_is_a_choice() -> None:
    """A group's name may have blanks, with quotes or without."""
    for path in ("homes[row houses].count", 'homes["row houses"].count'):
        assert [group["count"] for group in put(path, 9)["homes"]] == [9, 3]


@pytest.mark.parametrize("path", ["homes[houses].count", "homes[2].count", "home.policy"])
def test_a_path_that_names_nothing_is_refused(path: str) -> None:
    """A choice that no table answers to is an error, not a case like all others."""
    with pytest.raises(RefusedError, match="has nothing that"):
        put(path, 1)


def test_how_to_give_what_nobody_has() -> None:
    """Where no group has the table, the error says which path would give it to each."""
    with pytest.raises(RefusedError) as refused:
        put("homes.wind.share", 0.1)
    assert "homes[*].wind.share" in refused.value.hint


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("homes.bttery.share", "homes.battery.share"),
        ("battery.share", "homes.battery.share"),
        ("tariff.exprt", "tariff.export"),
        ("sharing.rul", "sharing.rule"),
        ("price.factr.alpha", "price.factor.alpha"),
    ],
)
def test_a_misspelt_path_is_guessed(wrong: str, meant: str) -> None:
    """An unknown parameter is refused with the one that was probably meant."""
    with pytest.raises(RefusedError) as refused:
        parameter(wrong)
    assert refused.value.hint == f'did you mean "{meant}"?'


@pytest.mark.parametrize(
    "wrong", ["", ".", "tariff..export", "homes[", "homes]x", "tariff", "title", "seed.x"]
)
def test_what_is_no_parameter_is_refused(wrong: str) -> None:
    """Malformed paths, tables, and keys that say nothing about how a scenario goes."""
    with pytest.raises(RefusedError):
        parameter(wrong)


def test_every_path_of_the_schema_is_a_parameter() -> None:
    """What is offered as a guess can be used."""
    paths = list(all_paths())
    assert len(paths) > 150
    assert all(parameter(path).path == path for path in paths)


def test_whole_numbers_are_told_from_others() -> None:
    """A range over homes or seeds is cut at whole numbers, one over prices is not."""
    assert parameter("seed").is_whole
    assert parameter("homes").is_whole
    assert parameter("homes.count").is_whole
    assert not parameter("tariff.export").is_whole
    assert not parameter("homes.battery.kwh").is_whole
    assert not parameter("price.events.war.duration").is_whole


def test_quotes_around_a_path_may_be_left_out() -> None:
    """`tariff.export = 1` is a table in a table to TOML, and the same to a study; a value may be a table."""
    said = tomllib.loads('tariff.export = 1\nhomes = 5\n"price.cap" = 2\nhome.policy = { give = 1 }')
    found = [(".".join(names), value) for names, value in flattened(said)]
    assert found == [("tariff.export", 1), ("homes", 5), ("price.cap", 2), ("home.policy", {"give": 1})]
