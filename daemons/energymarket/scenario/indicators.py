"""What indicators and comparisons need of a compiled scenario: frame, carbon, expected price, terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core.kpi.expectation import Expectation, expect
from energymarket.core.kpi.tally import Carbon, Frame
from energymarket.core.sharing.comparison import Terms

if TYPE_CHECKING:
    from energymarket.core.kpi.tally import Tally
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled


def frame_of(compiled: Compiled) -> Frame:
    """What a tally of a run of this scenario has to know."""
    return Frame(
        homes=compiled.homes_count,
        slot_s=compiled.period.slot_s,
        gift_fee_ueur_per_kwh=compiled.tariff.gift_fee_ueur_per_kwh,
        floor_ueur_per_kwh=compiled.price.floor_ueur_per_kwh,
        cap_ueur_per_kwh=compiled.price.cap_ueur_per_kwh,
    )


def carbon_of(compiled: Compiled, first_slot: int, slots: int) -> Carbon:
    """The grid's carbon intensity in consecutive slots, as far as the scenario knows it."""
    rows = _rows(compiled, first_slot, slots)
    average, marginal = (
        None if table is None else np.asarray(table)[rows].astype(np.int64)
        for table in map(compiled.tables.get, ("co2_mg_per_kwh", "co2_marginal_mg_per_kwh"))
    )
    return Carbon(average, marginal)


def expectation_of(compiled: Compiled, tally: Tally) -> Expectation | None:
    """What the price should have shown over the tally's slots; None without slots, or where weather was live.

    Between its first and its last slot, that is: what lies between them and was not heard counts too.
    """
    first, last = tally.community.first_slot, tally.community.last_slot
    if first is None or last is None or compiled.settings.get("weather", {}).get("live"):
        return None
    weather = np.asarray(compiled.weather)[_rows(compiled, first, last - first + 1)]
    return expect(compiled.price, weather, tally.community.imbalance_mean)


def terms_of(compiled: Compiled) -> Terms:
    """What a comparison of sharing rules knows of a scenario."""
    homes, weights = compiled.homes_count, compiled.key_weights()
    return Terms(
        sharing=compiled.sharing,
        policies=np.asarray(compiled.homes["policy"], np.int64),
        weights=np.ones(homes, np.int64) if weights is None else weights,
        seed=compiled.seed,
        gift_fee_ueur_per_kwh=compiled.tariff.gift_fee_ueur_per_kwh,
    )


def _rows(compiled: Compiled, first_slot: int, slots: int) -> I64:
    """As `Compiled.table_row`."""
    return (np.arange(first_slot, first_slot + slots) - compiled.period.first_slot) % compiled.period.slots
