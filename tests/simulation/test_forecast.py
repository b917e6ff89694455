"""Forecasts against what the market then does: exactly where nothing is unknown, else as often as is said."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket.engine import api
from energymarket.foresight.forecast import Asked, forecast
from energymarket.foresight.present import states_at
from energymarket.scenario.compiled import Compiled
from tests.simulation.coverage import coverage

HOMES = 40
DAY = 96


@pytest.fixture(scope="module")
def neighbourhood() -> Compiled:
    """Forty homes of the default scenario."""
    return api.compiled_of("default", HOMES, None)


def uneventful(compiled: Compiled) -> Compiled:
    """The same without events of chance: those nobody can know."""
    kinds = tuple(replace(kind, arrivals_per_slot=0.0) for kind in compiled.price.events)
    return replace(compiled, price=replace(compiled.price, events=kinds))


def present_of(out: Path, compiled: Compiled) -> dict[str, Any]:
    """What a market would say that goes on from this ledger."""
    with closing(sqlite3.connect(f"file:{out / 'market' / 'ledger.db'}?mode=ro", uri=True)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
    slot = json.loads(meta["state"])["slot"]
    return {
        "slot": slot,
        "next_slot": slot + 1,
        "market": meta["state"],
        "events": meta["events"],
        "price": json.dumps(asdict(compiled.price)),
        "open": None,
        "weather": None,
    }


def test_with_nothing_unknown_the_forecast_is_what_the_market_does(
    neighbourhood: Compiled, tmp_path: Path
) -> None:
    """Two days are played, the third is forecast from their ledger and the homes' files, then played too."""
    compiled = uneventful(neighbourhood)
    how: dict[str, Any] = {"engine": "embedded"}
    api.simulate(compiled, duration=2 * DAY, out=tmp_path / "two", **how)
    whole = api.simulate(compiled, duration=3 * DAY, out=tmp_path / "three", **how).slots
    present = present_of(tmp_path / "two", compiled)
    homes = states_at(tmp_path / "two" / "homes", compiled, present["slot"])
    assert homes is not None
    told: list[float] = []
    found = forecast(
        compiled,
        present,
        homes,
        Asked(DAY, weather_part=0.0, events=False, homes=False),
        lambda share, _doing: told.append(share),
    )
    net_wh = (whole["imported_wh"] - whole["exported_wh"])[-DAY:]
    assert len(set(net_wh.tolist())) > DAY // 2
    for name in ("p10", "p50", "p90"):
        assert found["price_ueur_per_kwh"][name] == whole["price_ueur_per_kwh"][-DAY:].tolist()
        assert found["net_wh"][name] == net_wh.tolist()
    assert found["first_slot"] == present["slot"] + 1
    assert not found["notes"]
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_states_that_are_behind_are_told_of(neighbourhood: Compiled, tmp_path: Path) -> None:
    """Homes whose last state is older go on from it, and are counted; newer ones only are no answer."""
    api.simulate(neighbourhood, duration=5, out=tmp_path / "out", engine="embedded")
    present = present_of(tmp_path / "out", neighbourhood) | {"slot": neighbourhood.period.first_slot + 9}
    homes = states_at(tmp_path / "out" / "homes", neighbourhood, present["slot"])
    assert homes is not None
    asked = Asked(4, weather_part=0.0, events=False, homes=False)
    found = forecast(neighbourhood, present, homes, asked, lambda _share, _doing: None)
    assert any(note.startswith(f"{HOMES} of {HOMES} homes have no state of slot") for note in found["notes"])
    assert states_at(tmp_path / "out" / "homes", neighbourhood, neighbourhood.period.first_slot) is None


def test_each_unknown_widens_the_band_by_itself(neighbourhood: Compiled, tmp_path: Path) -> None:
    """Weather, events, households: with one of them unknown samples differ, and never in the open slot."""
    api.simulate(neighbourhood, duration=40, out=tmp_path / "out", engine="embedded")
    present = present_of(tmp_path / "out", neighbourhood)
    homes = states_at(tmp_path / "out" / "homes", neighbourhood, present["slot"])
    assert homes is not None
    often = replace(
        neighbourhood,
        price=replace(
            neighbourhood.price,
            events=tuple(replace(kind, arrivals_per_slot=0.01) for kind in neighbourhood.price.events),
        ),
    )
    known = Asked(48, samples=19, weather_part=0.0, events=False, homes=False)
    for compiled, asked in (
        (neighbourhood, replace(known, weather_part=1.0)),
        (often, replace(known, events=True)),
        (neighbourhood, replace(known, homes=True)),
    ):
        price = json.dumps(asdict(compiled.price))
        opened = present | {"open": {}, "price": price}
        found = forecast(compiled, opened, homes, asked, lambda _share, _doing: None)
        low, high = (np.array(found["price_ueur_per_kwh"][name]) for name in ("p10", "p90"))
        assert low[0] == high[0]
        assert bool((high >= low).all())
        assert bool((high > low)[24:].any())
        again = forecast(compiled, opened, homes, asked, lambda _share, _doing: None)
        assert again == found
        other = forecast(compiled, opened, homes, replace(asked, seed=5), lambda _share, _doing: None)
        assert other["price_ueur_per_kwh"] != found["price_ueur_per_kwh"]


def test_the_truth_is_inside_in_four_of_five(neighbourhood: Compiled, is_long: bool) -> None:
    """Over many days, price and net load: 80 % between P10 and P90, and as many below as above."""
    days, samples, tolerance = (180, 99, 0.04) if is_long else (12, 19, 0.1)
    found = coverage(neighbourhood, days, samples, every=2 if is_long else 30)
    for name in ("price", "net"):
        assert found[name] == pytest.approx(0.8, abs=tolerance), found
        assert found[f"{name}_below"] == pytest.approx(0.1, abs=tolerance), found
