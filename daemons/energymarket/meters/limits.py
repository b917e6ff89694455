"""The limits of meters and PV, one page: each with its unit and its reason."""

from __future__ import annotations

from typing import Final

EXCHANGE: Final = "energy.meters"
"""Direct and durable: the routing key is the meter's id."""
REFUSED: Final = "energy.meters.refused"
"""Exchange and queue of what was put aside: dead letters of all meters, with the reason in their headers."""
QUEUE_PREFIX: Final = "meter."
READINGS: Final = "energy.readings"
"""Direct and durable: each sample with the sun added, once it is in its file, for homes that live by it."""
READINGS_PREFIX: Final = "home."

REFUSED_BYTES_MAX: Final = 64 << 20
"""Of dead letters: a meter that babbles does not fill the broker's disk; the oldest go first."""

METERS_MAX: Final = 1_000
"""Of one service: a broker takes 2,047 channels on a connection, and each meter has one on the PV's side."""

LOAD_W_MAX: Final = 9_000.0
"""A contract of 9 kVA, common for a house that cooks and heats water with electricity."""
POWER_W_MAX: Final = 100_000.0
"""What a message may say is consumed: a fuse of 3 x 63 A at 230 V passes 43 kW; twice that is absurd."""
TIME_S_MIN: Final = 946_684_800
"""2000-01-01: an earlier date is a clock that was never set."""
TIME_S_MAX: Final = 4_102_444_800
"""2100-01-01: a later date is milliseconds taken for seconds."""
UTC_OFFSET_S_MAX: Final = 18 * 3600
"""Of a zone's clock: what ISO 8601 and Python's `timezone` can write stays below."""
SEQUENCE_MAX: Final = (1 << 63) - 1

SAMPLES_PER_MESSAGE_MAX: Final = 128
"""One while all is well; what has waited is packed, 30 bytes a sample, so that a backlog leaves fast."""
MESSAGE_BYTES_MAX: Final = 16 << 10
"""128 samples are 5 KiB; whoever sends more is no meter of ours."""

INTERVAL_S: Final = 2.0
INTERVAL_S_MIN: Final = 0.001
INTERVAL_S_MAX: Final = 86_400.0

SPOOL_BYTES_MAX: Final = 256 << 20
"""A sample of one meter takes 4 bytes and a tick 32 more: ten meters at 2 s fill it in 80 days."""
SPOOL_BYTES_MIN: Final = 1 << 16
SEGMENT_BYTES: Final = 4 << 20
UNCONFIRMED_SAMPLES_MAX: Final = 16_384
"""Published and not yet confirmed: what a broker that dies makes us send again."""

PREFETCH_MESSAGES: Final = 20_000
PREFETCH_PER_METER: Final = (20, 2_000)
"""Of all meters of a service, unacknowledged, shared among them between these bounds: what waits in memory
while a disk is full, 100 MB at the most where all of them are packed."""
LINGER_S: Final = 0.05
"""A message waits so long for others that are made durable with it. At 2 s a sample nobody notices."""
COMMIT_SAMPLES_MAX: Final = 4_000
"""Of one meter at once, so that a backlog does not keep the others, nor the broker's heartbeat, waiting."""
QUEUE_RETRY_S: Final = 1.0
"""How soon a queue that another service has is asked for again: doubled each time, like a broker."""
SYNCS_AT_ONCE: Final = 8
"""Files that are synced side by side: on ext4, 100 meters in a tenth of the time that one by one takes."""
DISK_RETRY_S: Final = 1.0
"""How soon a disk that was full is tried again."""

RANGES_MAX: Final = 256
"""Gaps that a series may have among its sequences and still be known one by one; the oldest close first."""
SERIES_MAX: Final = 4
"""Series of one meter that are remembered; a meter begins another one only when its state was lost."""
FILES_MAX: Final = 8
"""Days of one meter that are open for samples at the same time."""

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 10.0
"""Between two attempts to reach the broker: doubled each time, and drawn from the upper half of it."""
CONNECT_TIMEOUT_S: Final = 10.0
HEARTBEAT_S: Final = 30
"""A broker that has vanished without a word is noticed after two of them."""
FAREWELL_S: Final = 5.0
"""How long a service that stops waits for confirms and for the broker's goodbye."""
