"""The spool: a sequence is used once, whatever was torn; what is not confirmed is read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from energymarket.exits import Failure, SecondInstance
from energymarket.meters.spool import Spool, Tick


def opened(directory: Path, **limits: int) -> Spool:
    spool = Spool(directory, **limits)
    spool.open()
    return spool


def tick(sequence: int, meters: int = 3) -> Tick:
    return Tick(sequence, 1_000 * sequence, 3600, np.arange(meters, dtype=np.int32) + sequence)


def sequences(spool: Spool, ticks_max: int = 1_000) -> list[int]:
    return [each.sequence for each in spool.read(ticks_max)]


def test_ticks_come_back_as_they_were_until_they_are_confirmed(tmp_path: Path) -> None:
    """In order, in pieces, after a restart from the first that is not confirmed."""
    spool = opened(tmp_path)
    spool.append([tick(1), tick(2)])
    spool.append([tick(3)])
    (first,) = spool.read(1)
    assert (first.time_ms, first.utc_offset_s, first.power_mw.tolist()) == (1_000, 3600, [1, 2, 3])
    assert sequences(spool) == [2, 3]
    assert sequences(spool) == []
    spool.confirm(2)
    series = spool.series
    spool.close()
    again = opened(tmp_path)
    assert (again.series, again.last, again.last_time_ms, again.waiting) == (series, 3, 3_000, 1)
    assert sequences(again) == [3]


def test_a_sequence_is_never_used_again(tmp_path: Path) -> None:
    """All confirmed and segments gone, or the position lost: the next number is known."""
    spool = opened(tmp_path, segment_bytes=200)
    for at in range(1, 30):
        spool.append([tick(at)])
        spool.confirm(at)
    assert len(list(tmp_path.glob("*.spool"))) == 1
    spool.close()
    (tmp_path / "confirmed").unlink()
    again = opened(tmp_path)
    assert again.last == 29
    assert sequences(again)[-1] == 29


@pytest.mark.parametrize("cut", [1, 10, 43, 44, 60])
def test_a_torn_end_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Whatever was not whole was never published: whole ticks stay, and the number goes on after them."""
    spool = opened(tmp_path)
    for at in (1, 2, 3):
        spool.append([tick(at)])
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes()[:-cut])
    again = opened(tmp_path)
    assert again.last == (2 if cut <= 44 else 1)
    again.append([tick(again.last + 1)])
    assert sequences(again) == list(range(1, again.last + 1))


def test_a_segment_that_was_just_begun_is_nothing(tmp_path: Path) -> None:
    """Killed after the name and before the head: the one before it holds the numbers."""
    spool = opened(tmp_path)
    spool.append([tick(1)])
    spool.close()
    (tmp_path / f"{2:020d}.spool").write_bytes(b"EM")
    again = opened(tmp_path)
    assert (again.last, sequences(again)) == (1, [1])


def test_what_was_confirmed_and_is_not_there_is_damage(tmp_path: Path) -> None:
    """A spool that lost what the broker has would use its numbers again: it is refused by name."""
    spool = opened(tmp_path)
    spool.append([tick(1), tick(2)])
    spool.confirm(2)
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Failure, match="damaged"):
        opened(tmp_path)


def test_it_is_bounded_and_has_room_again(tmp_path: Path) -> None:
    """Full at its limit; confirming frees whole segments; a number that was skipped is a gap."""
    spool = opened(tmp_path, bytes_max=2_000)
    at = 0
    while not spool.is_full:
        at += 1
        spool.append([tick(at)])
    assert 1_500 < sum(path.stat().st_size for path in tmp_path.glob("*.spool")) < 2_500
    assert at == pytest.approx(2_000 / 44, abs=5)
    spool.skip(3)
    spool.confirm(at // 2)
    spool.append([tick(spool.last + 1)])
    assert sequences(spool) == [*range(at // 2 + 1, at + 1), at + 4]


def test_one_service_has_a_spool(tmp_path: Path) -> None:
    """A second is refused while the first lives."""
    spool = opened(tmp_path)
    with pytest.raises(SecondInstance):
        opened(tmp_path)
    spool.close()
    opened(tmp_path).close()
