"""External events: random arrivals that have the stated distribution, and a book that nothing inverts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.events import (
    EVENTS_ACTIVE_MAX,
    RATE_PER_SLOT_MAX,
    Arrival,
    Event,
    EventAnswer,
    EventBook,
    Origin,
    arrivals,
    book_from_dict,
)
from energymarket.core.parameters import EventKind

STORM = EventKind("storm", 1.0, 0.05, 8.0, 0.5, 1.5, rain_factor=3.0)
NEVER = EventKind("never", 1.0, 0.0, 1.0)
OFTEN = EventKind("often", 1.0, 2.0, 1.0)


def _all(kind: EventKind, slots: int, *, raining: bool = False) -> list[Arrival]:
    return [arrival for slot in range(slots) for arrival in arrivals(7, (kind,), slot, raining=raining)]


def test_arrivals_are_a_function_of_seed_and_slot() -> None:
    """The same slot asked again, in any order, gives the same events; another seed gives others."""
    slots = list(range(2_000))
    once = {slot: arrivals(7, (STORM, OFTEN), slot, raining=False) for slot in slots}
    again = {slot: arrivals(7, (STORM, OFTEN), slot, raining=False) for slot in reversed(slots)}
    assert once == again
    assert once != {slot: arrivals(8, (STORM, OFTEN), slot, raining=False) for slot in slots}


def test_arrival_numbers_are_unique() -> None:
    """No two arrivals share kind and sequence number, so a repeated record can be told from a new one."""
    found = [a for slot in range(2_000) for a in arrivals(7, (STORM, OFTEN), slot, raining=True)]
    assert len({(a.kind, a.seq) for a in found}) == len(found) > 2_000


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0, 4.0])
def test_arrivals_per_slot_are_poisson(rate: float) -> None:
    """Frequencies of 0, 1, 2, .. events in 20,000 slots agree with e^-r r^n / n! within four sigma."""
    slots = 20_000
    kind = replace(OFTEN, arrivals_per_slot=rate)
    counts = [len(arrivals(3, (kind,), slot, raining=False)) for slot in range(slots)]
    for n in range(10):
        chance = math.exp(-rate) * rate**n / math.factorial(n)
        sigma = math.sqrt(slots * chance * (1 - chance))
        assert abs(counts.count(n) - slots * chance) <= 4 * sigma + 1


def test_rain_multiplies_the_rate() -> None:
    """Rain factor 3: three times as many events, within four sigma of the Poisson count."""
    slots = 20_000
    dry, wet = len(_all(STORM, slots)), len(_all(STORM, slots, raining=True))
    assert abs(dry - 0.05 * slots) < 4 * math.sqrt(0.05 * slots)
    assert abs(wet - 0.15 * slots) < 4 * math.sqrt(0.15 * slots)


def test_a_rate_of_zero_brings_no_event() -> None:
    """A kind that is only raised by hand never arrives, and a factor of 0 keeps a kind out of the rain."""
    assert _all(NEVER, 5_000) == []
    assert _all(replace(STORM, rain_factor=0.0), 5_000, raining=True) == []


def test_durations_are_geometric_with_their_mean() -> None:
    """Mean 8 slots, and P(D > 8) = (7/8)^8, each within four sigma; never below one slot."""
    found = [a.duration_slots for a in _all(replace(STORM, arrivals_per_slot=0.5), 40_000)]
    sigma = math.sqrt(8 * 7) / math.sqrt(len(found))  # a geometric variance is m (m - 1)
    assert abs(sum(found) / len(found) - 8) < 4 * sigma
    longer = (7 / 8) ** 8
    share = sum(d > 8 for d in found) / len(found)
    assert abs(share - longer) < 4 * math.sqrt(longer * (1 - longer) / len(found))
    assert min(found) == 1


def test_a_mean_of_one_slot_is_always_one_slot() -> None:
    """Nothing is shorter than a slot."""
    assert {a.duration_slots for a in _all(OFTEN, 2_000)} == {1}


def test_long_events_stay_finite() -> None:
    """A mean of a million slots draws numbers about a million, and finishes."""
    found = [a.duration_slots for a in _all(replace(OFTEN, duration_slots_mean=1e6), 500)]
    assert 0.85e6 < sum(found) / len(found) < 1.15e6


def test_intensities_are_uniform_between_their_ends() -> None:
    """0.5 .. 1.5 in permille: both ends are reached, and the mean is 1 within four sigma."""
    kind = replace(STORM, arrivals_per_slot=2.0)
    found = [a.intensity_permille for a in _all(kind, 20_000)]
    assert (min(found), max(found)) == (500, 1500)
    assert abs(sum(found) / len(found) - 1000) < 4 * 289 / math.sqrt(len(found))


# the book


def _event(
    seq: int = 1, kind: int = 0, intensity: int = 1000, slot: int = 10, until: int | None = 20
) -> Event:
    return Event(Origin.EXTERNAL, kind, seq, intensity, slot, until)


def test_an_event_acts_from_its_slot_until_before_its_end() -> None:
    """Begun in slot 10 until slot 20: active in 10 .. 19."""
    book = EventBook(2)
    assert book.begin(_event()) is EventAnswer.CHANGED
    active = [slot for slot in range(30) if book.active(slot)]
    assert active == list(range(10, 20))


def test_a_beginning_and_an_end_said_again_change_nothing() -> None:
    """A thousand repeats of begin or end leave the book as one did; a late begin raises nothing again."""
    book = EventBook(2)
    book.begin(_event())
    assert {book.begin(_event()) for _ in range(1000)} == {EventAnswer.KNOWN}
    assert book.active(12) == [(0, 1000)]
    assert book.end(Origin.EXTERNAL, 0, 1, 15) is EventAnswer.CHANGED
    assert {book.end(Origin.EXTERNAL, 0, 1, 12 + n % 7) for n in range(1000)} == {EventAnswer.KNOWN}
    assert book.begin(_event()) is EventAnswer.KNOWN
    assert [slot for slot in range(30) if book.active(slot)] == list(range(10, 15))


def test_forgetting_keeps_what_could_be_said_again() -> None:
    """An event ended early stays known until its stated end is past, then it is dropped."""
    book = EventBook(2)
    book.begin(_event())
    book.end(Origin.EXTERNAL, 0, 1, 12)
    book.forget(15)
    assert book.begin(_event()) is EventAnswer.KNOWN
    book.forget(20)
    assert not book.events


def test_two_events_of_a_kind_add() -> None:
    """An operator's event beside an external one adds its whole intensity, so beta i holds."""
    book = EventBook(2)
    book.begin(_event(intensity=700))
    answer, _ = book.raise_by_operator(0, 1200, 12, slots=3)
    assert answer is EventAnswer.CHANGED
    assert [book.active(slot) for slot in (11, 12, 14, 15)] == [
        [(0, 700)],
        [(0, 1900)],
        [(0, 1900)],
        [(0, 700)],
    ]


def test_an_operators_event_stays_until_it_is_cleared() -> None:
    """Without a number of slots it acts until `clear`, which leaves external events alone unless asked."""
    book = EventBook(2)
    book.begin(_event(kind=1, slot=0, until=5_000))
    book.raise_by_operator(1, 500, 10)
    assert book.active(4_000) == [(1, 1500)]
    assert book.clear(1, 4_001) == 1
    assert book.active(4_000) == [(1, 1500)]
    assert book.active(4_001) == [(1, 1000)]
    assert book.clear(1, 4_001) == 0
    assert book.clear(1, 4_002, external_too=True) == 1
    assert book.active(4_002) == []


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (_event(kind=2), EventAnswer.KIND_UNKNOWN),
        (_event(kind=-1), EventAnswer.KIND_UNKNOWN),
        (_event(intensity=0), EventAnswer.INTENSITY_OUT_OF_RANGE),
        (_event(intensity=-1000), EventAnswer.INTENSITY_OUT_OF_RANGE),
        (_event(intensity=100_001), EventAnswer.INTENSITY_OUT_OF_RANGE),
        (_event(slot=10, until=10), EventAnswer.TIME_OUT_OF_RANGE),
    ],
)
def test_an_impossible_event_is_refused_by_name(event: Event, answer: EventAnswer) -> None:
    """Each impossible record has its refusal, and the book stays empty."""
    book = EventBook(2)
    assert book.begin(event) is answer
    assert not book.events


def test_the_book_is_bounded() -> None:
    """The event beyond the limit is refused, not silently kept."""
    book = EventBook(1)
    for seq in range(EVENTS_ACTIVE_MAX):
        assert book.begin(_event(seq)) is EventAnswer.CHANGED
    assert book.begin(_event(EVENTS_ACTIVE_MAX)) is EventAnswer.TOO_MANY


def test_an_end_without_a_beginning_is_unknown() -> None:
    """It changes nothing."""
    assert EventBook(1).end(Origin.EXTERNAL, 0, 9, 3) is EventAnswer.UNKNOWN


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(1, 5), st.integers(1, 2000), st.integers(0, 30), st.integers(0, 9)
        ),
        max_size=20,
    )
)
def test_the_book_survives_json(records: list[tuple[int, int, int, int, int]]) -> None:
    """The state through JSON gives the same active events in every slot, and the same next number."""
    book = EventBook(2)
    for kind, seq, intensity, slot, length in records:
        book.begin(_event(seq, kind, intensity, slot, slot + length + 1))
        book.raise_by_operator(kind, intensity, slot, length or None)
        book.end(Origin.OPERATOR, kind, seq, slot + 2)
    copy = book_from_dict(json.loads(json.dumps(book.to_dict())))
    assert copy == book
    assert [copy.active(slot) for slot in range(50)] == [book.active(slot) for slot in range(50)]
    assert copy.listed(5) == book.listed(5)


def test_the_limit_of_the_configuration_is_the_limit_of_the_arrivals() -> None:
    """The check of a scenario refuses the rates that arrivals would cut; it cannot import NumPy to know."""
    from energymarket.scenario import checks

    assert checks.RATE_PER_SLOT_MAX == RATE_PER_SLOT_MAX
