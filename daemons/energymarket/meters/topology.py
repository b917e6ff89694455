"""Exchange, queues and dead letters, declared alike by both sides: whoever comes first makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from energymarket.meters.limits import (
    EXCHANGE,
    QUEUE_PREFIX,
    READINGS,
    READINGS_PREFIX,
    REFUSED,
    REFUSED_BYTES_MAX,
)

if TYPE_CHECKING:
    from pika.channel import Channel


def meter_id(number: int) -> str:
    """The id of a meter of ours, counted from 0."""
    return f"Meter_{number}"


def queue(meter: str) -> str:
    """The queue of a meter."""
    return f"{QUEUE_PREFIX}{meter}"


def declare(channel: Channel, meters: Iterable[str], done: Callable[[], None]) -> None:
    """Declare all of it, durable; `done` is called when the broker has. It closes the channel if it cannot.

    What a consumer rejects goes to one queue for all meters, by the broker itself, so that it is lost nowhere
    between. Answers are asked for once, at the end: the broker does one after the other.
    """
    channel.exchange_declare(REFUSED, exchange_type="fanout", durable=True)
    channel.queue_declare(REFUSED, durable=True, arguments={"x-max-length-bytes": REFUSED_BYTES_MAX})
    channel.queue_bind(REFUSED, REFUSED)
    for meter in meters:
        channel.queue_declare(queue(meter), durable=True, arguments={"x-dead-letter-exchange": REFUSED})
    channel.exchange_declare(EXCHANGE, exchange_type="direct", durable=True)
    for meter in meters:
        channel.queue_bind(queue(meter), EXCHANGE, routing_key=meter)
    channel.exchange_declare(EXCHANGE, exchange_type="direct", durable=True, callback=lambda _frame: done())


def readings_queue(meter: str) -> str:
    """The queue of a meter's readings: what the PV service has written, for the home that trades by it."""
    return f"{READINGS_PREFIX}{meter}"


def declare_readings(channel: Channel, meter: str, done: Callable[[], None]) -> None:
    """Declare the way of a meter's readings, durable, on both of its sides alike."""
    channel.exchange_declare(REFUSED, exchange_type="fanout", durable=True)
    channel.queue_declare(REFUSED, durable=True, arguments={"x-max-length-bytes": REFUSED_BYTES_MAX})
    channel.queue_bind(REFUSED, REFUSED)
    channel.exchange_declare(READINGS, exchange_type="direct", durable=True)
    arguments = {"x-dead-letter-exchange": REFUSED}
    channel.queue_declare(readings_queue(meter), durable=True, arguments=arguments)
    channel.queue_bind(readings_queue(meter), READINGS, routing_key=meter, callback=lambda _frame: done())


def publish_readings(channel: Channel, meter: str, body: bytes) -> None:
    """Hand readings to the broker: durable, and returned if no queue takes them."""
    channel.basic_publish(READINGS, meter, body, _durable(), mandatory=True)


def publish(channel: Channel, meter: str, body: bytes) -> None:
    """Hand a message to the broker: durable, and returned if no queue takes it."""
    channel.basic_publish(EXCHANGE, meter, body, _durable(), mandatory=True)


@cache
def _durable() -> Any:  # noqa: ANN401 pika's
    import pika  # noqa: PLC0415 with the first message: see transport/amqp.py

    return pika.BasicProperties(content_type="application/json", delivery_mode=2)
