"""The indicators of a tally as one JSON-ready document; what each means stands in definitions.py.

Units are in the names. Money above zero is paid by the homes, below zero earned. What is not known, or not
defined, is null, and `kpi.notes` says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core.kpi import spread, sufficiency
from energymarket.core.kpi.price_moments import half_life_slots
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.sufficiency import total
from energymarket.core.units import I64, UEUR_PER_EUR, WH_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    import numpy.typing as npt

    from energymarket.core.kpi.expectation import Expectation
    from energymarket.core.kpi.sufficiency import F64, Local
    from energymarket.core.kpi.tally import Tally

_MUEUR_PER_EUR: Final = 1000 * UEUR_PER_EUR
_UG_PER_KG: Final = 1_000_000_000
_ENERGY: Final = (
    "produced_wh",
    "consumed_wh",
    "imported_wh",
    "exported_wh",
    "given_wh",
    "received_wh",
    "expired_wh",
    "bought_wh",
    "sold_wh",
)
_DETAIL: Final = ("short_wh", "long_wh")


def document(
    tally: Tally,
    storage: Storage | None = None,
    expectation: Expectation | None = None,
    *,
    home_table: bool = True,
) -> dict[str, Any]:
    """`energy`, `money` and `kpi`.

    Without `storage` corrected shares are null, without `home_table` the arrays by home are left out (a
    megabyte for every 3,000 homes).
    """
    view = _View(tally, storage or Storage.unknown(tally.frame.homes))
    kpi: dict[str, Any] = {
        "slots": tally.community.slots,
        "first_slot": tally.community.first_slot,
        "last_slot": tally.community.last_slot,
        "slot_s": tally.frame.slot_s,
        "homes": tally.frame.homes,
        "detail_slots": tally.detail_slots,
        "detail_first_slot": tally.detail_first_slot,
        "self_sufficiency": _shares(view, "self_sufficiency"),
        "self_consumption": _shares(view, "self_consumption"),
        "peaks": _peaks(view),
        "co2": _co2(view),
        "spread": _spread(view),
        "price": _price(view, expectation),
        "notes": _notes(view),
    }
    if home_table:
        kpi["home_table"] = by_home(tally, storage)
    return {"energy": _energy(view), "money": _money(view), "kpi": kpi}


@dataclass(frozen=True, slots=True)
class _View:
    """A tally with what is known of its batteries."""

    tally: Tally
    storage: Storage

    @property
    def storage_known(self) -> bool:
        return bool(self.storage.known.all())

    def sum(self, name: str) -> int:
        """Over all homes, and all slots if the name is one of those that survive compaction."""
        tally = self.tally
        return total(tally.of(name) if name in _ENERGY or name == "money_ueur" else self.detail(name))

    def detail(self, name: str) -> I64:
        """A column of the slots with detail."""
        return self.tally.detail.columns[name]

    @property
    def bill_ueur(self) -> I64:
        """Of the slots with detail, which is what parts and alone are known of."""
        return -self.detail("money_ueur")


def _energy(view: _View) -> dict[str, Any]:
    sums = {_kwh_name(name): _kwh(view.sum(name)) for name in (*_ENERGY, *_DETAIL)}
    community, known = view.tally.community, view.storage_known
    return sums | {
        "traded_kwh": _kwh(community.traded_wh),
        "line_import_kwh": _kwh(community.line_import_wh),
        "line_export_kwh": _kwh(community.line_export_wh),
        "storage_change_kwh": _kwh(total(view.storage.change_wh)) if known else None,
        "storage_losses_kwh": _kwh(total(view.storage.losses_wh)) if known else None,
    }


def _money(view: _View) -> dict[str, Any]:
    bill = -view.sum("money_ueur")
    consumed = view.sum("consumed_wh")
    return {
        "bill_eur": bill / UEUR_PER_EUR,
        "eur_per_kwh": _round(bill / 1000 / consumed) if consumed else None,
        "detail_bill_eur": total(view.bill_ueur) / UEUR_PER_EUR,
        "purchases_eur": _eur(view.sum("purchases_mueur")),
        "sales_eur": _eur(view.sum("sales_mueur")),
        "fees_eur": _eur(total(_fees(view))),
        "imbalance_eur": _eur(view.sum("imbalance_mueur")),
        "alone_eur": _eur(view.sum("alone_mueur")),
    }


def _fees(view: _View) -> I64:
    return view.detail("received_wh") * view.tally.frame.gift_fee_ueur_per_kwh


def _shares(view: _View, name: str) -> dict[str, Any]:
    tally, storage = view.tally, view.storage

    def shown(local: Local | None) -> float | None:
        found: float | None = None if local is None else getattr(local, name)
        return _round(found)

    return {
        "household": shown(sufficiency.households(tally, storage)),
        "community": shown(sufficiency.community(tally, storage)),
        "household_as_metered": shown(sufficiency.households(tally, None)),
        "community_as_metered": shown(sufficiency.community(tally, None)),
        "slot_s": tally.frame.slot_s,
    }


def _peaks(view: _View) -> dict[str, Any]:
    community = view.tally.community
    kw = _kw(view)
    own = view.detail("peak_import_wh")
    alone_wh = total(own)
    coincidence = community.peak_imports_wh / alone_wh if view.tally.is_whole and alone_wh else None
    return {
        "line_import_kw": kw(community.peak_line_import_wh),
        "line_import_slot": community.peak_line_import_slot,
        "line_export_kw": kw(community.peak_line_export_wh),
        "line_export_slot": community.peak_line_export_slot,
        "home_import_kw": kw(int(own.max(initial=0))),
        "home_export_kw": kw(int(view.detail("peak_export_wh").max(initial=0))),
        "sum_of_home_imports_kw": kw(alone_wh),
        "coincident_imports_kw": kw(community.peak_imports_wh),
        "coincidence_factor": _round(coincidence),
        "diversity_factor": _round(1 / coincidence) if coincidence else None,
    }


def _kw(view: _View) -> Callable[[int], float]:
    """Mean power of a slot from its energy."""
    slot_s = view.tally.frame.slot_s
    return lambda energy_wh: round(energy_wh * 3600 / slot_s / 1000, 3)


def _co2(view: _View) -> dict[str, Any]:
    tally = view.tally
    found: dict[str, Any] = {}
    for kind in ("average", "marginal"):
        every_slot = _intensity_known(tally, kind)
        line_ug: int = getattr(tally.community, f"{kind}_ug")
        of_homes = tally.detail.columns.get(f"{kind}_ug") if every_slot and tally.is_whole else None
        found[f"line_import_{kind}_kg"] = _round(line_ug / _UG_PER_KG, 3) if every_slot else None
        found[f"home_imports_{kind}_kg"] = (
            None if of_homes is None else _round(total(of_homes) / _UG_PER_KG, 3)
        )
    return found


def _intensity_known(tally: Tally, kind: str) -> bool:
    """In every slot: of a part of them the figure would be too small, and nobody would see it."""
    with_it: int = getattr(tally.community, f"{kind}_slots")
    return 0 < with_it == tally.community.slots


def _spread(view: _View) -> dict[str, Any]:
    bill = view.bill_ueur
    per_kwh = _eur_per_kwh(view)
    known = per_kwh[~np.isnan(per_kwh)]
    fair = spread.jain(known)
    worse = spread.worse_off(bill, view.detail("alone_mueur"), view.tally.detail_slots)
    homes = view.tally.frame.homes
    some = view.tally.detail_slots > 0 and homes > 0
    return {
        **_quantiles("bill_{}_eur", bill / UEUR_PER_EUR if some else np.zeros(0)),
        **_quantiles("eur_per_kwh_{}", per_kwh),
        "worse_off_share": _round(np.count_nonzero(worse) / homes) if some else None,
        "jain_eur_per_kwh": _round(fair.index),
        "jain_below_zero_homes": fair.below_zero,
        "homes_without_consumption": homes - len(known),
    }


def _quantiles(name: str, values: F64) -> dict[str, float | None]:
    found = spread.quantiles(values) or (None, None, None)
    return {
        name.format(f"p{round(100 * q)}"): _round(value)
        for q, value in zip(spread.QUANTILES, found, strict=True)
    }


def _eur_per_kwh(view: _View) -> F64:
    """Of homes that consumed something in the slots with detail; NaN of others."""
    return sufficiency.ratio(view.bill_ueur, view.detail("consumed_wh")) / 1000


def _price(view: _View, expectation: Expectation | None) -> dict[str, Any]:
    price, slots = view.tally.price, view.tally.price.slots
    r1 = price.autocorrelation
    hours = view.tally.frame.slot_s / 3600
    life = half_life_slots(r1)
    expected_life = None if expectation is None else expectation.half_life_slots
    return {
        "mean_eur_per_kwh": _eur_price(price.mean),
        "expected_mean_eur_per_kwh": None
        if expectation is None
        else _eur_price(expectation.mean_ueur_per_kwh),
        "std_eur_per_kwh": _eur_price(_root(price.variance)),
        "std_of_changes_eur_per_kwh": _eur_price(_root(price.change_variance)),
        "lowest_eur_per_kwh": _eur_price(price.lowest),
        "highest_eur_per_kwh": _eur_price(price.highest),
        "autocorrelation": None if r1 is None else _round(float(r1)),
        "half_life_h": None if life is None else _round(life * hours),
        "expected_half_life_h": None if expected_life is None else _round(expected_life * hours),
        "at_floor_share": _round(price.at_floor / slots)
        if slots and price.floor_ueur_per_kwh is not None
        else None,
        "at_cap_share": _round(price.at_cap / slots)
        if slots and price.cap_ueur_per_kwh is not None
        else None,
    }


def _root(variance: Fraction | None) -> float | None:
    return None if variance is None else math.sqrt(variance)


def _eur_price(price_ueur_per_kwh: Fraction | float | None) -> float | None:
    return None if price_ueur_per_kwh is None else _round(float(price_ueur_per_kwh) / UEUR_PER_EUR)


def _notes(view: _View) -> list[str]:
    tally, notes = view.tally, []
    lacking = view.storage.known.size - int(np.count_nonzero(view.storage.known))
    if lacking:
        notes.append(
            f"registers of {lacking} homes are not at hand, or not of the last slot: what their batteries "
            "hold is unknown, and so are shares corrected for it; those as metered are known"
        )
    if not tally.is_whole:
        gone = tally.community.slots - tally.detail_slots
        notes.append(
            f"the detail of {gone} slots has been compacted to sums: energy, bill, community and price "
            f"are of all {tally.community.slots} slots; parts of the bill, alone, imbalance, spread and "
            f"peaks of homes are of the {tally.detail_slots} slots with detail; coincidence and CO2 of "
            "homes are left out"
        )
    return notes


def by_home(tally: Tally, storage: Storage | None = None, only: int | None = None) -> dict[str, list[Any]]:
    """One array per name, home 1 first; `only` one home, by its number."""
    view = _View(tally, storage or Storage.unknown(tally.frame.homes))
    part = slice(None) if only is None else slice(only - 1, only)
    per_kw = tally.frame.slot_s / 3600 * 1000
    table: dict[str, npt.NDArray[Any]] = {"home": np.arange(1, tally.frame.homes + 1)}
    for name in _ENERGY:
        table[_kwh_name(name)] = tally.of(name) / WH_PER_KWH
    for name in _DETAIL:
        table[_kwh_name(name)] = view.detail(name) / WH_PER_KWH
    for name, column in (
        ("storage_change_kwh", view.storage.change_wh),
        ("storage_losses_kwh", view.storage.losses_wh),
    ):
        table[name] = np.where(view.storage.known, column / WH_PER_KWH, np.nan)
    shares = sufficiency.shares_by_home(tally, view.storage)
    table["self_sufficiency"], table["self_consumption"] = shares
    table["peak_import_kw"] = view.detail("peak_import_wh") / per_kw
    table["peak_export_kw"] = view.detail("peak_export_wh") / per_kw
    table["bill_eur"] = -tally.of("money_ueur") / UEUR_PER_EUR
    table["detail_bill_eur"] = view.bill_ueur / UEUR_PER_EUR
    for name in ("purchases", "sales", "imbalance", "alone"):
        table[f"{name}_eur"] = view.detail(f"{name}_mueur") / _MUEUR_PER_EUR
    table["fees_eur"] = _fees(view) / _MUEUR_PER_EUR
    table["eur_per_kwh"] = _eur_per_kwh(view)
    for kind in ("average", "marginal"):
        if tally.is_whole and _intensity_known(tally, kind):
            table[f"co2_{kind}_kg"] = view.detail(f"{kind}_ug") / _UG_PER_KG
    return {name: _plain(column[part]) for name, column in table.items()}


def _plain(column: npt.NDArray[Any]) -> list[Any]:
    """Numbers of JSON: rounded to a millionth, NaN as None."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if math.isnan(value) else round(value, 6) for value in column.tolist()]


def _kwh_name(name: str) -> str:
    return f"{name.removesuffix('_wh')}_kwh"


def _kwh(energy_wh: int) -> float:
    return energy_wh / WH_PER_KWH


def _eur(money_mueur: int) -> float:
    return round(money_mueur / _MUEUR_PER_EUR, 6)


def _round(value: float | None, digits: int = 6) -> float | None:
    return None if value is None else round(value, digits)
