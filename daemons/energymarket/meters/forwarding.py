"""What a PV service has written goes on to the homes that trade by it, before the meter's message is settled.

A message is acknowledged when the broker has taken over its readings. A death between the two makes the
broker deliver the message again, and its readings are passed on again: who hears them counts a sequence once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from energymarket.meters import topology
from energymarket.meters.confirms import Confirms
from energymarket.meters.declaring import Declaring
from energymarket.meters.message import Message, Reading, Readings, encode

if TYPE_CHECKING:
    from pika.channel import Channel

log = logging.getLogger(__name__)

RETURNED: Final = "its readings found no queue"


class Forwarding:
    """The readings of one meter, on the channel that its messages come from."""

    def __init__(self, meter_id: str, power_kw: Callable[[float, int], float], declaring: Declaring) -> None:
        """`power_kw` answers the sun of a time in UTC s at a clock that is so many s ahead."""
        self._meter_id = meter_id
        self._power_kw = power_kw
        self._declaring = declaring
        self._channel: Channel | None = None
        self._confirms = Confirms()
        self._open: deque[tuple[int, Callable[[], None]]] = deque()  # once what is confirmed, what to do

    def open(self, channel: Channel, done: Callable[[], None]) -> None:
        """Declare and ask for confirms on a new channel; `done` is called when the broker has."""
        channel.add_on_return_callback(self._returned)
        self._declaring.readings(channel, self._meter_id, lambda: self._confirming(channel, done))

    def _confirming(self, channel: Channel, done: Callable[[], None]) -> None:
        self._channel = channel
        self._confirms.begin()
        self._open.clear()
        channel.confirm_delivery(self._settled, callback=lambda _frame: done())

    def forward(self, messages: list[Message], settle: Callable[[], None]) -> None:
        """Pass on what was written; `settle` is called when the broker has confirmed all of it."""
        if self._channel is None or not self._channel.is_open:
            return
        for message in messages:
            samples = [
                Reading(
                    each.sequence,
                    each.time_s,
                    each.power_w,
                    self._power_kw(each.time_s, each.utc_offset_s),
                )
                for each in message.samples
            ]
            body = encode(Readings(self._meter_id, message.series, samples))
            topology.publish_readings(self._channel, self._meter_id, body)
            self._confirms.published += 1
        self._open.append((self._confirms.published, settle))
        self._acknowledge()

    def _settled(self, frame: Any) -> None:  # noqa: ANN401 pika's
        method = frame.method
        if method.NAME != "Basic.Ack":
            self._give_up("the broker refused its readings")
            return
        self._confirms.settle(method.delivery_tag, multiple=method.multiple)
        self._acknowledge()

    def _acknowledge(self) -> None:
        while self._open and self._open[0][0] <= self._confirms.floor:
            self._open.popleft()[1]()

    def _returned(self, *_of_pika: Any) -> None:  # noqa: ANN401 pika's
        """The queue was deleted: the next channel declares it again, and the messages come again."""
        self._give_up(RETURNED)

    def _give_up(self, why: str) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            log.warning("%s: %s", self._meter_id, why)
            channel.close()
