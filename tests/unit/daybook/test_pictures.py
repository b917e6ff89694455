"""What the pictures show: their numbers, against a pencil's."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.daybook import axes, bills, causes, day_plate, duration, heat, price_plate, sankey, spread
from energymarket.daybook.axes import NARROW, WIDE, Frame
from energymarket.daybook.balance import ACCOUNTS, Balance, balance_of
from energymarket.daybook.bills import Bills
from energymarket.daybook.colours import STEPS
from energymarket.daybook.local_days import Calendar, day_of
from tests.unit.daybook.made_figures import FIRST_SLOT, figures

UTC = Calendar(900, "UTC")
BERLIN = Calendar(900, "Europe/Berlin")


# ---- the flows of a run


def balance(**sums: int) -> Balance:
    nothing = dict.fromkeys(ACCOUNTS, 0)
    plain = dict.fromkeys(Balance.__dataclass_fields__, 0)
    return Balance(**{**plain, **sums, "energy_wh": nothing, "money_ueur": nothing})  # type: ignore[arg-type]


def sums_at(links: list[sankey.Link], node: str) -> tuple[int, int]:
    """What enters and what leaves a node."""
    return (
        sum(each.energy_wh for each in links if each.target == node),
        sum(each.energy_wh for each in links if each.source == node),
    )


def test_flows_are_the_balance_to_the_watt_hour() -> None:
    """1000 produced, 600 out: 450 given, 100 to the grid, 50 untaken; 450 + 70 in; 380 used at home."""
    links = sankey.links_of(
        balance(
            produced_wh=1000, exported_wh=600, imported_wh=520, consumed_wh=900, given_wh=450,
            sold_to_grid_wh=100, expired_wh=50, bought_from_grid_wh=70,
        )
    )  # fmt: skip
    found = {(each.source, each.target): each.energy_wh for each in links}
    assert found == {
        ("production", "own use"): 400,
        ("own use", "consumption"): 380,
        ("own use", "battery"): 20,
        ("production", "fed out"): 600,
        ("fed out", "gifts"): 450,
        ("fed out", "sold"): 100,
        ("fed out", "unpaid"): 50,
        ("gifts", "taken in"): 450,
        ("from grid", "taken in"): 70,
        ("taken in", "consumption"): 520,
    }


def test_a_gift_that_is_sold_on_changes_hands_twice() -> None:
    """100 out and given; the taker needs 60 and sells 40 on to a third: 140 agreed, 100 metered."""
    links = sankey.links_of(
        balance(
            produced_wh=100, exported_wh=100, imported_wh=100, consumed_wh=100, given_wh=100, traded_wh=40
        )
    )
    assert sums_at(links, "passed on") == (0, 40)
    assert sums_at(links, "again") == (40, 0)
    assert sums_at(links, "fed out") == sums_at(links, "taken in") == (140, 140)


def test_losses_and_content_of_batteries_are_told_apart() -> None:
    """Of 100 that batteries kept, 130 were lost and 30 came from what they had at first."""
    kept = balance(produced_wh=100)
    links = sankey.links_of(kept, losses_wh=130)
    assert sums_at(links, "lost") == (130, 0)
    assert sums_at(links, "from battery") == (0, 30)
    assert sums_at(links, "own use") == (130, 130)


@given(st.lists(st.integers(0, 10**12), min_size=9, max_size=9), st.integers(-(10**9), 10**9), st.booleans())
def test_whatever_is_metered_what_enters_a_place_leaves_it(
    sums: list[int], stored: int, losses: bool
) -> None:
    """For any contracts and any meters that agree with them at the grid's line, to the Wh."""
    given_wh, traded, bought, sold, expired, short, long, imported, consumed = sums
    line = bought + short - sold - expired - long
    exported = imported - line
    produced = consumed + stored + exported - imported
    if exported < 0 or produced < 0:
        return
    links = sankey.links_of(
        balance(
            produced_wh=produced, exported_wh=exported, imported_wh=imported, consumed_wh=consumed,
            given_wh=given_wh, traded_wh=traded, bought_from_grid_wh=bought, sold_to_grid_wh=sold,
            expired_wh=expired, short_wh=short, long_wh=long,
        ),
        17 if losses else None,
    )  # fmt: skip
    for node in ("own use", "fed out", "gifts", "trade", "taken in"):
        into, out = sums_at(links, node)
        assert into == out, node
    assert sums_at(links, "production")[1] == produced
    assert sums_at(links, "consumption")[0] == consumed


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_bands_are_as_wide_as_their_energy(width: int) -> None:
    """One scale for the whole picture: 340 px are the fullest column, 450 kWh with what passes over it."""
    plate = sankey.plate(
        balance(
            produced_wh=400_000, exported_wh=300_000, imported_wh=150_000, consumed_wh=250_000,
            given_wh=100_000, sold_to_grid_wh=200_000, bought_from_grid_wh=50_000,
        ),
        "a year",
    )  # fmt: skip
    heights: dict[int, list[tuple[float, float]]] = {}
    for path, energy in re.findall(r'd="([^"]+)" data-wh="(\d+)"', plate.draw(width).content):
        numbers = [float(each) for each in re.findall(r"-?\d+\.?\d*", path)]
        top_left, top_right, bottom_right, bottom_left = numbers[1], numbers[7], numbers[8], numbers[14]
        heights.setdefault(int(energy), []).append((bottom_left - top_left, bottom_right - top_right))
    assert set(heights) == {50_000, 100_000, 150_000, 200_000, 300_000}
    for energy, pairs in heights.items():
        for left, right in pairs:
            assert left == pytest.approx(energy / 450_000 * 340, abs=0.2)
            assert right == pytest.approx(left, abs=0.2)


# ---- the duration curve


@pytest.mark.parametrize("shift", [-9_000, -8_990, -4_321, 0, 3_333])
def test_the_curve_is_sorted_and_its_areas_are_the_energies(shift: int) -> None:
    """5,000 slots in at most 2 × 240 steps: drawn and fed energy are kept, and so are both peaks."""
    net = (np.arange(5_000) * 7_919) % 14_000 + shift  # every value of a range, in no order
    net[17], net[18] = 60_000, -70_000
    curve = duration.curve_of(net, UTC)
    assert len(curve.slots) <= 2 * duration.STEPS_MAX
    assert curve.slots.sum() == 5_000
    assert (np.diff(curve.power_kw) <= 0).all()
    energy = curve.power_kw * curve.slots * 250  # Wh of a kW in a quarter of an hour
    assert energy[energy > 0].sum() == pytest.approx(net[net > 0].sum(), rel=1e-12)
    assert energy[energy < 0].sum() == pytest.approx(net[net < 0].sum(), rel=1e-12)
    assert (curve.power_kw[0], curve.power_kw[-1]) == (240.0, -280.0)


@pytest.mark.parametrize("net", [[5], [-5], [0], [0, 0, 0], [3, 3], [1, 0, -1]])
def test_a_curve_of_few_slots_is_the_slots(net: list[int]) -> None:
    """One step per slot, whatever side of zero they are on."""
    curve = duration.curve_of(np.array(net), UTC)
    np.testing.assert_allclose(np.repeat(curve.power_kw, curve.slots) * 250, sorted(net, reverse=True))


# ---- the heat map


def test_a_cell_is_the_mean_of_its_slots() -> None:
    """Slots of 5 min: three in a cell of 15; 30, 60 and 90 Wh are 0.72 kW in the mean."""
    five = Calendar(300, "UTC")
    first = FIRST_SLOT * 3
    slot = np.arange(first, first + 6)
    found = heat.heat_of(np.array([30, 60, 90, -12, -12, -12]), slot, five)
    assert found.power_kw.shape == (96, 1)
    assert found.power_kw[0, 0] == pytest.approx(60 * 12 / 1000)
    assert found.power_kw[1, 0] == pytest.approx(-12 * 12 / 1000)
    assert np.isnan(found.power_kw[2:]).all()


@pytest.mark.parametrize(
    ("day", "slots", "empty", "doubled"),
    [(date(2025, 3, 30), 92, range(8, 12), range(0)), (date(2025, 10, 26), 100, range(0), range(8, 12))],
)
def test_days_on_which_clocks_are_changed_keep_their_place(
    day: date, slots: int, empty: range, doubled: range
) -> None:
    """In spring 02:00 to 03:00 is empty, in autumn each of its quarters is the mean of two slots."""
    assert BERLIN.slots_of(day_of(day)) == slots
    first = int(np.datetime64(day, "s").astype(int)) // 900 - 4 * (1 if day.month == 3 else 2)
    slot = np.arange(first, first + slots)
    local_day, _ = BERLIN.local(slot)
    assert set(local_day.tolist()) == {day_of(day)}
    energy = np.arange(slots) * 1000
    found = heat.heat_of(energy, slot, BERLIN).power_kw[:, 0] / 4
    assert np.flatnonzero(np.isnan(found)).tolist() == list(empty)
    for row in doubled:
        assert found[row] == pytest.approx((row + row + 4) / 2)
    assert found[95] == slots - 1


def test_long_runs_take_days_together() -> None:
    """Ten years in at most 372 columns: a cell is the mean over ten days."""
    slot = np.arange(0, 3650 * 24)
    hours = Calendar(3600, "UTC")
    day, second = hours.local(slot)
    found = heat.heat_of(day * 1000 + second // 3600, slot, hours)
    assert found.days == 10
    assert found.power_kw.shape == (24, 365)
    assert found.power_kw[5, 2] == pytest.approx(np.arange(20, 30).mean() + 0.005)


def test_colours_have_nothing_in_the_middle_and_are_as_strong_on_both_sides() -> None:
    """Zero is the middle class; a power and its opposite are as far from it; no slot is no class."""
    values = np.array([[-9.0, -4.0, -0.01, 0.0, 0.01, 4.0, 9.0, np.nan]])
    kinds = heat.classes_of(heat.Heat(0, 1, 900, values), 9.0)[0].tolist()
    assert kinds[3] == STEPS
    assert kinds[-1] == -1
    assert [kind - STEPS for kind in kinds[:3]] == [STEPS - kind for kind in kinds[6:3:-1]]
    assert (kinds[0], kinds[6]) == (0, 2 * STEPS)


# ---- the price


def test_hours_that_are_taken_together_are_means() -> None:
    """Prices 0 .. 95 in a day, three points wanted at least: six-hour means, with their extremes."""
    slots = figures(price=range(96), gamma=0.0, terms={"inertia": [0] * 96, "base": range(96)})
    found = price_plate.stretches_of(slots, UTC, most=10)
    assert found.what == "6 hours"
    assert found.mean.tolist() == [11.5, 35.5, 59.5, 83.5]
    assert (found.low.tolist()[1], found.high.tolist()[1]) == (24, 47)
    assert found.edges == [FIRST_SLOT, FIRST_SLOT + 24, FIRST_SLOT + 48, FIRST_SLOT + 72, FIRST_SLOT + 96]
    np.testing.assert_allclose(sum(found.parts.values()), found.mean)


def test_a_year_is_days_and_ten_years_are_weeks_or_more() -> None:
    """Never more points than a screen can tell apart, at the boundaries of local days."""
    year = figures(price=[200_000] * 35_040)
    assert len(price_plate.stretches_of(year, BERLIN).first) == 366  # begins at 02:00: two parts of days
    assert price_plate.stretches_of(year, BERLIN).what == "day"
    many = figures(price=[200_000] * 87_600)
    found = price_plate.stretches_of(many, Calendar(3600, "Europe/Berlin"))
    assert len(found.first) <= price_plate.POINTS_MAX
    assert found.what == "7 days"


def test_what_floor_and_cap_hold_back_is_a_cause() -> None:
    """The sum is 0.50, the cap 0.40: −0.10 is the cap's; half of it is left in the next slot."""
    slots = figures(
        price=[400_000, 300_000],
        previous=[0, 400_000],
        unclipped=[500_000, 300_000],
        terms={"inertia": [0, 200_000], "base": [500_000, 100_000]},
    )
    parts = causes.causes_of(slots)
    assert parts[causes.LIMITS].tolist() == [-100_000, -50_000]
    assert parts[causes.BASE].tolist() == [500_000, 350_000]


def test_compacted_slots_have_prices_and_no_causes() -> None:
    """All of the price counts as base, and the plate says why."""
    slots = figures(price=[100_000, 120_000], detailed=False)
    parts = causes.causes_of(slots)
    assert parts[causes.BASE].tolist() == [100_000, 120_000]
    assert "compacted" in price_plate.plate(slots, UTC, None).note


def test_every_slot_is_in_one_bar_of_the_distribution() -> None:
    """Negative prices and a price on an edge included; bars have round edges."""
    counts, edges = spread.bins_of(np.array([-50_000, -1, 0, 99_999, 100_000]), bins=4)
    assert edges.tolist() == [-50_000, 0, 50_000, 100_000, 150_000]
    assert counts.tolist() == [2, 1, 1, 1]


# ---- a day


def test_days_are_chosen_among_whole_ones() -> None:
    """Three days, the last of them half: it is neither the last nor the dearest."""
    count = 96 * 2 + 48
    price = [100_000] * 96 + [200_000] * 96 + [900_000] * 48
    produced = [10] * 96 + [1] * 96 + [500] * 48
    slots = figures(price=price, totals={"produced_wh": produced})
    first = day_of(date(2025, 6, 16))
    chosen = {each.day: each.why for each in day_plate.chosen_days(slots, UTC)}
    assert count == len(slots)
    assert chosen == {first + 1: ("the last day", "the dearest"), first: ("most production",)}
    asked = day_plate.chosen_days(slots, UTC, first + 2)
    assert asked[0] == day_plate.Chosen(first + 2, ("asked for",))


def test_flows_of_a_day_are_its_energies_over_time() -> None:
    """1,000 Wh in a quarter of an hour are 4 kW; what neighbours traded is what both sides had in common."""
    totals = {
        "consumed_wh": [1500], "imported_wh": [1000], "taken_wh": [300], "bought_wh": [700],
        "sold_wh": [400], "short_wh": [50], "long_wh": [20], "expired_wh": [10], "produced_wh": [2000],
    }  # fmt: skip
    flows = day_plate.flows_of(figures(price=[1], totals=totals), UTC)
    assert {name: power.tolist() for name, power in flows.power_kw.items()} == {
        "own": [2.0], "given": [1.2], "traded": [1.6], "import": [pytest.approx(1.4)], "sold": [0.08],
        "unpaid": [0.04],
    }  # fmt: skip
    assert flows.produced_kw.tolist() == [8.0]


# ---- bills


@pytest.fixture
def three() -> Bills:
    """Three homes under two rules and alone: 10, −5 and 4 € alone."""
    cost = np.array([[8.0, 12.0, 10.0], [-6.0, -5.0, -5.0], [4.0, 1.0, 4.0]])
    return Bills(["gifts", "key", "alone"], cost, alone=2, rounding_eur=0.001)


def test_who_pays_more_than_alone_is_worse_off(three: Bills) -> None:
    """Under the key the first pays 12 instead of 10; −5 and −5 are equal."""
    assert [three.worse_off(rule) for rule in three.compared] == [0, 1]
    plate = bills.plate(three)
    assert "Of 3 homes, worse off than alone: 1 under key, none under the others." in plate.says
    assert "pay 9.00 €; least they pay under gifts: 6.00 €" in plate.says
    by_home = plate.more[0].rows
    assert [row[2] for row in by_home] == ["12.00 ▼", "−5.00", "1.00"]
    assert [row[5:] for row in plate.rows.rows] == [["0", "0.00"], ["1", "−2.00"], ["–", "–"]]


def test_rounding_makes_nobody_worse_off() -> None:
    """A thousandth of a euro more, and as much again."""
    cost = np.array([[1.001, 1.0], [1.0021, 1.0]])
    assert Bills(["a", "alone"], cost, alone=1, rounding_eur=0.0015).worse_off(0) == 1


@pytest.mark.parametrize("homes", [1, 3, bills.DOTS_MAX, bills.DOTS_MAX + 1, 5_000])
def test_every_home_is_drawn_or_counted(homes: int) -> None:
    """Dots are homes, and so are what bars say; none mixes who gains and who loses."""
    saved = np.linspace(-10, 30, homes) if homes > 1 else np.array([-10.0])
    made = Bills(["rule", "alone"], np.stack([-saved, np.zeros(homes)], axis=1), alone=1)
    drawn = bills.plate(made).draw(WIDE).content
    losers, winners = int((saved < 0).sum()), int((saved >= 0).sum())
    if homes <= bills.DOTS_MAX:
        assert drawn.count('class="fill bad"') == losers
        assert drawn.count('class="fill given"') == winners
        return
    sums = {"bad": 0, "given": 0}
    for kind, count in re.findall(r'<rect class="fill (bad|given)".*?: ([\d,]+) homes', drawn):
        sums[kind] += int(count.replace(",", ""))
    assert sums == {"bad": losers, "given": winners}


# ---- scales


def test_marks_of_numbers_are_round() -> None:
    """1, 2 or 5 times a power of ten, with the digits that they need."""
    assert axes.ticks(-0.03, 0.06, 5) == pytest.approx([-0.02, 0, 0.02, 0.04, 0.06])
    assert axes.ticks(0, 1234, 5) == [0, 500, 1000]
    assert [axes.label(each, 0.02) for each in (-0.02, -0.0, 0.04)] == ["−0.02", "0", "0.04"]


@pytest.mark.parametrize(
    ("slots", "room"), [(1, 12), (2, 12), (96, 12), (672, 12), (35_040, 5), (350_400, 5)]
)
def test_marks_of_time_are_few_and_inside(slots: int, room: int) -> None:
    """Whatever the length: at least one, no more than there is room for, in order."""
    marks = axes.time_marks(BERLIN, FIRST_SLOT, FIRST_SLOT + slots, room)
    assert 1 <= len(marks) <= room + 1
    places = [place for place, _ in marks]
    assert places == sorted(places)
    assert FIRST_SLOT <= places[0] <= places[-1] <= FIRST_SLOT + slots


def test_hours_are_those_of_local_clocks_also_where_they_change() -> None:
    """On 2025-03-30 in Berlin 02:00 does not exist: marks are 00:00, 03:00, 06:00, an hour nearer."""
    first = int(np.datetime64("2025-03-29T23:00", "s").astype(int)) // 900
    marks = axes.time_marks(BERLIN, first, first + 36, 4)
    assert [(place - first, text) for place, text in marks] == [
        (0, "30 Mar"),
        (8, "03:00"),
        (20, "06:00"),
        (32, "09:00"),
    ]


def test_a_frame_grows_upwards() -> None:
    """The lowest value at the bottom, the highest at the top; a frame without span puts all at its foot."""
    frame = Frame(0, 100, 0, 50, 0, 10, -1, 1)
    assert (frame.x(5), frame.y(-1), frame.y(1)) == (50, 50, 0)
    assert Frame(0, 100, 0, 50, 3, 3, 2, 2).y(2) == 50


def test_the_balance_of_columns_is_their_sum() -> None:
    """Purchases and sales of a slot cancel within it, not over slots."""
    slots = figures(price=[1, 1], totals={"bought_wh": [100, 30], "sold_wh": [40, 50]})
    found = balance_of(slots)
    assert (found.traded_wh, found.bought_from_grid_wh, found.sold_to_grid_wh) == (70, 60, 20)
