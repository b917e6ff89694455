"""The dispatcher's ends of all workers: pipes and segment. Tokens come in, words are read; tasks go out."""

from __future__ import annotations

import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from energymarket.dispatch import segment as segments
from energymarket.dispatch import tubes
from energymarket.dispatch.records import Task, Word, pack, unpack_word
from energymarket.dispatch.segment import Part, Segment
from energymarket.dispatch.tokens import Kind, Token
from energymarket.dispatch.tubes import ReadingEnd, Side, WritingEnd
from energymarket.exits import Exit, Failure
from energymarket.wire.dispatch_text import SOCKET


@dataclass(frozen=True, slots=True)
class News:
    """What a worker has let us know."""

    worker: int
    word: Word | None  # the last one, if it rang
    gone: bool  # nobody has the other end of its pipe any more


@dataclass(slots=True)
class _Ends:
    reading: ReadingEnd
    writing: WritingEnd


class Crew:
    """All workers of a dispatcher. `open` it, ring, then wait for it among descriptors."""

    def __init__(self, directory: Path, workers: int) -> None:
        self._directory = directory
        self._workers = range(1, workers + 1)
        self._ends: dict[int, _Ends] = {}
        self._numbers: dict[int, int] = {}  # of a descriptor

    def open(self) -> Crew:
        """Make segment and pipes, or take what is there. Raises Failure."""
        self._segment: Segment = segments.ensure(self._directory, len(self._workers))
        self._epoll = select.epoll()
        try:
            for worker in self._workers:
                tubes.ensure(tubes.path_of(self._directory, Side.TO_WORKER, worker))
                writing = WritingEnd(tubes.path_of(self._directory, Side.TO_WORKER, worker))
                self._ends[worker] = _Ends(self._read(worker), writing)
        except BaseException:  # whatever it is, it goes on; the descriptors do not
            self.close()
            raise
        return self

    def close(self) -> None:
        """Let go of all; what is there stays for the next dispatcher."""
        for ends in self._ends.values():
            ends.reading.close()
            ends.writing.close()
        self._ends.clear()
        self._epoll.close()
        self._segment.close()

    def remove(self) -> None:
        """Remove pipes and segment: the end, not a restart."""
        for worker in self._workers:
            tubes.remove(self._directory, worker)
        (self._directory / segments.NAME).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._epoll.fileno()

    def check(self) -> None:
        """Failure if somebody has removed what we share: no worker would find us, and nobody who asks."""
        for path, there in (
            (self._directory / segments.NAME, self._segment.current()),
            (self._directory / SOCKET, (self._directory / SOCKET).is_socket()),
        ):
            if not there:
                hint = "somebody has removed it; the next start makes it again"
                raise Failure(f"{path}: is not ours any more", hint, Exit.IO_ERROR)

    def news(self) -> Iterator[News]:
        """What workers have let us know since the last time."""
        for descriptor, event in self._epoll.poll(0):
            worker = self._numbers[descriptor]
            ends = self._ends[worker]
            rang = bool(ends.reading.read())
            gone = bool(event & select.EPOLLHUP)
            if rang or gone:
                yield News(worker, self.word(worker) if rang else None, gone)
            if gone:
                self._let_go(worker, ends)

    def hand(self, worker: int, task: Task) -> bool:
        """Leave a task and ring; whether the worker hears it. Raises TooLong."""
        self._segment.write(worker, Part.TASK, pack(task))
        return self.ring(worker, Kind.WORK, task.number)

    def ring(self, worker: int, kind: Kind, number: int = 0) -> bool:
        """Ring; whether anybody hears it."""
        ends = self._ends[worker]
        if kind is Kind.PING and not ends.reading.current():
            # A worker that left took us for dead, and its pipes with it: the next one has made others.
            self._reopen(worker, ends)
        return ends.writing.send(Token(kind, number))

    def result(self, worker: int, number: int) -> bytes | None:
        """The line that a worker left for a relayed task; None if it is not there."""
        raw = self._segment.read(worker, Part.RESULT)
        said, _, line = (raw or b"").partition(b" ")
        return line if said == b"%d" % number else None

    def word(self, worker: int) -> Word | None:
        """What a worker says about itself; None: nothing yet."""
        raw = self._segment.read(worker, Part.WORD)
        return None if raw is None else unpack_word(raw)

    @property
    def skipped_bytes(self) -> int:
        """Garbage that came through the pipes."""
        return sum(ends.reading.skipped_bytes for ends in self._ends.values())

    # ---- inside

    def _let_go(self, worker: int, ends: _Ends) -> None:
        """What a dead worker has not read is not for the next one."""
        ends.writing.close()
        if not ends.reading.current():
            self._reopen(worker, ends)

    def _reopen(self, worker: int, ends: _Ends) -> None:
        ends.writing.close()
        del self._numbers[ends.reading.fileno()]
        ends.reading.close()
        ends.reading = self._read(worker)

    def _read(self, worker: int) -> ReadingEnd:
        reading = ReadingEnd(tubes.path_of(self._directory, Side.TO_DISPATCHER, worker))
        self._numbers[reading.fileno()] = worker
        self._epoll.register(reading.fileno(), select.EPOLLIN | select.EPOLLET)
        return reading
