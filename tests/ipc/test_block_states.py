"""A state that is lived in memory and put in its file: SIGKILL at any call leaves the one that is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket.core.fleet import Fleet
from energymarket.core.state import STATE_COLUMNS
from energymarket.home.books import Books
from energymarket.transport import area_file
from tests.unit.core.made_fleet import FIRST_SLOT, day_weather, mixed

HOMES = 70_000  # two blocks
MADE = mixed(HOMES, 3, 0.4)
NOON = FIRST_SLOT + 48
KILLED = 9
WRITE = os.pwrite
CALLS = ("preadv", "pwrite", "fdatasync")


@pytest.fixture(params=[1 << 30, 1], ids=["through the cache", "past it"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a state goes to the disk."""
    monkeypatch.setattr(area_file, "DIRECT_BYTES_MIN", request.param)


GIFT = {"given_wh": np.where(MADE.homes["pv_kwp"] > 0, 7, 0), "received_wh": np.full(HOMES, 7)}


def opened(path: Path) -> Books:
    return Books(path, Fleet(MADE, 1, HOMES), bytes(32))


def lived(books: Books, slot: int) -> None:
    books.step(slot, day_weather(slot), 400_000)
    books.write()


def columns(books: Books) -> dict[str, bytes]:
    return {name: books.column(name).tobytes() for name, _ in STATE_COLUMNS}


def dies_at(call: int, work: Callable[[], None]) -> bool:
    """Do the work in a process that is killed before its so-manieth call, or halfway in it, if it writes."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in {0, KILLED}
        return code == KILLED
    left = [call]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def before(*words: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os._exit(KILLED)
            if real is WRITE:
                left[0] -= 1
                if left[0] < 0:
                    file, data, at = words
                    WRITE(file, data[: len(data) // 2 // 4_096 * 4_096], at)
                    os._exit(KILLED)
            return real(*words)

        return before

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def kept_here(path: Path) -> tuple[int, dict[str, bytes]]:
    """The ledger has the last slot, and its receipt is not written yet."""
    books = opened(path)
    books.fresh(NOON - 1)
    for slot in (NOON, NOON + 1):
        lived(books, slot)
        books.settle(slot, GIFT)
    books.close()
    return kept_there(path, NOON + 1)


def late_here(path: Path) -> tuple[int, dict[str, bytes]]:
    """The ledger has a slot, and another one has been lived since that it has not heard of."""
    slot, _ = kept_here(path)
    books = opened(path)
    books.resume(slot)
    books.settle(slot, GIFT)
    lived(books, slot + 1)
    books.close()
    return kept_there(path, slot)


def kept_there(path: Path, slot: int) -> tuple[int, dict[str, bytes]]:
    books = opened(path)
    books.resume(slot)
    found = columns(books)
    books.close()
    return slot, found


def two_more_slots(path: Path, slot: int) -> None:
    books = opened(path)
    books.resume(slot)
    books.settle(slot, GIFT)
    lived(books, slot + 1)
    books.live_until(slot + 2, day_weather)  # that the ledger does not hear of: over the one before
    books.write()


@pytest.mark.parametrize("here", [kept_here, late_here], ids=["from the kept state", "over a late one"])
def test_what_the_ledger_has_stays_whatever_call_it_dies_at(
    tmp_path: Path, here: Callable[[Path], tuple[int, dict[str, bytes]]]
) -> None:
    """Two slots from there, killed at every call: the state that a restart asks for is the same."""
    path, call, deaths = tmp_path / "shard.state", 0, 0
    slot, expected = here(path)
    before = path.read_bytes()
    while True:
        path.write_bytes(before)
        died = dies_at(call, lambda: two_more_slots(path, slot))
        assert kept_there(path, slot) == (slot, expected), call
        deaths += died
        if not died:
            break
        call += 1
    assert deaths == 7, "nobody was killed: the test shows nothing"


def test_before_the_ledger_has_any_the_last_whole_state_stays(tmp_path: Path) -> None:
    """Killed at every call of a third slot that no batch has told of: the second or the third is there."""
    path, call, slots = tmp_path / "shard.state", 0, set()
    books = opened(path)
    books.fresh(NOON - 1)
    lived(books, NOON)
    lived(books, NOON + 1)
    expected, before = {NOON + 1: columns(books)}, path.read_bytes()
    lived(books, NOON + 2)
    expected[NOON + 2] = columns(books)
    books.close()

    def third() -> None:
        again = opened(path)
        again.begin(NOON + 1, NOON)
        lived(again, NOON + 2)

    died = True
    while died:
        path.write_bytes(before)
        died = dies_at(call, third)
        call += 1
        again = opened(path)
        again.begin(NOON + 2, NOON)
        assert again.slot is not None
        slots.add(again.slot)
        assert columns(again) == expected[again.slot]
        again.close()
    assert slots == {NOON + 1, NOON + 2}
