"""The live exchange of gifts over the System V queue: put, take in turns, take back; every wait ends.

In live mode the order is arrival. A full queue passes the turn to the takers, an empty one to the
givers; what finds no room until the end of the exchange is shed. The queue carries hints only: when
this process dies in the middle, the ledger still knows whose the energy is.

A range with more offers than the queue could ever pass on serves its own takers first, as if it had put
and taken all of that in one hold; only what is left, or still lacking, goes through the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core import exchange
from energymarket.core.claims import offer_key
from energymarket.core.limits import CLAIMS_PER_HOME_MAX, ENERGY_WH_MAX
from energymarket.core.parameters import Take, Turn
from energymarket.core.parties import Line, Stock
from energymarket.core.serving import line_of
from energymarket.home.claimed import ClaimedParts
from energymarket.home.gains import Bargain
from energymarket.runtime.clock import boottime_ns
from energymarket.transport.queue import QueueFrozen
from energymarket.wire import offer_message

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from energymarket.core.block import I32
    from energymarket.core.parameters import Sharing
    from energymarket.core.parties import Parties
    from energymarket.core.serving import Places
    from energymarket.runtime.service import StopFlag
    from energymarket.transport.queue import OfferQueue

LOCK_WAIT_S = 0.5
"""How long the queue's semaphore is waited for at most, and never beyond half of the time from the
exchange's end to the gate: a frozen holder costs gifts, not the batch."""

GIVEN_BACK: Final = 1 << 30
"""A message whose type has this bit holds what takers gave back: its giver's alone, never offered again."""

OFFER_WH_MAX: Final = ENERGY_WH_MAX // 2
"""A larger offer is a forgery: taken whole (greedy), it would get the taker's whole batch refused."""

AT_HOME_OFFERS: Final = 32 * offer_message.OFFERS_MAX
"""A range with more offers than these (once or twice what the queue holds) serves its own takers first."""

IN_LINE: Final = 2_048
"""So many takers that wait are worth another message in a turn."""

LOT_MESSAGES: Final = 4
"""A turn of a range with takers by the thousand is so many messages at most: a full queue."""

BELL_WAIT_S = 0.5
"""One wait for the bell: a stop that comes between looking and waiting is seen after this at the latest,
and the supervisor hears that often that the homes live."""


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that was taken, and what is on offer in it."""

    kind: int
    data: bytes
    offers: npt.NDArray[np.void]


@dataclass(slots=True)
class Exchange:
    """One slot's exchange of a range of homes; `run` blocks until its end and never beyond."""

    queue: OfferQueue
    sharing: Sharing
    slot: int
    epoch: int
    deadline_ns: int
    gate_ns: int
    homes: int
    parties: Parties
    stop: StopFlag
    beat: Callable[[], None]  # called at least every BELL_WAIT_S
    stock: Stock = field(init=False)  # what the range offers, and nobody has yet
    line: Line = field(init=False)  # its takers
    put_types: set[int] = field(init=False)
    claimed_parts: ClaimedParts = field(init=False)
    ready: tuple[bytes, int] | None = field(init=False, default=None)  # a message that found no room yet
    used_up: int = field(init=False, default=0)  # so many of the range's ring: what they gave is claimed here
    claimed: int = field(init=False, default=0)
    result: Bargain = field(init=False)

    def __post_init__(self) -> None:
        self.put_types = set()
        self.claimed_parts = ClaimedParts()
        # Nobody has more than ENERGY_WH_MAX of anything; offers that are larger are left out.
        self.result = Bargain(self.parties.open_wh)
        if self.sharing.take is Take.GREEDY:
            self.result.excess_wh = np.zeros(len(self.parties.open_wh), np.int32)
        givers, takers = self.parties.counts()
        self.stock, self.line = Stock(self.parties, givers), Line(self.parties, takers)

    def run(self) -> Bargain:
        """Bargain until the deadline; then take back what nobody took."""
        self._serve_at_home()
        try:
            self._forget_earlier_life()
            self._bargain()
            self._take_back()
        except QueueFrozen:
            self.result.degraded = True
        self.result.shed += self.stock.left  # never found room: it goes to the market at once
        self.stock.close()
        self.result.moved_wh = self.parties.moved_wh()
        return self.result

    def _serve_at_home(self) -> None:
        """A range with very many offers: who of its own takers has how much of them.

        Block by block, but as if all stood there: a block's takers need no more offers than have what they
        lack, and under turns of one offer each those who lack something still come again after all others.
        """
        if self.stock.left <= AT_HOME_OFFERS or not self.line.waiting:
            return
        fair, again = self.sharing.turn is Turn.FAIR, []
        for places, need_wh in self.parties.lacking():
            again.append(self._share(places, need_wh, turns=1 if fair else None))
            if not self.stock.left:
                break
        else:
            if fair:
                places, need_wh = (np.concatenate(column) for column in zip(*again, strict=True))
                self._share(places, need_wh, turns=None)
        head = self.stock.first(1)
        self.used_up = int(self.parties.order(head["giver"])[0]) if len(head) else len(self.parties.open_wh)
        if len(head) and head["index"][0]:
            self.claimed_parts.claim(head["giver"], head["index"].astype(np.int64))
        self.line = Line(self.parties, self.parties.counts()[1])

    def _share(self, places: Places, need_wh: I32, turns: int | None) -> tuple[Places, I32]:
        """Serve these takers from the stock; who of them lacks something still, and how much."""
        marks = line_of(need_wh)
        wanted_wh = int(marks[-1])
        while True:
            offers, ids = self.stock.worth(wanted_wh), self.parties.ids(places)
            served = exchange.serve(offers, ids, need_wh, self.sharing, turns=turns, marks=marks)
            if len(served.rests) or len(offers) == self.stock.left or (served.received_wh >= need_wh).all():
                break
            wanted_wh *= 2  # whole offers: more of them than what is lacking comes to
        self.stock.drop(len(offers) - len(served.rests))
        if len(served.rests):
            self.stock.split(served.rests[:1])
        self.parties.take_back(served.neutral_rest)
        return self._book(places, need_wh, served)[1:]

    def _forget_earlier_life(self) -> None:
        """What lies there under our types before we have put anything was put by us before we died."""
        if not self.stock.left:
            return
        with self.queue.locked(self._wait_s()):
            self.queue.remove(lambda kind: self.parties.has_over(kind & ~GIVEN_BACK))

    def _wait_s(self) -> float:
        """How long the semaphore is waited for at most from now on."""
        return min(LOCK_WAIT_S, max(0.0, (self.gate_ns - boottime_ns()) / 2e9))

    def _bargain(self) -> None:
        while (left_s := (self.deadline_ns - boottime_ns()) / 1e9) > 0 and not self.stop.is_set():
            self.beat()
            try:
                moved = self._turn(min(LOCK_WAIT_S, left_s))
            except QueueFrozen:
                if left_s < LOCK_WAIT_S:
                    return  # the exchange is over; taking back finds out whether the holder is frozen
                raise
            if moved:
                self.queue.ring()
            if not self._wanting() and not self.put_types:
                return  # nothing of ours lies in the queue, and nobody lacks anything
            if not moved or not self._wanting():
                self._rest()

    def _wanting(self) -> bool:
        return self.stock.left > 0 or self.line.waiting > 0

    def _rest(self) -> None:
        """Wait for the bell, or where nothing is left to do for the end of the exchange."""
        if not self._wanting():
            self.stop.wait_until(min(self.deadline_ns, boottime_ns() + round(BELL_WAIT_S * 1e9)))
            return
        left_s = (self.deadline_ns - boottime_ns()) / 1e9
        if left_s > 0:
            self.queue.wait(min(left_s, BELL_WAIT_S))

    def _turn(self, wait_s: float) -> bool:
        """One hold of the semaphore: put what fits, then take one turn. True if anything moved."""
        with self.queue.locked(wait_s):
            moved = self._gives_back() and self._collect(GIVEN_BACK, self.deadline_ns)
            moved = self._put() or moved
            if self.sharing.turn is Turn.FAIR:
                moved = self._take_one() or moved
            else:
                while boottime_ns() < self.deadline_ns and self._take_one():
                    moved = True
                    self._put()
        return moved

    def _gives_back(self) -> bool:
        """Whether takers of this market give back while others still bargain: greed's excess."""
        return self.sharing.take is Take.GREEDY

    def _put(self) -> bool:
        moved, in_line = False, not self._gives_back()
        named = {"slot": self.slot, "epoch": self.epoch}
        while self.stock.left:
            part = self.stock.first(offer_message.IN_LINE_MAX)
            self.ready = self.ready or offer_message.pack_first(part, **named, in_line=in_line)
            data, number = self.ready
            kind = int(part["giver"][0])
            if not self.queue.put(kind, data):
                break
            self.ready = None
            self.put_types.add(kind)
            self.stock.drop(number)
            moved = True
        return moved

    def _take_one(self) -> bool:
        """Take the oldest message and serve the takers from it; what they leave goes back to its place."""
        if not self.line.waiting or self.claimed >= CLAIMS_PER_HOME_MAX * self.homes:
            return False
        found, lot = self._lot()
        if not lot:
            return found
        offers = lot[0].offers if len(lot) == 1 else exchange.joined([each.offers for each in lot])
        served = self._serve(offers)
        if served.round is None:
            self.claimed_parts.add(served.claims)
        else:
            following = served.round.following
            self.claimed_parts.claim(offers["giver"][: len(following)], following)
        self._put_back(lot, served)
        return len(served.claims) > 0

    def _lot(self) -> tuple[bool, list[_Message]]:
        """Whether a message was found, and the next one with something on offer.

        Where takers wait by the thousand it is as many messages as have takers enough, and no giver twice.
        """
        found = False
        lot: list[_Message] = []
        most = max(1, min(LOT_MESSAGES, self.line.waiting // IN_LINE))
        most = 1 if self.sharing.take is Take.GREEDY else most
        while len(lot) < most and (got := self._next_on_offer()) is not None:
            found = True
            offers = self._offers_of(got[1])
            if offers is None:
                break
            lot.append(_Message(*got, offers))
        if len(lot) > 1:
            givers = np.concatenate([each.offers["giver"] for each in lot])
            if not (givers[1:] > givers[:-1]).all() and len(np.unique(givers)) < len(givers):
                for each in reversed(lot[1:]):
                    self.queue.put_first(each.kind, each.data)
                del lot[1:]
        return found, lot

    def _put_back(self, lot: list[_Message], served: exchange.Served) -> None:
        """What is left of each message, to its place; without room the market sells it or feeds it in."""
        rests, end = served.rests, len(served.rests)
        for each in reversed(lot):
            start = max(0, end - len(each.offers))
            if end > start:
                self.queue.put_first(each.kind, self._packed(rests[start:end]))
            end = start
            if len(back := served.neutral_rest):
                if len(lot) > 1:
                    back = back[np.isin(back["giver"], each.offers["giver"])]
                for at in range(0, len(back), offer_message.OFFERS_MAX):
                    given = self._packed(back[at : at + offer_message.OFFERS_MAX])
                    self.queue.put(each.kind | GIVEN_BACK, given)

    def _packed(self, offers: npt.NDArray[np.void]) -> bytes:
        """Offers as a message. Where takers give back these are records: what comes back has room then."""
        in_line = not self._gives_back() or len(offers) > offer_message.OFFERS_MAX  # a stranger's
        return offer_message.pack(offers, slot=self.slot, epoch=self.epoch, in_line=in_line)

    def _serve(self, offers: npt.NDArray[np.void]) -> exchange.Served:
        """Serve those who come first in the line: as if all stood there, if the offers are used up."""
        turns = 1 if self.sharing.turn is Turn.FAIR else None
        wanted_wh = int(offers["energy_wh"].sum(dtype=np.int64))
        while True:
            who, need_wh, marks = self.line.first(wanted_wh, len(offers))
            ids = self.parties.ids(who)
            served = exchange.serve(offers, ids, need_wh, self.sharing, turns=turns, marks=marks)
            if not len(served.rests) or len(who) == self.line.waiting:
                break
            wanted_wh *= 2
        self.line.go_on(*self._book(who, need_wh, served))
        return served

    def _next_on_offer(self) -> tuple[int, bytes] | None:
        """The oldest message with something on offer; what was given back stays for its givers."""
        aside = []
        while (got := self.queue.take()) is not None and got[0] & GIVEN_BACK:
            if boottime_ns() >= self.deadline_ns:
                got = None  # somebody fills it faster than we look through it
                break
            if self._offers_of(got[1]) is not None:
                aside.append(got)
        for kind, data in aside:
            self.queue.put(kind, data)
        return got

    def _offers_of(self, data: bytes) -> npt.NDArray[np.void] | None:
        """The offers of this slot in a message; None for one of another slot or of nobody we know.

        A giver that died and came back may put again what was claimed here already: that is left out, and
        so is what no home can offer. Else one forged message would get the whole batch refused.
        """
        try:
            head, offers = offer_message.unpack(data)
        except offer_message.WireError:
            self.result.garbage += 1
            return None
        if (head.slot, head.epoch) != (self.slot, self.epoch):
            return None
        giver = offers["giver"].copy()
        known = (giver <= self.homes) & (offers["energy_wh"] <= OFFER_WH_MAX)
        if not (giver[1:] > giver[:-1]).all():
            first = np.zeros(len(offers), np.bool_)
            first[np.unique(offer_key(offers), return_index=True)[1]] = True
            known &= first
        if self.used_up:
            order = self.parties.order(giver)
            known &= (order < 0) | (order >= self.used_up)
        known &= self.claimed_parts.open(offers)
        return offers if known.all() else offers[known]

    def _book(self, who: Places, need_wh: I32, served: exchange.Served) -> tuple[int, Places, I32]:
        """What takers have been served; how many had their turn, who of them lacks something, how much."""
        room = CLAIMS_PER_HOME_MAX * self.homes - self.claimed
        self._leave_out(who, served, served.claims[room:])
        self.claimed += len(served.claims[:room])
        self.result.claims.append(served.claims[:room])
        if self.result.excess_wh is not None:
            self.result.excess_wh[who] += served.excess_wh.astype(np.int32)
        if served.round is not None and len(served.claims) <= room:
            reached, at, left_wh = served.round.reached, served.round.lacking, served.round.lack_wh
            self.parties.lack(who[:reached], np.zeros(1, np.int32))
        else:
            reached, left_wh = len(who), np.maximum(need_wh - served.received_wh, 0)
            at = left_wh.nonzero()[0]
            self.parties.lack(who, np.zeros(1, np.int32))
            left_wh = left_wh[at]
        still, still_wh = who[at], left_wh.astype(np.int32, copy=False)
        self.parties.lack(still, still_wh)
        return reached, still, still_wh

    def _leave_out(self, who: Places, served: exchange.Served, claims: npt.NDArray[np.void]) -> None:
        """Claims beyond what any exchange can come to: their takers have not received that."""
        ids = self.parties.ids(who) if len(claims) else who
        for taker, energy_wh in zip(claims["taker"].tolist(), claims["energy_wh"].tolist(), strict=True):
            at = np.flatnonzero(ids == taker)
            served.received_wh[at] -= energy_wh
            served.excess_wh[at] = np.maximum(served.excess_wh[at] - energy_wh, 0)

    def _take_back(self) -> None:
        """Every message that still lies there under a type of ours, whoever split it meanwhile."""
        with self.queue.locked(self._wait_s()):
            until_ns = (self.gate_ns + boottime_ns()) // 2
            self._collect(0, until_ns)
            self._collect(GIVEN_BACK, until_ns)

    def _collect(self, which: int, until_ns: int) -> bool:
        """Take what lies there under our types, as offered (0) or given back; True if there was any.

        Somebody who fills the queue faster than we empty it keeps us until that moment at most.
        """
        found = False
        for kind in sorted(self.put_types):
            while boottime_ns() < until_ns and (got := self.queue.take(kind | which)) is not None:
                found = True
                offers = self._offers_of(got[1])
                if offers is not None:
                    self.parties.take_back(offers)
        return found
