"""A run: from a compiled scenario to its ledger, its homes' registers and its figures, in legs.

Between two legs everything is at rest and made durable: first a checkpoint of the homes, then the
ledger's transaction, which decides. A run that is killed goes on from there, to the same ledger. At the end
registers and result take the place of a checkpoint: they are durable before the ledger's last transaction.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from energymarket.core import ledger
from energymarket.core.events import book_from_dict
from energymarket.core.fleet import begin
from energymarket.core.heard import Heard
from energymarket.core.market import Accounts
from energymarket.core.settlement import Readings
from energymarket.core.state import State
from energymarket.core.totals import TOTALS
from energymarket.engine import checkpoint as checkpoints
from energymarket.engine import singly
from energymarket.engine.afar import Afar
from energymarket.engine.books import Books
from energymarket.engine.cluster import RayCluster
from energymarket.engine.digest import BODY_BYTES, BODY_BYTES_PER_HOME, DETAIL_SHARE, detail_from
from energymarket.engine.embedded import Embedded
from energymarket.engine.local import Local
from energymarket.engine.measures import Measures
from energymarket.engine.settling import Settler
from energymarket.engine.source import slots_at_once
from energymarket.engine.track import Track, market_of
from energymarket.exits import ConfigError, Exit, Failure
from energymarket.market.retention import Retention
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.transport.area_file import AreaFile
from energymarket.transport.bulk_store import BulkStore
from energymarket.transport.store import ForeignLedgerError, StoreError
from energymarket.wire.state_file import Shape, checksum

if TYPE_CHECKING:
    from energymarket.engine.checkpoint import Checkpoint, Part
    from energymarket.engine.settling import Settled
    from energymarket.engine.source import Rest, Source
    from energymarket.scenario.compiled import Compiled

LEG_NS: Final = 2_000_000_000
"""How much work a checkpoint may cost when a run dies: two seconds; more where checkpoints are dear."""

CHECKPOINT_PART: Final = 20
"""Of the time between two checkpoints, at most one part in so many is spent on the checkpoint itself."""

MANY_HOMES: Final = 50_000
FIRST_LEG_SLOTS: Final = 96
"""So many homes' checkpoint costs as much as five of their slots: the first one is not made sooner."""

LEG_PART: Final = 4
"""Of the disk that the ledger may take, a leg's detail takes one part in so many: then room is made.

More only of what detail may take and has not taken yet."""

Told: TypeAlias = Callable[[int, int], None]
"""Told how many slots are done, of how many."""


def quiet(_done: int, _total: int) -> None:
    """Nobody asked."""


Noted: TypeAlias = Callable[[str], None]
"""Told in a sentence of what happens to a run beside its slots: who plays it, who was lost."""


def unnoted(_sentence: str) -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how."""

    compiled: Compiled
    slots: int
    directory: Path  # of the run's state: laid out like a live one's
    engine: str = "embedded"
    shards: int = 1
    workers: int = 1
    address: str | None = None  # of the Ray cluster that plays it; None: one of this machine alone
    compares: bool = False  # what homes would pay under every sharing rule
    disk_max_bytes: int = 2 << 30


@dataclass(slots=True)
class Sums:
    """What a run has added up to."""

    slots: int = 0
    totals: dict[str, int] = field(default_factory=dict)

    def add(self, settled: Settled) -> None:
        """Settled slots."""
        self.slots += len(settled.totals)
        rows = [tuple(each.by_name().values()) for each in settled.totals]
        for name, values in zip(TOTALS, zip(*rows, strict=True), strict=True):
            self.totals[name] = self.totals.get(name, 0) + sum(values)


class Run:
    """A run that is open: homes in memory, ledger on the disk."""

    def __init__(self, plan: Plan, *, resume: bool) -> None:
        self.plan = plan
        self.sums = Sums()
        self.account: dict[str, Any] = {}  # of how it was played
        self._found: dict[str, Any] = {}  # indicators, once all is played
        self.next_slot = plan.compiled.period.first_slot
        self.end_slot = self.next_slot + plan.slots
        homes = plan.compiled.homes_count
        shape = Shape(1, homes, State.size_bytes(homes), bytes.fromhex(plan.compiled.hash))
        self._area = memoryview(mmap.mmap(-1, shape.area_bytes))  # workers share it, and a kill frees it
        self._memory = self._area[: shape.payload_bytes]
        self.state = State(self._memory, homes)
        self._store = BulkStore(plan.directory / "market" / "ledger.db")
        self._accounts = Accounts.fresh(homes)
        self._measures = self._measuring()
        self._market = market_of(plan.compiled, homes=0)
        chain_hash = self._open(resume=resume)
        retention = Retention(plan.disk_max_bytes, max(1, 86_400 // plan.compiled.period.slot_s))
        first, last = plan.compiled.period.first_slot, self._store.last_slot()
        row = None if last is None else self._store.slot(last)
        begun = row is not None and row.body is not None  # detail that has begun goes on
        self._books = Books(
            self._store,
            retention,
            chain_hash,
            self._market.contributions,
            homes=homes,
            rule=plan.compiled.sharing.rule,
            detail_from=first if begun else detail_from(first, self.end_slot, homes, plan.disk_max_bytes),
        )
        self._settler: Settler | singly.SingleSettler = Settler(plan.compiled)
        if singly.needed_by(plan.compiled):
            registers = {name: self.state.column(name) for name in singly.METERS}
            self._settler = singly.SingleSettler(plan.compiled, self._accounts, registers)

    # opening

    def _open(self, *, resume: bool) -> bytes:
        """Open the ledger, and go on from its last slot if it has one; the chain's last hash."""
        compiled, directory = self.plan.compiled, self.plan.directory
        genesis = ledger.genesis(compiled.hash)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._store.open(scenario_hash=compiled.hash, genesis=genesis, homes=compiled.homes_count)
            last = self._store.last_slot()
            row = None if last is None else self._store.slot(last)
        except (StoreError, ForeignLedgerError) as error:
            raise _refused(error) from error
        if row is None:
            checkpoints.keep_only(directory, -1)
            begin(compiled.homes, self.state)
            return genesis
        if not resume:
            raise ConfigError(f"{directory} holds a run already", "--resume goes on with it")
        if row.slot >= self.end_slot:
            done = row.slot + 1 - compiled.period.first_slot
            what = (
                f"the unfinished run in {directory} has {done} slots already, not {self.plan.slots} at most"
            )
            raise ConfigError(what, "--for names as many or more; without --resume it is begun anew")
        self._take_up(checkpoints.read(directory, row.slot), row.hash)
        return row.hash

    def _take_up(self, found: Checkpoint, chain_hash: bytes) -> None:
        facts, parts = found.facts, found.parts
        self._memory[:] = parts["homes"]
        self._take_up_accounts(found)
        self._market.resume(facts["market"], chain_hash)
        self._market.book = book_from_dict(json.loads(facts["events"]))
        self.sums = Sums(**facts["sums"])
        try:
            self._measures = self._measuring(parts)
        except (ValueError, KeyError) as error:
            what = f"{self.plan.directory}: the checkpoint lacks what this run measures ({error})"
            raise ConfigError(what, "without --resume the run begins anew") from error
        self.next_slot = found.slot + 1

    def _measuring(self, parts: Mapping[str, bytes | memoryview] | None = None) -> Measures:
        """Where all homes are honest and on time, the ledger says what their meters say."""
        compiled = self.plan.compiled
        metered = not singly.needed_by(compiled)
        return Measures(compiled, parts, compares=self.plan.compares, metered=metered)

    def _take_up_accounts(self, found: Checkpoint) -> None:
        """What the ledger adds up to: where all homes hand in, meters are read from the homes' state."""
        if "accounts" in found.parts:
            self._accounts = Accounts.unpack(bytes(found.parts["accounts"]), self.plan.compiled.homes_count)
        else:
            self._accounts.balance_ueur[:] = np.frombuffer(found.parts["balances"], "<i8")

    # running

    def go(
        self,
        told: Told = quiet,
        stopping: Callable[[], bool] = lambda: False,
        noted: Noted = unnoted,
        leave: Callable[[], None] | None = None,
    ) -> None:
        """Play until the end, or until asked to stop; what was played is durable then. Failure if not.

        `leave` leaves the result, durably. It is asked for it when the registers are left and, at the end,
        when nothing but the ledger's last slots is missing. Without it, registers are left by
        `write_registers`, and the end has a checkpoint.
        """
        try:
            rest = self._play(told, stopping, noted)
            with _on_disk(self.plan.directory):
                if rest is not None:
                    self._end(rest, leave)
                elif leave is not None:
                    self.write_registers()
                    leave()
        except StoreError as error:
            raise _refused(error) from error

    def _play(self, told: Told, stopping: Callable[[], bool], noted: Noted) -> Rest | None:
        """Play leg after leg and save each but the one that ends the run: what a market goes on from then."""
        source = self._source(noted)
        homes = self.plan.compiled.homes_count
        leg_slots = FIRST_LEG_SLOTS if homes >= MANY_HOMES else 2 * slots_at_once(homes)
        try:
            while self.next_slot < self.end_slot and not stopping():
                began_ns = boottime_ns()
                leg_slots = min(leg_slots, self._room_slots())
                slots = range(self.next_slot, min(self.next_slot + leg_slots, self.end_slot))
                for settled in source.leg(slots):
                    self._enter(settled)
                    told(self.sums.slots, self.plan.slots)
                played_ns = boottime_ns() - began_ns
                rest = source.rest()
                self._measures.read(self.state)
                if self.next_slot == self.end_slot:
                    self.account = source.account()
                    return rest
                self._save(rest)
                saved_ns = boottime_ns() - began_ns - played_ns
                wanted_ns = max(LEG_NS, CHECKPOINT_PART * saved_ns)
                leg_slots = max(1, min(4 * leg_slots, len(slots) * wanted_ns // max(played_ns, 1)))
            self.account = source.account()
            return None
        finally:
            source.close()

    def _end(self, rest: Rest, leave: Callable[[], None] | None) -> None:
        """Save, and meanwhile find out what it has come to: that needs no register of gifts.

        Whoever is killed before the ledger's last transaction goes on from the checkpoint before; after it,
        the result is there.
        """
        memory.give_back()  # what slots were played in
        with ThreadPoolExecutor(2) as beside:
            found = beside.submit(self._measures.document, self.state)
            if leave is None:
                self._save(rest)
            else:
                self._bring_up_to_date()
                left = beside.submit(self.write_registers)
                self._books.close(self.next_slot - 1, rest, self._accounts)
                left.result()
            self._found = found.result()
        if leave is not None:
            leave()
            self._books.commit()
        memory.give_back()

    def _room_slots(self) -> int:
        """Slots of a leg whose detail takes no more of the disk than it may; those without any are free."""
        a_slot_bytes = BODY_BYTES + BODY_BYTES_PER_HOME * self.plan.compiled.homes_count
        free = max(0, self._books.detail_from - self.next_slot)
        lying = max(0, self.next_slot - self._books.detail_from)  # slots with their detail
        unused = int(DETAIL_SHARE * self.plan.disk_max_bytes) // a_slot_bytes - lying
        return free + max(1, unused, self.plan.disk_max_bytes // LEG_PART // a_slot_bytes)

    def _source(self, noted: Noted) -> Source:
        plan = self.plan
        track = Track(plan.compiled, self._market)
        if plan.engine == "local" and isinstance(self._settler, Settler):
            return Local(
                plan.compiled, self.state, track, self._settler, shards=plan.shards, workers=plan.workers
            )
        if plan.engine == "ray":
            return Afar(
                plan.compiled,
                self.state,
                track,
                self._settler,
                RayCluster(plan.address, plan.shards or None),
                shards=plan.shards or None,
                workers=plan.workers,
                noted=noted,
            )
        return Embedded(plan.compiled, self.state, track, self._settler, plan.shards)

    def _enter(self, settled: Settled) -> None:
        self._books.enter(settled)
        self.sums.add(settled)
        self._measures.add(settled.passage)
        self._books.settle()
        self.next_slot = settled.openings[-1].slot + 1

    def _save(self, rest: Rest) -> None:
        """Make everything up to now durable: checkpoint, then ledger."""
        last = self.next_slot - 1
        self._bring_up_to_date()
        facts = {
            "market": rest.state,
            "events": rest.events,
            "sums": {"slots": self.sums.slots, "totals": self.sums.totals},
        }
        parts: dict[str, Part] = {"homes": [self._memory], **self._measures.parts()}
        if isinstance(self._settler, Settler):
            parts["balances"] = [self._accounts.balance_ueur.astype("<i8").data.cast("B")]
        else:
            parts["accounts"] = [self._accounts.pack()]
        with _on_disk(self.plan.directory):
            checkpoints.write(self.plan.directory, last, facts, parts)
        self._books.close(last, rest, self._accounts)
        self._books.commit()
        checkpoints.keep_only(self.plan.directory, last)

    def _bring_up_to_date(self) -> None:
        """Registers of gifts, and accounts: nobody needs them while slots are played."""
        self.state.given_wh[:] = self._measures.sum_of("given_wh")
        self.state.received_wh[:] = self._measures.sum_of("received_wh")
        if isinstance(self._settler, Settler):
            read = (self.state.column(name) for name in singly.METERS)
            self._accounts.balance_ueur[:] = self._measures.sum_of("money_ueur")
            self._accounts.readings = Readings(*read)  # as they stand: nobody plays while they are written
            self._accounts.heard = Heard(self.plan.compiled.homes_count, self.next_slot - 1)
        else:
            self._accounts = self._settler.accounts

    # the end

    @property
    def hash(self) -> bytes:
        """The chain's hash after the last slot."""
        return self._books.hash

    def indicators(self) -> dict[str, Any]:
        """`energy`, `money` and `kpi` of what was played."""
        return self._found or self._measures.document(self.state)

    def write_registers(self) -> None:
        """Leave the homes' registers as a live pool leaves them: for the checker, or a market to go on."""
        homes, compiled = self.plan.compiled.homes_count, self.plan.compiled
        directory = self.plan.directory / "homes"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"shard-1-{homes}.state"
        with AreaFile(path, 1, homes, len(self._memory), bytes.fromhex(compiled.hash)) as file:
            file.put(self._area, self.next_slot - 1, edition=1, sums=checksum(self._area))
            file.flush()

    def close(self) -> None:
        """Close the ledger."""
        self._store.close()


@contextmanager
def _on_disk(directory: Path) -> Iterator[None]:
    """A disk that refuses is a Failure."""
    try:
        yield
    except OSError as error:
        raise Failure(
            f"{directory} cannot be written: {error.strerror or error}",
            "make room; --resume goes on from the last checkpoint",
            Exit.IO_ERROR,
        ) from error


def _refused(error: Exception) -> Failure:
    if isinstance(error, ForeignLedgerError):
        return ConfigError(str(error), "another --out, or the scenario that the run was begun with")
    return Failure(
        f"the ledger cannot be written: {error}", "--resume goes on from the last checkpoint", Exit.IO_ERROR
    )
