"""One meter's queue: the channel that it is consumed on, and what was delivered and is not settled yet."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from energymarket.meters import limits
from energymarket.meters.declaring import Closed, Declaring
from energymarket.meters.message import Refusal
from energymarket.meters.refusing import Letter, Refusing
from energymarket.runtime import clock
from energymarket.runtime.occasions import Occasion

if TYPE_CHECKING:
    from pika.channel import Channel

    from energymarket.transport.amqp import Link

log = logging.getLogger(__name__)

TOLD_EVERY_S: Final = 60.0
"""Of what was put aside from one meter."""

M = TypeVar("M")


@dataclass(slots=True)
class Waiting(Generic[M]):
    """A message that was delivered and not settled."""

    tag: int
    body: bytes
    properties: Any
    message: M | None = None  # once it was looked at
    done: int = 0  # samples that are on the disk
    too_late: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """What the consumers of a service have in common."""

    due: Callable[[], None]
    """Called when there is something to commit."""
    soon: Callable[[], None]
    """The same, from another thread."""
    declaring: Declaring
    refusing: Refusing


class Consumer(Protocol):
    """What commits for a meter, as its service sees it."""

    meter_id: str
    refused: Counter[Refusal]
    written: int
    duplicates: int
    is_consuming: bool

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for a commit."""

    def link_up(self, link: Link) -> None:
        """Open the channel."""

    def link_down(self) -> None:
        """What waits will be delivered again."""

    def leave(self) -> None:
        """Take no more."""

    def committing(self) -> Generator[list[int], None, None]:
        """Write what waits, and settle it; a step names what is to be synced. OSError: nothing happened."""


class Consuming(ABC, Generic[M]):
    """The one consumer of a queue. Who derives from it declares the queue, and commits what waits."""

    def __init__(self, meter_id: str, queue: str, prefetch: int, shared: Shared) -> None:
        self.meter_id = meter_id
        self.refused: Counter[Refusal] = Counter()
        self.written = 0
        self.duplicates = 0
        self.problem = ""
        self.is_consuming = False
        self._queue = queue
        self._prefetch = prefetch
        self._leaving = False
        self._due = shared.due
        self._declaring = shared.declaring
        self._refusing = shared.refusing
        self._aside: set[int] = set()  # deliveries that are being put aside
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._failures = 0  # of the channel, since something was acknowledged on one
        self._attempt = 0  # whose answers count: a channel that comes late is nobody's
        self._waiting: deque[Waiting[M]] = deque()
        self._silent_until_s = 0.0

    @abstractmethod
    def _declare(self, channel: Channel) -> None:
        """Declare what is needed; then `_ready`."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for a commit."""
        return not self._waiting

    def link_up(self, link: Link) -> None:
        """Open the channel."""
        self._link = link
        self._failures = 0
        self._open(link)

    def _open(self, link: Link) -> None:
        self._attempt += 1
        attempt = self._attempt
        link.channel(lambda channel: self._opened(channel, attempt))

    def link_down(self) -> None:
        """What waits will be delivered again."""
        self._attempt += 1
        self._channel = None
        self.is_consuming = False
        self._waiting.clear()
        self._aside.clear()

    def leave(self) -> None:
        """Take no more."""
        self._leaving = True

    def _opened(self, channel: Channel, attempt: int) -> None:
        if attempt != self._attempt:
            channel.close()
            return
        self._channel = channel
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(lambda _frame: channel.close(reply_text="it was deleted"))
        self._declare(channel)

    def _ready(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _frame: self._consume(channel))

    def _consume(self, channel: Channel) -> None:
        channel.basic_consume(
            self._queue,
            self._delivered,
            exclusive=True,
            callback=lambda _frame: self._consuming(),
        )

    def _consuming(self) -> None:
        self.is_consuming = True
        self.problem = ""
        if self._link is not None:
            self._link.ready()

    def _closed(self, channel: Channel, problem: BaseException) -> None:
        """The broker closed the channel alone: another consumer has the queue, or it was deleted."""
        if self._channel is not channel:
            return
        was_consuming = self.is_consuming
        self.link_down()
        link, attempt = self._link, self._attempt
        if link is None or not link.is_up:
            return
        meaning = Closed.OTHER if was_consuming else self._declaring.closed(problem)
        if meaning is Closed.AGAIN:
            self._open(link)
            return
        text = str(getattr(problem, "reply_text", "") or problem)
        if "in exclusive use" in text:
            text = f"another service consumes it, and is waited for ({text})"
        if text != self.problem:
            self.problem = text
            if meaning is Closed.OTHER:
                log.warning("%s: its queue is not ours: %s", self.meter_id, text)
        self._failures += 1
        link.loop.call_later(
            link.delay_s(self._failures, limits.QUEUE_RETRY_S),
            lambda: self._open(link) if attempt == self._attempt else None,
        )

    def _delivered(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 pika's
        if not self._leaving:
            self._waiting.append(Waiting(method.delivery_tag, body, properties))
            self._due()

    def _settle(self, finished: Sequence[Waiting[M]], refused: Sequence[tuple[Waiting[M], Refusal]]) -> None:
        """Acknowledge what is on the disk, and put aside what cannot be written: acknowledged when it is."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        for waiting, refusal in refused:
            self._aside.add(waiting.tag)
            self._refusing.put(
                Letter(
                    waiting.body,
                    refusal,
                    self.meter_id,
                    self._queue,
                    clock.wall_ns() // clock.NS_PER_S,
                    lambda: self._channel is channel,
                    lambda tag=waiting.tag: self._is_aside(channel, tag),  # type: ignore[misc]
                    waiting.properties,
                )
            )
        if not finished:
            return
        self._failures = 0
        last = finished[-1].tag
        if min(self._aside, default=last) >= last:
            channel.basic_ack(last, multiple=True)
        else:
            for waiting in finished:
                channel.basic_ack(waiting.tag)

    def _is_aside(self, channel: Channel, tag: int) -> None:
        is_ours = self._channel is channel
        if is_ours and channel.is_open:
            self._aside.discard(tag)
            channel.basic_ack(tag)

    def _say_refused(self, refusal: Refusal, waiting: Waiting[M]) -> None:
        now_s = clock.monotonic_s()
        if now_s < self._silent_until_s:
            return
        self._silent_until_s = now_s + TOLD_EVERY_S
        log.warning(
            "%s: a message was put aside (%s; %d so far): %r",
            self.meter_id,
            refusal,
            self.refused.total(),
            waiting.body[:100],
            extra=Occasion.SAMPLES_REFUSED.fields(meter=self.meter_id, reason=refusal),
        )
