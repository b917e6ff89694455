"""Messages that are refused are put aside: published to an exchange of their own, with the reason in headers.

The meter's message is acknowledged when the broker has confirmed that; a death between the two puts it aside
twice. It goes over a connection of its own, made when first needed: a broker that is short of memory or disk
reads nothing any more from a connection that publishes, and acknowledgements must not wait behind that.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energymarket.meters.confirms import Confirms
from energymarket.meters.declaring import Closed, Declaring
from energymarket.meters.limits import REFUSED

if TYPE_CHECKING:
    from pika.channel import Channel

    from energymarket.meters.message import Refusal
    from energymarket.transport.amqp import Link

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is put aside."""

    body: bytes
    refusal: Refusal
    meter: str
    queue: str
    time_s: int
    is_wanted: Callable[[], bool]
    """False when the channel that it came from is gone: it comes again."""
    settled: Callable[[], None]
    """Called when the broker has it."""


class Refusing:
    """Puts messages aside, one after the other, until the broker has confirmed them."""

    def __init__(self, declaring: Declaring) -> None:
        self._declaring = declaring
        self._link: Link | None = None
        self._begun = False
        self._channel: Channel | None = None
        self._confirms = Confirms()
        self._waiting: deque[Letter] = deque()
        self._sent: deque[Letter] = deque()  # the first of them has the tag `floor` + 1
        self._told = ""

    def use(self, link: Link) -> None:
        """This is the connection; it is not made yet."""
        self._link = link

    @property
    def pending(self) -> int:
        """Letters that the broker has not confirmed, and that somebody waits for."""
        return sum(each.is_wanted() for each in (*self._sent, *self._waiting))

    def put(self, letter: Letter) -> None:
        """Put a message aside, now or when the broker lets us."""
        self._waiting.append(letter)
        if not self._begun and self._link is not None:
            self._begun = True
            self._link.connect()
        self._publish()

    def link_up(self, link: Link) -> None:
        """Open the channel."""
        link.channel(self._opened)

    def link_down(self, reason: str) -> None:
        """What was not confirmed is published again."""
        self._channel = None
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._waiting = deque(each for each in self._waiting if each.is_wanted())
        if self._waiting and reason != self._told:
            self._told = reason
            log.warning("%d messages cannot be put aside (%s)", len(self._waiting), reason)

    def _opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._closed)
        channel.add_on_return_callback(self._returned)
        self._declaring.refused(channel, lambda: self._declared(channel))

    def _declared(self, channel: Channel) -> None:
        channel.confirm_delivery(self._settled, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Channel) -> None:
        self._channel = channel
        self._confirms.begin()
        self._told = ""
        if self._link is not None:
            self._link.ready()
        self._publish()

    def _publish(self) -> None:
        if self._channel is None or not self._channel.is_open:
            return
        while self._waiting:
            letter = self._waiting.popleft()
            if letter.is_wanted():
                self._channel.basic_publish(
                    REFUSED, letter.meter, letter.body, _properties(letter), mandatory=True
                )
                self._confirms.published += 1
                self._sent.append(letter)

    def _settled(self, frame: Any) -> None:  # noqa: ANN401 pika's
        method = frame.method
        if self._channel is None:
            return
        if method.NAME != "Basic.Ack":
            self._again("the broker does not take what is put aside")
            return
        before = self._confirms.floor
        self._confirms.settle(method.delivery_tag, multiple=method.multiple)
        for _ in range(self._confirms.floor - before):
            self._sent.popleft().settled()

    def _returned(self, *_of_pika: Any) -> None:  # noqa: ANN401 pika's
        self._again(f"{REFUSED} has no queue")

    def _closed(self, channel: Channel, problem: BaseException) -> None:
        if self._link is None or not self._link.is_up:
            return
        if self._channel is None and self._declaring.closed(problem) is Closed.AGAIN:
            self._link.channel(self._opened)
        elif self._channel in {None, channel}:
            self._again(str(getattr(problem, "reply_text", "") or problem))

    def _again(self, why: str) -> None:
        self._channel = None
        if self._link is not None:
            self._link.drop(why)

    def close(self, closed: Callable[[], None]) -> None:
        """Close the connection, if there is one."""
        if self._begun and self._link is not None:
            self._link.close(closed)
        else:
            closed()


def _properties(letter: Letter) -> Any:  # noqa: ANN401 pika's
    import pika  # noqa: PLC0415 see transport/amqp.py

    headers = {"x-refusal": str(letter.refusal), "x-meter": letter.meter, "x-queue": letter.queue}
    return pika.BasicProperties(
        delivery_mode=2, timestamp=letter.time_s, headers={**headers, "x-time": letter.time_s}
    )
