"""Three homes with a fixed need, and two large ones, as books have them: what tests of books share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from energymarket.core.fleet import Fleet
from energymarket.core.weather import Sample
from energymarket.home.books import Books
from tests.unit.core.made_fleet import Recipe, weather

HOMES = 3
USED_WH = (100, 250, 7)  # in every slot, at any price
GIFT_WH = (5, 0, 11)  # received in every slot that the ledger has
IDENTITY = bytes(32)
MADE = Recipe(
    homes={"series": [0, 1, 2]},
    tables={
        "series_production_wh": np.zeros((4, HOMES)),
        "series_consumption_wh": np.tile(USED_WH, (4, 1)),
    },
).made()
LARGE_WH = 8_000_000  # a home at four fifths of the power that one can have, in slots of an hour
LARGE = Recipe(
    homes={"series": [0, 1]},
    tables={
        "series_production_wh": np.zeros((4, 2)),
        "series_consumption_wh": np.tile((LARGE_WH, 1), (4, 1)),
    },
    slot_s=3600,
).made()
RECEIPT = {"given_wh": np.zeros(HOMES, np.int64), "received_wh": np.array(GIFT_WH, np.int64)}


def weather_of(slot: int) -> Sample:
    return weather(slot)


def opened(path: Path) -> Books:
    return Books(path, Fleet(MADE, 1, HOMES), IDENTITY)


def lived(books: Books, slot: int) -> None:
    """A slot with the market, up to the durable state that its batch is made of."""
    books.live_until(slot - 1, weather_of)
    books.step(slot, weather_of(slot), 200_000)
    books.write()


def registers(books: Books) -> tuple[list[int], list[int]]:
    return books.column("consumption_wh").tolist(), books.column("received_wh").tolist()


def after(slots: int, gifts: int) -> tuple[list[int], list[int]]:
    """What the registers say after so many slots, and receipts, by multiplication."""
    return [slots * each for each in USED_WH], [gifts * each for each in GIFT_WH]
