"""energy-replay: what it says, and with which code it ends."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from energymarket import replay
from energymarket.exits import Exit, NoSuchObject
from tests.unit.market.made_ledger import MadeLedger, tamper

START = 6_401


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeLedger]:
    """A ledger that records."""
    made = MadeLedger(tmp_path / "ledger.db", START, recording=True)
    yield made
    made.die()


def answered(made: MadeLedger, *words: str) -> int:
    """The program's exit code for this ledger."""
    return replay.replay(replay._words(["--ledger", str(made.path), *words]))


def test_equal_is_zero_and_says_so(made: MadeLedger, capsys: pytest.CaptureFixture[str]) -> None:
    """Slots, hash, late batches, shed offers and gaps are told, for people and for programs."""
    made.counts.slot_late = made.counts.slot_shed = 2
    made.counts.shed_of[1, 4] = 2
    made.play(1)
    made.counts.start_anew()
    made.play(2)
    assert answered(made) == Exit.OK
    told = capsys.readouterr().out
    assert told.startswith(f"slots {START} to {START + 2}: 3 replayed, equal to the ledger, hash ")
    assert f"shed offers: 2 (slot {START}: 2 of homes 1 to 4)" in told
    assert "gap slots: 0" in told
    assert answered(made, "--json") == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["equal"], found["slots"], found["late_batches"]) == (True, 3, 2)
    assert found["ledger_hash"] == made.market.hash.hex()
    assert found["shed"] == [{"slot": START, "first": 1, "count": 4, "offers": 2}]


def test_a_slot_that_differs_is_five_and_named(made: MadeLedger, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the slot; the document says that it is not equal."""
    made.play(3)
    tamper(made.path, "UPDATE slots SET hash = ? WHERE slot = ?", bytes(32), START + 1)
    assert answered(made) == Exit.DEGRADED
    assert f"slot {START + 1}: differs: " in capsys.readouterr().out
    assert answered(made, "--json") == Exit.DEGRADED
    assert json.loads(capsys.readouterr().out)["equal"] is False


def test_a_ledger_without_records_or_without_slots_is_four_and_says_what_it_is(made: MadeLedger) -> None:
    """Fast-forward, an older version, or the setting: the three that leave none."""
    with pytest.raises(NoSuchObject, match="still empty"):
        answered(made)
    made.recording = False
    made.__post_init__()
    made.play(2)
    with pytest.raises(NoSuchObject) as caught:
        answered(made)
    assert "fast-forward" in caught.value.hint
    assert caught.value.code == Exit.NO_SUCH_OBJECT


def test_a_ledger_that_a_market_has_open_is_replayed_as_of_one_moment(
    made: MadeLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the market's lock, with its connection open and slots still in its write-ahead log."""
    made.play(3)
    with (made.path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert answered(made) == Exit.OK
        made.play(1)
    assert f"slots {START} to {START + 2}: 3 replayed" in capsys.readouterr().out
