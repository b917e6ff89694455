"""The keeper of a range of homes in lockstep: it waits for all, and goes back when a slot is taken back.

What is to be gone on from the market alone says (`Join`): the last committed slot. Whatever the homes have
lived since is forgotten, whoever died; then the slot is lived again, to the same end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from energymarket.core.parties import Parties
from energymarket.core.records import Phase
from energymarket.core.turns import Range
from energymarket.home.gains import Bargain
from energymarket.home.handing import Handed
from energymarket.home.keeper import Keeper, check_pace
from energymarket.home.turning import Bargaining
from energymarket.runtime.kill_points import Point, reach

if TYPE_CHECKING:
    from energymarket.core.fleet import Net
    from energymarket.home.session import Joined, Refused
    from energymarket.wire.clock_page import ClockPage

log = logging.getLogger(__name__)

InStep: TypeAlias = Callable[[str, int, Callable[[], bool]], bool]
"""Told the point, the epoch, and how to find out whether the slot goes on; False if it does not."""

PATIENCE_S: Final = 1e6
"""A receipt comes when everybody has handed in: also those who are being started again."""


class TakenBack(Exception):
    """The slot that is being lived is over in this epoch: somebody died, or we are to stop."""


class Stepper(Keeper):
    """Runs one range of homes in lockstep. See `Keeper` for how it is made."""

    def __init__(self, *arguments: Any, in_step: InStep | None = None, **named: Any) -> None:  # noqa: ANN401
        """`in_step` waits until the whole pool has come to a point of an epoch, or the slot is over."""
        super().__init__(*arguments, **named)
        self._in_step = in_step
        self._tried = (-1, -1)  # slot and epoch that were lived last, to whatever end

    # going on

    def _resume(self, joined: Joined) -> None:
        """Go on from the last committed slot, and nothing else."""
        books, slot = self._books, joined.committed_slot
        if slot is None:
            if books.slot is not None:
                books.fresh(joined.first_slot - 1)
            return
        if books.slot == slot:
            books.keep(slot)  # the market came back, not we
        elif books.holds(slot):
            books.go_back(slot)
        elif joined.batch_slot is not None:
            books.resume(joined.batch_slot)  # of a market that ran live: they live through what they missed
        if joined.receipt is not None and joined.batch_slot is not None:
            books.settle(joined.batch_slot, joined.receipt)
        self._done = slot

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._session.notice() is None:
                return
            page = self._clock.read()
            if page is None:
                continue
            check_pace(page, lockstep=True)
            if self._handed_slot is not None and not self._goes_on_after(self._session.join_again()):
                continue  # an earlier life has handed in: with every notice it may be settled, or taken back
            if page.phase in {Phase.ENDED, Phase.STOPPED} and self._books.slot is not None:
                self._books.write()
                self._notifier.status(self._status(f"market {page.phase.name.lower()}"))
            elif page.phase is Phase.EXCHANGE and (page.slot, page.epoch) != self._tried:
                self._slot(page)

    def _goes_on_after(self, joined: Joined) -> bool:
        """Whether there is something to go on from: not while a batch of an earlier life waits."""
        self._handed_slot = joined.handed_slot
        if joined.handed_slot is None:
            self._resume(joined)
        return joined.handed_slot is None

    def _slot(self, page: ClockPage) -> None:
        """Live a slot, if this range has not handed it in: from the state of the one before."""
        self._tried = page.slot, page.epoch
        if self._books.slot != page.slot - 1 and not self._goes_on_after(self._session.join_again()):
            return
        self._books.keep(page.slot - 1)
        try:
            self._live(page)
        except TakenBack:
            log.info("slot %d is lived again: it was taken back", page.slot)

    def _live(self, page: ClockPage) -> None:
        books = self._books
        if books.slot is None:
            books.fresh(page.slot - 1)
        books.live_until(page.slot - 1, self._weather_of)
        net = books.step(page.slot, self._weather_of(page.slot), page.price)
        reach(Point.LIVED, page.slot)
        self._all_at("lived", page)
        bargain, columns = self._agree(net, page)
        reach(Point.EXCHANGED, page.slot)
        self._all_at("exchanged", page)
        books.write()
        reach(Point.STATE_WRITTEN, page.slot)
        self._done = page.slot
        if self._scenes.is_late(page.slot):
            self._session.pass_slot(page.slot, page.epoch)
            return
        self._hand_in(Handed(page.slot, page.epoch, net, columns, bargain), page)

    def _goes_on(self, page: ClockPage) -> bool:
        """Whether the slot is open still in the same epoch, and nobody asks us to stop."""
        now = self._clock.read() or page  # a writing that was cut short: the market is being started again
        same = (now.slot, now.epoch, now.phase) == (page.slot, page.epoch, page.phase)
        return same and not self._stop.is_set()

    def _all_at(self, point: str, page: ClockPage) -> None:
        """Wait for the rest of the pool. Raises TakenBack."""
        if self._in_step is not None and not self._in_step(point, page.epoch, lambda: self._goes_on(page)):
            raise TakenBack

    # gifts

    def _bargain(self, net: Net, page: ClockPage, start: int) -> Bargain:
        """The exchange in turns round the ring. Raises TakenBack."""
        fleet, homes, sharing = self._fleet, self._compiled.homes_count, self._compiled.sharing
        parties = Parties(net.net_wh, fleet.policy, fleet.first, (start, homes))
        up_wh, lacks_wh = np.maximum(parties.open_wh, 0), -np.minimum(parties.open_wh, 0)
        mine = Range.of(homes, start, (fleet.first, fleet.count), (up_wh, lacks_wh), sharing)
        bargaining = Bargaining(
            queue=self._queue,
            slot=page.slot,
            epoch=page.epoch,
            mine=mine,
            goes_on=lambda: self._goes_on(page),
            beat=self._notifier.beat,
        )
        if not bargaining.run():
            raise TakenBack
        takers = mine.taker_ids.astype(np.int64) - fleet.first
        np.minimum(parties.open_wh, 0, out=parties.open_wh)  # what was given is back, or somebody's
        parties.lack(takers, mine.need_wh)
        parties.take_back(mine.all_returned())
        excess_wh = None
        if mine.excess_wh.any():
            excess_wh = np.zeros(fleet.count, np.int32)
            excess_wh[takers] = mine.excess_wh
        return Bargain(parties.moved_wh(), excess_wh, mine.claims)

    # the batch

    def _receipt_wait_s(self, page: ClockPage) -> float:
        del page
        return PATIENCE_S

    def _refused(self, handed: Handed, answer: Refused) -> None:
        if answer.name != "TakenBack":
            super()._refused(handed, answer)
