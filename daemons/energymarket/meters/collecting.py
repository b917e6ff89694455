"""The readings of a meter become its book: heard once, durable before they are acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from energymarket.core.metering import Book, Power, Verdict
from energymarket.meters import limits, topology
from energymarket.meters.consuming import Consuming, Shared, Waiting
from energymarket.meters.message import Reading, Readings, Refusal, decode_readings
from energymarket.transport.book_file import BookFile

if TYPE_CHECKING:
    from pika.channel import Channel

AHEAD_MS: Final = 3_600_000
"""A meter whose clock is an hour fast is not believed: its future would close what is still to come."""


@dataclass(slots=True)
class _Draft:
    """What a commit would make of the book, and what it would settle."""

    book: Book
    samples: int = 0
    duplicates: int = 0
    refused: list[tuple[Waiting[Readings], Refusal]] = field(default_factory=list)
    finished: list[Waiting[Readings]] = field(default_factory=list)


class Collecting(Consuming[Readings]):
    """One meter: its queue of readings, and its book."""

    def __init__(
        self,
        meter_id: str,
        file: BookFile,
        book: Book,
        shared: Shared,
        now_ms: Callable[[], float] | None = None,
    ) -> None:
        """`now_ms` is the world's time, where the market's is the same: what lies ahead of it is absurd."""
        queue = topology.readings_queue(meter_id)
        super().__init__(meter_id, queue, limits.PREFETCH_PER_METER[1], shared)
        self._file = file
        self._book = book
        self._now_ms = now_ms

    def _declare(self, channel: Channel) -> None:
        self._declaring.readings(channel, self.meter_id, lambda: self._ready(channel))

    def committing(self) -> Generator[list[int], None, None]:
        """Count what waits, at most so much at once, and settle it; a step names descriptors to be synced.

        OSError: nothing has happened.
        """
        if not self._waiting:
            return
        draft = self._drafted()
        if draft.samples:
            yield from self._file.writing(draft.book)
        self._book = draft.book
        self.written += draft.samples
        self.duplicates += draft.duplicates
        self._commit(draft)

    def _drafted(self) -> _Draft:
        draft = _Draft(self._book.copy())
        latest_ms = None if self._now_ms is None else self._now_ms() + AHEAD_MS
        for waiting in self._waiting:
            if draft.samples >= limits.COMMIT_SAMPLES_MAX:
                break
            judged = decode_readings(waiting.body, self.meter_id)
            if isinstance(judged, Refusal):
                draft.refused.append((waiting, judged))
                continue
            powers = [_power(each) for each in judged.samples]
            if latest_ms is not None and max(each.time_ms for each in powers) > latest_ms:
                draft.refused.append((waiting, Refusal.ABSURD))
                continue
            verdicts = [draft.book.hear(judged.series, each) for each in powers]
            draft.samples += verdicts.count(Verdict.COUNTED)
            draft.duplicates += verdicts.count(Verdict.SEEN)
            if Verdict.TOO_LATE in verdicts:
                draft.refused.append((waiting, Refusal.TOO_LATE))
            else:
                draft.finished.append(waiting)
        return draft

    def _commit(self, draft: _Draft) -> None:
        for _ in range(len(draft.refused) + len(draft.finished)):
            self._waiting.popleft()
        for waiting, refusal in draft.refused:
            self.refused[refusal] += 1
            self._say_refused(refusal, waiting)
        self._settle(draft.finished, draft.refused)
        if self._waiting:
            self._due()


def _power(reading: Reading) -> Power:
    """A reading in whole ms and mW: what a book adds up."""
    return Power(
        reading.sequence,
        round(reading.time_s * 1000),
        round(reading.power_w * 1000),
        round(reading.pv_kw * 1_000_000),
    )
