"""A home that lives by its meter: in each slot it brings to the market what was metered in the slot before.

What flows in a slot is known when it is over, and the slot's gate closes before. So the reading of slot k is
that of the meter at the opening of slot k. What is missing of it then is estimated (`core/metering.py`); what
is learned later moves the registers of a later slot, without a contract: imbalance. Registers follow the
meter's book and are nothing but a function of it, so whatever is killed in between, nothing is booked twice.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from energymarket.core.fleet import Net
from energymarket.core.metering import Reading, register_wh
from energymarket.exits import ConfigError, Failure
from energymarket.home.keeper import Keeper
from energymarket.runtime.clock import boottime_ns
from energymarket.transport import book_file

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.core.metering import Book
    from energymarket.home import handing
    from energymarket.home.handing import Handed
    from energymarket.home.session import Refused
    from energymarket.wire.clock_page import ClockPage

log = logging.getLogger(__name__)

PATIENCE: Final = 0.5
"""Of the time for gifts: so long after its opening a slot's reading may still become complete. Then there is
as much time left to give and take."""
LOOK_NS: Final = 20_000_000
"""How often the book is looked at meanwhile: a file tells nobody that it is written."""


class Anchor(msgspec.Struct, frozen=True):
    """How a home's registers stand to its meter's book: register = offset + book."""

    meter: str
    ledger: int  # cookie of the ledger that it belongs to
    book: str  # id of the book; "": there was none yet, and whatever one says is the home's
    production_wh: int = 0
    consumption_wh: int = 0


class AnchorFile:
    """`home-ID.meter` beside the home's state: written once per book, before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Anchor | None:
        """The anchor; None before the first. ConfigError if the file is no such thing."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Anchor)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            hint = "move it away: the meter then counts from its present reading on"
            raise ConfigError(f"{self._path}: {error}", hint) from error

    def write(self, anchor: Anchor) -> None:
        """Make it durable. OSError."""
        draft = self._path.with_suffix(".meter.draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(anchor))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@dataclass(frozen=True, slots=True)
class Meter:
    """Which meter a home lives by, and where its book and the home's anchor are."""

    id: str
    book: Path
    anchor: AnchorFile


def anchored(
    kept: Anchor | None, book: Book | None, *, meter: str, ledger: int, slot: int, registers: tuple[int, int]
) -> Anchor:
    """The anchor that holds in a slot of which `slot` is metered; `registers` are production, consumption.

    A home that meets its meter's book for the first time takes what it says of the slot, and nothing of
    before. A home that was there first takes all of it, as it does of a book that follows one that was lost.
    """
    id_ = "" if book is None or book.begun_ms < 0 else book.id
    production_wh, consumption_wh = registers
    if kept is not None and (kept.meter, kept.ledger) == (meter, ledger):
        if not id_ or kept.book == id_:
            return kept
        return Anchor(meter, ledger, id_, production_wh, consumption_wh)
    if not id_ or book is None:
        return Anchor(meter, ledger, "")
    before = None if slot - 1 < book.floor else book.reading(slot - 1)
    if before is None:
        return Anchor(meter, ledger, id_, production_wh, consumption_wh)
    return Anchor(meter, ledger, id_, production_wh - before.pv_wh, consumption_wh - before.load_wh)


class MeteredKeeper(Keeper):
    """Keeps one home that lives by a meter."""

    def __init__(self, *parts: Any, meter: Meter, single: bool) -> None:  # noqa: ANN401 as Keeper has them
        super().__init__(*parts, single=single)
        self._meter = meter
        self._told = ""  # the last trouble with the book
        self._estimates = False

    def _live_through(self, page: ClockPage) -> Net:
        """Registers as the meter's book has them now; to trade is what was metered in the slot before."""
        metered = page.slot - 1
        until_ns = page.open_ns + round((page.exchange_ns - page.open_ns) * PATIENCE)
        book, reading = self._await(metered, until_ns)
        produced, consumed = (self._books.column(name) for name in ("production_wh", "consumption_wh"))
        before = int(produced[0]), int(consumed[0])
        kept = self._meter.anchor.read()
        anchor = anchored(
            kept, book, meter=self._meter.id, ledger=page.cookie, slot=metered, registers=before
        )
        if anchor != kept:
            self._meter.anchor.write(anchor)
        after, own_wh = before, 0
        if reading is not None:
            after = (
                register_wh(before[0], anchor.production_wh + reading.pv_wh),
                register_wh(before[1], anchor.consumption_wh + reading.load_wh),
            )
            own_wh = reading.slot_pv_wh - reading.slot_load_wh
        self._books.meter(page.slot, *after)
        moved_wh = (after[0] - before[0]) - (after[1] - before[1])
        self._tell(page, reading, moved_wh - own_wh)
        net = Net(1)
        flows = (0, 0) if reading is None else (reading.slot_pv_wh, reading.slot_load_wh)
        own, produced, consumed, room = (np.array([flow_wh], np.int32) for flow_wh in (own_wh, *flows, 0))
        net.put(0, own, produced, consumed, room)
        return net

    def _submit(
        self, handed: Handed, batch_id: str, page: ClockPage, before: handing.Reading | None
    ) -> tuple[dict[str, Any] | Refused, handing.Reading]:
        """Registers are handed in whole: they move by more, or by less, than what flowed in the slot."""
        del before
        return super()._submit(handed, batch_id, page, None)

    def _await(self, slot: int, until_ns: int) -> tuple[Book | None, Reading | None]:
        """The book, once nothing of a slot is missing, or when there is no more time to wait."""
        while True:
            book, reading = self._look(slot)
            complete = reading is not None and reading.estimated_ms == 0
            now_ns = boottime_ns()
            if complete or now_ns >= until_ns:
                return book, reading
            self._notifier.beat()
            if self._stop.wait_until(min(until_ns, now_ns + LOOK_NS)):
                return book, reading

    def _look(self, slot: int) -> tuple[Book | None, Reading | None]:
        try:
            book = book_file.read(self._meter.book)
            reading = None if book is None else book.reading(slot)
        except (Failure, ValueError) as problem:  # the home goes on: its registers stand still until then
            self._say(str(problem))
            return None, None
        self._say("" if reading is not None else f"{self._meter.id} has not been heard yet")
        return book, reading

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._told:
            log.warning("home %d: %s", self._fleet.first, trouble)
        self._told = trouble

    def _tell(self, page: ClockPage, reading: Reading | None, corrected_wh: int) -> None:
        """What the market is to know of the reading; a line where that has changed."""
        missing_s = page.slot_s if reading is None else -(-reading.estimated_ms // 1000)
        heard_s = None if reading is None else reading.heard_ms // 1000
        home = self._fleet.first
        self._readings = (
            {
                "home": home,
                "meter": self._meter.id,
                "estimated_s": missing_s,
                "corrected_wh": corrected_wh,
                "heard_s": heard_s,
            },
        )
        fields = {"ENERGY_HOME": home, "ENERGY_SLOT": page.slot}
        if bool(missing_s) != self._estimates:
            self._estimates = bool(missing_s)
            how = "late: its readings are estimated" if missing_s else "in time again"
            log.info("home %d, slot %d: %s is %s", home, page.slot, self._meter.id, how, extra=fields)
        if corrected_wh:
            log.info("home %d, slot %d: %+d Wh corrected", home, page.slot, corrected_wh, extra=fields)
