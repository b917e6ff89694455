"""What a range of homes remembers: the present state, and the one that a restart would go on from.

The file has two areas. One holds the state of the last slot that the ledger has a batch of; it is not
touched until the ledger has a later one. The present state is in memory (see `home.block_states`), and in the
other area once it is written, where it is another. Where the market did not hear of a slot (late batch,
market down), the homes have lived through it all the same, and the next batch carries the gap.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from energymarket.core.limits import ENERGY_WH_MAX
from energymarket.core.state import NARROW_WH_MAX, Layout
from energymarket.home.block_states import BlockStates, Gifts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from energymarket.core.block import Column
    from energymarket.core.fleet import Fleet, Net
    from energymarket.core.state import Work
    from energymarket.core.weather import Sample
    from energymarket.transport.area_file import AreaFile

CATCH_UP_SLOTS_MAX = 400_000
"""Longest absence that is lived through slot by slot: eleven years of quarter-hours."""


GROWTH_WH_MAX: Final = 2 * ENERGY_WH_MAX
"""What a register can grow by in a slot: full power, and as much again of what was put off before."""


class Books:
    """The state of one range of homes."""

    def __init__(self, path: Path, fleet: Fleet, identity: bytes) -> None:
        self._fleet = fleet
        self._states = BlockStates(path, fleet, identity)
        self._gifts: Gifts | None = None  # of receipts that the present state does not have yet
        self._room_slots = 0  # for so many slots no register outgrows its width, whatever the homes do
        self.slot: int | None = None  # of the present state; None: nothing has happened yet
        self._settled = -1  # last slot whose receipt has been added to the registers of gifts
        self._is_written = False  # whether the present state was handed to the disk
        self._flusher = ThreadPoolExecutor(1, "flush")  # writes and waits for the disk, and changes nothing
        self._flush: Future[None] | None = None

    def close(self) -> None:
        """Give the file back."""
        self.slot = None
        self._flusher.shutdown()
        self._states.file.close()

    def fresh(self, slot: int) -> None:
        """Homes as the scenario makes them, at the end of a slot."""
        self._await_disk()
        self._states.fresh()
        self._gifts = None
        self._is_written = False
        self._room_slots = 0
        self.slot = slot

    def begin(self, slot: int, since: int) -> None:
        """Homes of which the ledger has no batch yet, at the end of a slot. Raises GenerationError.

        What they have lived through since the ledger's first slot stands, though nobody has heard of it: an
        earlier life may have died before its first batch was settled, and registers never jump.
        """
        lived = [each for each in self._file().slots() if since <= each <= slot]
        if lived:
            self.resume(max(lived))
        else:
            self.fresh(slot)

    def resume(self, slot: int) -> None:
        """Go on from the state of the last slot that the ledger has a batch of. Raises GenerationError."""
        if self.slot is not None and self.slot >= slot and self._file().holds(slot):
            self._file().keep(slot)
            return  # the market came back, not we: the homes have lived on
        self.go_back(slot)

    def go_back(self, slot: int) -> None:
        """Load the state of a slot; whatever was lived since is forgotten. Raises GenerationError."""
        self._await_disk()
        edition = self._states.load(slot)
        self._gifts = None
        self._room_slots = 0
        self.slot = slot
        self._settled = slot if edition else -1
        self._is_written = True

    def holds(self, slot: int) -> bool:
        """Whether the file has the state of a slot."""
        return self._file().holds(slot)

    def keep(self, slot: int) -> None:
        """Keep the state of a slot that is settled, whether or not the homes were heard in it."""
        if self._file().holds(slot):
            self._file().keep(slot)

    def settle(self, slot: int, receipt: Mapping[str, Column]) -> None:
        """Add a receipt to the registers of gifts, once; the ledger has the slot now."""
        if slot <= self._settled:
            return
        self._lived()
        gifts = self._states.gifts_of(receipt)
        if gifts is None:
            self._widen()  # a home that says what is not so may give what it never had
            gifts = self._states.gifts_of(receipt)
        self._gifts = gifts if self._gifts is None or gifts is None else self._gifts.and_also(gifts)
        self._settled = slot
        if self._file().holds(slot):
            self._file().keep(slot)

    def live_until(self, slot: int, weather_of: Callable[[int], Sample]) -> None:
        """Live through the slots up to `slot` that passed without a market."""
        for each in range(max(self._lived() + 1, slot - CATCH_UP_SLOTS_MAX), slot + 1):
            self._live(each, weather_of(each), None)
        self.slot = max(self._lived(), slot)

    def step(self, slot: int, sample: Sample, price_ueur_per_kwh: int) -> Net:
        """Live through an open slot; `write` makes it durable."""
        self._lived()
        return self._live(slot, sample, price_ueur_per_kwh)

    def _live(self, slot: int, sample: Sample, price_ueur_per_kwh: int | None) -> Net:
        self._make_room()
        net = self._fleet.live(self._works(), slot, sample, price_ueur_per_kwh)
        self.slot = slot
        return net

    def _works(self) -> Iterator[Work]:
        """A pass over the present state, with all gifts."""
        self._await_disk()
        self._is_written = False
        yield from self._states.works(self._gifts)
        self._gifts = None

    def meter(self, slot: int, production_wh: int, consumption_wh: int) -> None:
        """A slot of a metered home: its registers are its meter's; the difference is import or export.

        Registers never fall. `write` makes it durable. OSError for what the disk refuses.
        """
        produced_wh = max(0, production_wh - int(self.column("production_wh")[0]))
        consumed_wh = max(0, consumption_wh - int(self.column("consumption_wh")[0]))
        # What was missing for days comes at once: that is more than `_make_room` expects of a slot.
        largest_wh = self._states.largest_wh() + produced_wh + consumed_wh + GROWTH_WH_MAX
        if self._states.is_sparse or (self._states.layout is Layout.NARROW and largest_wh > NARROW_WH_MAX):
            self._widen()  # what a meter says is not bound to what the scenario says that the home has
        for work in self._works():
            state = work.after
            state.production_wh += produced_wh
            state.consumption_wh += consumed_wh
            state.export_wh += max(0, produced_wh - consumed_wh)
            state.import_wh += max(0, consumed_wh - produced_wh)
        self.slot = slot

    def _make_room(self) -> None:
        """See to it that no register outgrows its 32 bits in the next slot: it gets 64 in time."""
        if self._states.layout is not Layout.NARROW:
            return
        if self._room_slots <= 1:  # the receipt of a slot comes when the next one may have begun
            self._room_slots = (NARROW_WH_MAX - self._states.largest_wh()) // GROWTH_WH_MAX
            if self._room_slots <= 1:
                self._widen()
                return
        self._room_slots -= 1

    def _widen(self) -> None:
        """Go on with room for everything. OSError for what the disk refuses."""
        self._book()  # gifts wait as they fit the registers that are
        self._await_disk()
        self._states.widen()

    def start_writing(self) -> None:
        """Hand the present state to the disk; `write` waits until it is there."""
        if (state := self._unwritten()) is not None:
            self._flush = self._flusher.submit(self._states.write, *state)

    def write(self) -> None:
        """Make the present state durable: before its batch is handed in, and at the end."""
        if (state := self._unwritten()) is not None:
            self._states.write(*state)
        self._await_disk()

    def _unwritten(self) -> tuple[int, int] | None:
        """Slot and edition of the present state, all gifts in it, for who asks to write; None if it is."""
        self._book()
        if self._is_written:
            return None
        self._await_disk()
        self._is_written = True
        slot = self._lived()
        return slot, int(self._settled == slot)

    def _book(self) -> None:
        """Add to the registers what waits for the next pass."""
        self._lived()
        if self._gifts is not None:
            for _ in self._works():
                pass

    def _file(self) -> AreaFile:
        """The file, which nobody writes."""
        self._await_disk()
        return self._states.file

    def _await_disk(self) -> None:
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.result()

    def _lived(self) -> int:
        if self.slot is None:
            raise RuntimeError("the homes have no state yet")
        return self.slot

    def column(self, name: str) -> Column:
        """A column of the present state, a value per home."""
        self._book()
        return self._states.column(name)
