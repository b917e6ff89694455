"""What the checker finds: each with a kind and a place, what was expected and what stands there."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.units import I64

KEPT_MAX: Final = 200
"""Findings that are kept word for word: the first tell what is wrong, the count tells how much."""

HOMES_SHOWN_MAX: Final = 5
"""Homes that one comparison names; the last of them says how many more there are."""


class Kind(StrEnum):
    """What is wrong."""

    DATABASE_DAMAGED = "database-damaged"  # the file, or the type of a field
    GENESIS_DIFFERS = "genesis-differs"  # the chain starts from another scenario
    CHAIN_BROKEN = "chain-broken"  # a body is not what was hashed
    SEAL_BROKEN = "seal-broken"  # a column beside the body was changed
    BODY_MALFORMED = "body-malformed"
    ROW_DIFFERS = "row-differs"  # the row shows another price than the body
    SLOT_MISSING = "slot-missing"
    DETAIL_MISSING = "detail-missing"  # neither a body nor a compacted stretch
    STRETCH_BROKEN = "stretch-broken"  # the sums of a compacted stretch are not what was hashed
    CHECKPOINT_DIFFERS = "checkpoint-differs"
    STATE_DIFFERS = "market-state-differs"  # what the market would go on from
    ENERGY_IMPOSSIBLE = "energy-impossible"  # below zero, or beyond any home
    METER_UNBALANCED = "meter-unbalanced"  # a home without battery whose registers do not add up
    CONTRACT_IMPOSSIBLE = "contract-impossible"  # more sold by orders, or at the gate, than sold in all
    OFFER_STATES = "offer-states"  # offers that ended in no state, or in two
    GIFTS_DIFFER = "gifts-differ"  # the list of gifts and the homes' columns
    GIFT_DOUBLED = "gift-doubled"
    GIFT_LOST = "gift-lost"
    ORDER_LOST = "order-lost"  # an order with a receipt that is not in its slot
    ORDER_WRONG = "order-wrong"
    BILL_WRONG = "bill-wrong"
    SHARING_WRONG = "sharing-wrong"  # a home's part is not that of the scenario's rule
    TOTALS_WRONG = "totals-wrong"
    ACCOUNTS_UNBALANCED = "accounts-unbalanced"
    PRICE_WRONG = "price-wrong"  # a term, their sum, inertia, floor or cap
    TARIFF_WRONG = "tariff-wrong"
    READING_LOST = "reading-lost"  # a register has more than the ledger
    READING_INVENTED = "reading-invented"  # the ledger has more than a register
    REGISTERS_DAMAGED = "registers-damaged"
    REGISTERS_FOREIGN = "registers-foreign"  # of another scenario
    REGISTERS_BACKWARDS = "registers-backwards"
    PHYSICS_UNBALANCED = "physics-unbalanced"  # energy made or lost within a home
    BATTERY_IMPOSSIBLE = "battery-impossible"  # content is not in − out − losses, or beyond its size


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. Energy in Wh, money in µ€, prices in µ€/kWh, as `account` ends."""

    kind: Kind
    text: str
    slot: int | None = None
    home: int | None = None
    account: str = ""
    expected: int | str | None = None
    found: int | str | None = None

    def line(self) -> str:
        """One line for a person."""
        place = [f"slot {self.slot}"] if self.slot is not None else []
        place += [f"home {self.home}"] if self.home is not None else []
        place += [self.account] if self.account else []
        values = "" if self.expected is None else f"; expected {self.expected}, found {self.found}"
        return f"{self.kind}: {', '.join(place)}{': ' if place else ''}{self.text}{values}"

    def document(self) -> dict[str, Any]:
        """For programs: members that say nothing are left out."""
        return {name: value for name, value in asdict(self).items() if value not in {None, ""}}


class Findings:
    """All findings of a check: the first word for word, all of them counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[Kind] = Counter()
        self.fresh: list[Finding] = []  # since they were last taken

    def __len__(self) -> int:
        return self.counts.total()

    def add(
        self,
        kind: Kind,
        text: str,
        *,
        slot: int | None = None,
        home: int | None = None,
        account: str = "",
        expected: int | str | None = None,
        found: int | str | None = None,
    ) -> None:
        """Note one finding."""
        self.counts[kind] += 1
        if len(self.kept) >= KEPT_MAX:
            return
        finding = Finding(kind, text, slot, home, account, expected, found)
        self.kept.append(finding)
        self.fresh.append(finding)

    def same(
        self, kind: Kind, text: str, expected: object, found: object, *, slot: int | None, account: str
    ) -> None:
        """Note a finding unless both numbers are the same."""
        if expected != found:
            here = found if isinstance(found, int | str) else repr(found)
            self.add(kind, text, slot=slot, account=account, expected=_plain(expected), found=here)

    def same_by_home(
        self, kind: Kind, text: str, home: I64, expected: I64, found: I64, *, slot: int | None, account: str
    ) -> None:
        """Note the homes whose two numbers differ: the first by name, the rest in number."""
        bad = np.flatnonzero(expected != found)
        for at in bad[:HOMES_SHOWN_MAX].tolist():
            self.add(
                kind,
                text,
                slot=slot,
                home=int(home[at]),
                account=account,
                expected=int(expected[at]),
                found=int(found[at]),
            )
        self._rest(kind, len(bad))

    def at_homes(
        self, kind: Kind, text: str, home: I64, bad: npt.NDArray[np.bool_], *, slot: int | None
    ) -> None:
        """Note the homes where something is bad."""
        found = home[bad]
        for each in found[:HOMES_SHOWN_MAX].tolist():
            self.add(kind, text, slot=slot, home=each)
        self._rest(kind, len(found))

    def _rest(self, kind: Kind, bad: int) -> None:
        if bad > HOMES_SHOWN_MAX:
            self.counts[kind] += bad - HOMES_SHOWN_MAX

    def take_fresh(self) -> list[Finding]:
        """What has been found since this was last asked."""
        fresh, self.fresh = self.fresh, []
        return fresh


def _plain(value: object) -> int | str:
    return value if isinstance(value, int | str) else repr(value)
