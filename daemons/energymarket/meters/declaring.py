"""Exchanges and queues are declared alike by both sides, plainly: whoever comes first makes them.

What somebody has made otherwise is used as it is where that loses nothing: a queue with arguments (of an
earlier release, or an operator's), an exchange that is not durable. Where it would, a person is told.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from energymarket.meters.limits import EXCHANGE, READINGS, REFUSED, REFUSED_BYTES_MAX
from energymarket.meters.topology import queue, readings_queue

if TYPE_CHECKING:
    from pika.channel import Channel

log = logging.getLogger(__name__)

_OTHERWISE: Final = re.compile(
    r"inequivalent arg '([^']*)' for (queue|exchange) '(.*?)' in vhost [^:]*: (.*)"
)
_ABSENT: Final = re.compile(r"no (queue|exchange) '(.*?)' in vhost")
_HARMFUL: Final = {
    ("exchange", "type"),
    ("exchange", "internal"),
    ("queue", "durable"),
    ("queue", "auto_delete"),
}
"""What must be as we say: messages would go elsewhere, or with the broker's next restart."""


class Closed(Enum):
    """What a channel that the broker closed while we declared means."""

    AGAIN = auto()  # asked once more, now, it goes through
    IN_THE_WAY = auto()  # something is there that does not serve; it was said
    OTHER = auto()


class Declaring:
    """What a service declares, and what of it is known to be there otherwise. All its channels share it."""

    def __init__(self) -> None:
        self._otherwise: set[tuple[str, str]] = set()
        self._told = ""

    def meters(self, channel: Channel, meters: Iterable[str], done: Callable[[], None]) -> None:
        """Declare the way of meters' samples; `done` is called when the broker has.

        Answers are asked for once, at the end: the broker does one after the other. It closes the channel
        if it cannot: see `closed`.
        """
        named = tuple(meters)
        for meter in named:
            self._queue(channel, queue(meter))
        self._exchange(channel, EXCHANGE, "direct")
        for meter in named:
            channel.queue_bind(queue(meter), EXCHANGE, routing_key=meter)
        self._last(channel, EXCHANGE, "direct", done)

    def readings(self, channel: Channel, meter: str, done: Callable[[], None]) -> None:
        """Declare the way of a meter's readings."""
        self._queue(channel, readings_queue(meter))
        self._exchange(channel, READINGS, "direct")
        channel.queue_bind(readings_queue(meter), READINGS, routing_key=meter)
        self._last(channel, READINGS, "direct", done)

    def refused(self, channel: Channel, done: Callable[[], None]) -> None:
        """Declare where messages are put aside: one exchange and one queue, which has an end."""
        self._queue(channel, REFUSED, {"x-max-length-bytes": REFUSED_BYTES_MAX})
        self._exchange(channel, REFUSED, "fanout")
        channel.queue_bind(REFUSED, REFUSED)
        self._last(channel, REFUSED, "fanout", done)

    def _queue(self, channel: Channel, name: str, arguments: Mapping[str, int] | None = None) -> None:
        passive = ("queue", name) in self._otherwise
        channel.queue_declare(name, passive=passive, durable=True, arguments=arguments)

    def _exchange(
        self, channel: Channel, name: str, kind: str, done: Callable[[Any], None] | None = None
    ) -> None:
        passive = ("exchange", name) in self._otherwise
        channel.exchange_declare(name, exchange_type=kind, passive=passive, durable=True, callback=done)

    def _last(self, channel: Channel, name: str, kind: str, done: Callable[[], None]) -> None:
        def answered(_frame: object) -> None:
            self._told = ""
            done()

        self._exchange(channel, name, kind, answered)

    def closed(self, problem: BaseException) -> Closed:
        """Judge why a channel was closed; what people have to know is logged once."""
        text = str(getattr(problem, "reply_text", ""))
        absent = _ABSENT.search(text)
        if absent is not None and absent.groups() in self._otherwise:
            self._otherwise.discard((absent[1], absent[2]))
            return Closed.AGAIN
        found = _OTHERWISE.search(text)
        if found is None:
            return Closed.OTHER
        argument, kind, name, how = found.groups()
        if (kind, argument) in _HARMFUL or (kind, name) in self._otherwise:
            if text != self._told:
                self._told = text
                log.error(
                    "%s %r is there with another '%s' (%s) and does not serve; delete it: it is made anew",
                    kind,
                    name,
                    argument,
                    how,
                )
            return Closed.IN_THE_WAY
        self._otherwise.add((kind, name))
        log.warning("%s %r is there with another '%s' (%s): it is used as it is", kind, name, argument, how)
        return Closed.AGAIN
