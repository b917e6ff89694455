"""The recorder: what comes to a slot from outside is kept with the slot, so that it can be replayed.

What a replay knows by itself (accounts, its own prices, the book of events and the coefficients as the
slot before has left them) is not said again. Where it cannot know it, after a restart or a start, the
record is *anew*: book, coefficients and policies are whole.

In a large market a record is *brief*: what the body of its slot says is not said again.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core.events import EventBook
from energymarket.core.following import follows
from energymarket.core.inputs import Asked, Before, Inputs, InputsCorrupt, World, pack, parts_of, unpack
from energymarket.core.parameters import Rule
from energymarket.core.replay import Start, digest
from energymarket.transport.ledger_rows import Parts, Record

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.market import Closed, Market, Outside
    from energymarket.core.parameters import PriceModel
    from energymarket.core.weather import Sample
    from energymarket.market.snapshot import Counts


@dataclass(slots=True)
class _Known:
    """What a replay knows when the last record has been played."""

    book: EventBook
    model: PriceModel
    policy: npt.NDArray[np.integer[Any]]  # of each home's last batch; moved on when a slot is durable


class Recorder:
    """Makes the record of the open slot. It changes nothing, and nothing waits for it."""

    def __init__(self, market: Market, *, follows: bool, brief: bool = False) -> None:
        """`follows`: the last slot of the ledger has a record; `brief`: a record needs its slot's body."""
        self._market = market
        self._brief = brief and market.rules.sharing is Rule.QUEUE  # other rules restate what was said
        self._follows = follows
        self._known: _Known | None = None  # None: the next record is anew
        self._world: World | None = None  # of the open slot, whole; None: nobody has noted it
        self._reopened = False

    # open

    def open(self, outside: Outside, sample: Sample | None) -> None:
        """The slot that was just opened: what the market knew of the world."""
        opening, market = self._market.opened(), self._market
        flat = market.rules.tariff.follows_price
        self._world = World(
            slot=opening.slot,
            temperature_mc=outside.temperature_mc,
            raining=outside.raining,
            weather_stale=outside.weather_stale,
            sample=sample,
            import_ueur_per_kwh=0 if flat else opening.prices.import_,
            export_ueur_per_kwh=0 if flat else opening.prices.export,
            book=_copy(market.book),
            model=opening.model,
        )
        self._reopened = False

    def reopen(self, noted: str | None) -> None:
        """The slot that was just opened again as it was: what `note` had said of it before the restart.

        Without a note of this slot (an older version had it open) the slot has no record.
        """
        self._world, self._reopened = None, True
        slot, homes = self._market.opened().slot, self._market.rules.homes
        if noted:
            try:
                inputs = unpack(base64.b64decode(noted), Before(self._market.accounts.readings, _none(homes)))
            except (InputsCorrupt, ValueError):
                return  # not worth a market that does not start; the replay tells that the record is missing
            if inputs.world.slot == slot:
                self._world = inputs.world

    def note(self) -> str:
        """How the open slot was opened, for `reopen` after a restart; empty if that is not known."""
        if self._world is None:
            return ""
        before = Before(self._market.accounts.readings, _none(self._market.rules.homes))
        return base64.b64encode(pack(Inputs(self._world, anew=True), before)).decode()

    # close

    def record(self, closed: Closed, counts: Counts) -> Record | None:
        """The record of the closed slot; one that follows no other begins with a start."""
        world = self._world
        if world is None or world.slot != closed.slot:
            return None
        known = self._known if self._follows else None
        inputs = self._inputs(world, known, counts)
        said = self._brief and follows(inputs.batches, closed.settlement)
        parts = parts_of(inputs, self._before(known), follows=said)
        start = None if self._follows else self.start()
        return Record(Parts(closed.slot, parts, digest(closed.hash, *parts)), start)

    def start(self) -> Parts:
        """Where a replay can begin: the market as its last slot has left it, until the next one."""
        market, rules = self._market, self._market.rules
        start = Start(
            market.state(), market.hash, rules.tariff, market.accounts, rules.sharing, rules.key_weights
        )
        parts = start.parts()
        return Parts(start.slot, parts, digest(start.hash, *parts))

    def started(self) -> None:
        """A start is durable behind the last slot: whoever begins there knows nothing of before."""
        self._known = None

    def _inputs(self, world: World, known: _Known | None, counts: Counts) -> Inputs:
        market, opening = self._market, self._market.opened()
        if known is not None:
            same_book = known.book == world.book
            same_model = known.model is world.model or known.model == world.model
            world = replace(
                world, book=None if same_book else world.book, model=None if same_model else world.model
            )
        return Inputs(
            world=world,
            gap=opening.gap,
            reopened=self._reopened,
            anew=known is None,
            batches=tuple(market.batches.values()),
            shed=tuple(counts.shed_of.get(key, 0) for key in market.batches),
            orders=tuple(Asked(order.home, order.energy_wh, order.id) for order in market.orders),
            refused=tuple(counts.refused),
            late_batches=counts.slot_late,
            shed_offers=counts.slot_shed,
        )

    def _before(self, known: _Known | None) -> Before:
        policy = _none(self._market.rules.homes) if known is None else known.policy
        return Before(self._market.accounts.readings, policy)

    def recorded(self, record: Record | None) -> None:
        """The slot is durable, with this record. Called before the market goes on from it."""
        world, self._world = self._world, None
        if record is None or world is None or world.book is None or world.model is None:
            self._follows, self._known = False, None
            return
        self._follows = True
        policy = self._before(self._known).policy
        for batch in self._market.batches.values():
            here, said = slice(batch.first - 1, batch.first - 1 + batch.count), batch.columns["policy"]
            if not np.array_equal(policy[here], said):
                policy[here] = said
        book = _copy(world.book)
        book.forget(world.slot)
        self._known = _Known(book, world.model, policy)


def _copy(book: EventBook) -> EventBook:
    return EventBook(book.kinds, dict(book.events), book.raised)


def _none(homes: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.zeros(homes, np.uint8)
