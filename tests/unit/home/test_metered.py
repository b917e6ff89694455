"""A metered home: where its registers stand to its meter's book, and what they do with an estimate."""

from __future__ import annotations

from energymarket.core.metering import Book, Power
from energymarket.home.metered import Anchor, anchored

SLOT = 1_980_000
METER, LEDGER = "Meter_0", 7


def book(hours: int, first_slot: int, name: str = "a") -> Book:
    """4 kW of load and 2 kW of sun, from the begin of a slot on: 1,000 and 500 Wh a slot."""
    made = Book(900, name)
    for number in range(hours * 60 + 1):
        made.hear("ab" * 16, Power(number + 1, first_slot * 900_000 + number * 60_000, 4_000_000, 2_000_000))
    return made


def stands(kept: Anchor | None, known: Book | None, slot: int, registers: tuple[int, int]) -> tuple[int, int]:
    """Production and consumption that the anchor makes of the book, at the end of a slot."""
    anchor = anchored(kept, known, meter=METER, ledger=LEDGER, slot=slot, registers=registers)
    reading = None if known is None else known.reading(slot)
    assert reading is not None
    return anchor.production_wh + reading.pv_wh, anchor.consumption_wh + reading.load_wh


def test_a_home_that_meets_an_old_book_takes_the_slot_at_hand() -> None:
    """Eight slots stand in it; the home has the last one only, on top of what its registers had."""
    assert stands(None, book(2, SLOT), SLOT + 7, (10, 20)) == (10 + 500, 20 + 1_000)


def test_a_home_that_was_there_before_its_meter_takes_all_of_its_book() -> None:
    """Samples that wait for a broker are not lost because they came late."""
    first = anchored(None, None, meter=METER, ledger=LEDGER, slot=SLOT, registers=(0, 0))
    assert first == Anchor(METER, LEDGER, "")
    assert anchored(first, None, meter=METER, ledger=LEDGER, slot=SLOT, registers=(0, 0)) == first
    assert anchored(first, Book(900, "a"), meter=METER, ledger=LEDGER, slot=SLOT, registers=(0, 0)) == first
    assert stands(first, book(2, SLOT), SLOT + 7, (0, 0)) == (8 * 500, 8 * 1_000)


def test_a_book_that_was_lost_is_followed_by_one_that_goes_on_from_the_registers() -> None:
    """The new one begins at zero; registers neither fall nor wait until it has caught up."""
    kept = anchored(None, book(2, SLOT), meter=METER, ledger=LEDGER, slot=SLOT + 7, registers=(0, 0))
    assert stands(kept, book(1, SLOT + 20, "b"), SLOT + 21, (9_000, 8_000)) == (9_000 + 1_000, 8_000 + 2_000)


def test_an_anchor_of_another_ledger_or_meter_does_not_hold() -> None:
    """A new ledger begins at zero, whatever the old one had counted."""
    old = Anchor(METER, LEDGER + 1, "a", 70_000, 80_000)
    other = Anchor("Meter_1", LEDGER, "a", 70_000, 80_000)
    for kept in (old, other):
        assert stands(kept, book(2, SLOT), SLOT + 7, (0, 0)) == (500, 1_000)


def test_an_anchor_holds_as_long_as_its_book_does() -> None:
    """Nothing but the book moves the registers: a slot that is lived twice ends where it ended."""
    kept = anchored(None, book(2, SLOT), meter=METER, ledger=LEDGER, slot=SLOT + 3, registers=(0, 0))
    again = anchored(kept, book(2, SLOT), meter=METER, ledger=LEDGER, slot=SLOT + 7, registers=(99, 99))
    assert again == kept
    assert stands(kept, book(2, SLOT), SLOT + 7, (99, 99)) == (5 * 500, 5 * 1_000)
