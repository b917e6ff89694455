"""Players on a cluster that is none: lost at any call, before or after it, alone or with a machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energymarket.core import ledger
from energymarket.core.fleet import Fleet, State, initial_state
from energymarket.core.state import STATE_COLUMNS
from energymarket.engine import api
from energymarket.engine.afar import Afar
from energymarket.engine.embedded import Embedded
from energymarket.engine.folder import Folder
from energymarket.engine.parcel import Parcel, packed
from energymarket.engine.player import Player
from energymarket.engine.settling import Settler
from energymarket.engine.source import Source
from energymarket.engine.track import Track, market_of
from energymarket.engine.troupe import LOSSES_MAX, Machine, PlayerLost
from energymarket.exits import Failure
from energymarket.scenario import toml
from energymarket.scenario.compiled import Compiled, CompiledError
from tests.simulation import slow_engine

PENCILS = [name for name in toml.shipped() if name.startswith("pencil-") and name != "pencil-stale-weather"]
HOMES = 12
SLOTS = 40


class Resident(Player):
    """A player that knows where it is."""

    name = ""

    def machine(self) -> str:
        """See `Player`."""
        return self.name


class StageCluster:
    """Machines `a` and `b`, players in this process. `fates` says what becomes of the n-th call.

    "before": the player is gone and has not done it; "after": it has done it and its answer is lost;
    "machine": everybody on its machine is gone, which comes up again empty.
    """

    cpus = 3

    def __init__(self, fates: dict[int, str]) -> None:
        self._fates = fates
        self._calls = 0
        self._living: dict[int, Resident] = {}
        self._at: dict[int, str] = {}
        self.deaths = 0

    def join(self) -> None:
        """Nothing is to be joined."""

    def leave(self) -> None:
        """Nothing was joined."""
        assert not self._living, "players were left behind"

    def account(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def send(self, parcel: Parcel) -> Parcel:
        """Everybody here has it."""
        return parcel

    def place(self, parcel: Parcel, first: int, count: int, slots_max: int, avoided: str) -> int:
        """By turns on `a` and `b`."""
        number = len(self._at)
        self._at[number] = "b" if avoided == "a" else "ab"[number % 2]
        self._living[number] = Resident(self.sent(parcel, first), first, count, slots_max)
        self._living[number].name = self._at[number]
        return number

    def sent(self, parcel: Parcel, first: int) -> Parcel:  # noqa: ARG002 - for `ErringCluster`
        """What a player gets."""
        return parcel

    def ask(self, handle: int, what: str, *words: Any) -> Any:
        """The answer itself: everything happens at once here."""
        self._calls += 1
        fate = self._fates.get(self._calls, "")
        if fate == "machine":
            self._die(*[n for n in self._living if self._at[n] == self._at[handle]])
        elif fate == "before":
            self._die(handle)
        if handle not in self._living:
            return PlayerLost("its process has died")
        found = getattr(self._living[handle], what)(*words)
        if fate == "after":
            self._die(handle)
            return PlayerLost("its answer is lost")
        return found

    def _die(self, *handles: int) -> None:
        for handle in handles:
            if self._living.pop(handle, None) is not None:
                self.deaths += 1

    def answers(self, promises: Sequence[Any]) -> list[Any]:
        """They are there."""
        return list(promises)

    def machines(self) -> list[Machine]:
        """Two."""
        return [Machine(name, name, name, 2, alive=True) for name in "ab"]

    def dismiss(self, handle: int) -> None:
        """No more of it."""
        self._living.pop(handle, None)


@pytest.fixture(scope="module")
def neighbourhood() -> Compiled:
    """Twelve homes of the default scenario."""
    return api.compiled_of("default", HOMES, None)


@pytest.fixture(scope="module")
def expected(neighbourhood: Compiled) -> bytes:
    """The hash of a live market's own steps."""
    return slow_engine.played(neighbourhood, SLOTS).hash


def fresh(compiled: Compiled) -> State:
    """All homes as they begin."""
    state = State(bytearray(State.size_bytes(HOMES)), HOMES)
    initial_state(Fleet(compiled, 1, HOMES), state)
    return state


@pytest.fixture(scope="module")
def unbroken(neighbourhood: Compiled, expected: bytes) -> State:
    """All homes after a run in one process that nothing has befallen."""
    state, track = fresh(neighbourhood), Track(neighbourhood, market_of(neighbourhood, homes=0))
    embedded = Embedded(neighbourhood, state, track, Settler(neighbourhood), 1)
    assert chained(neighbourhood, embedded, []) == expected
    return state


def chained(compiled: Compiled, source: Source, legs: Sequence[int]) -> bytes:
    """The hash after legs that end before these slots, counted from the first, and at the end."""
    first, found = compiled.period.first_slot, ledger.genesis(compiled.hash)
    edges = [0, *legs, SLOTS]
    for start, stop in pairwise(edges):
        for settled in source.leg(range(first + start, first + stop)):
            for body in settled.bodies:
                found = ledger.chain(found, *body)
    return found


def afar(
    compiled: Compiled, state: State, cluster: StageCluster, noted: Callable[[str], None] = print
) -> Afar:
    """Three shards, one process that settles."""
    track = Track(compiled, market_of(compiled, homes=0))
    return Afar(compiled, state, track, Settler(compiled), cluster, shards=3, workers=1, noted=noted)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.dictionaries(
        st.integers(1, 3 * (SLOTS + 6)), st.sampled_from(["before", "after", "machine"]), max_size=4
    ),
    legs=st.lists(st.integers(1, SLOTS - 1), unique=True, max_size=3).map(sorted),
)
def test_whoever_is_lost_and_when_it_is_the_same_ledger_and_the_same_homes(
    neighbourhood: Compiled, expected: bytes, unbroken: State, fates: dict[int, str], legs: list[int]
) -> None:
    """Any player or machine, at any call of any leg: hash and homes' state are those of an unbroken run."""
    state, cluster = fresh(neighbourhood), StageCluster(fates)
    source = afar(neighbourhood, state, cluster)
    try:
        assert chained(neighbourhood, source, legs) == expected
        told = source.account()["ray"]["replacements"]
    finally:
        source.close()
    wrong = [name for name, _ in STATE_COLUMNS if (state.column(name) != unbroken.column(name)).any()]
    assert not wrong
    assert len(told) <= cluster.deaths  # who died when all was said was not missed
    reasons = {reason for each in told for reason in each["reason"].split("; then ")}
    assert reasons <= {"its process has died", "its answer is lost"}


def test_a_loss_is_told_with_shard_slot_reason_and_what_was_played_again(neighbourhood: Compiled) -> None:
    """Calls 1..3 begin, 4..6 look, then three a slot: call 16 is shard 1 at the fourth slot."""
    first, said = neighbourhood.period.first_slot, list[str]()
    source = afar(neighbourhood, fresh(neighbourhood), StageCluster({16: "before"}), said.append)
    try:
        chained(neighbourhood, source, [])
        (told,) = source.account()["ray"]["replacements"]
    finally:
        source.close()
    assert (told["shard"], told["slot"], told["slots_again"]) == (1, first + 3, 3)
    assert (told["reason"], told["left_node"], told["node"]) == ("its process has died", "a", "b")
    assert said[0] == "3 actors on 2 nodes"
    assert f"shard 1 was lost at slot {first + 3}" in said[1]


def test_a_shard_that_is_lost_again_and_again_ends_the_run(neighbourhood: Compiled) -> None:
    """Whoever comes in its place dies too: one clear error, nobody is left, no thread hangs."""
    fates = dict.fromkeys(range(13, 13 + 3 * LOSSES_MAX), "before")
    cluster = StageCluster(fates)
    source = afar(neighbourhood, fresh(neighbourhood), cluster)
    try:
        with pytest.raises(Failure, match=r"was lost \d times at slot .*--resume"):
            chained(neighbourhood, source, [])
    finally:
        source.close()


@pytest.mark.parametrize("name", PENCILS)
def test_every_pencil_scene_survives_the_loss_of_a_machine(name: str, tmp_path: Path) -> None:
    """Scenes, single orders and rules are settled by the market itself, slot by slot: also from afar."""
    compiled = api.compiled_of(name, None, None)
    expected = api.simulate(compiled, engine="embedded").ledger_hash
    folder = Folder(tmp_path)
    for fates in ({}, {5: "machine"}):
        cluster = StageCluster(dict(fates))
        with folder.held(), pytest.MonkeyPatch.context() as patched:
            folder.clear()
            patched.setattr("energymarket.engine.run.RayCluster", lambda *_words, it=cluster: it)
            document = api.play(api.plan_of(compiled, folder, engine="ray", shards=2), folder)
        assert document["ledger_hash"] == expected
        assert bool(document["ray"]["replacements"]) == bool(fates)


class ErringCluster(StageCluster):
    """The second who plays shard 1 plays another neighbourhood."""

    seen = 0

    def sent(self, parcel: Parcel, first: int) -> Parcel:
        """Another seed for the second."""
        self.seen += first == 0
        return parcel if first or self.seen == 1 else packed(api.compiled_of("default", HOMES, 4711))


def test_a_machine_that_computes_otherwise_is_found_out(neighbourhood: Compiled) -> None:
    """What flows again must be what flowed: else the ledger would tell of two neighbourhoods."""
    source = afar(neighbourhood, fresh(neighbourhood), ErringCluster({31: "before"}))
    try:
        with pytest.raises(Failure, match="flows otherwise"):
            chained(neighbourhood, source, [])
    finally:
        source.close()


def test_a_parcel_that_was_changed_on_its_way_is_refused(neighbourhood: Compiled) -> None:
    """One bit of one array, the JSON's seed, another program: each is told from the one that was sent."""
    parcel = packed(neighbourhood)
    assert parcel.unpack().hash == neighbourhood.hash
    arrays = dict(parcel.arrays)
    name = next(name for name in arrays if name.startswith("homes."))
    arrays[name] = arrays[name].copy()
    arrays[name].view("u1")[-1] ^= 1
    with pytest.raises(CompiledError, match=name):
        dataclasses.replace(parcel, arrays=arrays).unpack()
    head = parcel.head.replace(b'"seed":', b'"seed":1')
    assert head != parcel.head
    with pytest.raises(CompiledError, match="JSON"):
        dataclasses.replace(parcel, head=head).unpack()
    state = bytes(State.size_bytes(HOMES))
    with pytest.raises(Failure, match="another energy-market"):
        Player(dataclasses.replace(parcel, program="0" * 64), 0, HOMES, 1).begin(state, [])
