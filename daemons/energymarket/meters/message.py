"""The message of a meter: consecutive samples as JSON, judged before they are believed.

    {"meter_id": "Meter_0", "series": "5c0f...", "samples": [[17, 1795680902, 3600, 431.25], ...]}

A sample is its sequence, its time in UTC seconds since 1970, what the meter's own clock was ahead of UTC
then, and the power in W. The offset travels with each sample because a day, and the reference day's sun,
are of the meter's clock: whoever reads needs no table of time zones, nor the same version of one. The
series names the memory that sequences are counted in: a meter that has lost it counts from 1 again, in
another series.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from energymarket.meters.limits import (
    MESSAGE_BYTES_MAX,
    POWER_W_MAX,
    SAMPLES_PER_MESSAGE_MAX,
    SEQUENCE_MAX,
    TIME_S_MAX,
    TIME_S_MIN,
    UTC_OFFSET_S_MAX,
)


class Refusal(StrEnum):
    """Why a message is put aside, by the name that counters, log, page and tests use."""

    MALFORMED = "malformed"  # no JSON, a key that is missing or of another kind, NaN
    ALIEN = "alien"  # of another meter than the queue's
    ABSURD = "absurd"  # a power, time or sequence that cannot be
    TOO_LATE = "too_late"  # of a gap so old that it is not known any more what was in it


class Sample(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """One sample as it travels."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX)]
    time_s: Annotated[float, msgspec.Meta(ge=TIME_S_MIN, lt=TIME_S_MAX)]
    utc_offset_s: Annotated[int, msgspec.Meta(ge=-UTC_OFFSET_S_MAX, le=UTC_OFFSET_S_MAX)]
    power_w: Annotated[float, msgspec.Meta(ge=0, le=POWER_W_MAX)]


class Message(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Samples of one meter."""

    meter_id: str
    series: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    samples: Annotated[list[Sample], msgspec.Meta(min_length=1, max_length=SAMPLES_PER_MESSAGE_MAX)]


class Reading(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A sample with the sun added, as the PV service passes it on."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX)]
    time_s: Annotated[float, msgspec.Meta(ge=0, lt=TIME_S_MAX)]
    power_w: Annotated[float, msgspec.Meta(ge=0, le=POWER_W_MAX)]
    pv_kw: Annotated[float, msgspec.Meta(ge=0, le=POWER_W_MAX / 1000)]


class Readings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Readings of one meter."""

    meter_id: str
    series: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    samples: Annotated[list[Reading], msgspec.Meta(min_length=1, max_length=SAMPLES_PER_MESSAGE_MAX)]


class _Shape(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The same without its limits: what has this shape and is refused is absurd, not malformed."""

    meter_id: str
    series: str
    samples: list[tuple[int, float, int, float]]


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Message)
_READINGS: Final = msgspec.json.Decoder(Readings)
_SHAPE: Final = msgspec.json.Decoder(_Shape)


def encode(message: Message | Readings) -> bytes:
    """The bytes that are published."""
    return _ENCODER.encode(message)


def decode(body: bytes, meter_id: str) -> Message | Refusal:
    """A message from the queue of a meter, or why it is put aside."""
    if len(body) > MESSAGE_BYTES_MAX:
        return Refusal.MALFORMED
    try:
        message = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _refusal(body)
    if message.meter_id != meter_id:
        return Refusal.ALIEN
    return message


def _refusal(body: bytes) -> Refusal:
    try:
        _SHAPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal.MALFORMED
    return Refusal.ABSURD


def decode_readings(body: bytes, meter_id: str) -> Readings | Refusal:
    """Readings from the queue of a home, or why they are put aside."""
    try:
        message = _READINGS.decode(body if len(body) <= MESSAGE_BYTES_MAX else b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal.MALFORMED
    return message if message.meter_id == meter_id else Refusal.ALIEN
