"""What every home would pay under each sharing rule, on the same metered flows and published prices.

The rule that the scenario has is not computed: its money is the ledger's. The others are settled as the
market settles them, leg by leg in whole µ€, as if no reading had been late and nobody had ordered singly.
Behaviour stays as it was: consumption that has answered to one price is not made to answer to another.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.parameters import Excess, Rule, Sharing, Take, Turn
from energymarket.core.records import Policy
from energymarket.core.sharing import dynamic_key, static_key
from energymarket.core.sharing.apportion import EXACT
from energymarket.core.sharing.flows import Energy, Flows
from energymarket.core.sharing.mid_price import mid_ueur_per_kwh
from energymarket.core.sharing.queue_gifts import play
from energymarket.core.sharing.rules import GIFTS, RULES
from energymarket.core.units import WH_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from energymarket.core.passage import Passage
    from energymarket.core.units import I64

_HALF: Final = WH_PER_KWH // 2
ALONE: Final = Rule.GRID_ONLY
_SIZE: Final = struct.Struct("<I")
_BLOCK: Final = 12_000  # numbers of an array that stay in the cache, several of them
_GIVE: Final = int(Policy.GIVE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the comparison knows of a scenario."""

    sharing: Sharing
    policies: npt.NDArray[np.int64]  # by home
    weights: npt.NDArray[np.int64]  # by home: of the static key
    seed: int
    gift_fee_ueur_per_kwh: int = 0


class _Block:
    """Some slots: net energy and flows of shape (K, N), prices of shape (K, 1), all int64 or all doubles."""

    def __init__(self, flows: Flows, net_wh: Energy, prices: Energy) -> None:
        """`prices` has four columns of shape (K, 1): p, r, e, and the mid-market rate."""
        self.flows = flows
        self.net_wh = net_wh
        self.prices = prices
        self.local, import_, export, self.mid = prices
        buys = net_wh < 0
        self.grid = np.where(buys, import_, export)
        self._half = np.where(buys, net_wh.dtype.type(_HALF - 1), net_wh.dtype.type(_HALF))

    def part(self, rows: npt.NDArray[np.intp]) -> _Block:
        """Some of the slots, by ascending row; without a copy where they follow each other."""
        if len(rows) == len(self.net_wh):
            return self
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return self._part(slice(int(rows[0]), int(rows[-1]) + 1))
        return self._part(rows)

    def _part(self, rows: slice | npt.NDArray[np.intp]) -> _Block:
        part = _Block.__new__(_Block)
        flows = self.flows
        part.flows = Flows(flows.surplus_wh[rows], flows.need_wh[rows], flows.policies, flows.weights)
        part.net_wh = self.net_wh[rows]
        part.prices = self.prices[:, rows]
        part.local, _, _, part.mid = part.prices
        part.grid = self.grid[rows]
        part._half = self._half[rows]  # noqa: SLF001 - one of us
        return part

    def money(self, energy_wh: Energy, price: Energy) -> Energy:
        """`money_ueur` of a part of the net energy, which has its sign."""
        product: Energy = energy_wh * price
        product += self._half
        if product.dtype == np.float64:
            product /= WH_PER_KWH
            np.floor(product, out=product)
        else:
            product //= WH_PER_KWH
        return product


def _is_exact(net: Energy, prices: Energy, weights: Energy) -> bool:
    """Whether doubles hold every product of energies, and of energies and prices, exactly.

    The sum itself need not be exact: a sum that is not is far beyond what is allowed.
    """
    energy = float(np.abs(net).sum(axis=1).max(initial=0))
    most = max(energy, int(weights.sum()), int(np.abs(prices).max(initial=0)) + WH_PER_KWH)
    return max(energy, 1) * most < EXACT


class Comparison:
    """Adds up each home's balance under every rule: above zero is income, as in the ledger."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.slots = 0
        self.money_ueur: dict[Rule, I64] = {rule: np.zeros(len(terms.policies), np.int64) for rule in Rule}

    def add(self, passage: Passage) -> None:
        """Hear K slots more; they follow those heard before."""
        rows = max(1, _BLOCK // max(1, passage.homes))
        for start in range(0, passage.slots, rows):
            self._add_block(passage, slice(start, min(start + rows, passage.slots)))
        self.slots += passage.slots

    def _add_block(self, passage: Passage, part: slice) -> None:
        columns = passage.columns
        asked, paid = passage.import_ueur_per_kwh[part], passage.export_ueur_per_kwh[part]
        mid = list(map(mid_ueur_per_kwh, asked.tolist(), paid.tolist()))
        prices = np.array((passage.price_ueur_per_kwh[part], asked, paid, mid), np.int64)[:, :, np.newaxis]
        exported, imported = columns["exported_wh"][part], columns["imported_wh"][part]
        net: Energy = np.subtract(exported, imported, dtype=np.float64)
        weights: Energy = self.terms.weights
        if _is_exact(net, prices, weights):
            prices, weights = prices.astype(np.float64), weights.astype(np.float64)
        else:
            net = np.subtract(exported, imported, dtype=np.int64)
        surplus = np.maximum(net, 0)
        block = _Block(Flows(surplus, surplus - net, self.terms.policies, weights), net, prices)
        alone = block.money(net, block.grid)
        self._book(Rule.GRID_ONLY, alone)
        self._allocations(block, alone)
        self._gifts(block, passage.first_slot + part.start)
        own = self.terms.sharing.rule
        self.money_ueur[own] += columns["money_ueur"][part].sum(axis=0, dtype=np.int64)

    def _book(self, rule: Rule, *monies: Energy) -> None:
        if rule is not self.terms.sharing.rule:
            for money in monies:
                self.money_ueur[rule] += money.sum(axis=0).astype(np.int64)

    def _allocations(self, block: _Block, alone: Energy) -> None:
        """The keys and the mid-market rate; where nothing is generated everybody is alone."""
        lit = np.asarray(block.flows.surplus_wh.any(axis=1))
        if not lit.all():
            dark = alone[~lit]
            for rule in (Rule.STATIC_KEY, Rule.DYNAMIC_KEY, Rule.MID_MARKET):
                self._book(rule, dark)
        if not lit.any():
            return
        block = block.part(np.flatnonzero(lit))
        shares = dynamic_key.share(block.flows)
        moved = shares.sold_wh - shares.bought_wh
        rest = block.money(block.net_wh - moved, block.grid)
        self._book(Rule.DYNAMIC_KEY, rest, block.money(moved, block.local))
        self._book(Rule.MID_MARKET, rest, block.money(moved, block.mid))
        shares = static_key.share(block.flows)
        moved = shares.sold_wh - shares.bought_wh
        self._book(
            Rule.STATIC_KEY,
            block.money(block.net_wh - moved, block.grid),
            block.money(moved, block.local),
        )

    def _gifts(self, block: _Block, first_slot: int) -> None:
        """Rules under which homes give, and then trade at p by their policies; policy 1 never sells."""
        sells = self.terms.policies != _GIVE
        offers, wants = (side.any(axis=1) for side in (block.flows.offered_wh(), block.flows.need_wh))
        moves = np.flatnonzero(offers & wants)
        calm = np.delete(np.arange(len(block.net_wh)), moves)
        rules = sorted(GIFTS - {self.terms.sharing.rule})
        if len(calm):
            quiet = block.part(calm)
            money = quiet.money(quiet.flows.surplus_wh * sells - quiet.flows.need_wh, quiet.local)
            for rule in rules:
                self._book(rule, money)
        if not len(moves):
            return
        busy = block.part(moves)
        to_sell = busy.flows.surplus_wh * sells
        for rule in rules:
            if rule is Rule.QUEUE:
                slots = (first_slot + moves).tolist()
                shares = play(busy.flows, self.terms.sharing, self.terms.seed, slots)
            else:
                shares = RULES[rule](busy.flows)
            traded = to_sell - shares.given_wh * sells
            traded += np.minimum(shares.received_wh - busy.flows.need_wh, 0)
            self._book(rule, busy.money(traded, busy.local))
            if rule is Rule.QUEUE and shares.sold_wh.any():  # excess of greed: a leg of takers
                self._book(rule, money_ueur(shares.sold_wh, busy.local.astype(np.int64)))
            if self.terms.gift_fee_ueur_per_kwh:
                fee = np.array(self.terms.gift_fee_ueur_per_kwh)
                self._book(rule, -money_ueur(shares.received_wh.astype(np.int64), fee))

    # what came of it

    def worse_off(self, rule: Rule) -> npt.NDArray[np.bool_]:
        """Homes that have less under a rule than alone, by more than rounding (1 µ€ a slot) can make."""
        return self.money_ueur[rule] < self.money_ueur[ALONE] - self.slots

    def bills_ueur(self) -> dict[str, list[int]]:
        """What each home pays under each rule, in µ€: below zero it is paid."""
        return {str(rule): (-money).tolist() for rule, money in self.money_ueur.items()}

    # rest and go on

    def pack(self) -> bytes:
        """Everything, as bytes for `unpack`."""
        terms = self.terms
        head = {
            "slots": self.slots,
            "homes": len(terms.policies),
            "sharing": [str(part) for part in _words(terms.sharing)],
            "seed": terms.seed,
            "gift_fee_ueur_per_kwh": terms.gift_fee_ueur_per_kwh,
        }
        words = json.dumps(head).encode()
        columns = (terms.policies, terms.weights, *self.money_ueur.values())
        return _SIZE.pack(len(words)) + words + b"".join(column.astype("<i8").tobytes() for column in columns)

    @classmethod
    def unpack(cls, data: bytes) -> Comparison:
        """The comparison that `pack` made; ValueError or KeyError if it is none."""
        try:
            (size,) = _SIZE.unpack_from(data)
        except struct.error as error:
            raise ValueError("a comparison that is cut off") from error
        start = _SIZE.size + size
        head = json.loads(data[_SIZE.size : start])
        columns = np.frombuffer(data, "<i8", offset=start).reshape(2 + len(Rule), head["homes"])
        take, turn, excess, rule = head["sharing"]
        sharing = Sharing(Take(take), Turn(turn), Excess(excess), Rule(rule))
        policies, weights, *money = (column.astype(np.int64) for column in columns)
        found = cls(Terms(sharing, policies, weights, head["seed"], head["gift_fee_ueur_per_kwh"]))
        found.slots = head["slots"]
        found.money_ueur = dict(zip(Rule, money, strict=True))
        return found


def _words(sharing: Sharing) -> Iterable[str]:
    return (sharing.take, sharing.turn, sharing.excess, sharing.rule)


def money_ueur(energy_wh: I64, price_ueur_per_kwh: I64) -> I64:
    """Money of energies that are not negative, of any shape, by prices: half up, as in `core.units`."""
    return (energy_wh * price_ueur_per_kwh + _HALF) // WH_PER_KWH
