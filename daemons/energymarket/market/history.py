"""Answers from the ledger: prices, explanations, homes, sealed slots, and the verification in steps."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from energymarket.core import ledger, pricing
from energymarket.market import snapshot
from energymarket.market.audit_chain import ChainAudit, sound_slot
from energymarket.transport.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.packed import Signed
    from energymarket.core.parameters import Period, PriceModel
    from energymarket.core.units import I64
    from energymarket.market.owner import Owner
    from energymarket.transport.store import LedgerStore, OrderRow, SlotRow

PAGE_BYTES_MAX: Final = 256 << 10
"""Bodies of one page of sealed slots; a single larger slot is a page of its own. Slots and clients wait while
an answer is sealed and made JSON: a quarter of a mebibyte, or 16 rows, take a tenth of a millisecond."""

PAGE_SLOTS_MAX: Final = 16
PAGE_SLOTS_PER_STEP: Final = 4
PRICES_PER_STEP: Final = 500
VERIFY_SLOTS_PER_STEP: Final = 16
VERIFY_BYTES_PER_STEP: Final = 1 << 20
"""Of bodies, and one slot at least: of a million homes' one alone takes a tenth of a second."""
SEARCH_HOMES_PER_STEP: Final = 1_000
ORDERS_FOUND_MAX: Final = 100


class Job(Protocol):
    """A long answer that is made in steps."""

    def step(self) -> bool:
        """Do some more; False when there is nothing left to do."""

    def answer(self) -> dict[str, Any]:
        """The parameters of the reply."""


class PriceList:
    """The last committed slots' prices, oldest first, some hundreds at a time."""

    def __init__(self, store: LedgerStore, last_slot: int, count: int, period: Period) -> None:
        self.rows: list[dict[str, Any]] = []
        self._store = store
        self._next = max(last_slot - count + 1, 0)
        self._end = last_slot
        self._period = period

    def step(self) -> bool:
        """Read some more; False when there is nothing left to do."""
        last = min(self._next + PRICES_PER_STEP - 1, self._end)
        self.rows += [_price_row(row, self._period) for row in self._store.heads(self._next, last)]
        self._next = last + 1
        return self._next <= self._end


def _price_row(row: SlotRow, period: Period) -> dict[str, Any]:
    return {
        "slot": row.slot,
        "time": snapshot.times_of(row.slot, period)["time"],
        "price_ueur_per_kwh": row.price_ueur_per_kwh,
        "import_ueur_per_kwh": row.import_ueur_per_kwh,
        "export_ueur_per_kwh": row.export_ueur_per_kwh,
        "gap": row.gap,
        "weather_stale": row.weather_stale,
    }


def current_price(owner: Owner, period: Period) -> dict[str, Any]:
    """The price of the open slot; between slots, of the last; before the first, of the one before it."""
    opening, found = owner.market.opening, owner.prices()
    slot = opening.slot if opening is not None else owner.next_slot() - 1
    return {
        "slot": slot,
        "time": snapshot.times_of(slot, period)["time"],
        "price_ueur_per_kwh": found.price,
        "import_ueur_per_kwh": found.import_,
        "export_ueur_per_kwh": found.export,
        "gap": False,
        "weather_stale": owner.outside.weather_stale,
    }


def explain_open(owner: Owner) -> dict[str, Any] | None:
    """The price of the open slot (else of the last one), term by term."""
    market = owner.market
    opening = market.opening
    if opening is None:
        return explain_slot(owner.books.store, market.rules.price, market.slot)
    model = market.rules.price
    return {
        "slot": opening.slot,
        "previous_ueur_per_kwh": opening.previous_ueur_per_kwh,
        "gamma": model.gamma,
        "terms": snapshot.terms_of(opening.terms.items),
        "unclipped_ueur_per_kwh": opening.terms.unclipped_ueur_per_kwh,
        "price_ueur_per_kwh": opening.prices.price,
        "inertia_of_events": snapshot.terms_of(pricing.rests(model, market.contributions)),
        "events": snapshot.acting_on(market.book, model.events, opening.slot),
    }


def explain_slot(store: LedgerStore, model: PriceModel, slot: int) -> dict[str, Any] | None:
    """The price of a committed slot, term by term; None if there is none or its detail is gone."""
    row = sound_slot(store, slot)
    if row is None or row.body is None:
        return None
    head, _, _, _ = ledger.unpack(row.body)
    meta = json.loads(row.meta)
    return {
        "slot": slot,
        "previous_ueur_per_kwh": head.previous_ueur_per_kwh,
        "gamma": meta["gamma"],
        "terms": snapshot.terms_of(head.terms),
        "unclipped_ueur_per_kwh": head.unclipped_ueur_per_kwh,
        "price_ueur_per_kwh": head.price_ueur_per_kwh,
        "inertia_of_events": snapshot.terms_of(pricing.rests(model, meta["contributions"])),
        "events": [_acted(kind, much) for kind, much in head.events],
    }


def _acted(kind: str, intensity_permille: int) -> dict[str, Any]:
    """An event as a sealed slot keeps it: its kind and the sum of its intensities, not whose nor how long."""
    found = {"kind": kind, "intensity_permille": intensity_permille}
    return found | {"origin": None, "from_slot": None, "until_slot": None}


def homes(owner: Owner, first: int, count: int) -> list[dict[str, Any]]:
    """A page of homes: what the last slot brought them, and their balance."""
    market, last = owner.market, owner.last
    end = min(first + count - 1, market.rules.homes)
    rows: dict[int, dict[str, int]] = {}
    if last is not None:
        settled = last.settlement
        low, high = np.searchsorted(settled.columns["home"], (first, end + 1))
        here = _wide(settled.columns | {"imbalance_wh": settled.imbalance_wh}, low, high)
        here["net_wh"] = _contract_wh(here) + here["imbalance_wh"]
        rows = {row["home"]: row for row in _rows(here)}
    joined = {home for lease in owner.trade.leases for home in _overlap(lease.first, lease.count, first, end)}
    policies = owner.policies
    return [
        {
            "home": home,
            "policy": int(policies[home - 1]),
            "joined": home in joined,
            "balance_ueur": int(market.accounts.balance_ueur[home - 1]),
        }
        | {name: rows.get(home, {}).get(name, 0) for name in _HOME_FIELDS}
        for home in range(first, end + 1)
    ]


_HOME_FIELDS: Final = (
    "net_wh", "given_wh", "received_wh", "sold_wh", "bought_wh", "imbalance_wh", "money_ueur",
)  # fmt: skip


def _overlap(first: int, count: int, low: int, high: int) -> range:
    return range(max(first, low), min(first + count - 1, high) + 1)


def home_rows(columns: dict[str, Any], first: int, count: int) -> list[dict[str, int]]:
    """Rows of the ledger's columns for a range of homes, with net and imbalance."""
    low, high = np.searchsorted(columns["home"], (first, first + count))
    here = _wide(columns, low, high)
    here["net_wh"] = here["exported_wh"] - here["imported_wh"]
    here["imbalance_wh"] = here["net_wh"] - _contract_wh(here)
    return _rows(here)


def _wide(columns: Mapping[str, Signed], low: int, high: int) -> dict[str, I64]:
    """Some rows of columns that may be narrow."""
    return {name: column[low:high].astype(np.int64) for name, column in columns.items()}


def _contract_wh(here: Mapping[str, I64]) -> I64:
    """What homes were to bring to the grid, by what they have agreed upon."""
    brought: I64 = here["given_wh"] + here["expired_wh"] + here["sold_wh"]
    brought -= here["received_wh"]
    brought -= here["bought_wh"]
    return brought


def ledger_page(store: LedgerStore, slot: int, first: int, count: int) -> dict[str, Any] | None:
    """One slot of the ledger for people: totals, and rows of a range of homes with their gifts."""
    row = sound_slot(store, slot)
    if row is None:
        return None
    page: dict[str, Any] = {
        "slot": slot,
        "price_ueur_per_kwh": row.price_ueur_per_kwh,
        "import_ueur_per_kwh": row.import_ueur_per_kwh,
        "export_ueur_per_kwh": row.export_ueur_per_kwh,
        "gap": row.gap,
        "weather_stale": row.weather_stale,
        "totals": json.loads(row.totals),
        "meta": json.loads(row.meta),
        "hash": row.hash.hex(),
        "compacted": row.body is None,
        "homes": [],
        "gifts": [],
        "orders": [],
    }
    if row.body is not None:
        head, columns, gifts, orders = ledger.unpack(row.body)
        page["terms"] = snapshot.terms_of(head.terms)
        page["active"] = [{"kind": kind, "intensity_permille": much} for kind, much in head.events]
        page["homes"] = home_rows(columns, first, count)
        touches = ((gifts["giver"] >= first) & (gifts["giver"] < first + count)) | (
            (gifts["taker"] >= first) & (gifts["taker"] < first + count)
        )
        page["gifts"] = _rows({name: column[touches] for name, column in gifts.items()})
        page["orders"] = _rows(orders)
    return page


def _rows(columns: dict[str, Any]) -> list[dict[str, int]]:
    return [dict(zip(columns, map(int, row), strict=True)) for row in zip(*columns.values(), strict=True)]


class SealedPage:
    """A page of slots as they lie on the disk, read a few at a time: rows, and bodies back to back."""

    def __init__(self, store: LedgerStore, first: int, last: int) -> None:
        self._store = store
        self._next = first
        self._last = last
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._further: int | None = None  # the slot that does not fit
        self.bodies: list[bytes] = []

    def step(self) -> bool:
        """Read some more; False when the page is full, or there are no more slots."""
        for read, row in enumerate(self._store.slots(self._next, self._last)):
            if read == PAGE_SLOTS_PER_STEP:
                return True
            length = 0 if row.body is None else len(row.body)
            if self._rows and (self._bytes + length > PAGE_BYTES_MAX or len(self._rows) >= PAGE_SLOTS_MAX):
                self._further = row.slot
                return False
            self._rows.append(_sealed_row(row, self._bytes))
            if row.body is not None:
                self.bodies.append(row.body)
                self._bytes += length
            self._next = row.slot + 1
        return False

    def answer(self) -> dict[str, Any]:
        """The rows, and where to go on."""
        return {"slots": self._rows, "next": self._further}


def _sealed_row(row: SlotRow, body_at: int) -> dict[str, Any]:
    return {
        "slot": row.slot,
        "price_ueur_per_kwh": row.price_ueur_per_kwh,
        "import_ueur_per_kwh": row.import_ueur_per_kwh,
        "export_ueur_per_kwh": row.export_ueur_per_kwh,
        "gap": row.gap,
        "weather_stale": row.weather_stale,
        "totals": row.totals,
        "meta": row.meta,
        "hash": row.hash.hex(),
        "seal": row.seal.hex(),
        "body_at": body_at,
        "body_bytes": None if row.body is None else len(row.body),
    }


def compacted(store: LedgerStore) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Compacted stretches, and their bodies, which are to stand back to back."""
    stretches, bodies, size = [], [], 0
    for first, last, body, digest in store.days():
        stretches.append(
            {
                "first_slot": first,
                "last_slot": last,
                "digest": digest.hex(),
                "body_at": size,
                "body_bytes": len(body),
            }
        )
        bodies.append(body)
        size += len(body)
    return stretches, bodies


class OrderSearch:
    """Single orders by their receipt, or by the id that a home gave them: some hundred homes at a time."""

    def __init__(self, store: LedgerStore, homes: int, what: str) -> None:
        self._store = store
        self._homes = homes
        self._what = what
        self._next = 1
        self._found: list[OrderRow] = []
        if re.fullmatch(r"[0-9]{1,12}-[0-9]{6}", what):
            slot = int(what.partition("-")[0])
            self._found = [order for order in store.orders_of(slot) if order.receipt == what]

    def step(self) -> bool:
        """Look at some more homes; False when there is nothing left to do."""
        last = min(self._next + SEARCH_HOMES_PER_STEP - 1, self._homes)
        if not self._found:
            self._found += self._store.orders_named(self._next, last, self._what)
        self._next = last + 1
        return not self._found and self._next <= self._homes

    def answer(self) -> dict[str, Any]:
        """The parameters of the reply."""
        return {"orders": [asdict(order) for order in self._found[:ORDERS_FOUND_MAX]]}


class Verification:
    """Chain and seals of a stretch of the ledger, a few slots at a time."""

    def __init__(self, store: LedgerStore, first: int | None, last: int | None) -> None:
        start, end = store.first_slot(), store.last_slot()
        self._store = store
        self._end = -1 if end is None else (end if last is None else min(last, end))
        self._next = 0 if start is None else (start if first is None else max(first, start))
        self._audit = ChainAudit(store, self._next)

    def step(self) -> bool:
        """Verify some more slots; False when there is nothing left to do."""
        if self._next > self._end or self._audit.problem is not None:
            return False
        first, last, read = self._next, min(self._next + VERIFY_SLOTS_PER_STEP - 1, self._end), 0
        self._next = last + 1
        try:
            for row in self._store.slots(first, last):
                self._audit.hear(row)
                read += len(row.body or b"")
                if read >= VERIFY_BYTES_PER_STEP:
                    self._next = row.slot + 1
                    break
        except StoreError as error:
            self._audit.problem = f"slots {first} to {last} cannot be read: {error}"
        return self._next <= self._end and self._audit.problem is None

    def answer(self) -> dict[str, Any]:
        """The parameters of the reply."""
        audit = self._audit
        return {
            "ok": audit.problem is None,
            "slots": audit.slots,
            "compacted": audit.compacted,
            "first_slot": audit.first,
            "last_slot": audit.last,
            "hash": audit.hash.hex(),
            "problem": audit.problem,
        }
