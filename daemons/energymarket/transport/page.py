"""Shared-memory pages: one writer, many readers, no lock that a dead writer could keep.

A reader copies a cell and then checks it: sequence before and after, parity, CRC. After a bounded
number of tries it answers None; it never spins on a writer that died in the middle.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import sysv_ipc

from energymarket.core.weather import LIMITS
from energymarket.exits import Exit
from energymarket.transport.resources import PAGES, Ipc, Kind, ResourceError, ResourcesMissingError
from energymarket.wire import board, cell, clock_page

if TYPE_CHECKING:
    from energymarket.core.weather import Sample
    from energymarket.wire.clock_page import ClockPage

READ_TRIES: Final = 100
"""A writer that lives is done within microseconds; a hundred tries outlast it."""

YIELD_EVERY: Final = 16
"""A writer that was put aside in the middle needs the processor: it is offered a few times only, because
on a busy machine each offer may cost milliseconds."""


class Reading(NamedTuple):
    """The weather as a reader finds it."""

    sample: Sample | None  # None: none was ever posted for this slot or an earlier one
    stale: bool  # made for an earlier slot, or its writer is silent


class _Cell:
    """One sealed cell in a mapped page."""

    __slots__ = ("_sequence", "_view", "seen")

    def __init__(self, page: memoryview, at: int, payload_bytes: int) -> None:
        self.seen = 0  # sequence of the payload that was read last
        self._view = page[at : at + cell.SEAL_BYTES + payload_bytes]
        self._sequence = page[at : at + cell.SEQUENCE.size].cast("Q")  # loads and stores 8 bytes at once

    def write(self, payload: bytes) -> None:
        """Replace the payload. A writer killed in here leaves an odd sequence, and the next one goes on."""
        sequence = (self._sequence[0] | 1) + 1
        sealed = cell.seal(sequence, payload)
        self._sequence[0] = sequence - 1
        self._view[cell.SEQUENCE.size :] = sealed
        self._sequence[0] = sequence

    def sequence(self) -> int:
        """Tell the sequence as of now."""
        return int(self._sequence[0])

    def read(self) -> bytes | None:
        """The payload, or None: never written, torn for ever, or overwritten faster than it is read."""
        for attempt in range(1, READ_TRIES + 1):
            before = self._sequence[0]
            if before == 0:
                return None
            if not before & 1:
                raw = self._view.tobytes()
                if self._sequence[0] == before:
                    payload = cell.unseal(raw)
                    if payload is not None:
                        self.seen = before
                        return payload
            if attempt % YIELD_EVERY == 0:
                os.sched_yield()
        return None

    def release(self) -> None:
        self._view.release()
        self._sequence.release()


class _Page:
    """An attached segment. Views are released before it is detached: a view left over would be a SIGSEGV."""

    __slots__ = ("_cells", "_shared", "view")

    def __init__(self, ipc: Ipc, kind: Kind, *, writable: bool) -> None:
        header, size = PAGES[kind]
        try:
            # By key, because a removed segment can still be attached by its id. Without the owner's
            # write bit sysv_ipc attaches read-only.
            self._shared = sysv_ipc.SharedMemory(ipc.key(kind), 0, 0o600 if writable else 0o400)
        except sysv_ipc.ExistentialError as error:
            raise ResourcesMissingError(f"the {kind} page is gone; attach to the run again") from error
        except sysv_ipc.PermissionsError as error:
            raise ResourceError(
                f"may not attach the {kind} page as uid {os.geteuid()}", code=Exit.PERMISSION
            ) from error
        self._cells: list[_Cell] = []
        whole = memoryview(self._shared)
        # sysv_ipc calls the memory writable even when it is mapped read-only: a store would be a SIGSEGV
        self.view = whole if writable else whole.toreadonly()
        found = cell.Header.unpack(bytes(whole[: cell.HEADER.size])) if len(whole) == size else None
        ours = cell.Header(header.magic, header.version, ipc.cookie)
        if found != ours or self._shared.id != ipc.object_id(kind):
            self.close()
            raise ResourceError(f"the {kind} page is not of this run; energy-ipc remove, then start again")

    def cell(self, at: int, payload_bytes: int) -> _Cell:
        made = _Cell(self.view, at, payload_bytes)
        self._cells.append(made)
        return made

    def close(self) -> None:
        """Let go of the memory. Twice is allowed."""
        if not self._shared.attached:
            return
        for each in self._cells:
            each.release()
        self.view.release()
        with contextlib.suppress(sysv_ipc.NotAttachedError):
            self._shared.detach()


class _Attached:
    """What the four ends of the pages have in common: they are closed."""

    def __init__(self, page: _Page) -> None:
        self._page = page

    def close(self) -> None:
        """Let go of the memory. Twice is allowed; reading or writing afterwards is a ValueError."""
        self._page.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClockWriter(_Attached):
    """The market's end of the clock page."""

    def __init__(self, ipc: Ipc) -> None:
        super().__init__(_Page(ipc, Kind.CLOCK, writable=True))
        self._cell = self._page.cell(cell.HEADER_BYTES, clock_page.LAYOUT.size)

    def write(self, page: ClockPage) -> None:
        """Publish market time."""
        self._cell.write(clock_page.pack(page))


class ClockReader(_Attached):
    """Everybody's end of the clock page."""

    def __init__(self, ipc: Ipc) -> None:
        super().__init__(_Page(ipc, Kind.CLOCK, writable=False))
        self._cell = self._page.cell(cell.HEADER_BYTES, clock_page.LAYOUT.size)
        self._last: ClockPage | None = None

    def read(self) -> ClockPage | None:
        """Market time as of now; None before the first writing and while a writing is cut short."""
        if self._last is not None and self._cell.sequence() == self._cell.seen:
            return self._last  # nothing was written since
        payload = self._cell.read()
        if payload is None:
            return None
        self._last = clock_page.unpack(payload)
        return self._last


class BoardWriter(_Attached):
    """The weather daemon's end of the board."""

    def __init__(self, ipc: Ipc) -> None:
        super().__init__(_Page(ipc, Kind.BOARD, writable=True))
        self._status = self._page.cell(board.STATUS_AT, board.STATUS.size)
        self._entries = _entries(self._page)
        payload = self._status.read()
        self._last_slot = -1 if payload is None else board.Status.unpack(payload).last_slot

    def post(self, sample: Sample, now_ns: int) -> None:
        """Post the weather of a slot (a WEATHER record), and a heartbeat."""
        slot = int(sample["slot"])
        self._entries[slot % board.SLOTS].write(board.pack(sample))
        self._last_slot = max(self._last_slot, slot)
        self.beat(now_ns)

    def beat(self, now_ns: int) -> None:
        """Say that the writer lives. CLOCK_BOOTTIME, at least once a second."""
        self._status.write(board.Status(now_ns, self._last_slot, os.getpid()).pack())


class BoardReader(_Attached):
    """Everybody's end of the board."""

    def __init__(self, ipc: Ipc) -> None:
        super().__init__(_Page(ipc, Kind.BOARD, writable=False))
        self._status = self._page.cell(board.STATUS_AT, board.STATUS.size)
        self._entries = _entries(self._page)

    def status(self) -> board.Status | None:
        """What the writer says about itself; None before its first word."""
        payload = self._status.read()
        return None if payload is None else board.Status.unpack(payload)

    def age_ns(self, now_ns: int) -> int:
        """Time since the writer's last heartbeat; beyond the bound if there never was one."""
        status = self.status()
        return board.STALE_AFTER_NS + 1 if status is None else now_ns - status.heartbeat_ns

    def sample(self, slot: int, now_ns: int) -> Reading:
        """The weather of a slot, or the latest before it, marked stale.

        Stale is also a sample whose writer has given no heartbeat for 2 s.
        """
        found = self._entry(slot)
        if found is None:
            return Reading(self._latest_before(slot), stale=True)
        # A heartbeat from the future is no better than an old one.
        return Reading(found, stale=abs(self.age_ns(now_ns)) > board.STALE_AFTER_NS)

    def _entry(self, slot: int) -> Sample | None:
        sample = _sample_in(self._entries[slot % board.SLOTS])
        return sample if sample is not None and int(sample["slot"]) == slot else None

    def _latest_before(self, slot: int) -> Sample | None:
        status = self.status()
        if status is not None and status.last_slot < slot:
            # The newer one is there if its writer died before it could say so.
            for newest in (min(status.last_slot + 1, slot - 1), status.last_slot):
                found = self._entry(newest)
                if found is not None:
                    return found
        return self._latest_of_all_before(slot)

    def _latest_of_all_before(self, slot: int) -> Sample | None:
        latest: Sample | None = None
        for entry in self._entries:
            sample = _sample_in(entry)
            if sample is None or int(sample["slot"]) >= slot:
                continue
            if latest is None or sample["slot"] > latest["slot"]:
                latest = sample
        return latest


def _sample_in(entry: _Cell) -> Sample | None:
    """What an entry holds; None also for weather that cannot be on Earth: it is not believed."""
    payload = entry.read()
    if payload is None:
        return None
    sample = board.unpack(payload)
    possible = all(low <= int(sample[name]) <= high for name, (low, high) in LIMITS.items())
    return sample if possible else None


def _entries(page: _Page) -> list[_Cell]:
    return [page.cell(board.entry_at(slot), board.ENTRY_PAYLOAD_BYTES) for slot in range(board.SLOTS)]
