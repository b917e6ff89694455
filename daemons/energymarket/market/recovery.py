"""From the disk to a market that goes on: last checkpoint, the slots since, every hash and seal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from energymarket.core import ledger
from energymarket.core.events import EventBook, book_from_dict
from energymarket.core.market import Accounts, Market, Opening, Order
from energymarket.core.parameters import price_model_digest, price_model_from
from energymarket.core.pricing import Terms
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.settlement import Prices
from energymarket.core.stored import StoredRows, array_of

if TYPE_CHECKING:
    from energymarket.core.market import Rules
    from energymarket.core.settlement import Rows
    from energymarket.transport.store import LedgerStore, SlotRow


class LedgerBrokenError(Exception):
    """The ledger contradicts itself: which slot, and what."""


def checkpoint_of(chain_hash: bytes, accounts: Accounts) -> tuple[bytes, bytes]:
    """(body, digest) of a checkpoint: the digest ties the accounts to the slot's place in the chain."""
    body = accounts.pack()
    return body, checkpoint_digest(chain_hash, body)


def checkpoint_digest(chain_hash: bytes, body: bytes) -> bytes:
    """SHA-256 over the chain's hash at that slot and the accounts."""
    digest = hashlib.sha256(chain_hash)
    digest.update(body)
    return digest.digest()


def restore(store: LedgerStore, rules: Rules, genesis: bytes) -> Market:
    """The market as its last commit left it. Raises LedgerBrokenError where the disk contradicts itself."""
    accounts, chain_hash = accounts_of(store, rules.homes, genesis)
    last = store.last_slot()
    events = store.meta("events")
    book = book_from_dict(json.loads(events)) if events else EventBook(len(rules.price.events))
    scenario = price_model_digest(rules.price)
    reloaded = store.meta("price")
    if reloaded is not None:
        rules = replace(rules, price=price_model_from(json.loads(reloaded)))
    market = Market(
        rules=rules,
        accounts=accounts.narrowed(),
        hash=chain_hash,
        price_ueur_per_kwh=rules.price.initial_ueur_per_kwh,
        book=book,
        coefficients=scenario,
    )
    if last is not None:
        _resume(market, store, last, chain_hash)
    _remember_orders(store, market)
    return market


def accounts_of(store: LedgerStore, homes: int, genesis: bytes) -> tuple[Accounts, bytes]:
    """What the ledger adds up to per home after its last slot, and that slot's hash.

    Raises LedgerBrokenError.
    """
    accounts, chain_hash, after = _from_checkpoint(store, homes, genesis)
    last = store.last_slot()
    if last is not None:
        for row in store.slots(after + 1, last):
            chain_hash, columns = _verified(row, chain_hash)
            accounts.apply(row.slot, columns, json.loads(row.meta)["batches"])
    return accounts, chain_hash


def _resume(market: Market, store: LedgerStore, last: int, chain_hash: bytes) -> None:
    """Go on after the last slot with what was written beside it, as far as the slot itself agrees."""
    try:
        market.resume(store.meta("state") or "", chain_hash)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerBrokenError(f"the state that is to follow slot {last} is unreadable") from error
    if market.slot != last:
        raise LedgerBrokenError(f"the state is of slot {market.slot}, the last slot is {last}")
    row = store.slot(last)
    if row is None or row.seal_now() != row.seal:
        raise LedgerBrokenError(f"slot {last}: the seal is broken")
    totals = json.loads(row.totals)
    sealed = (row.price_ueur_per_kwh, totals["consumed_wh"], totals["produced_wh"])
    if sealed != (market.price_ueur_per_kwh, market.consumed_wh, market.produced_wh):
        raise LedgerBrokenError(f"the state does not agree with slot {last} on price, use and production")


def _from_checkpoint(store: LedgerStore, homes: int, genesis: bytes) -> tuple[Accounts, bytes, int]:
    found = store.latest_checkpoint()
    if found is None:
        return Accounts.fresh(homes), genesis, -1
    slot, body, digest = found
    row = store.slot(slot)
    if row is None:
        raise LedgerBrokenError(f"checkpoint of slot {slot}, but no such slot")
    if checkpoint_digest(row.hash, body) != digest:
        raise LedgerBrokenError(f"checkpoint of slot {slot}: its digest does not hold")
    return Accounts.unpack(body, homes), row.hash, slot


def _verified(row: SlotRow, previous: bytes) -> tuple[bytes, Rows]:
    """The row's hash and the columns of its homes, once chain and seal hold."""
    body = row.body
    if body is None:
        raise LedgerBrokenError(f"slot {row.slot}: its body is gone, though no checkpoint follows")
    if ledger.chain(previous, body) != row.hash:
        raise LedgerBrokenError(f"slot {row.slot}: the hash chain is broken")
    if row.seal_now() != row.seal:
        raise LedgerBrokenError(f"slot {row.slot}: the seal is broken")
    found = StoredRows(lambda at, size: body[at : at + size])
    flows = {name: found.column(name) for name in SLOT_COLUMNS[1:]}
    return row.hash, {"home": array_of(found.ids()), **flows}


def _remember_orders(store: LedgerStore, market: Market) -> None:
    """Ids of single orders of recent slots: sending one again gets the same receipt."""
    last = market.slot
    for slot in range(max(last - 96, 0), last + 1):
        for row in store.orders_of(slot):
            order = order_of(row)
            market.orders_known[order.home, order.id] = order


def opening_of(saved: str | None) -> Opening | None:
    """The opening that was saved with a slot's first orders."""
    if saved is None:
        return None
    facts = json.loads(saved)
    terms = facts["terms"] | {"items": tuple((name, value) for name, value in facts["terms"]["items"])}
    parts = {
        "model": price_model_from(facts["model"]),
        "terms": Terms(**terms),
        "events": tuple((kind, intensity) for kind, intensity in facts["events"]),
        "prices": Prices(**facts["prices"]),
    }
    return Opening(**facts | parts)


def order_of(row: object) -> Order:
    """The core's record of a stored order."""
    return Order(**{name: getattr(row, name) for name in Order.__dataclass_fields__})
