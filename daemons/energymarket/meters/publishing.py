"""A meter service at work: reads its meters, keeps the samples, publishes them until all are confirmed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.meters import limits, topology
from energymarket.meters.confirms import Confirms
from energymarket.meters.declaring import Closed, Declaring
from energymarket.meters.household import Household
from energymarket.meters.message import Message, Sample, encode
from energymarket.meters.spool import Spool, Tick
from energymarket.meters.timetable import Timetable
from energymarket.runtime.occasions import Occasion

if TYPE_CHECKING:
    from pika.channel import Channel

    from energymarket.transport.amqp import Link

log = logging.getLogger(__name__)

TICKS_MAX: Final = 512
"""Made, and made durable, at once: in simulated time, and after a delay."""


class Publishing:
    """Owns the spool and the channel. All of it happens on the link's loop."""

    def __init__(
        self,
        meter_ids: Sequence[str],
        houses: Sequence[Household],
        spool: Spool,
        timetable: Timetable,
        now_ms: Callable[[], float],
        offset_s: Callable[[int], int],
        speed: float,
    ) -> None:
        """`now_ms` is the time of the timetable, `offset_s` the meters' clock ahead of UTC."""
        self._speed = speed
        self._ids = tuple(meter_ids)
        self._houses = tuple(houses)
        self._spool = spool
        self._timetable = timetable
        self._now_ms = now_ms
        self._offset_s = offset_s
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._declaring = Declaring()
        self._confirms = Confirms()
        self._sent: deque[tuple[int, int, int]] = deque()  # (last tag, last sequence, samples) of a batch
        self._in_flight = 0
        self._told: set[str] = set()  # why the broker is away: each once, until it is back
        self._full = False
        self.taken = 0
        self.shed = 0
        self.stopped = False

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to read, and all is confirmed."""
        return (self.stopped or self._timetable.is_over) and self._spool.waiting == 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was published waits for its confirm."""
        return self._channel is None or not self._sent

    def stop(self) -> None:
        """Read no more; what was read is in the spool."""
        self.stopped = True

    def wait_s(self) -> float:
        """How long nothing is due."""
        if self._speed <= 0:
            return 1.0
        return (self._timetable.next_ms - self._now_ms()) / 1000.0 / self._speed

    def hang_up(self, done: Callable[[], None]) -> None:
        """There is no other connection."""
        done()

    def turn(self) -> bool:
        """A turn of the loop; whether that was all."""
        self.pump()
        return self.is_done

    @property
    def status(self) -> str:
        """One line for people."""
        where = "the broker is away" if self._channel is None else "with the broker"
        lost = f", {self.shed} could not be kept" if self.shed else ""
        waiting = self._spool.waiting * len(self._ids)
        return f"{len(self._ids)} meters, {self.taken} samples, {waiting} wait; {where}{lost}"

    # ------------------------------------------------------------ the link

    def link_up(self, link: Link) -> None:
        """Open the channel; what was not confirmed is published again."""
        self._link = link
        link.channel(self._opened)

    def link_down(self, reason: str) -> None:
        """Samples wait in the spool."""
        self._channel = None
        if reason not in self._told:
            self._told.add(reason)
            log.warning(
                "the broker is away (%s): samples wait in the spool",
                reason,
                extra=Occasion.BROKER_AWAY.fields(cause=reason),
            )

    def _opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        names = (*self._ids, *map(topology.meter_id, range(len(self._ids), self._spool.meters_max)))
        self._declaring.meters(channel, names, lambda: self._declared(channel))

    def _declared(self, channel: Channel) -> None:
        channel.confirm_delivery(self._settled, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Channel) -> None:
        self._channel = channel
        self._confirms.begin()
        self._in_flight = 0
        self._sent.clear()
        self._spool.rewind()
        log.info("connected; %d ticks wait", self._spool.waiting)
        self._told.clear()
        if self._link is not None:
            self._link.ready()
        self.pump()

    def _channel_closed(self, channel: Channel, problem: BaseException) -> None:
        declared = channel is self._channel
        if declared:
            self._channel = None
        if self._link is None or not self._link.is_up or self.stopped:
            return
        if not declared and self._declaring.closed(problem) is Closed.AGAIN:
            self._link.channel(self._opened)
        else:
            self._link.drop(f"the channel was closed: {getattr(problem, 'reply_text', '') or problem}")

    def _returned(self, _channel: Channel, method: Any, _properties: Any, _body: bytes) -> None:  # noqa: ANN401 pika's
        """A queue is gone: the next connection declares it again, and what was returned is not confirmed."""
        self._channel = None
        if self._link is not None:
            self._link.drop(f"{method.routing_key} has no queue")

    def _settled(self, frame: Any) -> None:  # noqa: ANN401 pika's
        """The broker has taken messages over, or has not."""
        method = frame.method
        if self._channel is None:
            return
        if method.NAME != "Basic.Ack":
            self._channel = None
            if self._link is not None:
                self._link.drop("the broker refused a message")
            return
        self._confirms.settle(method.delivery_tag, multiple=method.multiple)
        confirmed = None
        while self._sent and self._sent[0][0] <= self._confirms.floor:
            _, confirmed, samples = self._sent.popleft()
            self._in_flight -= samples
        if confirmed is not None:
            self._spool.confirm(confirmed)
            self.pump()

    # ------------------------------------------------------------ the work

    def pump(self) -> None:
        """Read what is due and publish what there is room for; called as often as one likes."""
        if not self.stopped:
            self._read_meters()
        self._publish()

    def _read_meters(self) -> None:
        """Simulated time waits for room; in the world's time what finds none is lost, and said to be."""
        while not self._timetable.is_over:
            ahead = self._spool.waiting * len(self._ids)
            if not self._timetable.live and (
                ahead >= 2 * limits.UNCONFIRMED_SAMPLES_MAX or self._spool.is_full
            ):
                return
            before_ms = self._timetable.next_ms
            times_ms = self._timetable.take(self._now_ms(), TICKS_MAX)
            if not times_ms:
                return
            problem = "the spool is full" if self._spool.is_full else self._keep(times_ms)
            if not problem:
                self._say_room()
                continue
            self._say_full(problem)
            if not self._timetable.live:
                self._timetable.next_ms = before_ms
                return
            self._spool.skip(len(times_ms))
            self.shed += len(times_ms) * len(self._ids)

    def _keep(self, times_ms: Sequence[int]) -> str:
        """Samples at these instants into the spool; why not, or nothing."""
        at_s = np.array(times_ms, np.float64) / 1000.0
        loads_w = np.stack([house.load_w(at_s) for house in self._houses])
        power_mw = np.rint(loads_w * 1000.0).astype(np.int32)
        first = self._spool.last + 1
        ticks = [
            Tick(first + at, time_ms, self._offset_s(time_ms), power_mw[:, at])
            for at, time_ms in enumerate(times_ms)
        ]
        try:
            self._spool.append(ticks)
        except OSError as problem:
            return f"the spool cannot be written: {problem.strerror}"
        self.taken += power_mw.size
        return ""

    def _say_full(self, problem: str) -> None:
        if not self._full:
            self._full = True
            log.error(
                "%s: no sample is kept until there is room",
                problem,
                extra=Occasion.SPOOL_FULL.fields(cause=problem),
            )

    def _say_room(self) -> None:
        if self._full:
            self._full = False
            log.warning("there is room again; %d samples could not be kept so far", self.shed)

    def _publish(self) -> None:
        """As much as may be unconfirmed; what has waited is packed, as many ticks to a message as fit."""
        meters = max(len(self._ids), self._spool.meters_max)
        ticks_max = max(
            1, min(limits.SAMPLES_PER_MESSAGE_MAX, limits.UNCONFIRMED_SAMPLES_MAX // (4 * meters))
        )
        while self._channel is not None and self._in_flight < limits.UNCONFIRMED_SAMPLES_MAX:
            ticks = self._spool.read(ticks_max)
            if not ticks:
                return
            samples = 0
            for number in range(max(len(tick.power_mw) for tick in ticks)):
                samples += self._send(self._channel, number, [t for t in ticks if len(t.power_mw) > number])
            self._sent.append((self._confirms.published, ticks[-1].sequence, samples))
            self._in_flight += samples

    def _send(self, channel: Channel, number: int, ticks: Sequence[Tick]) -> int:
        meter_id = topology.meter_id(number)
        samples = [
            Sample(
                tick.sequence, _seconds(tick.time_ms), tick.utc_offset_s, int(tick.power_mw[number]) / 1000
            )
            for tick in ticks
        ]
        topology.publish(channel, meter_id, encode(Message(meter_id, self._spool.series, samples)))
        self._confirms.published += 1
        return len(samples)


def _seconds(time_ms: int) -> float:
    return time_ms // 1000 if time_ms % 1000 == 0 else time_ms / 1000
