"""The rerun of a ledger: every slot that has a record is settled again from it, and the hashes compared.

The ledger's bodies are read to say in what a slot differs that does, and by the records of a large market,
which follow from them: such a body is held against the chain first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from energymarket.core.inputs import InputsCorrupt, is_following
from energymarket.core.ledger import LedgerCorrupt, chain, genesis
from energymarket.core.market import NO_SLOT
from energymarket.core.refusals import Refusal
from energymarket.core.replay import NotReplayableError, Player, StartCorrupt, digest, unpack_start
from energymarket.core.settlement import UnbalancedError
from energymarket.replaying.difference import difference_of
from energymarket.replaying.spans import Spans
from energymarket.replaying.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.core.inputs import Inputs
    from energymarket.core.market import Closed
    from energymarket.core.parameters import PriceModel
    from energymarket.transport.ledger_rows import SlotRow, TiedRow

NOTED_MAX: Final = 100
"""Late batches and shed offers that are named; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the replay is not the ledger: the first slot where it is not, and in what."""

    slot: int
    kind: str  # differs, record damaged, record missing, ledger damaged
    text: str


@dataclass(frozen=True, slots=True)
class Late:
    """A batch that came after the gate."""

    slot: int  # that it was of
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Shed:
    """Offers of a batch that found no room in the queue until the end of the exchange."""

    slot: int
    first: int
    count: int
    offers: int


@dataclass(slots=True)
class Outcome:
    """What came out, and what the record says of the run beside it."""

    hash: str = ""
    played: Spans = field(default_factory=Spans)
    compacted: Spans = field(default_factory=Spans)
    unrecorded: Spans = field(default_factory=Spans)  # with their detail, but without a record
    gaps: Spans = field(default_factory=Spans)
    stale: Spans = field(default_factory=Spans)
    reopened: Spans = field(default_factory=Spans)
    reloaded: Spans = field(default_factory=Spans)
    late_batches: int = 0
    late: list[Late] = field(default_factory=list)
    shed_offers: int = 0
    shed: list[Shed] = field(default_factory=list)
    void_claims: int = 0
    orders: int = 0
    begun: int = 0  # how often the replay had to begin at a start
    finding: Finding | None = None

    def note(self, inputs: Inputs, closed: Closed) -> None:
        """A slot that came out as it stands in the ledger."""
        slot = closed.slot
        self.played.add(slot)
        self.hash = closed.hash.hex()
        for spans, holds in (
            (self.gaps, inputs.gap),
            (self.stale, inputs.world.weather_stale),
            (self.reopened, inputs.reopened),
        ):
            if holds:
                spans.add(slot)
        self.void_claims += closed.settlement.void_claims
        self.orders += len(inputs.orders)
        self.late_batches += inputs.late_batches
        late = [
            Late(each.slot, each.first, each.count)
            for each in inputs.refused
            if each.reason == Refusal.GATE_CLOSED.value
        ]
        self.late += late[: NOTED_MAX - len(self.late)]
        self.shed_offers += inputs.shed_offers
        for batch, offers in zip(inputs.batches, inputs.shed, strict=True):
            if offers and len(self.shed) < NOTED_MAX:
                self.shed.append(Shed(slot, batch.first, batch.count, offers))


class Rerun:
    """Plays a ledger's records in order, until its end or the first slot that is not the ledger's."""

    def __init__(
        self, ledger: LedgerFile, on_slot: Callable[[Inputs, Closed], None] = lambda *_: None
    ) -> None:
        """`on_slot` hears each slot that came out right."""
        self._ledger = ledger
        self._on_slot = on_slot
        self._player: Player | None = None
        self._previous: SlotRow | None = None
        self._sums = Sums(ledger)
        self._model: PriceModel | None = None  # of the slot that was played last
        self.outcome = Outcome()

    def run(self, told: Callable[[int], None] = lambda _slot: None) -> Outcome:
        """All of it. `told` hears of every slot that was passed. Raises LedgerDamagedError."""
        recorded = self._ledger.is_recorded()
        for row in self._ledger.rows(0):
            if finding := self._pass(row) if recorded else self._skip(row):
                self.outcome.finding = finding
                break
            self._previous = row
            told(row.slot)
        return self.outcome

    def _skip(self, row: SlotRow) -> Finding | None:
        """A slot that cannot be played: its detail is gone, or was never recorded."""
        (self.outcome.compacted if row.body is None else self.outcome.unrecorded).add(row.slot)
        if self._player is not None:
            self._sums.take(self._player.market.accounts)
            self._player = None
        try:
            self._sums.hear(row)
        except LedgerCorrupt as error:
            return Finding(row.slot, "ledger damaged", str(error))
        return None

    def _pass(self, row: SlotRow) -> Finding | None:
        record = self._ledger.record(row.slot)
        starts = self._ledger.starts(NO_SLOT if self._previous is None else self._previous.slot, row.slot - 1)
        if record is None:
            return self._skip(row)
        try:
            for start in starts:
                self._hear_start(start, row)
            if self._player is None:
                text = "there is a record, but those before it are gone, and no start stands between"
                return Finding(row.slot, "record missing", text)
            return self._play(self._player, row, record)
        except (StartCorrupt, InputsCorrupt) as error:
            return Finding(row.slot, "record damaged", str(error))
        except (NotReplayableError, UnbalancedError) as error:
            return Finding(row.slot, "differs", f"the market would not have taken this record: {error}")

    def _hear_start(self, start: TiedRow, row: SlotRow) -> None:
        """Begin there, or hold what has been played against it."""
        if start.digest != digest(self._hash_before(), start.body):
            raise StartCorrupt("its digest does not hold", 0)
        found = unpack_start(start.body)
        if (found.slot, found.hash) != (start.slot, self._hash_before()):
            raise StartCorrupt(f"it is not of the slot before {row.slot}", 0)
        if self._player is None:
            if difference := self._sums.difference(found.accounts):
                raise NotReplayableError(f"the start before it: {difference}")
            self._player = Player.begin(found)
            self.outcome.begun += 1
        elif self._player.standing().pack() != start.body:
            raise NotReplayableError(f"accounts or state after slot {start.slot} are not those that follow")

    def _hash_before(self) -> bytes:
        if self._previous is not None:
            return self._previous.hash
        return genesis(self._ledger.facts().scenario_hash or "")

    def _play(self, player: Player, row: SlotRow, record: TiedRow) -> Finding | None:
        intact = record.digest == digest(row.hash, record.body)
        needed = row.body if is_following(record.body) else None
        if needed is not None and chain(self._hash_before(), needed) != row.hash:
            return Finding(row.slot, "ledger damaged", "its hash does not follow from its body")
        try:
            inputs = player.read(record.body, needed)
            if inputs.world.slot != row.slot:
                raise InputsCorrupt(f"it is of slot {inputs.world.slot}", 0)
            closed = player.play(inputs)
        except (NotReplayableError, UnbalancedError, ValueError, TypeError, ArithmeticError) as error:
            if intact:
                raise
            raise InputsCorrupt(f"its digest does not hold; {error}", 0) from error
        if closed.hash != row.hash:
            how = "" if intact else " (the record was changed: its digest does not hold)"
            return Finding(row.slot, "differs", difference_of(closed, row) + how)
        if not intact:
            return Finding(
                row.slot, "record damaged", "its digest does not hold; the slot comes out the same"
            )
        if row.body is not None and row.body != closed.body:
            return Finding(row.slot, "ledger damaged", "the hash is right, but its body is not what it is of")
        if self._model not in {None, player.market.rules.price}:
            self.outcome.reloaded.add(row.slot)
        self._model = player.market.rules.price
        self.outcome.note(inputs, closed)
        self._on_slot(inputs, closed)
        return None
