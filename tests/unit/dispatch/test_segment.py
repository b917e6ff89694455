"""The shared segment: lengths, the sequence lock, refusals; a reader never takes half a message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energymarket.dispatch import segment
from energymarket.dispatch.records import Mode, Phase, Task, Word, pack, unpack_task, unpack_word
from energymarket.dispatch.segment import Part, TooLong
from energymarket.exits import Exit, Failure

TASK = Task(7, "report", "::1", "t", '{"last":"7d"}', Mode.REDIRECT, 10.0, 300.0)


def test_what_is_written_in_one_mapping_is_read_in_another(tmp_path: Path) -> None:
    """Cells of one worker do not touch those of its neighbours, at their full length."""
    with segment.ensure(tmp_path, 3) as ours:
        theirs = segment.attach(tmp_path)
        assert theirs is not None
        assert theirs.read(2, Part.WORD) is None
        for worker in (1, 2, 3):
            for part in Part:
                ours.write(worker, part, bytes([worker]) * part.bytes_max)
        ours.write(2, Part.TASK, pack(TASK))
        for worker in (1, 3):
            for part in Part:
                assert theirs.read(worker, part) == bytes([worker]) * part.bytes_max
        assert unpack_task(theirs.read(2, Part.TASK) or b"") == TASK
        theirs.close()


@pytest.mark.parametrize("part", list(Part))
def test_a_message_longer_than_its_slot_is_refused_and_the_slot_keeps_its_own(
    tmp_path: Path, part: Part
) -> None:
    """One byte too many is refused by name; what stood there is still there, whole."""
    with segment.ensure(tmp_path, 1) as ours:
        ours.write(1, part, b"before")
        with pytest.raises(TooLong, match=f"its slot {part.bytes_max}"):
            ours.write(1, part, b"x" * (part.bytes_max + 1))
        assert ours.read(1, part) == b"before"


def test_a_writer_that_died_in_the_middle_leaves_nothing_to_read_and_the_next_goes_on(tmp_path: Path) -> None:
    """An odd sequence, or a payload that is not that of its check, is None; the next writing mends it."""
    with segment.ensure(tmp_path, 1) as ours:
        ours.write(1, Part.WORD, b"whole")
        path = tmp_path / segment.NAME
        raw = path.read_bytes()
        at = raw.index(b"whole")
        path_fd = os.open(path, os.O_RDWR)
        os.pwrite(path_fd, b"torn!", at)
        assert ours.read(1, Part.WORD) is None
        os.pwrite(path_fd, b"whole", at)
        assert ours.read(1, Part.WORD) == b"whole"
        (odd,) = (int.from_bytes(raw[at - 16 : at - 8], "little") | 1,)
        os.pwrite(path_fd, odd.to_bytes(8, "little"), at - 16)
        os.close(path_fd)
        assert ours.read(1, Part.WORD) is None
        ours.write(1, Part.WORD, b"next")
        assert ours.read(1, Part.WORD) == b"next"


WRITER = """
import select, sys
from pathlib import Path
from energymarket.dispatch.segment import Part, ensure
with ensure(Path(sys.argv[1]), 1) as ours:
    print("begins", flush=True)
    while True:
        for number in range(8):
            ours.write(1, Part.RESULT, bytes([number]) * (60_000 + number))
            select.select([], [], [], 0.0001)
"""


def test_a_reader_beside_a_busy_writer_never_gets_half_of_each(tmp_path: Path) -> None:
    """While a process writes long results again and again, whatever is read is one of them, whole."""
    with segment.ensure(tmp_path, 1) as ours:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        with writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"begins\n"
                found = [ours.read(1, Part.RESULT) for _ in range(2_000)]
            finally:
                writer.kill()
    read = [message for message in found if message is not None]
    assert len({message[0] for message in read}) > 1
    assert all(message == bytes([message[0]]) * (60_000 + message[0]) for message in read)


def test_a_dispatcher_that_comes_back_takes_the_segment_that_is_there(tmp_path: Path) -> None:
    """The words of workers survive it; with another number of workers, or of another version, it is new."""
    with segment.ensure(tmp_path, 2) as first:
        first.write(2, Part.WORD, pack(Word(5, 77, Phase.SERVING)))
        with segment.ensure(tmp_path, 2) as second:
            assert unpack_word(second.read(2, Part.WORD) or b"") == Word(5, 77, Phase.SERVING)
        assert first.current()
        with segment.ensure(tmp_path, 3) as third:
            assert third.read(2, Part.WORD) is None
            assert not first.current()
    (tmp_path / segment.NAME).write_bytes(b"something else")
    assert segment.attach(tmp_path) is None
    with segment.ensure(tmp_path, 1) as last:
        assert last.workers == 1
    assert [path.name for path in tmp_path.iterdir()] == [segment.NAME]


def test_a_segment_without_room_is_a_failure_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full file system is told when the file is made, never by a SIGBUS; no draft stays behind."""

    def full(_fd: int, _at: int, _size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Failure, match="No space left") as caught:
        segment.ensure(tmp_path, 4)
    assert caught.value.code is Exit.IO_ERROR
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"number":"7"}', b"null", b"\xff"])
def test_bytes_that_are_no_record_are_none(raw: bytes) -> None:
    """Neither a task nor a word is made of something else."""
    assert unpack_task(raw) is None
    assert unpack_word(raw) is None
