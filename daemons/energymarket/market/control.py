"""The control desk: what operators see and steer. Whom the socket lets in may read; operators may change."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.events import DURATION_SLOTS_MAX, EventAnswer, Origin
from energymarket.core.records import Phase
from energymarket.market import history, snapshot, standing
from energymarket.market.authority import OPERATORS_GROUP, may_change
from energymarket.market.messages import Asked, Continue, StopAsked, stopping
from energymarket.market.present import present_of
from energymarket.market.reload import Reading
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.occasions import Occasion
from energymarket.transport import memory_fd, resources
from energymarket.wire.messages import CONTROL
from energymarket.wire.varlink import encode_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.core.market import Closed
    from energymarket.core.parameters import Period
    from energymarket.market.owner import Owner
    from energymarket.market.reload import Reloader
    from energymarket.transport.call import Call
    from energymarket.transport.resources import Ipc

log = logging.getLogger(__name__)

PRICES_MAX: Final = 10_000
HOMES_PAGE: Final = 1_000
CHANGING: Final = frozenset({"Raise", "Clear", "Reload", "Stop"})


class ControlDesk:
    """Everything behind the interface io.energymarket.Control."""

    def __init__(self, owner: Owner, period: Period, ipc: Ipc, reloader: Reloader, socket: str) -> None:
        self.owner = owner
        self.period = period
        self.ipc = ipc
        self.reloader = reloader
        self.socket = socket
        self.watchers: dict[int, Call] = {}
        self.phase_watchers: set[int] = set()  # those of them who asked for more than slots
        self.committed_ns: int | None = None  # when this market made its last slot durable
        self.shown: dict[str, Any] = {"type": "slot", "phase": "starting"}  # replaced whole, never changed
        self.child: Callable[[], dict[str, Any]] = dict  # what `external` is doing
        self._answers: dict[str, Callable[[Call], None]] = {
            "Price": self._price,
            "Explain": self._explain,
            "Homes": self._homes,
            "Weather": self._weather,
            "Events": self._events,
            "Raise": self._raise,
            "Clear": self._clear,
            "Ledger": self._ledger,
            "Orders": self._orders,
            "Slots": self._slots,
            "Compacted": self._compacted,
            "Present": self._present,
            "Verify": self._verify,
            "Reload": self._reload,
            "Watch": self._watch,
        }

    # in the server's thread

    def handle(self, call: Call) -> None:
        """Answer from the snapshot, or hand over to the owner."""
        method = call.method.removeprefix(CONTROL + ".")
        if method in CHANGING and not may_change(call):
            needs = f"the market's user, root, or group {OPERATORS_GROUP}"
            call.error(f"{CONTROL}.PermissionDenied", {"needs": needs})
        elif method == "Status":
            call.reply({"status": standing.standing_of(self)})
        elif method == "Resources":
            call.reply({"resources": resources.describe(self.ipc.run_dir)})
        elif self.owner.stopped:
            call.error(stopping(call))
        elif method == "Stop":
            self.owner.inbox.put(StopAsked(lambda slot: call.reply({"slot": slot})))
        else:
            self.owner.inbox.put_later(Asked(call))

    # in the owner's thread

    def answer(self, call: Call) -> None:
        """Answer a call that only the owner can."""
        self._answers[call.method.removeprefix(CONTROL + ".")](call)

    def publish_phase(self) -> None:
        """The phase has changed: the snapshot says so; watchers of slots alone hear of the end only."""
        self.shown = self.shown | {"phase": self.owner.phase.name.lower()}
        if self.owner.phase in {Phase.EXCHANGE, Phase.STARTING}:
            self.shown = self.shown | self._opening()
        self._tell_phase(everybody=self.owner.phase in {Phase.ENDED, Phase.STOPPED})

    def publish_joined(self) -> None:
        """Homes have joined or left."""
        self._tell_phase(everybody=False)

    def publish_commit(self) -> None:
        """A slot is durable: every watcher gets its snapshot."""
        self.note_commit(boottime_ns())
        self.tell({"snapshot": self.shown})

    def note_commit(self, now_ns: int) -> None:
        """Keep what a slot that is durable now shows."""
        self.committed_ns = now_ns
        if self.owner.last is not None:
            self.shown = self._snapshot(self.owner.last)

    def leave(self, peer: int) -> None:
        """A connection is gone."""
        self.watchers.pop(peer, None)
        self.phase_watchers.discard(peer)

    def _tell_phase(self, *, everybody: bool) -> None:
        listening = self.watchers if everybody else self.phase_watchers
        if listening:
            self.tell({"snapshot": self._phase_now()}, only=None if everybody else self.phase_watchers)

    def tell(self, answer: dict[str, Any], *, only: set[int] | None = None) -> None:
        """Send all watchers, or some, an answer."""
        frame = encode_reply(answer, continues=True)
        for peer, call in list(self.watchers.items()):
            if only is None or peer in only:
                call.reply_frame(frame, continues=True)

    def _phase_now(self) -> dict[str, Any]:
        """The snapshot with what changes between two commits."""
        owner = self.owner
        counted = {"homes": owner.market.rules.homes, "homes_joined": owner.trade.leases.joined}
        return self.shown | counted | {"type": "phase"}

    def _opening(self) -> dict[str, Any]:
        opening = self.owner.market.opening
        if opening is None:
            return {}
        return {
            "open_slot": opening.slot,
            "open_price_ueur_per_kwh": opening.prices.price,
            "lateness_us": self.owner.counts.lateness_us,
        }

    def _snapshot(self, closed: Closed) -> dict[str, Any]:
        owner, market = self.owner, self.owner.market
        head, counts, course = closed.head, owner.counts, owner.course
        totals = snapshot.totals_of(closed)
        reading = owner.board.sample(closed.slot, boottime_ns())
        weather = None
        if reading.sample is not None:
            weather = snapshot.weather_of(reading.sample, stale=head.weather_stale)
        done = closed.slot - course.begin_slot + 1
        return {
            "type": "slot",
            "slot": closed.slot,
            "phase": owner.phase.name.lower(),
            "price_ueur_per_kwh": head.price_ueur_per_kwh,
            "import_ueur_per_kwh": head.import_ueur_per_kwh,
            "export_ueur_per_kwh": head.export_ueur_per_kwh,
            "terms": snapshot.terms_of(head.terms),
            "events": snapshot.acting_on(market.book, market.rules.price.events, closed.slot),
            "weather": weather,
            "totals": totals | {"given_wh": totals["taken_wh"]},
            "homes": market.rules.homes,
            "homes_in": sum(count for _, count, _ in closed.batches),
            "batches": len(closed.batches),
            "orders": len(closed.orders["home"]),
            "refusals": len(counts.refusals),
            "late_batches": counts.slot_late,
            "shed_offers": counts.slot_shed,
            "void_claims": closed.settlement.void_claims,
            "gap": head.gap,
            "lateness_us": counts.lateness_us,
            "hash": closed.hash.hex(),
            "speed": None if owner.lockstep else owner.timetable.speed,
            "slots_done": done if course.slots is not None else counts.slots_done,
            "slots_total": course.slots,
            "end_slot": None if course.slots is None else course.end_slot,
        } | snapshot.times_of(closed.slot, self.period)

    def _watch(self, call: Call) -> None:
        phases = bool(call.parameters.get("phases"))
        if call.more:
            self.watchers[call.peer.id] = call
            (self.phase_watchers.add if phases else self.phase_watchers.discard)(call.peer.id)
        call.reply({"snapshot": self._phase_now() if phases else self.shown}, continues=call.more)

    def _price(self, call: Call) -> None:
        last = min(max(call.parameters.get("last") or 0, 0), PRICES_MAX)
        owner = self.owner
        job = history.PriceList(owner.books.store, owner.market.slot, last, self.period)

        def step() -> bool:
            if call.gone or job.step():
                return not call.gone
            call.reply({"current": history.current_price(owner, self.period), "prices": job.rows})
            return False

        if step():
            owner.inbox.put_later(Continue(step))

    def _explain(self, call: Call) -> None:
        slot, market = call.parameters.get("slot"), self.owner.market
        if slot is None or (market.opening is not None and slot == market.opening.slot):
            found = history.explain_open(self.owner)
        else:
            found = history.explain_slot(self.owner.books.store, market.rules.price, slot)
        if found is None:
            self._no_such_slot(call, slot if slot is not None else market.slot)
            return
        call.reply(found | {"time": snapshot.times_of(found["slot"], self.period)["time"]})

    def _no_such_slot(self, call: Call, slot: int) -> None:
        first, last = self.owner.books.store.first_slot(), self.owner.books.store.last_slot()
        call.error(f"{CONTROL}.NoSuchSlot", {"slot": slot, "first": first, "last": last})

    def _homes(self, call: Call) -> None:
        rows = history.homes(self.owner, *self._page(call))
        call.reply({"homes": rows, "total": self.owner.market.rules.homes})

    def _page(self, call: Call) -> tuple[int, int]:
        """The homes that are asked for: first and count."""
        first = min(max(call.parameters.get("first") or 1, 1), self.owner.market.rules.homes + 1)
        return first, min(max(call.parameters.get("count") or HOMES_PAGE, 0), HOMES_PAGE)

    def _weather(self, call: Call) -> None:
        opening, market = self.owner.market.opening, self.owner.market
        slot = opening.slot if opening is not None else market.slot
        reading = self.owner.board.sample(max(slot, 0), boottime_ns())
        if reading.sample is None:
            call.reply({"weather": {"stale": True, "slot": None}})
            return
        weather = snapshot.weather_of(reading.sample, stale=reading.stale)
        call.reply({"weather": weather | snapshot.times_of(weather["slot"], self.period)})

    # events

    def _next_slot(self) -> int:
        """The first slot whose price is not yet fixed."""
        opening = self.owner.market.opening
        return self.owner.next_slot() if opening is None else opening.slot + 1

    def _kinds(self) -> list[str]:
        return [kind.name for kind in self.owner.market.rules.price.events]

    def _events(self, call: Call) -> None:
        market = self.owner.market
        slot = market.opening.slot if market.opening is not None else max(market.slot, 0)
        active = snapshot.events_of(market.book, market.rules.price.events, slot)
        call.reply({"kinds": self._kinds(), "active": active})

    def _raise(self, call: Call) -> None:
        kinds, kind = self._kinds(), call.parameters["kind"]
        if kind not in kinds:
            call.error(f"{CONTROL}.NoSuchKind", {"kind": kind, "kinds": kinds})
            return
        intensity, slots = call.parameters.get("intensity_permille"), call.parameters.get("slots")
        intensity = 1000 if intensity is None else intensity
        if slots is not None and slots > DURATION_SLOTS_MAX:
            call.error(f"{CONTROL}.EventRefused", {"reason": f"at most {DURATION_SLOTS_MAX} slots"})
            return
        slot, book = self._next_slot(), self.owner.market.book
        answer, number = book.raise_by_operator(kinds.index(kind), intensity, slot, slots)
        if answer is not EventAnswer.CHANGED:
            call.error(f"{CONTROL}.EventRefused", {"reason": answer.value})
            return
        if not self.owner.books.save_events():
            book.events.pop((Origin.OPERATOR, kinds.index(kind), number))
            call.error(f"{CONTROL}.EventRefused", {"reason": "the ledger cannot be written"})
            return
        fields = Occasion.EVENT_CHANGED.fields(slot=slot, event=kind, uid=call.peer.uid)
        log.warning(
            "operator raised %s, intensity %d/1000, from slot %d", kind, intensity, slot, extra=fields
        )
        until = None if slots is None else slot + slots
        event = {"kind": kind, "intensity_permille": intensity, "origin": "operator"}
        call.reply({"event": event | {"from_slot": slot, "until_slot": until}})

    def _clear(self, call: Call) -> None:
        kinds, kind = self._kinds(), call.parameters["kind"]
        if kind not in kinds:
            call.error(f"{CONTROL}.NoSuchKind", {"kind": kind, "kinds": kinds})
            return
        slot, book = self._next_slot(), self.owner.market.book
        before = dict(book.events)
        ended = book.clear(kinds.index(kind), slot, external_too=True)
        if not self.owner.books.save_events():
            book.events = before
            call.error(f"{CONTROL}.EventRefused", {"reason": "the ledger cannot be written"})
            return
        fields = Occasion.EVENT_CHANGED.fields(slot=slot, event=kind, uid=call.peer.uid)
        log.warning("operator cleared %s: %d events end with slot %d", kind, ended, slot - 1, extra=fields)
        call.reply({"cleared": ended, "from_slot": slot})

    # ledger

    def _ledger(self, call: Call) -> None:
        slot = call.parameters.get("slot")
        slot = self.owner.market.slot if slot is None else slot
        found = history.ledger_page(self.owner.books.store, slot, *self._page(call))
        if found is None:
            self._no_such_slot(call, slot)
            return
        call.reply({"ledger": found | snapshot.times_of(slot, self.period)})

    def _orders(self, call: Call) -> None:
        owner = self.owner
        self._in_steps(
            call, history.OrderSearch(owner.books.store, owner.market.rules.homes, call.parameters["what"])
        )

    def _in_steps(self, call: Call, job: history.Job) -> None:
        """A long answer, a little at a time, so that slots go on between."""

        def step() -> bool:
            if call.gone or job.step():
                return not call.gone
            call.reply(job.answer())
            return False

        self.owner.inbox.put_later(Continue(step))

    def _slots(self, call: Call) -> None:
        store = self.owner.books.store
        first, last = call.parameters.get("first"), call.parameters.get("last")
        first = store.first_slot() if first is None else first
        last = self.owner.market.slot if last is None else last
        page = history.SealedPage(store, -1 if first is None else first, last)

        def step() -> bool:
            if call.gone or page.step():
                return not call.gone
            self._reply_sealed(call, page.answer(), page.bodies)
            return False

        if step():
            self.owner.inbox.put_later(Continue(step))

    def _compacted(self, call: Call) -> None:
        stretches, bodies = history.compacted(self.owner.books.store)
        self._reply_sealed(call, {"stretches": stretches}, bodies)

    def _present(self, call: Call) -> None:
        call.reply(present_of(self.owner, self.reloader.compiled))

    def _reply_sealed(self, call: Call, answer: dict[str, Any], bodies: list[bytes]) -> None:
        """An answer with its bodies in a memory file; without a descriptor left the asker comes again."""
        try:
            fd = memory_fd.seal(bodies, "ledger")
        except OSError as error:
            log.warning("no memory file for an answer: %s", error)
            call.error(f"{CONTROL}.QuotaExceeded", {"what": "memory files", "limit": 0})
            return
        call.reply(answer | {"descriptor": 0}, descriptors=(fd,))

    def _verify(self, call: Call) -> None:
        first, last = call.parameters.get("first"), call.parameters.get("last")
        self._in_steps(call, history.Verification(self.owner.books.store, first, last))

    def _reload(self, call: Call) -> None:
        reading = self.reload(call.parameters.get("text"))
        if reading.problems:
            call.error(f"{CONTROL}.ReloadRefused", {"problems": list(reading.problems)})
            return
        answer = {"changed": list(reading.changed), "needs_restart": list(reading.needs_restart)}
        call.reply(answer | {"from_slot": self._next_slot()})

    def reload(self, text: str | None = None) -> Reading:
        """Read the coefficients again; from the next slot on the new ones count, also after a restart."""
        rules = self.owner.market.rules
        reading = self.reloader.read(rules.price, text)
        if not reading.problems and not self.owner.books.save_price(reading.model):
            reading = Reading(rules.price, ("the ledger cannot be written: nothing was changed",))
        for problem in reading.problems:
            log.error("reload refused: %s", problem, extra=Occasion.RELOAD_REFUSED.fields(cause=problem))
        for name in reading.changed:
            log.warning("reloaded: %s", name, extra=Occasion.RELOADED.fields(setting=name))
        self.owner.market.rules = replace(rules, price=reading.model)
        return reading
