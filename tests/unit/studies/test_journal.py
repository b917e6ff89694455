"""The journal: what was written is there after any death, what was not whole is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.exits import Exit, Failure
from energymarket.studies.journal import NAME, Journal
from energymarket.studies.outcome import Outcome

FIRST = Outcome(1, {"homes": 2, "money_bill_eur": 0.1 + 0.2, "ledger_hash": "ab", "kpi": None})
SECOND = Outcome(2, error="a reason\nin two lines", trace="a trace")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With two outcomes written."""
    journal = Journal(tmp_path)
    assert journal.open() == {}
    journal.add(FIRST)
    journal.add(SECOND)
    journal.close()
    return tmp_path


def reopened(directory: Path) -> dict[int, Outcome]:
    journal = Journal(directory)
    try:
        return journal.open()
    finally:
        journal.close()


def test_outcomes_come_back_as_they_were(directory: Path) -> None:
    """Numbers to the last bit, words, nothing, and errors."""
    assert reopened(directory) == {1: FIRST, 2: SECOND}


def test_every_cut_of_the_last_line_is_forgotten(directory: Path) -> None:
    """Wherever a kill has cut the last write: the lines before stand, and the next one follows them."""
    data = (directory / NAME).read_bytes()
    begin = data.index(b"\n") + 1
    for cut in range(begin, len(data)):
        (directory / NAME).write_bytes(data[:cut])
        journal = Journal(directory)
        assert journal.open() == {1: FIRST}
        journal.add(SECOND)
        journal.close()
        assert (directory / NAME).read_bytes() == data


def test_zeros_at_the_end_are_forgotten(directory: Path) -> None:
    """A file system that has lost power may leave a hole."""
    data = (directory / NAME).read_bytes()
    (directory / NAME).write_bytes(data + b"\0" * 300)
    assert reopened(directory) == {1: FIRST, 2: SECOND}
    assert (directory / NAME).read_bytes() == data


def test_damage_in_the_middle_is_told(directory: Path) -> None:
    """A line that does not read and is not the last one was no kill."""
    data = bytearray((directory / NAME).read_bytes())
    data[3] ^= 0xFF
    (directory / NAME).write_bytes(bytes(data))
    with pytest.raises(Failure, match="damaged") as failure:
        reopened(directory)
    assert failure.value.code is Exit.IO_ERROR
    assert (directory / NAME).read_bytes() == bytes(data)


def test_the_last_word_on_a_case_stands(directory: Path) -> None:
    """A case that failed and was played again is done."""
    journal = Journal(directory)
    journal.open()
    again = Outcome(2, {"homes": 3})
    journal.add(again)
    journal.close()
    assert reopened(directory) == {1: FIRST, 2: again}
