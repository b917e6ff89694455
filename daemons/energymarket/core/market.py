"""The market's slot: open, hear batches and orders, close. Pure: the owner carries the effects out.

The way of a slot: `open_slot` fixes its prices; `hear_batch` and `hear_order` accept or refuse by
name; `close_slot` matches, settles and packs without changing anything; once that is durable,
`commit_slot` makes it the state from which the next slot starts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import ledger, pricing, settlement
from energymarket.core.accounts import NO_SLOT, Accounts
from energymarket.core.admission import READING_COLUMNS
from energymarket.core.parameters import Rule, price_model_digest
from energymarket.core.refusals import Refusal
from energymarket.core.settlement import FLOWS, Batch, Prices, Settlement
from energymarket.core.sharing.settling import restate
from energymarket.core.sums import total as total_of
from energymarket.core.units import money_ueur

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from energymarket.core.events import EventBook
    from energymarket.core.parameters import PriceModel, Tariff

__all__ = [
    "NO_SLOT",
    "ORDER_SLOTS_REMEMBERED",
    "Accounts",
    "Closed",
    "Market",
    "Opening",
    "Order",
    "Outside",
    "Rules",
    "head_of",
]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a market goes by: parameters that a reload may exchange between two slots."""

    price: PriceModel
    tariff: Tariff
    homes: int
    tariff_at: Callable[[int], tuple[int, int]]  # slot -> import, export price in µ€/kWh
    sharing: Rule = Rule.QUEUE
    key_weights: npt.NDArray[np.int64] | None = None  # of the static key, by home; None: all the same

    def weights(self) -> npt.NDArray[np.int64]:
        """The weight of each home in the static key."""
        return np.ones(self.homes, np.int64) if self.key_weights is None else self.key_weights


@dataclass(frozen=True, slots=True)
class Outside:
    """What the market knows of the world when a slot opens."""

    temperature_mc: int
    raining: bool
    weather_stale: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """An open slot: its prices and how they came about."""

    slot: int
    epoch: int
    previous_ueur_per_kwh: int
    model: PriceModel  # that made the price; a reload meanwhile is for the next slot
    terms: pricing.Terms
    events: tuple[tuple[int, int], ...]  # kind index, intensity in thousandths
    prices: Prices
    gap: bool
    weather_stale: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A single order as accepted: energy and total above zero are a sale."""

    home: int
    id: str
    slot: int
    energy_wh: int
    price_ueur_per_kwh: int
    total_ueur: int
    receipt: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed slot, ready to be made durable."""

    slot: int
    head: ledger.SlotHead
    settlement: Settlement
    orders: dict[str, npt.NDArray[np.int64]]
    parts: tuple[bytes | memoryview, ...]  # of the body, one after the other
    hash: bytes
    batches: tuple[tuple[int, int, str], ...]  # first home, count, id

    @property
    def body(self) -> bytes:
        """The slot's body in the ledger, put together."""
        return b"".join(self.parts)

    def for_receipts(self) -> Closed:
        """The same without body, gifts and flows, which the ledger has: the rest of its memory is needed."""
        columns = {name: column for name, column in self.settlement.columns.items() if name not in FLOWS}
        return replace(self, parts=(), settlement=replace(self.settlement, gifts={}, columns=columns))


def head_of(opening: Opening, void_claims: int) -> ledger.SlotHead:
    """What the ledger says of an opened slot as a whole, once its claims are matched."""
    return ledger.SlotHead(
        slot=opening.slot,
        previous_ueur_per_kwh=opening.previous_ueur_per_kwh,
        unclipped_ueur_per_kwh=opening.terms.unclipped_ueur_per_kwh,
        price_ueur_per_kwh=opening.prices.price,
        import_ueur_per_kwh=opening.prices.import_,
        export_ueur_per_kwh=opening.prices.export,
        gift_fee_ueur_per_kwh=opening.prices.gift_fee,
        terms=opening.terms.items,
        events=tuple((opening.model.events[kind].name, much) for kind, much in opening.events),
        gap=opening.gap,
        weather_stale=opening.weather_stale,
        void_claims=void_claims,
    )


@dataclass(slots=True)
class Market:
    """The state of a market between two slots, and the slot that is open."""

    rules: Rules
    accounts: Accounts
    hash: bytes
    price_ueur_per_kwh: int
    book: EventBook
    slot: int = NO_SLOT  # last committed
    consumed_wh: int = 0  # of the last committed slot
    produced_wh: int = 0
    coefficients: str = ""  # digest of the model that made the last committed price, or of the scenario's
    contributions: tuple[float, ...] = ()  # what the price holds of each kind of event, and of clipping
    opening: Opening | None = None
    batches: dict[tuple[int, int], Batch] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    orders_known: dict[tuple[int, str], Order] = field(default_factory=dict)
    _named: PriceModel | None = field(
        default=None, repr=False
    )  # the model that `coefficients` is the digest of
    # of a range of homes, as of a slot: its registers added up
    _registers: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, repr=False)

    # open

    def open_slot(self, slot: int, outside: Outside, *, epoch: int = 0, gap: bool = False) -> Opening:
        """Fix the prices of a slot. The same slot opened again under the same facts has the same prices."""
        events = tuple(self.book.active(slot))
        grid = (0, 0) if self.rules.tariff.follows_price else self.rules.tariff_at(slot)
        terms = pricing.terms(
            self.rules.price,
            self.price_ueur_per_kwh,
            temperature_mc=outside.temperature_mc,
            consumed_wh=self.consumed_wh,
            produced_wh=self.produced_wh,
            events=events,
            import_ueur_per_kwh=grid[0],
            export_ueur_per_kwh=grid[1],
        )
        self.opening = Opening(
            slot=slot,
            epoch=epoch,
            previous_ueur_per_kwh=self.price_ueur_per_kwh,
            model=self.rules.price,
            terms=terms,
            events=events,
            prices=self._prices(terms.published_ueur_per_kwh, grid),
            gap=gap,
            weather_stale=outside.weather_stale,
        )
        return self.reopen_slot(self.opening)

    def reopen_slot(self, opening: Opening) -> Opening:
        """Open a slot as it was when orders were acknowledged in it, whatever has been learned since."""
        self.take_back_slot()
        self.opening = opening
        return opening

    def _prices(self, price: int, grid: tuple[int, int]) -> Prices:
        tariff = self.rules.tariff
        import_, export = (price, price) if tariff.follows_price else grid
        return Prices(price, import_, export, tariff.gift_fee_ueur_per_kwh)

    def opened(self) -> Opening:
        """The open slot. RuntimeError if none is open: our mistake."""
        if self.opening is None:
            raise RuntimeError("no slot is open")
        return self.opening

    def restore_orders(self, orders: list[Order]) -> None:
        """Orders that were acknowledged in the open slot before the process died."""
        self.orders = list(orders)
        for order in orders:
            self.orders_known[order.home, order.id] = order

    def take_back_slot(self) -> None:
        """Forget which slot is open and what was heard in it; orders are restored when it opens again."""
        self.opening = None
        self.batches = {}
        self.orders = []

    # hear

    def reloaded_model(self) -> PriceModel | None:
        """The model of the open slot, if the slot before had another one."""
        model = self.opened().model
        return None if price_model_digest(model) == self.coefficients else model

    def hear_batch(self, batch: Batch) -> list[Refusal]:
        """Book a batch into the open slot, or say why not. The same range again replaces what it said."""
        problems = settlement.check(batch, self.rules.homes, self.accounts.readings)
        if not problems and not self._grows_from_the_last_reading(batch):
            problems = [Refusal.REGISTERS_UNKNOWN]
        if not problems and self.has_handed_in_otherwise(batch.first, batch.count):
            problems = [Refusal.HOMES_TAKEN]
        if not problems:
            self.batches[batch.first, batch.count] = batch
        return problems

    def _grows_from_the_last_reading(self, batch: Batch) -> bool:
        """Whether growth is from the reading that the ledger has, and comes to the registers it states."""
        if batch.since is None:
            return True
        if self.accounts.heard.slots_of(batch.first, batch.count) != [batch.since]:
            return False
        key = (batch.first, batch.count)
        slot, before = self._registers.get(key, (NO_SLOT, 0))
        if slot != batch.since:
            before = self.accounts.readings.total(slice(batch.first - 1, batch.first - 1 + batch.count))
            self._registers[key] = (batch.since, before)
        grown = sum(total_of(batch.columns[name]) for name in READING_COLUMNS)
        return (before + grown - batch.registers) % 2**64 == 0

    def _remember_registers(self) -> None:
        """What the registers of a slot's batches came to: those of the next slot are held against it."""
        grown = {key: each.registers for key, each in self.batches.items() if each.since is not None}
        self._registers = {key: (self.opened().slot, total) for key, total in grown.items()}

    def has_handed_in_otherwise(self, first: int, count: int) -> bool:
        """Whether another range with some of these homes is in: leases may change hands within a slot."""
        return any(
            other < first + count and first < other + size and (other, size) != (first, count)
            for other, size in self.batches
        )

    def has_handed_in_some(self, first: int, count: int) -> bool:
        """Whether some of these homes are in, in a batch of whatever range."""
        return (first, count) in self.batches or self.has_handed_in_otherwise(first, count)

    def has_handed_in(self, first: int, count: int) -> bool:
        """Whether a batch of the open slot is in that has all of these homes."""
        if (first, count) in self.batches:
            return True
        return any(other <= first and first + count <= other + size for other, size in self.batches)

    def hear_order(self, home: int, energy_wh: int, order_id: str) -> Order:
        """The receipt of a single order (above zero: a sale). An id seen before gets its receipt again."""
        known = self.orders_known.get((home, order_id))
        if known is not None:
            return known
        opening = self.opened()
        price = opening.prices.price
        total = money_ueur(abs(energy_wh), price)
        order = Order(
            home=home,
            id=order_id,
            slot=opening.slot,
            energy_wh=energy_wh,
            price_ueur_per_kwh=price,
            total_ueur=total if energy_wh > 0 else -total,
            receipt=f"{opening.slot}-{len(self.orders):06d}",
        )
        self.orders.append(order)
        self.orders_known[home, order_id] = order
        return order

    def forget_orders(self, count: int) -> None:
        """Take back the last orders: they could not be made durable."""
        for order in self.orders[len(self.orders) - count :]:
            del self.orders_known[order.home, order.id]
        del self.orders[len(self.orders) - count :]

    # close

    def close_slot(self) -> Closed:
        """Match, settle and pack the open slot. Nothing of the state changes."""
        opening = self.opened()
        batches = [self.batches[key] for key in sorted(self.batches)]
        orders = self._order_columns()
        readings, homes = self.accounts.readings, self.rules.homes
        if self.rules.sharing is not Rule.QUEUE:
            was_read = self.accounts.heard.column() == self.slot
            weights = self.rules.weights()
            batches = restate(self.rules.sharing, batches, readings, was_read, orders, weights)
        settled = settlement.settle(readings, batches, orders, opening.prices, homes)
        head = head_of(opening, settled.void_claims)
        parts = ledger.parts_of(head, settled.columns, settled.gifts, orders)
        return Closed(
            slot=opening.slot,
            head=head,
            settlement=settled,
            orders=orders,
            parts=parts,
            hash=ledger.chain(self.hash, *parts),
            batches=tuple((batch.first, batch.count, batch.id) for batch in batches),
        )

    def _order_columns(self) -> dict[str, npt.NDArray[np.int64]]:
        rows = np.array([(o.home, o.energy_wh, o.total_ueur) for o in self.orders], np.int64).reshape(-1, 3)
        return {"home": rows[:, 0].copy(), "energy_wh": rows[:, 1].copy(), "total_ueur": rows[:, 2].copy()}

    def commit_slot(self, closed: Closed) -> None:
        """Make a durable slot the state from which the next one starts."""
        self.accounts.apply(closed.slot, closed.settlement.columns, closed.batches)
        self._remember_registers()
        self.hash = closed.hash
        self.move_on(closed.settlement.totals.consumed_wh, closed.settlement.totals.produced_wh)

    def move_on(self, consumed_wh: int, produced_wh: int) -> None:
        """Leave the open slot, in which so much has flowed: all that the next price depends on."""
        opening = self.opened()
        self.slot = opening.slot
        self.price_ueur_per_kwh = opening.prices.price
        self.consumed_wh = consumed_wh
        self.produced_wh = produced_wh
        self.contributions = pricing.follow(opening.model, self.contributions, opening.terms)
        if opening.model is not self._named:
            self.coefficients, self._named = price_model_digest(opening.model), opening.model
        self.book.forget(opening.slot)
        self.take_back_slot()
        self._forget_old_orders(opening.slot)

    def _forget_old_orders(self, slot: int) -> None:
        if not self.orders_known:
            return
        old = [key for key, order in self.orders_known.items() if order.slot < slot - ORDER_SLOTS_REMEMBERED]
        for key in old:
            del self.orders_known[key]

    # rest and go on

    def state_after(self, closed: Closed) -> str:
        """What a restart after this slot needs beside the accounts, as JSON: durable with the slot."""
        opening, totals = self.opened(), closed.settlement.totals
        return json.dumps(
            {
                "slot": closed.slot,
                "price_ueur_per_kwh": opening.prices.price,
                "consumed_wh": totals.consumed_wh,
                "produced_wh": totals.produced_wh,
                "coefficients": price_model_digest(opening.model),
                "contributions": pricing.follow(opening.model, self.contributions, opening.terms),
            }
        )

    def state(self) -> str:
        """The same of the last committed slot, or of a market before its first one."""
        names = ("slot", "price_ueur_per_kwh", "consumed_wh", "produced_wh", "coefficients", "contributions")
        return json.dumps({name: getattr(self, name) for name in names})

    def resume(self, state: str, chain_hash: bytes) -> None:
        """Go on from what `state_after` said and the hash of the last committed slot."""
        facts = json.loads(state)
        self.slot = facts["slot"]
        self.price_ueur_per_kwh = facts["price_ueur_per_kwh"]
        self.consumed_wh = facts["consumed_wh"]
        self.produced_wh = facts["produced_wh"]
        self.coefficients, self._named = facts["coefficients"], None
        self.contributions = tuple(facts["contributions"])
        self.hash = chain_hash


ORDER_SLOTS_REMEMBERED = 96
"""For how many slots an order's id is known: a day of quarter-hours, as the store keeps them."""
