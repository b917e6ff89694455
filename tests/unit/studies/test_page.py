"""The page of a study: well-formed, without network and script, in words for who sees no pictures."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from energymarket.studies.columns import columns_of
from energymarket.studies.measures import MEASURES, Group, explained, groups_of
from energymarket.studies.outcome import Outcome, Value
from energymarket.studies.page import page
from energymarket.studies.reading import Plan, plan_of
from energymarket.studies.table import rows_of

EVIL = "<script>alert('1')</script> & \"so\""
MIXED = f"""
schema = 1
title = '''{EVIL}'''
[sampling]
method = "random"
samples = 40
[[vary]]
key = "tariff.export"
name = "feed-in"
from = 0.02
to = 0.08
[[vary]]
key = "sharing.rule"
name = '''{EVIL}'''
values = ["queue", "grid_only"]
"""


def plan(tmp_path: Path, text: str = MIXED) -> Plan:
    (tmp_path / "study.toml").write_text(text)
    return plan_of(str(tmp_path / "study.toml"))


def made(plan: Plan) -> dict[int, Outcome]:
    """Figures that follow the first parameter; CO2 is not known; the last case has failed."""
    names = [column.name for column in columns_of(plan.axes)]
    found: dict[int, Outcome] = {}
    for case in plan.cases:
        values: dict[str, Value] = dict.fromkeys(names[2:], 1.0)
        export = case.shown[0]
        assert isinstance(export, float)
        values |= {"self_sufficiency_community": export * 10, "co2_line_import_average_kg": None}
        del values["status"], values["error"]
        for axis in plan.axes:
            values.pop(axis.column, None)
        found[case.number] = Outcome(case.number, values)
    last = len(plan.cases)
    return found | {last: Outcome(last, error=EVIL)}


def parsed(text: str) -> ET.Element:
    first, _, rest = text.partition("\n")
    assert first == "<!DOCTYPE html>"
    return ET.fromstring(rest)  # noqa: S314 - written by us


def test_the_page_asks_for_nothing_and_is_well_formed(tmp_path: Path) -> None:
    """No script, no address, no source: whatever study and errors are called."""
    found = plan(tmp_path)
    text = page(found, rows_of(found, made(found)))
    root = parsed(text)
    assert not list(root.iter("script"))
    assert not re.search(r"https?://|src=|url\(|@import", text)
    assert EVIL in "".join(root.itertext())


def test_every_picture_is_told_in_words(tmp_path: Path) -> None:
    """Each picture, at both widths, has a label that says what it shows; the numbers follow as a table."""
    found = plan(tmp_path)
    root = parsed(page(found, rows_of(found, made(found))))
    labels = [svg.get("aria-label", "") for svg in root.iter("svg")]
    assert len(labels) == 6  # weights and two parameters, for desk and phone
    effect = next(label for label in labels if label.startswith("Feed-in"))
    assert "self-sufficiency rises from" in effect
    assert "mean price stays at 1.0000 €/kWh" in effect
    assert len(list(root.iter("table"))) >= 5


def test_what_is_not_known_and_what_failed_is_said(tmp_path: Path) -> None:
    """A figure that no case has is named; the failed case is listed with its parameters."""
    found = plan(tmp_path)
    text = "".join(parsed(page(found, rows_of(found, made(found)))).itertext())
    assert "CO₂ of the line is not known of any case." in text
    assert "39 of 40 cases were played to their end. 1 failed" in text
    assert "case 40 (feed-in = " in text


def test_an_interrupted_study_says_so(tmp_path: Path) -> None:
    """A page of a part of the cases does not look like one of all."""
    found = plan(tmp_path)
    part = {number: each for number, each in made(found).items() if number <= 10}
    text = "".join(parsed(page(found, rows_of(found, part))).itertext())
    assert "Not complete." in text
    assert "30 have not been played" in text


def test_a_study_of_one_case_has_no_pictures(tmp_path: Path) -> None:
    """Where nothing varies there is nothing to draw, and the page is there all the same."""
    found = plan(tmp_path, 'schema = 1\ntitle = "one"\n')
    values: dict[str, Value] = {column.name: 1.0 for column in columns_of(found.axes)}
    root = parsed(page(found, rows_of(found, {1: Outcome(1, values)})))
    assert not list(root.iter("svg"))


def test_the_explained_part_is_pearsons_correlation_ratio() -> None:
    """Against NumPy: the variance of the groups' means, weighted by size, over the variance of all."""
    values = [middle + 2 * np.sin(np.arange(size) * 7.0) for middle, size in ((0, 9), (3, 4), (5, 12))]
    every = np.concatenate(values)
    between = sum(len(each) * (each.mean() - every.mean()) ** 2 for each in values) / len(every)
    measure = MEASURES[1]
    groups = [Group("", 0.0, [{measure.column: float(value)} for value in each]) for each in values]
    assert explained(groups, measure) == pytest.approx(between / every.var(), rel=1e-12)
    same = [Group("", 0.0, [{measure.column: 0.3}] * 3)] * 2
    assert explained(same, measure) is None


def test_many_values_are_groups_of_equally_many_cases(tmp_path: Path) -> None:
    """Forty different values: six groups in ascending order, every case in one of them."""
    found = plan(tmp_path)
    rows = rows_of(found, made(found))
    groups = groups_of(found.axes[0], rows)
    sizes = [len(group.rows) for group in groups]
    assert sum(sizes) == 40
    assert max(sizes) - min(sizes) <= 1
    middles = [group.middle for group in groups]
    assert middles == sorted(middles)
