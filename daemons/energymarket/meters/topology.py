"""Exchanges and queues by the names that both sides know, and how what travels is handed to the broker."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from energymarket.meters.limits import EXCHANGE, QUEUE_PREFIX, READINGS, READINGS_PREFIX

if TYPE_CHECKING:
    from pika.channel import Channel


def meter_id(number: int) -> str:
    """The id of a meter of ours, counted from 0."""
    return f"Meter_{number}"


def queue(meter: str) -> str:
    """The queue of a meter."""
    return f"{QUEUE_PREFIX}{meter}"


def readings_queue(meter: str) -> str:
    """The queue of a meter's readings: what the PV service has written, for the home that trades by it."""
    return f"{READINGS_PREFIX}{meter}"


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
