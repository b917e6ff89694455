"""The worker's end of pipes and segment: it hears tokens, takes tasks, and says what it does.

A dispatcher that dies is noticed (POLLHUP); the next one finds the worker by its pipe and rings.
"""

from __future__ import annotations

import logging
import os
import select
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from energymarket.dispatch import segment as segments
from energymarket.dispatch import tubes
from energymarket.dispatch.records import Outcome, Phase, Task, Word, pack, unpack_task
from energymarket.dispatch.segment import Part, Segment
from energymarket.dispatch.tokens import Kind, Token
from energymarket.dispatch.tubes import ReadingEnd, Side, WritingEnd
from energymarket.exits import ConfigError

log = logging.getLogger(__name__)

_REASON_CHARACTERS_MAX = 120  # four bytes each at most, twice: a word fits its cell


class Post:
    """Where a worker gets its work and says its word. `open` it, then wait for it among descriptors."""

    def __init__(self, directory: Path, worker: int, incarnation: int) -> None:
        self._directory = directory
        self._worker = worker
        self._reading: ReadingEnd | None = None
        self._writing = WritingEnd(tubes.path_of(directory, Side.TO_DISPATCHER, worker))
        self._segment: Segment | None = None
        self._has_work = False
        self._called_off = 0
        self._alone = True  # no dispatcher is there
        self.leaves = False  # it told us to end
        self.word = Word(incarnation, os.getpid())

    def open(self) -> Post:
        """Make and open the pipes, and say that we are here, if anybody hears it. Raises Failure."""
        self._epoll = select.epoll()
        try:
            self._open_tubes()
            self.tell()
        except BaseException:  # whatever it is, it goes on; what we made goes with us
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close all. Pipes that nobody has at the other end are removed: they would stay behind.

        But for the end that we write: the kernel closes it with the process, and so tells the dispatcher
        that we are gone when we are.
        """
        if self._alone and self._reading is not None:  # without that end they are another worker's
            tubes.remove(self._directory, self._worker)
            with suppress(OSError):  # others are in it, or it is the system's
                self._directory.rmdir()
        if self._reading is not None:
            self._reading.close()
        if self._segment is not None:
            self._segment.close()
        self._epoll.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when `tend` has something to do."""
        return self._epoll.fileno()

    def tend(self) -> None:
        """Hear what the dispatcher says, and answer."""
        hung_up = any(event & select.EPOLLHUP for _, event in self._epoll.poll(0))
        if self._reading is None:
            return
        for token in self._reading.read():
            self._hear(token)
        # One that stops before it has ever rung removes our pipes, and nothing hangs up.
        if hung_up or not self._reading.current():
            self._abandoned()

    def take(self) -> Task | None:
        """The task that we were told of, once; None if there is none."""
        if not self._has_work:
            return None
        self._has_work = False
        found = self._attached()
        raw = None if found is None else found.read(self._worker, Part.TASK)
        task = None if raw is None else unpack_task(raw)
        # An older number is a token that was told twice, or a cell torn by a dispatcher that died.
        return task if task is not None and task.number > self.word.number else None

    def is_called_off(self, task: Task) -> bool:
        """Whether nobody comes for it any more."""
        return self._called_off == task.number

    def begin(self, task: Task, phase: Phase, port: int = 0) -> None:
        """Say that we are at a task."""
        self.word = replace(self.word, phase=phase, number=task.number, port=port, share=0.0, doing="")
        self.tell()

    def progress(self, share: float, doing: str) -> None:
        """Note how far we are, for whoever looks; nobody is rung for it."""
        self.word = replace(self.word, share=round(share, 3), doing=doing[:_REASON_CHARACTERS_MAX])
        self._write_word()

    def end(self, task: Task, outcome: Outcome, reason: str = "") -> None:
        """Say how a task ended, and that we are ready for the next."""
        self.word = replace(
            self.word,
            phase=Phase.IDLE,
            number=task.number,
            port=0,
            outcome=outcome,
            reason=reason[:_REASON_CHARACTERS_MAX],
            exchanges=self.word.exchanges + (outcome is Outcome.SERVED),
            share=0.0,
            doing="",
        )
        self.tell()

    def leave_result(self, task: Task, line: str) -> None:
        """Leave the result of a relayed task. Raises TooLong."""
        found = self._attached()
        if found is not None:  # else nobody is there to relay it
            found.write(self._worker, Part.RESULT, b"%d %b" % (task.number, line.encode()))

    def tell(self) -> None:
        """Leave our word in the segment and ring. Without a dispatcher it waits until the next one asks."""
        if self._write_word():
            self._alone = not self._writing.send(Token(Kind.PONG, self.word.number))

    # ---- inside

    def _hear(self, token: Token) -> None:
        self._alone = False
        match token.kind:
            case Kind.WORK:
                self._has_work = True
            case Kind.CALL_OFF:
                self._called_off = token.number
            case Kind.LEAVE:
                self.leaves = True
            case Kind.PING:
                self.tell()
            case Kind.PONG:
                log.warning("worker %d: its own token came back to it", self._worker)

    def _abandoned(self) -> None:
        log.info("worker %d: the dispatcher is gone", self._worker)
        self._alone = True
        self._writing.close()
        if self._reading is not None and not self._reading.current():
            self._open_tubes()  # it removed them: the next one is to find us

    def _open_tubes(self) -> None:
        if self._reading is not None:
            self._reading.close()
        with suppress(FileExistsError):
            self._directory.mkdir(mode=0o700)
        path = tubes.path_of(self._directory, Side.TO_WORKER, self._worker)
        self._reading = ReadingEnd(path, alone=True)
        tubes.ensure(tubes.path_of(self._directory, Side.TO_DISPATCHER, self._worker))
        self._epoll.register(self._reading.fileno(), select.EPOLLIN | select.EPOLLET)

    def _write_word(self) -> bool:
        found = self._attached()
        if found is None:
            return False
        found.write(self._worker, Part.WORD, pack(self.word))
        return True

    def _attached(self) -> Segment | None:
        if self._segment is not None and not self._segment.current():
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = segments.attach(self._directory)
            if self._segment is not None and self._worker > self._segment.workers:
                raise ConfigError(
                    f"worker {self._worker}: the dispatcher has workers 1 to {self._segment.workers}",
                    "raise workers in [dispatch], or stop this one",
                )
        return self._segment
