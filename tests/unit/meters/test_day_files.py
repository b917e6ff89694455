"""The files of a meter: what was committed stays, what was not is gone, whoever died when."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from energymarket.exits import Exit, Failure, SecondInstance
from energymarket.meters import reading, sidecar
from energymarket.meters.day_files import HEADER, DayFiles
from energymarket.meters.window import Window

DAY = "2026-3-7"


def opened(directory: Path, meter: str = "Meter_0") -> DayFiles:
    files = DayFiles(directory, meter)
    files.open()
    return files


def lines(*numbers: int) -> list[str]:
    return [f"Meter_0,{number},1.0,0.0,1.0\n" for number in numbers]


def window_to(last: int) -> dict[str, Window]:
    return {"5c0f": Window([(1, last)])}


def text(directory: Path, name: str = f"Meter_0-{DAY}.csv") -> str:
    return (directory / name).read_text()


def whole(*numbers: int) -> str:
    return HEADER.decode() + "".join(lines(*numbers))


def test_a_commit_is_header_and_lines_and_is_remembered(tmp_path: Path) -> None:
    """Two days in one commit are two files; another process knows the window and the rows."""
    files = opened(tmp_path)
    files.commit({DAY: lines(1, 2), "2026-3-8": lines(3)}, window_to(3))
    files.commit({DAY: lines(4)}, window_to(4), duplicates=2)
    files.close()
    assert text(tmp_path) == whole(1, 2, 4)
    assert text(tmp_path, "Meter_0-2026-3-8.csv") == whole(3)
    again = opened(tmp_path)
    assert again.windows()["5c0f"].ranges == [(1, 4)]
    assert (again.kept.rows, again.kept.duplicates) == (4, 2)


@pytest.mark.parametrize("torn", [b"Meter_0,9,1.0", b"Meter_0,9,1.0,0.0,1.0\nMeter_0,10", b"\0" * 5000])
def test_what_stands_behind_the_last_commit_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    """Lines that were written and not committed come again, so they must not stay; torn ones neither."""
    files = opened(tmp_path)
    files.commit({DAY: lines(1, 2)}, window_to(2))
    files.close()
    with (tmp_path / f"Meter_0-{DAY}.csv").open("ab") as file:
        file.write(torn)
    again = opened(tmp_path)
    assert text(tmp_path) == whole(1, 2)
    again.commit({DAY: lines(3)}, window_to(3))
    assert text(tmp_path) == whole(1, 2, 3)


def test_a_death_between_lines_and_sidecar_takes_the_lines_back(tmp_path: Path) -> None:
    """Of a known day and of one that was just begun, also behind eight other days."""
    files = opened(tmp_path)
    for day in range(1, 10):
        files.commit({f"2026-3-{day}": lines(day)}, window_to(day))
    files.close()
    for date in ("2026-3-9", "2026-3-1", "2026-4-1"):  # known, forgotten, new
        dying = opened(tmp_path)
        for _ in dying.committing({date: lines(99)}, window_to(99)):
            if (tmp_path / f"Meter_0-{date}.csv").exists() and "99" in text(tmp_path, f"Meter_0-{date}.csv"):
                break  # as a kill: nothing more is done, nothing is cleaned up
        assert "99" in text(tmp_path, f"Meter_0-{date}.csv")
        dying.close()
        opened(tmp_path).close()
        assert "99" not in text(tmp_path, f"Meter_0-{date}.csv")


@pytest.mark.parametrize("slot", [0, 1])
def test_a_slot_that_is_damaged_while_nobody_writes_costs_nothing(tmp_path: Path, slot: int) -> None:
    """A service that ended in order has acknowledged all it wrote: nothing of it would come again."""
    files = opened(tmp_path)
    for number in (1, 2, 3):
        files.commit({DAY: lines(number)}, window_to(number))
    files.close()
    with (tmp_path / "Meter_0.sidecar").open("r+b") as file:
        file.seek(slot * sidecar.SLOT_BYTES)
        file.write(b"\xff" * sidecar.SLOT_BYTES)
    again = opened(tmp_path)
    assert again.windows()["5c0f"].ranges == [(1, 3)]
    assert text(tmp_path) == whole(1, 2, 3)


@pytest.mark.parametrize("at", [0, 40, 120])
def test_a_torn_sidecar_leaves_the_commit_before(tmp_path: Path, at: int) -> None:
    """A power cut within the write of a slot: the other slot holds, and its lengths."""
    files = opened(tmp_path)
    files.commit({DAY: lines(1)}, window_to(1))
    files.commit({DAY: lines(2)}, window_to(2))
    path = tmp_path / "Meter_0.sidecar"
    content = bytearray(path.read_bytes())  # of a service that runs, and was cut off then
    files.close()
    _, generation = sidecar.unpack(bytes(content))
    slot = generation % 2 * sidecar.SLOT_BYTES
    content[slot + at : slot + 400] = bytes(400 - at)
    path.write_bytes(content)
    again = opened(tmp_path)
    assert again.windows()["5c0f"].ranges == [(1, 1)]
    assert text(tmp_path) == whole(1)


def test_a_disk_that_is_full_leaves_no_trace_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a batch fits: none of it counts, none stays; the same commit goes through once there is room."""
    files = opened(tmp_path)
    files.commit({DAY: lines(1)}, window_to(1))
    real = os.pwrite

    def half(fd: int, content: bytes, offset: int) -> int:
        if len(content) <= 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, content[: len(content) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        files.commit({DAY: lines(*range(2, 9))}, window_to(8))
    assert text(tmp_path) == whole(1)
    assert files.windows()["5c0f"].ranges == [(1, 1)]
    monkeypatch.undo()
    files.commit({DAY: lines(*range(2, 9))}, window_to(8))
    assert text(tmp_path) == whole(*range(1, 9))


def test_a_file_with_another_header_is_left_alone(tmp_path: Path) -> None:
    """The day goes on in a file beside it, after a restart too; a file of ours is gone on with."""
    strange = tmp_path / f"Meter_0-{DAY}.csv"
    strange.write_text("time,power\n1,2\n")
    for last in (1, 2):
        files = opened(tmp_path)
        files.commit({DAY: lines(last)}, window_to(last))
        files.close()
    assert strange.read_text() == "time,power\n1,2\n"
    assert text(tmp_path, f"Meter_0-{DAY}.2.csv") == whole(1, 2)


@pytest.mark.parametrize("rows", [1, 400], ids=["shorter", "longer"])
def test_a_file_that_was_replaced_while_nobody_wrote_is_left_alone(tmp_path: Path, rows: int) -> None:
    """Not cut to the length that ours had, nor gone on with: what comes next is beside it."""
    strange = tmp_path / f"Meter_0-{DAY}.csv"
    files = opened(tmp_path)
    files.commit({DAY: lines(1)}, window_to(1))
    files.close()
    theirs = "time,power\n" + "1,2\n" * rows + "torn"
    strange.write_text(theirs)
    files = opened(tmp_path)
    files.commit({DAY: lines(2)}, window_to(2))
    files.close()
    assert strange.read_text() == theirs
    assert text(tmp_path, f"Meter_0-{DAY}.2.csv") == whole(2)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """A pipe, a directory, a link in a day's place: nobody waits for them, and the day goes on beside."""
    first, second = tmp_path / f"Meter_0-{DAY}.csv", tmp_path / f"Meter_0-{DAY}.2.csv"
    os.mkfifo(first)
    second.symlink_to("/nowhere")
    (tmp_path / f"Meter_0-{DAY}.3.csv").mkdir()
    files = opened(tmp_path)
    files.commit({DAY: lines(1)}, window_to(1))
    files.close()
    assert text(tmp_path, f"Meter_0-{DAY}.4.csv") == whole(1)
    assert [each.path.name for each in reading.files_in(tmp_path)] == [f"Meter_0-{DAY}.4.csv"]
    (tmp_path / f"Meter_0-{DAY}.4.csv").unlink()
    os.mkfifo(tmp_path / f"Meter_0-{DAY}.4.csv")
    again = opened(tmp_path)  # also while nobody wrote
    again.commit({DAY: lines(2)}, window_to(2))
    assert text(tmp_path, f"Meter_0-{DAY}.5.csv") == whole(2)


def test_a_torn_line_of_a_file_without_a_sidecar_is_repaired(tmp_path: Path) -> None:
    """The sidecar was taken away: whole lines stay, the torn one goes, the next begins a line."""
    (tmp_path / f"Meter_0-{DAY}.csv").write_text(whole(1, 2) + "Meter_0,3,1")
    files = opened(tmp_path)
    files.commit({DAY: lines(4)}, window_to(4))
    assert text(tmp_path) == whole(1, 2, 4)


def test_a_file_that_is_taken_away_is_begun_again(tmp_path: Path) -> None:
    """Under a service that runs: the next line goes to a new file of the name, not into the void."""
    files = opened(tmp_path)
    files.commit({DAY: lines(1)}, window_to(1))
    (tmp_path / f"Meter_0-{DAY}.csv").unlink()
    files.commit({DAY: lines(2)}, window_to(2))
    assert text(tmp_path) == whole(2)


def test_one_service_has_the_files_of_a_meter(tmp_path: Path) -> None:
    """A second is refused by name while the first lives; a damaged sidecar is never guessed at."""
    first = opened(tmp_path)
    with pytest.raises(SecondInstance, match="Meter_0"):
        opened(tmp_path)
    first.commit({DAY: lines(1)}, window_to(1))
    first.close()
    path = tmp_path / "Meter_0.sidecar"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(Failure, match="whole") as refused:
        opened(tmp_path)
    assert refused.value.code is Exit.IO_ERROR
