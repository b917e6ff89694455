"""The clock page: what the market says about market time and prices, as bytes in shared memory.

Page: header (64 bytes, see wire/cell.py), then one sealed cell with the payload below.
Deadlines are CLOCK_BOOTTIME in ns; prices µ€/kWh.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from energymarket.core.records import Phase
from energymarket.wire.fault import WireError, WireFault

MAGIC: Final = b"EMCLOCK\n"
VERSION: Final = 1
PAGE_BYTES: Final = 4096

LAYOUT: Final = struct.Struct("<qqqqqqqqqqqQIIIIHH")
"""slot, open_ns, exchange_ns, gate_ns, next_open_ns, price, import, export, fee, slot_ns, end_slot,
cookie, epoch, slot_s, market_pid, generation, phase, flags."""

PHASES: Final = {int(phase): phase for phase in Phase}
NO_END: Final = -1
"""The end slot of a market that runs until it is stopped."""


class Flag(IntFlag):
    """What else holds in this slot."""

    WEATHER_STALE = 1
    LIVE = 2  # slots open at their time, whoever is late
    DEGRADED = 4  # the ledger cannot be written: nothing is acknowledged


@dataclass(frozen=True, slots=True)
class ClockPage:
    """Market time as of now."""

    slot: int
    epoch: int
    phase: Phase
    flags: int  # of Flag
    open_ns: int
    exchange_ns: int  # end of the exchange of gifts
    gate_ns: int  # end of trading
    next_open_ns: int
    price: int
    import_: int
    export_: int
    fee: int  # of a gift
    slot_s: int  # of market time
    slot_ns: int  # real duration
    market_pid: int
    end_slot: int = NO_END  # the market ends when this slot is over
    cookie: int = 0  # of the ledger: state of another ledger does not fit
    generation: int = 0  # how many times the market has been started on this ledger

    @property
    def weather_stale(self) -> bool:
        """Whether the slot opened with weather that was made for an earlier one."""
        return bool(self.flags & Flag.WEATHER_STALE)

    @property
    def live(self) -> bool:
        """Whether slots open at their time without waiting for weather and external."""
        return bool(self.flags & Flag.LIVE)


def pack(page: ClockPage) -> bytes:
    """The payload of the page's cell."""
    return LAYOUT.pack(
        page.slot,
        page.open_ns,
        page.exchange_ns,
        page.gate_ns,
        page.next_open_ns,
        page.price,
        page.import_,
        page.export_,
        page.fee,
        page.slot_ns,
        page.end_slot,
        page.cookie,
        page.epoch,
        page.slot_s,
        page.market_pid,
        page.generation,
        page.phase,
        page.flags,
    )


def unpack(raw: bytes) -> ClockPage:
    """Read a payload. Raises WireError TRUNCATED or KIND."""
    if len(raw) != LAYOUT.size:
        raise WireError(WireFault.TRUNCATED, f"a clock page has {LAYOUT.size} bytes, not {len(raw)}")
    (
        slot, open_ns, exchange_ns, gate_ns, next_open_ns, price, import_, export_, fee, slot_ns, end_slot,
        cookie, epoch, slot_s, market_pid, generation, phase, flags,
    ) = LAYOUT.unpack(raw)  # fmt: skip
    known = PHASES.get(phase)
    if known is None:
        raise WireError(WireFault.KIND, f"no phase has the number {phase}")
    return ClockPage(
        slot=slot,
        epoch=epoch,
        phase=known,
        flags=flags,
        open_ns=open_ns,
        exchange_ns=exchange_ns,
        gate_ns=gate_ns,
        next_open_ns=next_open_ns,
        price=price,
        import_=import_,
        export_=export_,
        fee=fee,
        slot_s=slot_s,
        slot_ns=slot_ns,
        market_pid=market_pid,
        end_slot=end_slot,
        cookie=cookie,
        generation=generation,
    )
