"""External events: their random arrival by counter, and the book of those that are active.

Events add: two events of a kind at once act with the sum of their intensities, whoever raised
them. So each event, also one that an operator raises beside others, moves the price by exactly
beta times its intensity.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.chance import Purpose, draw_u64, draw_u64_of_slots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from energymarket.core.parameters import EventKind

ARRIVALS_PER_SLOT_MAX: Final = 16  # of one kind; a rate of 4 per slot passes it once in a million slots
RATE_PER_SLOT_MAX: Final = 4.0
INTENSITY_PERMILLE_MAX: Final = 100_000  # 100 times the normal
EVENTS_ACTIVE_MAX: Final = 1_000
DURATION_SLOTS_MAX: Final = 1 << 24  # 466 years of 15 min
_UNIT: Final = 1 << 64
_UNIT_53: Final = 1 << 53


class Origin(StrEnum):
    """Who says that an event is."""

    EXTERNAL = "external"
    OPERATOR = "operator"


class EventAnswer(Enum):
    """What became of a record about an event."""

    CHANGED = "changed"
    KNOWN = "known"  # said before: nothing changes
    UNKNOWN = "unknown"  # an end without a beginning: nothing changes
    KIND_UNKNOWN = "kind unknown"
    INTENSITY_OUT_OF_RANGE = "intensity out of range"
    TIME_OUT_OF_RANGE = "ends before it begins"
    TOO_MANY = "too many events"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new event of a slot."""

    kind: int  # index in the scenario's kinds
    duration_slots: int
    intensity_permille: int
    seq: int  # a function of slot and place: a repeated slot repeats it


@dataclass(frozen=True, slots=True)
class Event:
    """An event in the book: active in slot <= s < until_slot, and before ended_slot if that is set."""

    origin: Origin
    kind: int
    seq: int
    intensity_permille: int
    slot: int
    until_slot: int | None = None  # None: until it is ended
    ended_slot: int | None = None

    def active(self, slot: int) -> bool:
        """Whether it acts on the price of a slot."""
        return self.slot <= slot and not self.over(slot)

    def over(self, slot: int) -> bool:
        """Whether it acts neither on this slot nor on a later one."""
        ends = [end for end in (self.until_slot, self.ended_slot) if end is not None]
        return bool(ends) and min(ends) <= slot


def arrivals(seed: int, kinds: Sequence[EventKind], slot: int, *, raining: bool) -> tuple[Arrival, ...]:
    """The events that begin in a slot: a function of its arguments alone.

    Numbers are Poisson with the kind's rate (times rain_factor while it rains), durations geometric
    with the kind's mean, intensities uniform in the kind's range in steps of a permille.
    """
    found: list[Arrival] = []
    for index, kind in enumerate(kinds):
        rate = min(kind.arrivals_per_slot * (kind.rain_factor if raining else 1.0), RATE_PER_SLOT_MAX)
        drawn = draw_u64(seed, Purpose.EVENT_ARRIVAL, slot, index)
        for nth in range(sum(drawn >= threshold for threshold in _poisson_thresholds(rate))):
            item = index * ARRIVALS_PER_SLOT_MAX + nth
            low, high = round(kind.intensity_min * 1000), round(kind.intensity_max * 1000)
            span = draw_u64(seed, Purpose.EVENT_INTENSITY, slot, item) * (high - low + 1) // _UNIT
            duration = _geometric(
                draw_u64(seed, Purpose.EVENT_DURATION, slot, item), kind.duration_slots_mean
            )
            found.append(Arrival(index, duration, low + span, (slot << 16) + item))
    return tuple(found)


def eventful(
    seed: int, kinds: Sequence[EventKind], slots: range, raining: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """In which of these slots `arrivals` finds something, for all of them at once."""
    found = np.zeros(len(slots), np.bool_)
    numbers = np.arange(slots.start, slots.stop, dtype=np.uint64)
    for index, kind in enumerate(kinds):
        drawn = draw_u64_of_slots(seed, Purpose.EVENT_ARRIVAL, numbers, index)
        for wet in (False, True):
            rate = min(kind.arrivals_per_slot * (kind.rain_factor if wet else 1.0), RATE_PER_SLOT_MAX)
            first = next(iter(_poisson_thresholds(rate)), _UNIT)
            if first < _UNIT:
                found |= (raining == wet) & (drawn >= np.uint64(first))
    return found


@lru_cache(maxsize=64)
def _poisson_thresholds(rate: float) -> tuple[int, ...]:
    """P(N <= n) for n = 0, 1, .. in units of 2**-64, by + * / only, so that every processor agrees."""
    if rate <= 0:
        return ()
    growth = term = 1.0
    for n in range(1, 60):  # e**rate by its series: at 4 the terms are below 2**-53 from n = 27
        term *= rate / n
        growth += term
    chance = 1.0 / growth
    total = 0.0
    thresholds = []
    for n in range(ARRIVALS_PER_SLOT_MAX):
        total += chance
        thresholds.append(min(int(total * _UNIT_53) << 11, _UNIT))
        chance *= rate / (n + 1)
    return tuple(thresholds)


def _geometric(drawn: int, mean: float) -> int:
    """A number of trials until success, 1, 2, .., with a mean, from one draw; by * only.

    The largest d with q**d > u by binary descent over the powers q**(2**k).
    """
    if mean <= 1:
        return 1
    uniform = ((drawn >> 11) + 1) / _UNIT_53
    powers = [1.0 - 1.0 / mean]
    while powers[-1] > uniform and 1 << len(powers) < DURATION_SLOTS_MAX:
        powers.append(powers[-1] * powers[-1])
    survived, steps = 1.0, 0
    for exponent in range(len(powers) - 1, -1, -1):
        if survived * powers[exponent] > uniform:
            survived *= powers[exponent]
            steps += 1 << exponent
    return steps + 1


@dataclass(slots=True)
class EventBook:
    """All events that act or will act, by (origin, kind, seq). One thread owns it."""

    kinds: int  # number of kinds of the scenario
    events: dict[tuple[Origin, int, int], Event] = field(default_factory=dict)
    raised: int = 0  # last sequence number given to an operator

    def begin(self, event: Event) -> EventAnswer:
        """Note a beginning; said twice it is noted once, also after its end."""
        if not 0 <= event.kind < self.kinds:
            return EventAnswer.KIND_UNKNOWN
        if not 1 <= event.intensity_permille <= INTENSITY_PERMILLE_MAX:
            return EventAnswer.INTENSITY_OUT_OF_RANGE
        if event.until_slot is not None and event.until_slot <= event.slot:
            return EventAnswer.TIME_OUT_OF_RANGE
        key = (event.origin, event.kind, event.seq)
        if key in self.events:
            return EventAnswer.KNOWN
        if len(self.events) >= EVENTS_ACTIVE_MAX:
            return EventAnswer.TOO_MANY
        self.events[key] = event
        return EventAnswer.CHANGED

    def end(self, origin: Origin, kind: int, seq: int, slot: int) -> EventAnswer:
        """Note that an event acts no more from a slot on; said twice the first time counts."""
        event = self.events.get((origin, kind, seq))
        if event is None:
            return EventAnswer.UNKNOWN
        if event.over(slot) or event.ended_slot is not None:
            return EventAnswer.KNOWN
        self.events[origin, kind, seq] = replace(event, ended_slot=max(slot, event.slot))
        return EventAnswer.CHANGED

    def raise_by_operator(
        self, kind: int, intensity_permille: int, slot: int, slots: int | None = None
    ) -> tuple[EventAnswer, int]:
        """Raise an event from a slot on, for so many slots or until cleared; answers its number too."""
        until_slot = None if slots is None else slot + slots
        event = Event(Origin.OPERATOR, kind, self.raised + 1, intensity_permille, slot, until_slot)
        answer = self.begin(event)
        if answer is EventAnswer.CHANGED:
            self.raised += 1
        return answer, event.seq

    def clear(self, kind: int, slot: int, *, external_too: bool = False) -> int:
        """End the operator's events of a kind from a slot on (external ones only when asked); how many."""
        ended = 0
        for event in list(self.events.values()):
            if event.kind != kind or (event.origin is Origin.EXTERNAL and not external_too):
                continue
            ended += self.end(event.origin, kind, event.seq, slot) is EventAnswer.CHANGED
        return ended

    def active(self, slot: int) -> list[tuple[int, int]]:
        """(kind, intensity in permille) of a slot, each kind once, sorted; intensities of a kind add."""
        sums: dict[int, int] = {}
        for event in self.events.values():
            if event.active(slot):
                sums[event.kind] = sums.get(event.kind, 0) + event.intensity_permille
        return sorted(sums.items())

    def listed(self, slot: int) -> list[Event]:
        """The events that act on a slot or will act later, oldest first."""
        # The market's main thread asks too, while the owner enters what `external` says.
        events = (event for event in list(self.events.values()) if not event.over(slot))
        return sorted(events, key=lambda event: (event.slot, event.origin, event.kind, event.seq))

    def forget(self, slot: int) -> None:
        """Drop what is over before a slot.

        One that was ended early stays until it would have been over by itself, so that its
        beginning, said again, does not raise it again.
        """
        if not self.events:
            return
        self.events = {
            key: event
            for key, event in self.events.items()
            if not (event.over(slot) and (event.until_slot is None or event.until_slot <= slot))
        }

    def to_dict(self) -> dict[str, object]:
        """The state as plain data for JSON."""
        return {
            "kinds": self.kinds,
            "raised": self.raised,
            "events": [asdict(e) for e in self.events.values()],
        }


def book_from_dict(state: Mapping[str, object]) -> EventBook:
    """The book of `EventBook.to_dict`; TypeError, ValueError or KeyError if it is none."""
    kinds, raised, events = state["kinds"], state["raised"], state["events"]
    if not isinstance(kinds, int) or not isinstance(raised, int) or not isinstance(events, list):
        raise TypeError(state)
    book = EventBook(kinds, raised=raised)
    for plain in events:
        event = Event(**(plain | {"origin": Origin(plain["origin"])}))
        book.events[event.origin, event.kind, event.seq] = event
    return book
