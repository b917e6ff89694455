"""A PV service at work: what meters say, with the sun added, goes to their files, then is acknowledged.

Messages wait undecoded until a commit takes them. A commit judges, counts and writes from copies of what the
disk has, and what is remembered afterwards is what the disk has then: a commit that fails leaves no trace,
and is tried again. When the connection goes, what waits goes too, because the broker delivers it again.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from energymarket.meters import limits, topology
from energymarket.meters.consuming import Consumer, Consuming, Shared, Waiting
from energymarket.meters.day_files import DayFiles
from energymarket.meters.declaring import Declaring
from energymarket.meters.forwarding import Forwarding
from energymarket.meters.message import Message, Refusal, decode
from energymarket.meters.refusing import Refusing
from energymarket.meters.rows import day_of, line_of
from energymarket.meters.window import Verdict, Window
from energymarket.runtime import clock
from energymarket.runtime.occasions import Occasion

if TYPE_CHECKING:
    from pika.channel import Channel

    from energymarket.transport.amqp import Link

log = logging.getLogger(__name__)


class Sun(Protocol):
    """What a roof gives."""

    def power_kw(self, time_s: float, utc_offset_s: int) -> float:
        """PV power in kW at an instant, given what the meter's clock is ahead of UTC."""

    def is_known(self, time_s: float) -> bool:
        """Whether `power_kw` answers at once."""

    def prepare(self, time_s: float, done: Callable[[], None]) -> None:
        """See to it that it will; `done` is called then, from whatever thread."""

    def close(self) -> None:
        """End what is under way."""


@dataclass(slots=True)
class _Draft:
    """What a commit would write, and what it would settle."""

    windows: dict[str, Window]
    lines: dict[str, list[str]] = field(default_factory=dict)
    duplicates: int = 0
    samples: int = 0
    refused: list[tuple[Waiting[Message], Refusal]] = field(default_factory=list)
    finished: list[Waiting[Message]] = field(default_factory=list)
    partly: int = 0  # samples of the next message that are in it
    awaits_sun: bool = False  # the next one's is being computed


class Recording(Consuming[Message]):
    """One meter: its queue, and its files."""

    def __init__(
        self,
        meter_id: str,
        files: DayFiles,
        sun: Sun,
        prefetch: int,
        shared: Shared,
        offset_s: Callable[[float], int],
        *,
        forwards: bool = False,
    ) -> None:
        """`offset_s` is of a meter that does not say what its clock is; what is written may be forwarded."""
        super().__init__(meter_id, topology.queue(meter_id), prefetch, shared)
        self._files = files
        self._sun = sun
        self._soon = shared.soon
        self._offset_s = offset_s
        self._forwarding = Forwarding(meter_id, sun.power_kw, shared.declaring) if forwards else None

    def _declare(self, channel: Channel) -> None:
        self._declaring.meters(channel, (self.meter_id,), lambda: self._declared(channel))

    def _declared(self, channel: Channel) -> None:
        if self._forwarding is not None:
            self._forwarding.open(channel, lambda: self._ready(channel))
        else:
            self._ready(channel)

    def committing(self) -> Generator[list[int], None, None]:
        """Write what waits, at most so much at once, and settle it; a step names descriptors to be synced.

        OSError: nothing has happened.
        """
        if not self._waiting:
            return
        draft = self._drafted()
        if draft.lines:
            yield from self._files.committing(draft.lines, draft.windows, draft.duplicates)
        self.written += sum(map(len, draft.lines.values()))
        self.duplicates += draft.duplicates
        self._commit(draft)

    def _drafted(self) -> _Draft:
        draft = _Draft(self._files.windows())
        for waiting in self._waiting:
            if draft.samples >= limits.COMMIT_SAMPLES_MAX:
                break
            if waiting.message is None:
                judged = decode(waiting.body, self.meter_id, self._offset_s)
                if isinstance(judged, Refusal):
                    draft.refused.append((waiting, judged))
                    continue
                waiting.message = judged
            if not self._take(draft, waiting, waiting.message):
                break
            if waiting.too_late:
                draft.refused.append((waiting, Refusal.TOO_LATE))
            else:
                draft.finished.append(waiting)
        return draft

    def _take(self, draft: _Draft, waiting: Waiting[Message], message: Message) -> bool:
        """The samples of a message into the draft; False if not now: too many days, or no sun yet."""
        window = draft.windows.pop(message.series, None) or Window()
        draft.windows[message.series] = window  # who spoke last is the last
        for at in range(waiting.done, len(message.samples)):
            sample = message.samples[at]
            if not self._sun.is_known(sample.time_s):
                self._sun.prepare(sample.time_s, self._soon)
                draft.partly, draft.awaits_sun = at, True
                return False
            day = day_of(sample)
            if day not in draft.lines and len(draft.lines) >= limits.FILES_MAX:
                draft.partly = at
                return False
            match window.add(sample.sequence):
                case Verdict.NEW:
                    power_kw = self._sun.power_kw(sample.time_s, sample.utc_offset_s)
                    draft.lines.setdefault(day, []).append(line_of(self.meter_id, sample, power_kw))
                case Verdict.SEEN:
                    draft.duplicates += 1
                case Verdict.TOO_LATE:
                    waiting.too_late = True
            draft.samples += 1
        return True

    def _commit(self, draft: _Draft) -> None:
        """It is on the disk: what cannot be written is put aside, all else is acknowledged."""
        settled = len(draft.refused) + len(draft.finished)
        for _ in range(settled):
            self._waiting.popleft()
        if draft.partly and self._waiting:
            self._waiting[0].done = draft.partly
        for waiting, refusal in draft.refused:
            self.refused[refusal] += 1
            self._say_refused(refusal, waiting)
        if self._forwarding is None:
            self._settle(draft.finished, draft.refused)
        else:
            # Readings first; and of a message that is put aside, what could be written of it.
            told = sorted([*draft.finished, *(each for each, _ in draft.refused)], key=lambda each: each.tag)
            messages = [each.message for each in told if each.message is not None]
            self._forwarding.forward(messages, lambda: self._settle(draft.finished, draft.refused))
        if self._waiting and not draft.awaits_sun:
            self._due()


class Recorder:
    """All meters of a service: commits what came, soon, and goes on where a disk was full."""

    def __init__(self, loop: Any, idle_exit_s: float | None) -> None:  # noqa: ANN401 pika's
        """It is all over when nothing has come for `idle_exit_s`, if that is said."""
        declaring = Declaring()
        self.shared = Shared(
            self.due, lambda: loop.add_callback_threadsafe(self.due), declaring, Refusing(declaring)
        )
        self._loop = loop
        self._syncing = ThreadPoolExecutor(limits.SYNCS_AT_ONCE, "sync")
        self._idle_exit_s = idle_exit_s
        self._recordings: Sequence[Consumer] = ()
        self._timer: Any = None
        self._failed: Mapping[str, str] = {}
        self._told: set[str] = set()  # why the broker is away: each once, until it is back
        self._heard_s = clock.monotonic_s()

    def record(self, recordings: Sequence[Consumer], aside: Link) -> None:
        """These are the meters, and this is the connection over which messages are put aside."""
        self._recordings = recordings
        self.shared.refusing.use(aside)

    @property
    def status(self) -> str:
        """One line for people."""
        one = self._recordings
        refused: Counter[Refusal] = sum((each.refused for each in one), Counter())
        names = ", ".join(f"{name} {count}" for name, count in sorted(refused.items()))
        written, twice = sum(each.written for each in one), sum(each.duplicates for each in one)
        ours = sum(each.is_consuming for each in one)
        told = f"{ours} of {len(one)} meters; {written} samples written, {twice} dropped as duplicates"
        problem = f"; not written: {next(iter(self._failed.values()))}" if self._failed else ""
        late = self.shared.refusing.pending
        pending = f" ({late} wait for it)" if late else ""
        aside = f"{refused.total()} put aside" + (f": {names}" if names else "")
        return f"{told}, {aside}{pending}{problem}"

    @property
    def is_settled(self) -> bool:
        """Whether all that was delivered has been written, or cannot be."""
        if not self._failed and not all(each.is_idle for each in self._recordings):
            self.commit()
        idle = all(each.is_idle for each in self._recordings) and not self.shared.refusing.pending
        return bool(self._failed) or idle

    def hang_up(self, done: Callable[[], None]) -> None:
        """Close the connection beside the service's own."""
        self.shared.refusing.close(done)

    def stop(self) -> None:
        """Take no more: what is delivered from now on comes again to whoever is next."""
        for each in self._recordings:
            each.leave()

    def wait_s(self) -> float:
        """Nothing is due by itself."""
        return 1.0

    def turn(self) -> bool:
        """A turn of the loop; whether that was all."""
        if self._idle_exit_s is None:
            return False
        busy = not all(each.is_consuming and each.is_idle for each in self._recordings)
        if busy or self.shared.refusing.pending:
            self._heard_s = clock.monotonic_s()  # nothing can come before all queues are consumed
            return False
        return clock.monotonic_s() - self._heard_s >= self._idle_exit_s

    def link_up(self, link: Link) -> None:
        """Every meter opens its channel."""
        if self._told:
            log.info("the broker is back")
        self._told.clear()
        for each in self._recordings:
            each.link_up(link)

    def link_down(self, reason: str) -> None:
        """What is not acknowledged comes again."""
        for each in self._recordings:
            each.link_down()
        if reason not in self._told:
            self._told.add(reason)
            log.warning("the broker is away (%s)", reason, extra=Occasion.BROKER_AWAY.fields(cause=reason))

    def due(self) -> None:
        """There is something to commit: soon, together with what else comes until then."""
        self._heard_s = clock.monotonic_s()
        if self._timer is None:
            self._timer = self._loop.call_later(limits.LINGER_S, self.commit)

    def commit(self) -> None:
        """Commit every meter; those whose disk refuses are tried again."""
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
        failed = self._commit_all()
        self._say(failed)
        self._failed = failed
        if failed and self._timer is None:
            self._timer = self._loop.call_later(limits.DISK_RETRY_S, self.commit)

    def _commit_all(self) -> dict[str, str]:
        """The commits of all meters, step by step, what they name synced side by side; why some failed.

        A file system that journals makes one transaction of what is synced at the same time.
        """
        failed: dict[str, str] = {}
        running = {each.meter_id: each.committing() for each in self._recordings if not each.is_idle}
        problems: dict[str, OSError] = {}
        while running:
            named: dict[str, list[int]] = {}
            for meter_id, commit in list(running.items()):
                problem = problems.get(meter_id)
                try:
                    named[meter_id] = next(commit) if problem is None else commit.throw(problem)
                except StopIteration:
                    del running[meter_id]
                except OSError as refused:
                    failed[meter_id] = refused.strerror or str(refused)
                    del running[meter_id]
            problems = self._synced(named)
        return failed

    def _synced(self, named: Mapping[str, list[int]]) -> dict[str, OSError]:
        """Sync descriptors, many at a time; by meter, what went wrong."""
        pairs = [(meter_id, each) for meter_id, descriptors in named.items() for each in descriptors]
        outcomes = self._syncing.map(_sync, (each for _, each in pairs))
        return {
            meter_id: problem
            for (meter_id, _), problem in zip(pairs, outcomes, strict=True)
            if problem is not None
        }

    def _say(self, failed: Mapping[str, str]) -> None:
        if failed and not self._failed:
            cause = next(iter(failed.values()))
            log.error(
                "samples cannot be written (%s): none is acknowledged until they can, the broker keeps them",
                cause,
                extra=Occasion.SAMPLES_NOT_WRITTEN.fields(cause=cause),
            )
        elif self._failed and not failed:
            log.warning("samples can be written again", extra=Occasion.SAMPLES_WRITTEN.fields())

    def close(self) -> None:
        """End the threads that sync."""
        self._syncing.shutdown()


def _sync(descriptor: int) -> OSError | None:
    try:
        os.fdatasync(descriptor)
    except OSError as problem:
        return problem
    return None
