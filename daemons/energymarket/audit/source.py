"""What the checker reads a ledger as: facts, compacted stretches, sealed slots, what only the file tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from energymarket.transport.store import OrderRow, SlotRow


class LedgerDamagedError(Exception):
    """The ledger cannot be read as one: what is wrong, and where."""


class LedgerMovedError(Exception):
    """The market compacted slots while they were read: read again."""

    def __init__(self, slot: int) -> None:
        super().__init__(f"slot {slot} has been compacted meanwhile")
        self.slot = slot


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for the whole ledger; None where the source does not tell."""

    homes: int | None = None
    scenario_hash: str | None = None
    genesis: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slots whose detail was compacted to sums per home."""

    first: int
    last: int
    body: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The accounts that a restart of the market would begin with."""

    slot: int
    body: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies in the file beside the slots; a live market does not show it."""

    checkpoints: tuple[Checkpoint, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """A ledger to read."""

    def facts(self) -> Facts:
        """What holds for the whole ledger."""

    def stretches(self) -> list[Stretch]:
        """Compacted stretches in order."""

    def rows(self, first: int) -> Iterator[SlotRow]:
        """Sealed slots from `first` on, in order."""

    def beside(self) -> Beside | None:
        """What else the file holds, or None."""
