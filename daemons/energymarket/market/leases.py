"""Who trades for which homes: a lease ties a contiguous range of homes to one connection."""

from __future__ import annotations

from bisect import bisect_right, insort
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

    @property
    def text(self) -> str:
        """The lease's name for people and logs."""
        return f"{self.first}-{self.first + self.count - 1}"


@dataclass(slots=True)
class Leases:
    """All leases; ranges never overlap. A home's lease is found in the same time however many there are."""

    homes: int
    by_first: dict[int, Lease] = field(default_factory=dict)
    by_peer: dict[int, dict[int, Lease]] = field(default_factory=dict)
    joined: int = 0  # homes that are leased; a whole number, so that any thread may read it
    _firsts: list[int] = field(default_factory=list)  # ascending

    def __iter__(self) -> Iterator[Lease]:
        return iter(self.by_first.values())

    def _overlapping(self, first: int, count: int) -> list[Lease]:
        """The leases that have homes of a range, in order."""
        found = []
        at = max(0, bisect_right(self._firsts, first) - 1)
        while at < len(self._firsts) and self._firsts[at] < first + count:
            lease = self.by_first[self._firsts[at]]
            if first < lease.first + lease.count:
                found.append(lease)
            at += 1
        return found

    def conflict(self, first: int, count: int, peer: int) -> Lease | None:
        """A lease of another connection that overlaps with the range, or None."""
        return next((lease for lease in self._overlapping(first, count) if lease.peer != peer), None)

    def grant(self, lease: Lease) -> None:
        """Enter a lease; one of the same connection that overlaps with it goes."""
        for other in self._overlapping(lease.first, lease.count):
            self._drop(other)
        self.by_first[lease.first] = lease
        self.by_peer.setdefault(lease.peer, {})[lease.first] = lease
        insort(self._firsts, lease.first)
        self.joined += lease.count

    def release(self, peer: int) -> list[Lease]:
        """End every lease of a connection that is gone; the answer is what it held."""
        gone = list(self.by_peer.get(peer, {}).values())
        for lease in gone:
            self._drop(lease)
        return gone

    def _drop(self, lease: Lease) -> None:
        del self.by_first[lease.first]
        mine = self.by_peer[lease.peer]
        del mine[lease.first]
        if not mine:
            del self.by_peer[lease.peer]
        del self._firsts[bisect_right(self._firsts, lease.first) - 1]
        self.joined -= lease.count

    def of_home(self, home: int, peer: int) -> Lease | None:
        """The connection's lease that holds the home, or None."""
        return next((lease for lease in self._overlapping(home, 1) if lease.peer == peer), None)

    def holds(self, first: int, count: int, peer: int) -> bool:
        """Whether the connection holds exactly this range."""
        lease = self.by_first.get(first)
        return lease is not None and lease.count == count and lease.peer == peer
