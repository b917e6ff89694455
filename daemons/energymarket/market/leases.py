"""Who trades for which homes: a lease ties a contiguous range of homes to one connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Lease:
    """A range of homes and the connection that speaks for it."""

    first: int
    count: int
    peer: int
    uid: int
    name: str
    slot: int = -1  # the slot that the counter below is of
    orders: int = 0  # single orders in that slot

    @property
    def text(self) -> str:
        """The lease's name for people and logs."""
        return f"{self.first}-{self.first + self.count - 1}"


@dataclass(slots=True)
class Leases:
    """All leases; ranges never overlap."""

    homes: int
    by_first: dict[int, Lease] = field(default_factory=dict)
    joined: int = 0  # homes that are leased; a whole number, so that any thread may read it

    def __iter__(self) -> Iterator[Lease]:
        return iter(self.by_first.values())

    def conflict(self, first: int, count: int, peer: int) -> Lease | None:
        """A lease of another connection that overlaps with the range, or None."""
        for lease in self.by_first.values():
            apart = lease.first + lease.count <= first or first + count <= lease.first
            if not apart and lease.peer != peer:
                return lease
        return None

    def grant(self, lease: Lease) -> None:
        """Enter a lease; one of the same connection that overlaps with it goes."""
        for other in [o for o in self if o.peer == lease.peer]:
            apart = other.first + other.count <= lease.first or lease.first + lease.count <= other.first
            if not apart:
                del self.by_first[other.first]
        self.by_first[lease.first] = lease
        self._count()

    def release(self, peer: int) -> list[Lease]:
        """End every lease of a connection that is gone; the answer is what it held."""
        gone = [lease for lease in self if lease.peer == peer]
        for lease in gone:
            del self.by_first[lease.first]
        self._count()
        return gone

    def of_home(self, home: int, peer: int) -> Lease | None:
        """The connection's lease that holds the home, or None."""
        for lease in self.by_first.values():
            if lease.peer == peer and lease.first <= home < lease.first + lease.count:
                return lease
        return None

    def holds(self, first: int, count: int, peer: int) -> bool:
        """Whether the connection holds exactly this range."""
        lease = self.by_first.get(first)
        return lease is not None and lease.count == count and lease.peer == peer

    def _count(self) -> None:
        self.joined = sum(lease.count for lease in self)
