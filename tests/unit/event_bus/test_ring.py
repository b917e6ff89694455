"""The token's table: complete, without a dead row, and proved over all states of rings of one to four."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from event_bus.errors import ProtocolError
from event_bus.protocol import ring
from event_bus.protocol.ring import HOLDING, TABLE, WANTING, WITHIN, Act, Event, Place, Ring

IMPOSSIBLE = {
    # One thread of a program at a time asks, waits, or is inside.
    *((place, Event.WANT) for place in WANTING | WITHIN),
    # Only who waits gives up: `Member.cancel_token` sees to it.
    *((place, Event.CANCEL) for place in Place if place not in WANTING),
    # Only who is inside leaves.
    *((place, Event.LEAVE) for place in Place if place not in WITHIN),
    # The token comes where it is: that would be two.
    *((place, Event.TOKEN) for place in HOLDING),
    # The left asks once until it gets the token, and there is none before it is granted to here.
    (Place.INSIDE_BETWEEN_ASKED, Event.ASKED),
}
"""What cannot happen, by reason. The walk over all states proves it."""


def test_the_table_has_everything_that_can_happen_and_nothing_else() -> None:
    """Ten places by six events: each pair is in the table, or is impossible and stops the process."""
    everything = {(place, event) for place in Place for event in Event}
    assert set(TABLE) == everything - IMPOSSIBLE
    for place, event in IMPOSSIBLE:
        walker = Ring()
        walker.place = place
        with pytest.raises(ProtocolError, match=f"{event.name} when {place.name}"):
            walker.on(event)


class State(NamedTuple):
    """A ring in one generation."""

    places: tuple[Place, ...]
    ways: tuple[tuple[Act, ...], ...]  # from each process to each other (row by row): what is on its way
    granted: int | None  # to whom the keeper's grant is on its way


class Walk:
    """Every state that a ring of `n` can come into, and every step between them."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.rows: set[tuple[Place, Event]] = set()
        start = State((Place.OUT,) * n, ((),) * (n * n), 0)
        self.steps: dict[State, list[tuple[Event | None, State]]] = {}
        waiting = [start]
        while waiting:
            state = waiting.pop()
            if state not in self.steps:
                self.steps[state] = list(self._from(state))
                waiting += [after for _, after in self.steps[state] if after not in self.steps]

    def _from(self, state: State) -> Iterator[tuple[Event | None, State]]:
        """What can happen: the program's will (by its event), or the world's course (None)."""
        for who, place in enumerate(state.places):
            for event in (Event.WANT, Event.CANCEL):
                if (place, event) not in IMPOSSIBLE:
                    yield event, self._on(state, who, event)
            if place in WITHIN:
                yield None, self._on(state, who, Event.LEAVE)
        for at, way in enumerate(state.ways):
            if way:
                ways = (*state.ways[:at], way[1:], *state.ways[at + 1 :])
                event = Event.ASKED if way[0] is Act.ASK else Event.TOKEN
                yield None, self._on(state._replace(ways=ways), at % self.n, event)
        if state.granted is not None:
            yield None, self._on(state._replace(granted=None), state.granted, Event.TOKEN)
        yield Event.RENEW, self._renewed(state)

    def _on(self, state: State, who: int, event: Event) -> State:
        self.rows.add((state.places[who], event))
        place, act = TABLE[state.places[who], event]
        places = (*state.places[:who], place, *state.places[who + 1 :])
        return self._act(state._replace(places=places), who, act)

    def _act(self, state: State, who: int, act: Act | None) -> State:
        if act is None or (act is Act.ASK and self.n == 1):
            return state
        assert self.n > 1, "who is alone passes the token to nobody"
        at = who * self.n + (who + (1 if act is Act.ASK else -1)) % self.n
        ways = (*state.ways[:at], (*state.ways[at], act), *state.ways[at + 1 :])
        return state._replace(ways=ways)

    def _renewed(self, state: State) -> State:
        """All begin a new generation: what is on its way is void, the keeper grants to the one who holds."""
        holders = []
        after = State(state.places, ((),) * (self.n * self.n), None)
        for who, place in enumerate(state.places):
            walker = Ring()
            walker.place = place
            holds, act = walker.renew(1)
            holders += [who] if holds else []
            self.rows.add((place, Event.RENEW))
            places = (*after.places[:who], walker.place, *after.places[who + 1 :])
            after = self._act(after._replace(places=places), who, act)
        assert len(holders) < 2
        return after._replace(granted=holders[0] if holders else 0)

    def runs_for_ever(self) -> bool:
        """Whether the world's course alone can come back to where it was."""
        unseen = {
            state: [after for event, after in steps if event is None] for state, steps in self.steps.items()
        }
        before: dict[State, int] = dict.fromkeys(unseen, 0)
        for afters in unseen.values():
            for after in afters:
                before[after] += 1
        free = [state for state, count in before.items() if not count]
        sorted_out = 0
        while free:
            sorted_out += 1
            for after in unseen[free.pop()]:
                before[after] -= 1
                if not before[after]:
                    free.append(after)
        return sorted_out < len(unseen)


def tokens(state: State) -> int:
    """How many there are: held, on their way, to be granted."""
    held = sum(place in HOLDING for place in state.places)
    return held + sum(way.count(Act.PASS) for way in state.ways) + (state.granted is not None)


@pytest.fixture(scope="module", params=[1, 2, 3, 4])
def walk(request: pytest.FixtureRequest) -> Walk:
    """Rings of one to four."""
    return Walk(request.param)


def test_there_is_one_token_and_one_inside(walk: Walk) -> None:
    """In every state that can be, whatever the programs want and however slow the connections are."""
    for state in walk.steps:
        assert tokens(state) == 1, state
        assert sum(place in WITHIN for place in state.places) < 2, state


def test_who_asks_gets_in_and_then_there_is_rest(walk: Walk) -> None:
    """If the programs want nothing more, everything comes to an end, and then nobody waits.

    Nothing runs for ever: there is no way round that the world goes by itself. And where nothing happens any
    more, nobody waits and the token rests.
    """
    assert not walk.runs_for_ever()
    for state, steps in walk.steps.items():
        if all(event is not None for event, _ in steps):
            assert not WANTING & set(state.places), state
            assert Place.RESTING in state.places, state


def test_no_row_is_dead() -> None:
    """Three processes meet every row of the table."""
    assert Walk(3).rows == set(TABLE)


def test_a_token_passed_on_unasked_would_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why who gives up waiting does not pass the token on: two of them would play ball with it."""
    monkeypatch.setitem(ring.TABLE, (Place.WAITING, Event.CANCEL), (Place.RELAYING, None))
    assert Walk(2).runs_for_ever()
