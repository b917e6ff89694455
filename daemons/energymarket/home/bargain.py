"""The live exchange of gifts over the System V queue: put, take in turns, take back; every wait ends.

In live mode the order is arrival. A full queue passes the turn to the takers, an empty one to the
givers; what finds no room until the end of the exchange is shed. The queue carries hints only: when
this process dies in the middle, the ledger still knows whose the energy is.

A range with more offers than the queue could ever pass on serves its own takers first, as if it had put
and taken all of that in one hold; only what is left, or still lacking, goes through the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core import exchange
from energymarket.core.claims import offer_key
from energymarket.core.limits import CLAIMS_PER_HOME_MAX, ENERGY_WH_MAX
from energymarket.core.parameters import Take, Turn
from energymarket.home.gains import Bargain
from energymarket.runtime.clock import boottime_ns
from energymarket.transport.queue import QueueFrozen
from energymarket.wire import offer_message

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from energymarket.core.parameters import Sharing
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
"""A range with more offers than these (eight times what the queue holds) serves its own takers first."""

IN_LINE: Final = 1_024
"""So many takers are looked at for one message; more only if it reaches further."""

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
    offers: npt.NDArray[np.void]
    taker_ids: npt.NDArray[np.uint32]
    need_wh: npt.NDArray[np.integer[Any]]
    stop: StopFlag
    beat: Callable[[], None]  # called at least every BELL_WAIT_S
    at: int = field(init=False, default=0)  # offers before this one have been put
    line: Places = field(init=False)  # places of the takers that lack something at first
    front: Places = field(init=False)  # of those looked at, who still lack something
    behind: int = field(init=False, default=0)  # in `line`: from here on nobody has been looked at
    put_types: set[int] = field(init=False)
    next_index: dict[int, int] = field(init=False)  # by giver: parts below it are claimed here
    used_up: npt.NDArray[np.bool_] = field(init=False)  # by giver of the range: all of it is claimed here
    lowest: int = field(init=False, default=0)  # the giver that `used_up` begins with
    claimed: int = field(init=False, default=0)
    result: Bargain = field(init=False)

    def __post_init__(self) -> None:
        self.put_types = set()
        self.next_index = {}
        self.used_up = np.zeros(0, np.bool_)
        # Nobody has more than ENERGY_WH_MAX of anything; offers that are larger are left out.
        self.result = Bargain(
            received_wh=np.zeros(len(self.taker_ids), np.int32),
            excess_wh=np.zeros(len(self.taker_ids) if self.sharing.take is Take.GREEDY else 0, np.int32),
        )
        self.need_wh = self.need_wh.astype(np.int32)
        self.line = np.flatnonzero(self.need_wh > 0).astype(np.int32)
        self.front = self.line[:0]

    def run(self) -> Bargain:
        """Bargain until the deadline; then take back what nobody took."""
        self._serve_at_home()
        try:
            self._forget_earlier_life()
            self._bargain()
            self._take_back()
        except QueueFrozen:
            self.result.degraded = True
        self._shed()
        return self.result

    def _serve_at_home(self) -> None:
        """A range with very many offers: who of its own takers has how much of them."""
        if len(self.offers) <= AT_HOME_OFFERS or not len(self.line):
            return
        who = slice(None) if len(self.line) == len(self.need_wh) else self.line
        served = exchange.serve(self.offers, self.taker_ids[who], self.need_wh[who], self.sharing)
        self._use_up(served)
        self._book(who, served)
        self.offers = served.rests
        if len(served.neutral_rest):
            self.result.returned.append(served.neutral_rest)
        self.line = self.line[self.need_wh[self.line] > 0]

    def _use_up(self, served: exchange.Served) -> None:
        """Mark the givers of whom nothing is left: an earlier life may have put something of theirs."""
        givers = self.offers["giver"]
        self.lowest = int(givers.min())
        self.used_up = np.zeros(int(givers.max()) + 1 - self.lowest, np.bool_)
        self.used_up[givers[: len(givers) - len(served.rests)] - self.lowest] = True
        if len(served.rests) and served.rests["index"][0]:
            self.next_index[int(served.rests["giver"][0])] = int(served.rests["index"][0])

    def _forget_earlier_life(self) -> None:
        """What lies there under our types before we have put anything was put by us before we died."""
        if not len(self.offers):
            return
        with self.queue.locked(self._wait_s()):
            if not self.queue.depth()[0]:
                return
            for kind in self.offers["giver"][:: offer_message.OFFERS_MAX].tolist():
                while self.queue.take(kind) or self.queue.take(kind | GIVEN_BACK):
                    if boottime_ns() >= self.deadline_ns:
                        return  # somebody fills it faster than we empty it

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

    def _shed(self) -> None:
        """What never found room is with its givers still: it goes to the market at once."""
        left = self.offers[self.at :]
        self.result.shed += len(left)
        if len(left):
            self.result.returned.append(left)
            self.at = len(self.offers)

    def _lacking(self) -> bool:
        """Whether some taker still lacks something."""
        return len(self.front) > 0 or self.behind < len(self.line)

    def _wanting(self) -> bool:
        return self.at < len(self.offers) or self._lacking()

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
        moved = False
        while self.at < len(self.offers):
            part = self.offers[self.at : self.at + offer_message.OFFERS_MAX]
            kind = int(part["giver"][0])
            if not self.queue.put(kind, offer_message.pack(part, slot=self.slot, epoch=self.epoch)):
                break
            self.put_types.add(kind)
            self.at += len(part)
            moved = True
        return moved

    def _take_one(self) -> bool:
        """Take the oldest message and serve the takers from it; what they leave goes back to its place."""
        if not self._lacking() or self.claimed >= CLAIMS_PER_HOME_MAX * self.homes:
            return False
        found, lot = self._lot()
        if not lot:
            return found
        offers = lot[0].offers if len(lot) == 1 else np.concatenate([each.offers for each in lot])
        who, served = self._serve(offers, IN_LINE * len(lot))
        self._book(who, served)
        if len(giver := served.claims["giver"]):
            # Claims of an offer stand together, the last of its parts last.
            ends = np.append(np.flatnonzero(giver[1:] != giver[:-1]), len(giver) - 1)
            index = served.claims["index"][ends].astype(np.int64) + 1
            self.next_index.update(zip(giver[ends].tolist(), index.tolist(), strict=True))
        self.front = self.front[self.need_wh[self.front] > 0]
        self._put_back(lot, served)
        return len(served.claims) > 0

    def _lot(self) -> tuple[bool, list[_Message]]:
        """Whether a message was found, and the next one with something on offer.

        Where takers wait by the thousand it is as many messages as have takers enough, and no giver twice.
        """
        found = False
        lot: list[_Message] = []
        waiting = len(self.front) + len(self.line) - self.behind
        most = 1 if self.sharing.take is Take.GREEDY else max(1, min(LOT_MESSAGES, waiting // IN_LINE))
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
                rest = offer_message.pack(rests[start:end], slot=self.slot, epoch=self.epoch)
                self.queue.put_first(each.kind, rest)
            end = start
            if len(back := served.neutral_rest):
                if len(lot) > 1:
                    back = back[np.isin(back["giver"], each.offers["giver"])]
                if len(back):
                    given = offer_message.pack(back, slot=self.slot, epoch=self.epoch)
                    self.queue.put(each.kind | GIVEN_BACK, given)

    def _serve(self, offers: npt.NDArray[np.void], reach: int) -> tuple[Places, exchange.Served]:
        """Serve those who come first in the line: as if all stood there, if the offers are used up."""
        turns = 1 if self.sharing.turn is Turn.FAIR else None
        while True:
            who = self._in_line(reach)
            served = exchange.serve(offers, self.taker_ids[who], self.need_wh[who], self.sharing, turns=turns)
            if not len(served.rests) or self.behind >= len(self.line):
                return who, served
            reach *= 8

    def _in_line(self, reach: int) -> Places:
        """The places of the first takers that lack something: so many, if there are, or a few more."""
        missing = reach - len(self.front)
        if missing > 0:
            self.front = np.concatenate((self.front, self.line[self.behind : self.behind + missing]))
            self.behind = min(self.behind + missing, len(self.line))
        return self.front

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
        known = (offers["giver"] <= self.homes) & (offers["energy_wh"] <= OFFER_WH_MAX)
        first = np.zeros(len(offers), np.bool_)
        first[np.unique(offer_key(offers), return_index=True)[1]] = True
        giver = offers["giver"]
        open_index = np.array([self.next_index.get(each, 0) for each in giver.tolist()], np.int64)
        at = giver.astype(np.int64) - self.lowest
        here = np.flatnonzero((at >= 0) & (at < len(self.used_up)))
        known[here] &= ~self.used_up[at[here]]
        return offers[known & first & (offers["index"] >= open_index)]

    def _book(self, who: Places | slice, served: exchange.Served) -> None:
        """What the takers at these places have been served."""
        result = self.result
        room = CLAIMS_PER_HOME_MAX * self.homes - self.claimed
        self._leave_out(who, served, served.claims[room:])
        self.claimed += len(served.claims[:room])
        result.claims.append(served.claims[:room])
        received_wh = served.received_wh.astype(np.int32, copy=False)
        result.received_wh[who] += received_wh
        if self.sharing.take is Take.GREEDY:
            result.excess_wh[who] += served.excess_wh.astype(np.int32)
        left_wh = self.need_wh[who] - received_wh
        self.need_wh[who] = np.maximum(left_wh, 0, out=left_wh)

    def _leave_out(self, who: Places | slice, served: exchange.Served, claims: npt.NDArray[np.void]) -> None:
        """Claims beyond what any exchange can come to: their takers have not received that."""
        for taker, energy_wh in zip(claims["taker"].tolist(), claims["energy_wh"].tolist(), strict=True):
            at = np.flatnonzero(self.taker_ids[who] == taker)
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
                    self.result.returned.append(offers)
        return found
