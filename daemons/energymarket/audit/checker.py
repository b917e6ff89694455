"""The checker: hears a ledger slot by slot, then holds it against the homes' registers and physics."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.audit import bills, physics
from energymarket.audit.accounts import HOMES_MAX, READINGS, Accounts, Mask
from energymarket.audit.chain import Chain
from energymarket.audit.findings import Finding, Findings, Kind
from energymarket.audit.opened import Notes, Opened, notes_of, opened
from energymarket.audit.prices import Prices
from energymarket.audit.shares import Shares
from energymarket.core import ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from energymarket.audit.register_files import Registers
    from energymarket.audit.source import Beside, Checkpoint, Facts, Stretch
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import OrderRow, SlotRow


@dataclass(frozen=True, slots=True)
class Result:
    """What was checked, and what was found."""

    slots: int
    compacted: int
    first_slot: int | None
    last_slot: int | None
    hash: str
    homes: int
    homes_compared: int  # with their own registers
    homes_uncompared: int  # that have registers, but none of a slot that the ledger has of them
    totals: dict[str, int]  # of all slots, by name
    findings: list[Finding]
    findings_count: int
    notes: list[str]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.findings_count == 0

    def document(self) -> dict[str, Any]:
        """For programs."""
        names = [name for name in Result.__dataclass_fields__ if name != "findings"]
        found = {"type": "checked", "ok": self.ok} | {name: getattr(self, name) for name in names}
        return found | {"findings": [each.document() for each in self.findings]}


class Checker:
    """One pass over a ledger. With `chain_only` it looks at hashes and seals and opens nothing."""

    def __init__(
        self, facts: Facts, compiled: Compiled | None, *, keep_last: int = 0, chain_only: bool = False
    ) -> None:
        self.findings = Findings()
        self.compiled = compiled
        self._chain_only = chain_only
        self._chain = Chain(self.findings)
        self._prices = Prices(self.findings, compiled)
        self._shares = Shares(self.findings, compiled)
        scenario_hash = None if compiled is None else compiled.hash
        homes = facts.homes if compiled is None else compiled.homes_count
        self.accounts = Accounts(homes or 0, keep_last)
        self.totals: Counter[str] = Counter()
        self._slots = 0
        self._stretches: dict[int, Stretch] = {}
        self._covered: list[range] = []
        self._stretch_totals: Counter[str] = Counter()  # of the slots since a stretch began, from their rows
        self._checkpoints: dict[int, Checkpoint] = {}
        self._orders: dict[int, list[OrderRow]] = {}
        self._with_registers: Mask = np.zeros(0, np.bool_)  # by home, whatever files it has shared
        self._last_row: SlotRow | None = None
        self._chain.begin(facts, scenario_hash)

    # before the slots

    def begin(self, stretches: Iterable[Stretch], beside: Beside | None, wanted: Iterable[int] = ()) -> None:
        """What lies beside the slots, and the slots of which registers are at hand."""
        self._stretches = {each.last: each for each in stretches}
        if self._stretches:
            self._shares.pass_over()  # what lies before them has no detail
        self._covered = [range(each.first, each.last + 1) for each in self._stretches.values()]
        self.accounts.want(wanted)
        if beside is not None and not self._chain_only:
            for order in beside.orders:
                self._orders.setdefault(order.slot, []).append(order)
        if beside is not None:
            self._checkpoints = {each.slot: each for each in beside.checkpoints}

    # the slots

    def hear(self, row: SlotRow) -> Opened | None:
        """One sealed slot, in order; the answer is its detail, if it has one that could be read."""
        self._chain.hear(row)
        self._slots += 1
        self._last_row = row
        notes = notes_of(row, self.findings)
        slot = None
        if row.body is None:
            self._hear_compacted(row, notes)
        elif notes is not None and not self._chain_only:
            slot = opened(row, row.body, notes, self.findings)
        if notes is not None:
            self.totals.update(notes.totals)
        if slot is None:
            self._prices.pass_over(row, notes)
            self._shares.pass_over()
        else:
            self._check(slot)
        self._check_checkpoint(row)
        return slot

    def _check(self, slot: Opened) -> None:
        bills.check(slot, self.findings)
        self._prices.check(slot)
        self._shares.check(slot)
        if self.compiled is not None:
            physics.check_meters(slot, self.compiled, self.findings)
        self._check_orders(slot)
        self.accounts.add(slot.slot, slot.columns, slot.notes.in_batches(slot.home))

    def _hear_compacted(self, row: SlotRow, notes: Notes | None) -> None:
        if not any(row.slot in each for each in self._covered):
            self.findings.add(
                Kind.DETAIL_MISSING, "its body is gone, and no compacted stretch covers it", slot=row.slot
            )
        if notes is not None:
            self._stretch_totals.update(notes.totals)
            bills.check_accounts(row.slot, notes.totals, self.findings)
        stretch = self._stretches.get(row.slot)
        if stretch is None:
            return
        self._chain.tie_stretch(stretch, row.hash)
        if not self._chain_only:
            self._add_stretch(stretch, notes)
        self._stretch_totals = Counter()

    def _add_stretch(self, stretch: Stretch, notes: Notes | None) -> None:
        """The sums per home of a compacted stretch against the totals of its slots, which are sealed."""
        try:
            _, columns, _, _ = ledger.unpack(stretch.body)
        except ledger.LedgerCorrupt as error:
            self.findings.add(Kind.STRETCH_BROKEN, str(error), slot=stretch.last)
            return
        names = {name: name for name in columns if name not in {"home", "given_wh", "money_ueur"}}
        names |= {"given_wh": "taken_wh", "money_ueur": "homes_money_ueur"}
        for name, total in names.items():
            self.findings.same(
                Kind.STRETCH_BROKEN,
                "the sums per home are not the totals of the slots",
                self._stretch_totals[total],
                bills.exact_sum(columns[name]),
                slot=stretch.last,
                account=name,
            )
        home = columns["home"]
        in_batch = np.zeros(len(home), np.bool_) if notes is None else notes.in_batches(home)
        self.accounts.add(stretch.last, columns, in_batch, stretch=True)

    def _check_orders(self, slot: Opened) -> None:
        """Every order that got a receipt is in its slot, as it was acknowledged."""
        acknowledged = self._orders.pop(slot.slot, [])
        columns = (slot.orders[name].tolist() for name in ("home", "energy_wh", "total_ueur"))
        booked = Counter(zip(*columns, strict=True))
        for order in acknowledged:
            key = (order.home, order.energy_wh, order.total_ueur)
            if not booked[key]:
                self.findings.add(
                    Kind.ORDER_LOST,
                    f"receipt {order.receipt} of {order.energy_wh} Wh is not in its slot",
                    slot=slot.slot,
                    home=order.home,
                    account="total_ueur",
                    expected=order.total_ueur,
                    found=0,
                )
            booked[key] -= 1
            if order.price_ueur_per_kwh != slot.head.price_ueur_per_kwh:
                self.findings.add(
                    Kind.ORDER_WRONG,
                    f"receipt {order.receipt} has another price",
                    slot=slot.slot,
                    home=order.home,
                    account="price_ueur_per_kwh",
                    expected=slot.head.price_ueur_per_kwh,
                    found=order.price_ueur_per_kwh,
                )

    def _check_checkpoint(self, row: SlotRow) -> None:
        """The accounts that a restart begins with are the sums of the slots."""
        checkpoint = self._checkpoints.pop(row.slot, None)
        if checkpoint is None:
            return
        self._chain.tie_checkpoint(checkpoint, row.hash)
        count = self.accounts.homes
        if self._chain_only or self._is_inside_stretch(row.slot):
            return
        if len(checkpoint.body) != 6 * 8 * count:
            self.findings.add(
                Kind.CHECKPOINT_DIFFERS,
                "of another number of homes",
                slot=row.slot,
                expected=6 * 8 * count,
                found=len(checkpoint.body),
            )
            return
        columns = np.frombuffer(checkpoint.body, "<i8").reshape(6, count)
        home: I64 = np.arange(1, count + 1, dtype=np.int64)
        for name, column in zip((*READINGS.values(), "money_ueur"), columns, strict=False):
            self.findings.same_by_home(
                Kind.CHECKPOINT_DIFFERS,
                "the accounts are not the sums of the slots",
                home,
                self.accounts.sums[name],
                column.astype(np.int64),
                slot=row.slot,
                account=name,
            )

    def _is_inside_stretch(self, slot: int) -> bool:
        return any(each.start <= slot < each.stop - 1 for each in self._covered)

    # after the slots

    def end(self, beside: Beside | None) -> None:
        """What must hold once all slots have been heard."""
        last = self._chain.last
        for slot in sorted(self._checkpoints):
            text = "a checkpoint of a slot that the ledger has not"
            self.findings.add(Kind.CHECKPOINT_DIFFERS, text, slot=slot)
        for each in self._stretches.values():
            if self._chain.first is None or each.first < self._chain.first or each.last > (last or 0):
                self.findings.add(Kind.SLOT_MISSING, "a compacted stretch beyond the ledger", slot=each.last)
        if beside is not None and "state" in beside.meta and not self._chain_only:
            self._check_state(beside.meta["state"])

    def _check_state(self, text: str) -> None:
        row = self._last_row
        try:
            state = json.loads(text)
            found = {
                name: state[name] for name in ("slot", "price_ueur_per_kwh", "consumed_wh", "produced_wh")
            }
        except (ValueError, KeyError, TypeError):
            self.findings.add(Kind.STATE_DIFFERS, "what the market would go on from cannot be read")
            return
        notes = None if row is None else notes_of(row, Findings())
        if row is None or notes is None:
            return
        expected = {"slot": row.slot, "price_ueur_per_kwh": row.price_ueur_per_kwh} | {
            name: notes.totals.get(name) for name in ("consumed_wh", "produced_wh")
        }
        for name, value in found.items():
            self.findings.same(
                Kind.STATE_DIFFERS,
                "the market would go on from another",
                expected[name],
                value,
                slot=row.slot,
                account=name,
            )

    def hold(self, registers: Iterable[Registers]) -> None:
        """The homes' own registers, the older of a file first."""
        before: Registers | None = None
        for each in registers:
            physics.check_state(each, self.compiled, self.findings)
            if before is not None and before.path == each.path:
                physics.check_pair(before, each, self.findings)
            self.accounts.compare(each, self.findings)
            self._mark(each)
            before = each

    def _mark(self, registers: Registers) -> None:
        last = min(int(registers.home[-1]), HOMES_MAX)
        more = np.zeros(max(0, last - len(self._with_registers)), np.bool_)
        self._with_registers = np.append(self._with_registers, more)
        self._with_registers[registers.first - 1 : last] = True

    def result(self) -> Result:
        """What there is to say so far."""
        compared = int(np.count_nonzero(self.accounts.compared))
        with_registers = int(np.count_nonzero(self._with_registers))
        notes = []
        if self.compiled is None and not self._chain_only:
            notes.append("no compiled scenario: tariff, floor, cap, factors and batteries were not checked")
        if not with_registers and not self._chain_only:
            notes.append("no registers: nothing was held against what the homes measured")
        return Result(
            slots=self._slots,
            compacted=self._chain.compacted,
            first_slot=self._chain.first,
            last_slot=self._chain.last,
            hash=self._chain.hash,
            homes=self.accounts.homes,
            homes_compared=compared,
            homes_uncompared=max(0, with_registers - compared),
            totals=dict(self.totals),
            findings=list(self.findings.kept),
            findings_count=len(self.findings),
            notes=notes,
        )
