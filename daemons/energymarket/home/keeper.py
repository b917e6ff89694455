"""The keeper of a range of homes: slot after slot it lives, bargains, hands in and books the receipt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core import exchange
from energymarket.core.block import BLOCK_HOMES, I32, Widening
from energymarket.core.parameters import Rule
from energymarket.core.parties import Parties
from energymarket.core.records import Phase
from energymarket.core.refusals import Refusal
from energymarket.exits import ConfigError
from energymarket.home import handing
from energymarket.home.bargain import Exchange
from energymarket.home.gains import Bargain
from energymarket.home.handing import Came, Handed, Reading
from energymarket.home.scene import Scenes
from energymarket.home.session import Lost, Refused
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.kill_points import Point, reach
from energymarket.runtime.occasions import Occasion

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.fleet import Fleet, Net
    from energymarket.core.weather import Sample
    from energymarket.home.books import Books
    from energymarket.home.session import Joined, Session
    from energymarket.runtime.notify import Notifier
    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.page import BoardReader, ClockReader
    from energymarket.transport.queue import OfferQueue
    from energymarket.wire.clock_page import ClockPage

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long after the slot's end its receipt is awaited before the market counts as frozen."""


def check_pace(page: ClockPage, *, lockstep: bool) -> None:
    """ConfigError if the market does not run as these homes do: one would wait for the other for ever."""
    if page.live == lockstep:
        has, want = ("live", "in lockstep") if lockstep else ("in lockstep", "live")
        raise ConfigError(
            f"the market runs {has}, these homes were told to run {want}",
            "give --lockstep to all of them or to none, or set lockstep in [service] of the scenario",
        )


class Keeper:
    """Runs one range of homes; a single home trades its orders one by one."""

    def __init__(
        self,
        compiled: Compiled,
        fleet: Fleet,
        books: Books,
        session: Session,
        clock: ClockReader,
        board: BoardReader,
        queue: OfferQueue,
        notifier: Notifier,
        stop: StopFlag,
        *,
        single: bool,
    ) -> None:
        self._compiled = compiled
        self._fleet = fleet
        self._books = books
        self._session = session
        self._clock = clock
        self._board = board
        self._queue = queue
        self._notifier = notifier
        self._stop = stop
        self._single = single
        self._scenes = Scenes.of(compiled.settings, fleet.first, fleet.count, compiled.period.first_slot)
        self._handed: Handed | None = None
        self._read: Reading | None = None  # the last one that the market has, if it is known
        self._done = -1  # last slot that was lived with the market
        self._gated = -1  # last slot whose gate closed without us
        self._since = 0  # first slot of the ledger
        self._handed_slot: int | None = None  # the open slot, if an earlier life has handed in
        self._degraded = False
        self._readings: tuple[dict[str, Any], ...] = ()
        self._bill_ueur = 0  # since this process started; the ledger has it from the beginning

    def run(self) -> None:
        """Serve until asked to stop."""
        while not self._stop.is_set():
            joined = self._session.join()
            if joined is None:
                break
            self._since, self._handed_slot = joined.first_slot, joined.handed_slot
            if joined.handed_slot is None:
                self._resume(joined)
                self._notifier.ready(self._status("joined"))
            else:
                # What they are to go on from is known when that slot is settled. To live it anew would
                # be to trade anew: the gifts of its batch are in no queue any more.
                log.info("slot %d was handed in before; its commit is awaited", joined.handed_slot)
                self._notifier.ready(self._status(f"joined; slot {joined.handed_slot} was handed in before"))
            try:
                self._serve()
            except Lost:
                page = self._clock.read()
                if page is None or page.phase is not Phase.STOPPED:
                    log.warning("the market is gone; the homes wait for it")
                self._notifier.status(self._status("waiting for the market"))
        if self._books.slot is not None:
            self._books.write()

    def _status(self, what: str) -> str:
        last = self._fleet.first + self._fleet.count - 1
        note = ", without gifts: the queue is frozen" if self._degraded else ""
        return f"homes {self._fleet.first} to {last}: {what}{note}"

    def _resume(self, joined: Joined) -> None:
        """Go on from what the ledger has; whatever it has not heard of the homes is still to be told."""
        if joined.batch_slot is None:
            return
        self._books.resume(joined.batch_slot)
        if joined.receipt is not None:
            self._books.settle(joined.batch_slot, joined.receipt)
        if self._handed is not None and self._handed.slot <= joined.batch_slot:
            self._handed = None
        self._done = max(self._done, joined.batch_slot)

    def _serve(self) -> None:
        while not self._stop.is_set():
            notice = self._session.notice()
            if notice is None:
                return
            if self._handed_slot is not None:
                committed: int | None = notice["committed_slot"]
                if committed is not None and committed >= self._handed_slot:
                    return  # and join again: now the market knows their receipt
                continue
            page = self._clock.read()
            if page is None:
                continue
            check_pace(page, lockstep=False)
            if page.phase in {Phase.ENDED, Phase.STOPPED} and self._books.slot is not None:
                self._books.write()
                self._notifier.status(self._status(f"market {page.phase.name.lower()}"))
            elif page.phase in {Phase.EXCHANGE, Phase.TRADE}:
                self._slot(page)

    def _slot(self, page: ClockPage) -> None:
        handed = self._handed
        if handed is not None and (handed.slot, handed.epoch) == (page.slot, page.epoch):
            self._hand_in(handed, page)
        elif page.slot > max(self._done, self._gated) and boottime_ns() < page.gate_ns:
            self._live(page)

    def _live(self, page: ClockPage) -> None:
        """A whole slot: energy, gifts, orders, batch, receipt."""
        books = self._books
        if books.slot is None:
            books.begin(page.slot - 1, self._since)
            self._compiled.forget_pages()  # of what homes begin with
        net = self._live_through(page)
        books.start_writing()  # the disk works while the exchange runs
        bargain, columns = self._agree(net, page)
        self._done = page.slot
        if self._stop.is_set():
            return
        if self._scenes.is_late(page.slot):
            self._stop.wait_until(page.gate_ns + page.slot_ns // 20)
        books.write()
        self._hand_in(Handed(page.slot, page.epoch, net, columns, bargain, self._readings), page)

    def _live_through(self, page: ClockPage) -> Net:
        """What passed without a market, and the open slot; what the homes lack or have over in it."""
        self._books.live_until(page.slot - 1, self._weather_of)
        return self._books.step(page.slot, self._weather_of(page.slot), page.price)

    def _weather_of(self, slot: int) -> Sample:
        self._notifier.beat()  # years of absence are lived through slot by slot
        reading = self._board.sample(slot, boottime_ns())
        if reading.sample is not None:
            return reading.sample
        # Nobody has posted yet: the scenario's own weather of that moment is the best guess.
        sample: Sample = self._compiled.weather[self._compiled.table_row(slot)]
        return sample

    # gifts and orders

    def _agree(self, net: Net, page: ClockPage) -> tuple[Bargain, dict[str, I32]]:
        if self._compiled.sharing.rule is not Rule.QUEUE:
            return self._state(net, page)
        fleet = self._fleet
        start = exchange.ring_start(self._compiled.seed, page.slot, self._compiled.homes_count)
        bargain = self._bargain(net, page, start)
        if bargain.degraded != self._degraded:
            self._degraded = bargain.degraded
            self._notifier.status(self._status("trading"))
            how = "frozen: no gifts" if self._degraded else "free again"
            log.warning("the offer queue is %s", how, extra=Occasion.QUEUE_FROZEN.fields(slot=page.slot))
        came = Came(bargain.moved_wh, bargain.excess_wh)
        if len(phantoms := self._scenes.phantom_claims(page.slot)):
            bargain.claims.append(phantoms)
            came.phantom_wh = np.zeros(fleet.count, np.int32)
            np.add.at(
                came.phantom_wh, phantoms["taker"].astype(np.int64) - fleet.first, phantoms["energy_wh"]
            )
        columns = self._orders(net, came)
        bargain.moved_wh = bargain.moved_wh[:0].copy()  # it has been stated
        self._scenes.misreport(page.slot, columns)
        return bargain, columns

    def _orders(self, net: Net, came: Came) -> dict[str, I32]:
        """What the homes state after the exchange, block by block: nothing of a block leaves the cache."""
        fleet, kind = self._fleet, came.kind
        made = {name: Widening(fleet.count) for name in exchange.TRADE_COLUMNS}
        for start in range(0, fleet.count, BLOCK_HOMES):
            here = slice(start, start + BLOCK_HOMES)
            bought_wh = came.bought_only(here, net.net_wh[here])
            if bought_wh is not None:
                made["bought_wh"].put(start, bought_wh)
                continue
            surplus_wh, need_wh = net.sides(here, kind)
            flows = (surplus_wh, need_wh, *came.of(here, surplus_wh))
            block = exchange.trade_columns(fleet.policy[here], *flows)
            for name, column in block.items():
                made[name].put(start, column)
        return {name: column.values for name, column in made.items()}

    def _bargain(self, net: Net, page: ClockPage, start: int) -> Bargain:
        """The exchange of gifts, from that place of the ring on."""
        fleet, homes = self._fleet, self._compiled.homes_count
        return Exchange(
            queue=self._queue,
            sharing=self._compiled.sharing,
            slot=page.slot,
            epoch=page.epoch,
            deadline_ns=page.exchange_ns,
            gate_ns=page.gate_ns,
            homes=homes,
            parties=Parties(net.net_wh, fleet.policy, fleet.first, (start, homes)),
            stop=self._stop,
            beat=self._notifier.beat,
        ).run()

    def _state(self, net: Net, page: ClockPage) -> tuple[Bargain, dict[str, I32]]:
        """Under another rule than the queue homes say what they have over and lack; the market shares."""
        nothing = np.zeros_like(net.net_wh)
        columns = self._orders(net, Came(nothing))
        self._scenes.misreport(page.slot, columns)
        return Bargain(nothing), columns

    def _trade_singly(self, columns: dict[str, I32], slot: int) -> None:
        """A single home buys and sells by its own orders; the batch then has none left to state.

        An order that was not answered (Lost) is sent again under its id when its slot is open again.
        An order of an earlier life that died before its batch was in is durable, and stands. The slot
        lived anew may need another energy (claims that stand in no batch were worth nothing): then the
        batch states the difference, at the same price. One order a slot, however many lives.
        """
        for at, home in enumerate(range(self._fleet.first, self._fleet.first + self._fleet.count)):
            energy_wh = int(columns["sold_wh"][at] - columns["bought_wh"][at])
            if energy_wh == 0:
                continue
            answer = self._session.order(home, energy_wh, f"{home}-{slot}")
            if isinstance(answer, Refused):
                fields = {"ENERGY_HOME": home, "ENERGY_SLOT": slot, "ENERGY_CAUSE": answer.name}
                log.warning("order of home %d refused: %s", home, answer.name, extra=fields)
                left_wh = energy_wh - answer.standing_wh(slot)
                columns["sold_wh"][at], columns["bought_wh"][at] = max(left_wh, 0), max(-left_wh, 0)
                continue
            columns["sold_wh"][at] = columns["bought_wh"][at] = 0
            log.info(
                "home %d %s %d Wh at %.6f €/kWh, receipt %s",
                home, "sells" if energy_wh > 0 else "buys", abs(energy_wh),
                answer["price_ueur_per_kwh"] / 1e6, answer["receipt"],
                extra={"ENERGY_HOME": home, "ENERGY_SLOT": slot, "ENERGY_TRADE": f"{home}-{slot}"},
            )  # fmt: skip

    # the batch

    def _hand_in(self, handed: Handed, page: ClockPage) -> None:
        """Send the batch and book its receipt. Without an answer it is kept, and sent again."""
        self._handed = handed
        if self._single and self._compiled.sharing.rule is Rule.QUEUE:
            self._trade_singly(handed.columns, handed.slot)
        batch_id = f"{self._fleet.first}+{self._fleet.count}@{handed.slot}.{handed.epoch}"
        # What flowed in this slot is what the market lacks if it has read the one before.
        before = self._read if self._read is not None and self._read.slot == handed.slot - 1 else None
        answer, reading = self._submit(handed, batch_id, page, before)
        if isinstance(answer, Refused) and answer.parameters.get("reason") == Refusal.REGISTERS_UNKNOWN:
            answer, reading = self._submit(handed, batch_id, page, None)
        self._handed = None
        if before is None and self._fleet.count > memory.WHOLE_HOMES_MAX:
            memory.give_back()  # whole registers of very many homes come once: else malloc keeps their room
        if isinstance(answer, Refused):
            self._refused(handed, answer)
            return
        self._read = reading
        reach(Point.HANDED_IN, handed.slot)
        self._books.settle(handed.slot, answer)
        self._bill_ueur += int(answer["money_ueur"].sum())
        self._notifier.progress(lambda: self._status(self._account(handed.slot, answer)))

    def _submit(
        self, handed: Handed, batch_id: str, page: ClockPage, before: Reading | None
    ) -> tuple[dict[str, Any] | Refused, Reading]:
        data, reading = handing.batch_of(handed, self._books, self._fleet, before)
        shed, wait_s = handed.bargain.shed, self._receipt_wait_s(page)
        return self._session.submit(
            data,
            batch_id,
            handed.slot,
            handed.epoch,
            shed=shed,
            wait_s=wait_s,
            readings=handed.readings,
        ), reading

    def _receipt_wait_s(self, page: ClockPage) -> float:
        return max(0, page.next_open_ns - boottime_ns()) / 1e9 + PATIENCE_S

    def _refused(self, handed: Handed, answer: Refused) -> None:
        self._gated = handed.slot
        detail = answer.parameters.get("detail") or f"open is slot {answer.parameters.get('open_slot')}"
        log.warning("the batch of slot %d was refused: %s (%s)", handed.slot, answer.name, detail)

    def _account(self, slot: int, receipt: dict[str, npt.NDArray[np.integer]]) -> str:
        """What the slot came to, in one line for people."""
        given, received, imbalance = (
            int(receipt[name].sum()) / 1e3 for name in ("given_wh", "received_wh", "imbalance_wh")
        )
        money = int(receipt["money_ueur"].sum()) / 1e6
        off = f", imbalance {imbalance:+.3f} kWh" if imbalance else ""
        return (
            f"slot {slot}: given {given:.3f} kWh, received {received:.3f} kWh{off}, "
            f"{money:+.4f} €, since the start {self._bill_ueur / 1e6:+.4f} €"
        )
