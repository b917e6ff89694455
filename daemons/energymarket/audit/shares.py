"""The sharing rule, computed anew from a slot's columns: who was to give, get, sell and buy how much.

Gifts over the queue depend on who came first, and cannot be computed; every other rule can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.audit.findings import Findings, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.audit.opened import Opened
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled

GIFT_PARTS_MAX: Final = 65_536
"""Parts of a gift that have a name: in a larger community a gift may end before all have had theirs."""

_FIT: Final = 1 << 62


def parts(total: int, weights: I64) -> I64:
    """A total by weights: differences of the running shares, each rounded down."""
    running = np.cumsum(weights)
    whole = int(running[-1]) if len(running) else 0
    if whole == 0:
        return np.zeros(len(weights), np.int64)
    if total * whole < _FIT:
        marks = running * total // whole
    else:
        marks = np.array([total * each // whole for each in running.tolist()], np.int64)
    shares: I64 = np.diff(marks, prepend=0)
    return shares


def levelled(total: int, needs: I64) -> I64:
    """What each gets when the greatest remaining lack is served first, a watt-hour at a time."""
    low, high = 0, int(needs.max(initial=0))
    while low < high:  # the lowest level down to which the total reaches for all
        middle = (low + high) // 2
        if int(np.maximum(needs - middle, 0).sum()) <= total:
            high = middle
        else:
            low = middle + 1
    got: I64 = np.maximum(needs - low, 0)
    if low > 0:
        first = np.flatnonzero(needs >= low)[: total - int(got.sum())]
        got[first] += 1
    return got


class Shares:
    """Hears slots in order: whether a reading is of one slot only depends on the one before."""

    def __init__(self, findings: Findings, compiled: Compiled | None) -> None:
        self._findings = findings
        self._rule = None if compiled is None else str(compiled.sharing.rule)
        self._weights = np.zeros(0, np.int64)
        if compiled is not None:
            given = compiled.key_weights()
            self._weights = np.ones(compiled.homes_count, np.int64) if given is None else given
        self._before: I64 | None = None  # homes whose meters were read in the slot before
        self._began = False  # a slot has been heard; the first one of a ledger is read whole

    def pass_over(self) -> None:
        """A slot without detail: who was in it is not known."""
        self._began, self._before = True, None

    def check(self, slot: Opened) -> None:
        """One slot."""
        home = slot.home
        if self._rule in {"pro_rata", "need_first"}:
            self._check_gifts(slot)
        elif self._rule not in {None, "queue"} and (read := self._read(home)) is not None:
            self._check_allocation(slot, read)
        self._began, self._before = True, home[slot.notes.in_batches(home)]

    def _read(self, home: I64) -> npt.NDArray[np.bool_] | None:
        """Whose reading is of this slot alone; None where nobody can tell."""
        if self._before is not None:
            return np.isin(home, self._before)
        return None if self._began else np.ones(len(home), np.bool_)

    def _same(self, slot: Opened, text: str, expected: I64, account: str) -> None:
        found = _by_batch(slot)[account]
        self._findings.same_by_home(
            Kind.SHARING_WRONG, text, slot.home, expected, found, slot=slot.slot, account=account
        )

    def _check_gifts(self, slot: Opened) -> None:
        columns = slot.columns
        if len(columns["home"]) > GIFT_PARTS_MAX:
            return
        offered = columns["given_wh"] + columns["rest_sold_wh"] + columns["expired_wh"]
        needs = columns["received_wh"] + _by_batch(slot)["bought_wh"]
        total = min(int(offered.sum()), int(needs.sum()))
        received = parts(total, needs) if self._rule == "pro_rata" else levelled(total, needs)
        text = f"not its part under {self._rule}"
        self._same(slot, text, parts(total, offered), "given_wh")
        self._same(slot, text, received, "received_wh")
        self._same(slot, "taken back, but there is no queue", np.zeros_like(offered), "returned_wh")

    def _check_allocation(self, slot: Opened, read: npt.NDArray[np.bool_]) -> None:
        metered = slot.columns["exported_wh"] - slot.columns["imported_wh"]
        ordered, _ = slot.sum_by_home(slot.orders["home"], slot.orders["energy_wh"])
        left = np.where(read, metered - ordered, 0)
        generation = np.where(metered > 0, np.maximum(left, 0), 0)
        demand = np.where(metered < 0, np.maximum(-left, 0), 0)
        bought = np.zeros_like(demand)
        if self._rule == "static_key":
            bought = np.minimum(self._static(slot.home, int(generation.sum())), demand)
        elif self._rule != "grid_only":
            bought = parts(min(int(generation.sum()), int(demand.sum())), demand)
        text = f"not its part under {self._rule}"
        self._same(slot, text, bought, "bought_wh")
        self._same(slot, text, parts(int(bought.sum()), generation), "sold_wh")
        for name in ("given_wh", "received_wh", "expired_wh", "rest_sold_wh"):
            self._same(slot, f"gifts under {self._rule}", np.zeros_like(bought), name)

    def _static(self, home: I64, generation: int) -> I64:
        """The fixed part of each row's home: those without a row have theirs too, and leave it."""
        shares: I64 = parts(generation, self._weights)[home - 1]
        return shares


def _by_batch(slot: Opened) -> dict[str, I64]:
    """The columns without what single orders have sold and bought."""
    energy = slot.orders["energy_wh"]
    sold, _ = slot.sum_by_home(slot.orders["home"], np.maximum(energy, 0))
    bought, _ = slot.sum_by_home(slot.orders["home"], np.maximum(-energy, 0))
    columns = slot.columns
    return {**columns, "sold_wh": columns["sold_wh"] - sold, "bought_wh": columns["bought_wh"] - bought}
