"""The book of a meter: samples become watt-hours, whatever is late, lost, doubled or out of order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core import metering
from energymarket.core.metering import Book, Power, Verdict, register_wh
from energymarket.wire import readings as readings_wire

SLOT_S = 900
SLOT_MS = SLOT_S * 1000
SERIES = "ab" * 16


def wh(samples: list[Power], load: bool, until_ms: int | None = None) -> Fraction:
    """The integral of a polygon in exact arithmetic, by hand: no code of the book."""
    total = Fraction(0)
    for a, b in pairwise(samples):
        left, right = (a.load_mw, b.load_mw) if load else (a.pv_mw, b.pv_mw)
        end_ms, end = b.time_ms, Fraction(right)
        if until_ms is not None and end_ms > until_ms:
            if a.time_ms >= until_ms:
                break
            end = left + Fraction((right - left) * (until_ms - a.time_ms), b.time_ms - a.time_ms)
            end_ms = until_ms
        total += (left + end) / 2 * (end_ms - a.time_ms)
    return total / (1000 * 3_600_000)


def heard(samples: list[Power], book: Book | None = None) -> Book:
    """A book that has heard them."""
    book = book or Book(SLOT_S)
    for sample in samples:
        book.hear(SERIES, sample)
    return book


@st.composite
def days(draw: st.DrawFn) -> list[Power]:
    """Samples with odd intervals over some slots, from the middle of one on."""
    steps = draw(st.lists(st.integers(1, SLOT_MS), min_size=2, max_size=60))
    powers = st.tuples(st.integers(0, 9_000_000), st.integers(0, 5_000_000))
    at, found = 1_780_000_000_000 + draw(st.integers(0, SLOT_MS)), []
    for number, step in enumerate(steps, start=1):
        at += step
        found.append(Power(number, at, *draw(powers)))
    return found


@settings(deadline=None, max_examples=60)
@given(days(), st.data())
def test_whatever_order_they_come_in_and_how_often_the_sum_is_the_integral(
    samples: list[Power], data: st.DataObject
) -> None:
    """Loss that is made good, delay, doubling and reordering change nothing: to the Wh, load and sun."""
    twice = data.draw(st.lists(st.sampled_from(samples), max_size=20))
    shuffled = data.draw(st.permutations([*samples, *twice]))
    book, counted = Book(SLOT_S), 0
    for at, sample in enumerate(shuffled):
        counted += book.hear(SERIES, sample) is Verdict.COUNTED
        if at % 7 == 3:  # killed and begun again from its bytes
            meter, book, _ = readings_wire.unpack(readings_wire.pack("Meter_0", book, at))  # type: ignore[misc]
            assert meter == "Meter_0"
    assert counted == len(samples)
    last = samples[-1].time_ms // SLOT_MS
    reading = book.reading(last)
    unheard_ms = (last + 1) * SLOT_MS - samples[-1].time_ms
    assert reading is not None
    assert reading.estimated_ms == unheard_ms
    if samples[0].time_ms // SLOT_MS == last:
        return
    before = book.reading(last - 1)
    assert before is not None
    assert before.estimated_ms == 0
    assert before.load_wh == int(wh(samples, load=True, until_ms=last * SLOT_MS))
    assert before.pv_wh == int(wh(samples, load=False, until_ms=last * SLOT_MS))


@settings(deadline=None, max_examples=60)
@given(days(), st.data())
def test_a_register_that_follows_the_book_ends_at_the_integral_and_never_falls(
    samples: list[Power], data: st.DataObject
) -> None:
    """Readings taken while samples are missing are estimates; whatever they were, nothing of them is left."""
    # Some slots more end the story: the register needs time to work an over-estimate off.
    end = samples[-1]
    quiet = [
        Power(end.sequence + 1 + at, end.time_ms + (1 + at) * SLOT_MS, 90_000_000, 90_000_000)
        for at in range(8)
    ]
    late = data.draw(st.sets(st.sampled_from(samples)))
    book, register = Book(SLOT_S), [0, 0]
    for group in ([each for each in samples if each not in late], sorted(late), quiet):
        for at, sample in enumerate(group):
            book.hear(SERIES, sample)
            if at % 4 != len(group) % 4:
                continue
            reading = book.reading(max(sample.time_ms, end.time_ms) // SLOT_MS - 1)
            assert reading is not None
            moved = [register_wh(register[0], reading.load_wh), register_wh(register[1], reading.pv_wh)]
            assert moved >= register
            register = moved
    whole = [*samples, *quiet]
    exact = book.reading(whole[-1].time_ms // SLOT_MS - 1)
    assert exact is not None
    end_ms = whole[-1].time_ms // SLOT_MS * SLOT_MS
    assert register_wh(register[0], exact.load_wh) == int(wh(whole, load=True, until_ms=end_ms))
    assert register_wh(register[1], exact.pv_wh) == int(wh(whole, load=False, until_ms=end_ms))


def regular(first_ms: int, count: int, load_mw: int, pv_mw: int = 0, step_ms: int = 10_000) -> list[Power]:
    """Samples of one power on a grid, from sequence 1."""
    return [Power(1 + at, first_ms + at * step_ms, load_mw, pv_mw) for at in range(count)]


BEGIN = 1_980_000 * SLOT_MS


def test_a_minute_that_is_missing_is_a_straight_line_until_its_samples_come() -> None:
    """Two samples of 1 kW a minute apart, 7 kW between them: 16.67 Wh, and 116.67 once they are heard."""
    ends = [Power(1, BEGIN, 1_000_000, 0), Power(4, BEGIN + 60_000, 1_000_000, 0)]
    line = heard(ends)
    after = heard([Power(2, BEGIN + 1, 7_000_000, 0), Power(3, BEGIN + 59_999, 7_000_000, 0)], heard(ends))
    assert [line._known()[BEGIN // SLOT_MS].covered_ms] == [60_000]
    assert line._known()[BEGIN // SLOT_MS].load // metering.UNITS_PER_WH == 16
    assert after._known()[BEGIN // SLOT_MS].load // metering.UNITS_PER_WH == 116


def test_a_quarter_of_an_hour_without_samples_is_held_at_the_last_value() -> None:
    """2 kW until the slot's end, then nothing: 500 Wh are estimated, the sun held with it."""
    book = heard(regular(BEGIN, 91, 2_000_000, 400_000))
    reading = book.reading(BEGIN // SLOT_MS + 1)
    assert reading is not None
    assert (reading.slot_load_wh, reading.slot_pv_wh, reading.estimated_ms) == (500, 100, SLOT_MS)
    assert (reading.load_wh, reading.pv_wh) == (1_000, 200)


def test_a_hole_later_than_an_hour_is_the_mean_load_without_sun() -> None:
    """Nobody holds noon's sun into the night."""
    book = heard(regular(BEGIN, 91, 2_000_000, 400_000))
    reading = book.reading(BEGIN // SLOT_MS + 6)
    assert reading is not None
    assert (reading.slot_load_wh, reading.slot_pv_wh) == (500, 0)


def test_a_slot_that_days_before_had_is_as_they_were() -> None:
    """Yesterday 1 kW and 200 W of sun at this time, since then 3 kW: 250 and 50 Wh, not 750."""
    day = 96 * SLOT_MS
    yesterday = regular(BEGIN, 91, 1_000_000, 200_000)
    today = regular(BEGIN + 91 * 10_000, 8_640 - 91, 3_000_000, 0)
    today = [sample._replace(sequence=sample.sequence + 91) for sample in today]
    reading = heard([*yesterday, *today]).reading((BEGIN + day) // SLOT_MS)
    assert reading is not None
    assert (reading.slot_load_wh, reading.slot_pv_wh) == (250, 50)


def test_ten_days_later_nothing_changes_any_more_and_the_book_stays_small() -> None:
    """A gap of ten days ago is closed: its samples are too late, and the file fits its area."""
    first = regular(BEGIN, 4, 1_000_000)
    later = [
        Power(100 + at, BEGIN + (1 + at) * SLOT_MS, 1_000_000, 0) for at in range(metering.SLOTS_KEPT + 50)
    ]
    book = heard([*first, *later])
    assert book.hear(SERIES, Power(50, BEGIN + 60_000, 1_000_000, 0)) is Verdict.TOO_LATE
    assert book.hear(SERIES, later[-1]) is Verdict.SEEN
    assert len(book.entries) <= metering.SLOTS_KEPT + 1
    assert len(readings_wire.pack("Meter_0", book, 1)) < readings_wire.AREA_BYTES // 2
    reading = book.reading(later[-1].time_ms // SLOT_MS - 1)
    assert reading is not None
    assert reading.load_wh == 1_000 * (metering.SLOTS_KEPT + 50) // 4


def test_a_clock_that_jumps_a_century_costs_no_century_of_work() -> None:
    """One sample of 2099: what is estimated between stays bounded."""
    book = heard([*regular(BEGIN, 4, 1_000_000), Power(5, BEGIN + 70 * 365 * 96 * SLOT_MS, 1_000_000, 0)])
    reading = book.reading(BEGIN // SLOT_MS + 70 * 365 * 96)
    assert reading is not None
    assert 0 < reading.load_wh <= 250 * (3 * metering.SLOTS_KEPT + 1)


def test_two_hundred_open_gaps_are_the_most() -> None:
    """Every second sample lost for good: the oldest gaps close, with a straight line each."""
    every_second = regular(BEGIN, 2_000, 3_600_000, step_ms=1_000)[::2]
    book = heard(every_second)
    assert len(book.runs) == metering.RUNS_MAX
    reading = book.reading(BEGIN // SLOT_MS + 1)
    assert reading is not None
    assert reading.load_wh == 1_800
    assert book.hear(SERIES, Power(2, BEGIN + 1_000, 0, 0)) is Verdict.TOO_LATE


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_book_are_refused(content: bytes) -> None:
    """Garbage is an error, not a book."""
    if not content.strip(b"\0"):
        return
    with pytest.raises(readings_wire.BookError):
        readings_wire.unpack(content)
