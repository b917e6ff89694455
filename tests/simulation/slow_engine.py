"""The slowest way to run a scenario: a live market's own steps, slot after slot, homes in some shards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from energymarket.core import exchange, ledger
from energymarket.core.events import Event, EventBook, Origin, arrivals
from energymarket.core.fleet import Fleet, State, initial_state, step
from energymarket.core.market import Accounts, Market, Outside, Rules
from energymarket.core.parameters import Rule
from energymarket.core.settlement import Batch
from energymarket.scenario.compiled import Compiled


def played(compiled: Compiled, slots: int, shards: int = 2) -> Market:
    """The market after so many slots in which every home was honest and on time."""
    homes = compiled.homes_count
    edges = np.linspace(0, homes, shards + 1).astype(int).tolist()
    fleets = [Fleet(compiled, a + 1, b - a) for a, b in pairwise(edges)]
    states = [[State(bytearray(State.size_bytes(f.count)), f.count) for _ in range(2)] for f in fleets]
    for fleet, (before, _) in zip(fleets, states, strict=True):
        initial_state(fleet, before)
    market = Market(
        Rules(
            compiled.price,
            compiled.tariff,
            homes,
            compiled.import_export_at,
            compiled.sharing.rule,
            compiled.key_weights(),
        ),
        Accounts.fresh(homes),
        ledger.genesis(compiled.hash),
        compiled.price.initial_ueur_per_kwh,
        EventBook(len(compiled.price.events)),
    )
    first = compiled.period.first_slot
    for slot in range(first, first + slots):
        _play(compiled, market, fleets, states, slot)
    return market


def _play(
    compiled: Compiled, market: Market, fleets: list[Fleet], states: list[list[State]], slot: int
) -> None:
    weather = compiled.weather[compiled.table_row(slot)]
    raining = int(weather["rain_um_per_h"]) > 0
    for new in arrivals(compiled.seed, compiled.price.events, slot, raining=raining):
        until = slot + new.duration_slots
        market.book.begin(Event(Origin.EXTERNAL, new.kind, new.seq, new.intensity_permille, slot, until))
    opening = market.open_slot(slot, Outside(int(weather["temperature_mc"]), raining, weather_stale=False))
    needs, surpluses = [], []
    for fleet, pair in zip(fleets, states, strict=True):
        net = step(fleet, pair[0], pair[1], slot, weather, opening.prices.price)
        needs.append(net.need_wh.copy())
        surpluses.append(net.surplus_wh.copy())
        pair.reverse()
    ids = np.arange(1, compiled.homes_count + 1, dtype=np.uint32)
    need, surplus = np.concatenate(needs), np.concatenate(surpluses)
    policies = compiled.homes["policy"]
    result = exchange.outcome(ids, surplus, need, policies, compiled.sharing, compiled.seed, slot)
    none = np.zeros_like(need)
    stated = exchange.trade_columns(policies, surplus, need, none, none, none)
    for fleet, (state, _) in zip(fleets, states, strict=True):
        columns, claims = exchange.batch_columns(result, fleet.first, fleet.count)
        if compiled.sharing.rule is not Rule.QUEUE:  # homes say what they have over and lack
            here, claims = slice(fleet.first - 1, fleet.first - 1 + fleet.count), claims[:0]
            columns |= {name: column[here].astype("<i4") for name, column in stated.items()}
        meters = ("production_wh", "consumption_wh", "import_wh", "export_wh")
        columns |= {name: state.column(name).copy() for name in meters}
        refusals = market.hear_batch(Batch(f"{fleet.first}", fleet.first, fleet.count, columns, claims))
        assert refusals == []
    market.commit_slot(market.close_slot())
