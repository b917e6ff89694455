"""Two homes in three hours, worked out on paper: energy, shares, peaks, money, carbon, spread.

Slots of an hour from slot 10 on, p = 0.20, 0.30, 0.25 €/kWh, r = 0.40, e = 0.10, a gift costs 0.02.
Home 1 produces 3000, 2000, 0 Wh and consumes 1000 in each hour; its battery takes 500 Wh in the first hour,
of which 100 are lost, and gives 300 in the third. Home 2 produces nothing and consumes 800, 1500, 400 Wh.

hour  home 1                                         home 2                       the connection
1     3000 - 1000 - 500 = 1500 over: gives 600,      lacks 800: receives 600,     1500 - 800: 700 out
      sells 900                                      buys 200
2     2000 - 1000 = 1000 over: sells 1000            lacks 1500: buys 1400,       500 in
                                                     is short of 100
3     0 + 300 - 1000: lacks 700, buys 800,           lacks 400: buys 400          1100 in
      is long by 100
"""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core.kpi.document import by_home, document
from energymarket.core.kpi.home_sums import SUMMED
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.tally import Carbon, Frame, Tally
from energymarket.core.passage import Passage
from energymarket.core.state import State
from tests.unit.core.kpi.made_passages import part, passage

FRAME = Frame(homes=2, slot_s=3600, gift_fee_ueur_per_kwh=20_000, floor_ueur_per_kwh=200_000)
CARBON = Carbon(np.array([100_000, 200_000, 400_000]), np.array([700_000, 700_000, 800_000]))  # mg/kWh


def three_hours() -> Passage:
    """The table above; money by hand, in µ€."""
    return passage(
        10,
        [200_000, 300_000, 250_000],
        400_000,
        100_000,
        {
            "produced_wh": [[3000, 0], [2000, 0], [0, 0]],
            "consumed_wh": [[1000, 800], [1000, 1500], [1000, 400]],
            "imported_wh": [[0, 800], [0, 1500], [700, 400]],
            "exported_wh": [[1500, 0], [1000, 0], [0, 0]],
            "given_wh": [[600, 0], [0, 0], [0, 0]],
            "received_wh": [[0, 600], [0, 0], [0, 0]],
            "sold_wh": [[900, 0], [1000, 0], [0, 0]],
            "bought_wh": [[0, 200], [0, 1400], [800, 400]],
            "money_ueur": [
                [180_000, -40_000 - 12_000],  # 0.9 at 0.20; 0.2 at 0.20 and the fee of 0.6 kWh
                [300_000, -420_000 - 40_000],  # 1.0 at 0.30; 1.4 at 0.30 and 0.1 short at 0.40
                [-200_000 + 10_000, -100_000],  # 0.8 at 0.25 and 0.1 long at 0.10; 0.4 at 0.25
            ],
        },
    )


def batteries(home_1: tuple[int, int, int], home_2: tuple[int, int, int] = (0, 0, 0)) -> State:
    """Registers of both homes: Wh into the battery, out of it, lost."""
    state = State(bytearray(State.size_bytes(2)), 2)
    for at, values in enumerate((home_1, home_2)):
        for name, value in zip(("battery_in_wh", "battery_out_wh", "losses_wh"), values, strict=True):
            state.column(name)[at] = value
    return state


@pytest.fixture
def tally() -> Tally:
    """The three hours, heard."""
    made = Tally(FRAME)
    made.add(three_hours(), CARBON)
    return made


@pytest.fixture
def storage(tally: Tally) -> Storage:
    """500 Wh in, 300 out, 100 lost: 100 Wh more at the end."""
    return Storage.between(tally, None, batteries((500, 300, 100)))


def test_energy_is_added_up_over_homes_and_hours(tally: Tally, storage: Storage) -> None:
    """Every sum as on paper; at the connection, imports and exports of one hour cancel."""
    assert document(tally, storage)["energy"] == {
        "produced_kwh": 5.0,
        "consumed_kwh": 5.7,
        "imported_kwh": 3.4,
        "exported_kwh": 2.5,
        "given_kwh": 0.6,
        "received_kwh": 0.6,
        "expired_kwh": 0.0,
        "bought_kwh": 2.8,
        "sold_kwh": 1.9,
        "short_kwh": 0.1,
        "long_kwh": 0.1,
        "traded_kwh": 0.2 + 1.0,  # min(900, 200), min(1000, 1400), min(0, 1200)
        "line_import_kwh": 1.6,
        "line_export_kwh": 0.7,
        "storage_change_kwh": 0.1,
        "storage_losses_kwh": 0.1,
    }


def test_shares_are_met_locally_and_corrected(tally: Tally, storage: Storage) -> None:
    """Households meet 5700 - 3400 + 100 = 2400 Wh; the community 5700 - 1600 + 100 = 4200.

    The other way: 5000 - 2500 - 100 lost = 2400, and 5000 - 700 - 100 = 4200.
    """
    kpi = document(tally, storage)["kpi"]
    assert kpi["self_sufficiency"] == {
        "household": round(2400 / 5700, 6),
        "community": round(4200 / 5700, 6),
        "household_as_metered": round(2300 / 5700, 6),
        "community_as_metered": round(4100 / 5700, 6),
        "slot_s": 3600,
    }
    assert kpi["self_consumption"]["household"] == 2400 / 5000
    assert kpi["self_consumption"]["community"] == 4200 / 5000


def test_a_battery_that_is_emptied_makes_nobody_self_sufficient() -> None:
    """A home without production that lives on what was in its battery has met nothing locally."""
    made = Tally(Frame(homes=1, slot_s=900))
    made.add(passage(0, [0], 0, 0, {"consumed_wh": [[500]]}))
    after = State(bytearray(State.size_bytes(1)), 1)
    after.battery_out_wh[0] = 500
    kpi = document(made, Storage.between(made, None, after))["kpi"]
    assert kpi["self_sufficiency"]["household"] == 0
    assert kpi["self_sufficiency"]["household_as_metered"] == 1
    assert kpi["self_consumption"]["household"] is None


def test_registers_that_do_not_fit_the_readings_are_not_believed(tally: Tally) -> None:
    """Home 1's battery has moved on by 50 Wh since its last reading: the corrected share is unknown."""
    document_ = document(tally, Storage.between(tally, None, batteries((550, 300, 100))))
    assert document_["energy"]["storage_change_kwh"] is None
    assert document_["kpi"]["self_sufficiency"]["household"] is None
    assert document_["kpi"]["self_sufficiency"]["community_as_metered"] == round(4100 / 5700, 6)
    assert document_["kpi"]["home_table"]["self_sufficiency"] == [None, 0.0]
    assert "registers of 1 homes" in document_["kpi"]["notes"][0]


def test_a_run_that_began_with_registers_counts_from_them(tally: Tally) -> None:
    """What batteries did before the run is taken off."""
    before, after = batteries((9000, 8000, 500)), batteries((9500, 8300, 600))
    found = Storage.between(tally, before, after)
    assert found.change_wh.tolist() == [100, 0]
    assert found.losses_wh.tolist() == [100, 0]
    assert found.known.all()


def test_peaks_are_means_of_a_slot(tally: Tally) -> None:
    """Home 1 draws 700 W at most, home 2 1500, both together 1500: coincidence 1500 / 2200."""
    peaks = document(tally)["kpi"]["peaks"]
    assert peaks == {
        "line_import_kw": 1.1,
        "line_import_slot": 12,
        "line_export_kw": 0.7,
        "line_export_slot": 10,
        "home_import_kw": 1.5,
        "home_export_kw": 1.5,
        "sum_of_home_imports_kw": 2.2,
        "coincident_imports_kw": 1.5,
        "coincidence_factor": round(1500 / 2200, 6),
        "diversity_factor": round(2200 / 1500, 6),
    }


def test_a_quarter_of_an_hour_has_four_times_the_power() -> None:
    """100 Wh in 15 min are 400 W."""
    made = Tally(Frame(homes=1, slot_s=900))
    made.add(passage(0, [0], 0, 0, {"imported_wh": [[100]]}))
    assert document(made)["kpi"]["peaks"]["line_import_kw"] == 0.4
    assert by_home(made)["peak_import_kw"] == [0.4]


def test_the_bill_is_the_sum_of_its_parts(tally: Tally) -> None:
    """Home 1 earns 0.29 €, home 2 pays 0.612 €; parts as on paper."""
    money = document(tally)["money"]
    assert money == {
        "bill_eur": 0.322,
        "eur_per_kwh": round(0.322 / 5.7, 6),
        "detail_bill_eur": 0.322,
        "purchases_eur": 0.76,  # 0.04 + 0.42 + 0.20 + 0.10
        "sales_eur": 0.48,
        "fees_eur": 0.012,
        "imbalance_eur": 0.03,  # 0.04 - 0.01
        "alone_eur": 1.11,  # 3.4 kWh at 0.40 less 2.5 at 0.10
    }
    parts = money["purchases_eur"] - money["sales_eur"] + money["fees_eur"] + money["imbalance_eur"]
    assert parts == pytest.approx(money["bill_eur"])
    table = by_home(tally)
    assert table["bill_eur"] == [-0.29, 0.612]
    assert table["alone_eur"] == [0.03, 1.08]
    assert table["imbalance_eur"] == [-0.01, 0.04]


def test_carbon_is_that_of_imports_twice_and_never_added(tally: Tally) -> None:
    """The line draws 0.5 kWh at 200 g and 1.1 at 400; homes 0.8 at 100, 1.5 at 200, 1.1 at 400."""
    co2 = document(tally)["kpi"]["co2"]
    assert co2 == {
        "line_import_average_kg": 0.54,  # 0.10 + 0.44
        "home_imports_average_kg": 0.82,  # 0.08 + 0.30 + 0.44
        "line_import_marginal_kg": 1.23,  # 0.35 + 0.88
        "home_imports_marginal_kg": 2.49,  # 0.56 + 1.05 + 0.88
    }
    assert by_home(tally)["co2_average_kg"] == [0.28, 0.54]


def test_an_intensity_that_is_missing_for_one_slot_gives_no_figure() -> None:
    """Two hours with, one without: nothing is said rather than too little."""
    made = Tally(FRAME)
    whole = three_hours()
    first_two = Carbon(np.array([100_000, 200_000]))
    made.add(part(whole, 0, 2), first_two)
    made.add(part(whole, 2, 3))
    assert set(document(made)["kpi"]["co2"].values()) == {None}
    assert "co2_average_kg" not in by_home(made)


def test_the_spread_tells_who_is_worse_off_and_how_equal_it_is(tally: Tally) -> None:
    """Alone home 1 pays 0.03 €, home 2 1.08 €: nobody is worse off. Jain over 0 and 0.612/2.7: one half."""
    kpi = document(tally)["kpi"]["spread"]
    per_kwh = (-0.29 / 3.0, 0.612 / 2.7)
    assert kpi["bill_p50_eur"] == pytest.approx((0.612 - 0.29) / 2)
    assert kpi["eur_per_kwh_p10"] == pytest.approx(per_kwh[0] + 0.1 * (per_kwh[1] - per_kwh[0]), abs=1e-6)
    assert kpi["worse_off_share"] == 0
    assert kpi["jain_eur_per_kwh"] == 0.5
    assert kpi["jain_below_zero_homes"] == 1
    assert kpi["homes_without_consumption"] == 0


def test_who_buys_above_the_import_price_is_worse_off() -> None:
    """1 kWh at 0.50 where the grid asks 0.40; the other home pays what the grid would have asked."""
    made = Tally(Frame(homes=2, slot_s=3600))
    columns = {"imported_wh": [[1000, 1000]], "consumed_wh": [[1000, 1000]], "bought_wh": [[1000, 1000]]}
    made.add(passage(0, [500_000], 400_000, 0, columns | {"money_ueur": [[-500_000, -400_000]]}))
    assert document(made)["kpi"]["spread"]["worse_off_share"] == 0.5


def test_the_price_of_three_slots(tally: Tally) -> None:
    """0.20, 0.30, 0.25: mean 0.25, deviations -5, 5, 0 cents; r1 = (-25 + 0) / 50; changes 10 and -5."""
    price = document(tally)["kpi"]["price"]
    assert price["mean_eur_per_kwh"] == 0.25
    assert price["std_eur_per_kwh"] == pytest.approx((50 / 3) ** 0.5 / 100, abs=1e-6)
    assert price["std_of_changes_eur_per_kwh"] == 0.075
    assert price["autocorrelation"] == -0.5
    assert price["half_life_h"] is None
    assert (price["lowest_eur_per_kwh"], price["highest_eur_per_kwh"]) == (0.2, 0.3)
    assert price["at_floor_share"] == round(1 / 3, 6)
    assert price["at_cap_share"] is None


def test_an_empty_tally_says_nothing_and_fails_nowhere() -> None:
    """No slot: sums are 0, and what divides by nothing is null."""
    found = document(Tally(FRAME))
    assert found["money"]["bill_eur"] == 0
    assert found["money"]["eur_per_kwh"] is None
    assert found["kpi"]["price"]["mean_eur_per_kwh"] is None
    assert found["kpi"]["spread"]["jain_eur_per_kwh"] is None
    assert found["kpi"]["spread"]["bill_p50_eur"] is None


def test_compacted_slots_keep_what_their_sums_say(tally: Tally, storage: Storage) -> None:
    """Hours 1 and 2 compacted: energy, bill, shares, line and price are the same; parts are of hour 3."""
    from energymarket.core.kpi.community_sums import TOTALS, SlotTotals

    whole = three_hours()
    old, fresh = part(whole, 0, 2), part(whole, 2, 3)
    made = Tally(FRAME)
    prices = (old.price_ueur_per_kwh, old.import_ueur_per_kwh, old.export_ueur_per_kwh)
    totals = {name: old.columns[name].sum(axis=1).astype(np.int64) for name in TOTALS}
    made.add_totals(SlotTotals(10, *prices, totals), Carbon(np.array([100_000, 200_000])))
    made.add_compacted({name: old.columns[name].sum(axis=0).astype(np.int64) for name in SUMMED})
    made.add(fresh, Carbon(np.array([400_000])))
    ours, known = document(made, storage), document(tally, storage)
    short_long = {"short_kwh": 0.0, "long_kwh": 0.1}  # of hour 3
    assert ours["energy"] == known["energy"] | short_long
    assert ours["money"]["bill_eur"] == 0.322
    assert ours["money"]["detail_bill_eur"] == 0.29
    assert ours["money"]["sales_eur"] == 0
    for name in ("self_sufficiency", "self_consumption"):
        assert ours["kpi"][name] == known["kpi"][name]
    assert ours["kpi"]["price"]["mean_eur_per_kwh"] == 0.25
    assert ours["kpi"]["peaks"]["line_export_kw"] == 0.7
    assert ours["kpi"]["peaks"]["coincidence_factor"] is None
    assert ours["kpi"]["co2"]["line_import_average_kg"] == 0.54
    assert ours["kpi"]["co2"]["home_imports_average_kg"] is None
    assert (ours["kpi"]["slots"], ours["kpi"]["detail_slots"], ours["kpi"]["detail_first_slot"]) == (3, 1, 12)
    assert "2 slots has been compacted" in ours["kpi"]["notes"][0]
