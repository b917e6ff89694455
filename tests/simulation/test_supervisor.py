"""The supervisor's core against a world of daemons that die, freeze, dawdle and lie, over thousands of seeds.

The world carries out the core's effects as a kernel would, and sends what then happens, at random delays.
What has to hold is judged by the world's own processes and clock.
"""

from __future__ import annotations

import random  # noqa: TID251 - a fate of the test's own, nothing of the market
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from energyctl.up import core, life
from energyctl.up.core import Listed, Phase
from energyctl.up.events import (
    Abort,
    Announce,
    AskStop,
    Cause,
    Effect,
    Event,
    Exited,
    Kill,
    LastWords,
    MarketEnded,
    Notified,
    NotStarted,
    Order,
    Ordered,
    Say,
    SlotSettled,
    Start,
    StopAnswered,
    StopWanted,
    Terminate,
    Tick,
)
from energyctl.up.life import Role, State
from energyctl.up.policy import DAEMON

DAEMONS: tuple[Listed, ...] = (
    ("market", Role.MARKET, DAEMON, True),
    ("weather", Role.WEATHER, DAEMON, True),
    ("homes", Role.HOMES, DAEMON, True),
    ("dispatcher", Role.DISPATCHER, DAEMON, False),
    ("worker-1", Role.WORKER, DAEMON, False),
    ("worker-2", Role.WORKER, DAEMON, False),
)
TURN = {Role.WORKER: 0, Role.DISPATCHER: 1, Role.HOMES: 2, Role.WEATHER: 3, Role.MARKET: 3}
"""Who is sent away before whom."""
STEP_S = 0.125
SEEDS, SEEDS_LONG = 1_000, 20_000
LIFE_S = 30.0  # then everybody behaves, and the run is asked to stop
END_S_MAX = core.ASK_S_MAX + 4 * DAEMON.stop_s + 5.0  # no stop takes longer than its stages
FOUND_S_MAX = DAEMON.watchdog_s + DAEMON.abort_s + 2 * STEP_S


@dataclass
class Life:
    """A process of the world."""

    ready_s: float  # when it will be ready
    dies_s: float = 1e9
    code: int = 0
    frozen_s: float = 1e9  # from then on it says nothing and hears nothing but SIGKILL
    ready: bool = False
    deaf: bool = False  # goes on, but not away
    beat_s: float = 0.0


@dataclass
class World:
    """A kernel with a clock: it does what the core wants, and lets happen what the seed says."""

    chance: random.Random
    suite: core.Suite
    now_s: float = 0.0
    lives: dict[str, Life] = field(default_factory=dict)
    coming: list[tuple[float, Event]] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    silent_s: dict[str, float] = field(default_factory=dict)  # how long a living, watched one was frozen
    calm: bool = False
    terminated: list[str] = field(default_factory=list)
    aborted: dict[str, float] = field(default_factory=dict)
    stop_s: float | None = None
    broken: list[str] = field(default_factory=list)
    ending: bool = False  # the stop began before the event that is being handled
    cursed: str = ""  # dies at each start
    innocent: set[str] = field(default_factory=set)  # beats as it should

    def begin(self) -> None:
        """Start all, as the loop does."""
        for name, *_ in DAEMONS:
            self.carry_out(Start(name))

    # ------------------------------------------------------------- effects

    def carry_out(self, effect: Effect) -> None:
        """Do what the core wants."""
        match effect:
            case Start():
                self.start(effect.name)
            case Terminate():
                self.terminate(effect.name)
            case Abort():
                self.aborted[effect.name] = self.now_s
                if effect.name in self.innocent:
                    self.broken.append(f"{effect.name} made progress and was put down")
                if effect.name in self.lives and self.chance.random() < 0.5:
                    self.end(effect.name, -6, self.chance.uniform(0, 0.2))
            case Kill():
                self.end(effect.name, -9, self.chance.uniform(0, 0.1))
            case AskStop():
                if self.chance.random() < 0.8:
                    self.later(StopAnswered(), self.chance.uniform(0, 4))
            case Announce() | Say() | LastWords():
                return

    def start(self, name: str) -> None:
        """A process, and its fate."""
        if name in self.lives:
            self.broken.append(f"{name} was started twice")
        if self.ending and self.suite.stopping:
            self.broken.append(f"{name} was started while all are stopping")
        self.starts.setdefault(name, []).append(self.now_s)
        if not self.calm and self.chance.random() < 0.03:
            self.later(NotStarted(name, "no process"), 0.0)
            return
        each = Life(self.now_s + self.chance.choice((0.2, 0.4, 3.0)), beat_s=self.now_s)
        self.lives[name] = each
        self.silent_s[name] = 0.0
        if self.calm:
            return
        if name == self.cursed:
            each.dies_s, each.code = self.now_s, self.chance.choice((-9, -11))
            return
        what = self.chance.random()
        if what < 0.15:
            each.dies_s = self.now_s + self.chance.expovariate(1.0)
            each.code = self.chance.choice((-9, -11, 1, 75, 0, 0, 73, 78, -15))
        elif what < 0.35:
            each.dies_s = self.now_s + 1.0 + self.chance.expovariate(0.2)
            each.code = self.chance.choice((-9, -9, -6, 1, 74))
        elif what < 0.5:
            each.frozen_s = self.now_s + self.chance.expovariate(0.2)
        elif what < 0.55:
            each.ready_s = self.now_s + 200.0
        elif what < 0.65:
            each.deaf = True

    def terminate(self, name: str) -> None:
        """SIGTERM: most go, soon."""
        if self.suite.stopping:
            self.terminated.append(name)
        each = self.lives.get(name)
        if each is not None and not each.deaf:
            self.end(name, self.chance.choice((0, 0, -15, 1)), self.chance.uniform(0, 2))

    def end(self, name: str, code: int, in_s: float) -> None:
        """It will be dead by then, unless it is before."""
        each = self.lives.get(name)
        if each is not None and self.now_s + in_s < each.dies_s:
            each.dies_s, each.code = self.now_s + in_s, code

    def later(self, event: Event, in_s: float) -> None:
        """Let something happen after a while."""
        self.coming.append((self.now_s + in_s, event))

    # ------------------------------------------------------------- time

    def step(self) -> None:
        """A step of time: what has happened is told in a random order, and time itself last."""
        self.now_s += STEP_S
        events: list[Event] = [event for at_s, event in self.coming if at_s <= self.now_s]
        self.coming = [(at_s, event) for at_s, event in self.coming if at_s > self.now_s]
        for name in list(self.lives):
            events += self.live(name, self.lives[name])
        self.chance.shuffle(events)
        events.sort(key=lambda event: isinstance(event, Exited))  # a child's words are read before its death
        for event in events:
            self.send(event)
        self.send(Tick())
        self.look()

    def live(self, name: str, each: Life) -> list[Event]:
        """What a process says and does in this step."""
        if self.now_s >= each.dies_s:
            del self.lives[name]
            self.innocent.discard(name)
            return [Exited(name, each.code)]
        if self.now_s >= each.frozen_s:
            self.silent_s[name] += STEP_S if each.ready else 0.0
            self.innocent.discard(name)
            return []
        said: list[Event] = []
        if not each.ready and self.now_s >= each.ready_s:
            each.ready = True
            self.innocent.add(name)
            said.append(Notified(name, ready=True))
        if self.now_s >= each.beat_s:
            each.beat_s = self.now_s + self.chance.choice((0.25, 0.5, 1.5))
            said.append(Notified(name, alive=True, status="well"))
        return said

    def send(self, event: Event) -> None:
        """Give an event to the core and carry out what it wants."""
        if isinstance(event, Ordered):
            self.starts.clear()  # an order gives another chance
        was_stopping = self.suite.stopping
        self.ending = was_stopping
        effects = self.suite.handle(event, self.now_s)
        if self.suite.stopping and not was_stopping:
            self.stop_s = self.now_s
            self.terminated.clear()
        for effect in effects:
            self.carry_out(effect)
        if not self.suite.stopping:
            self.stop_s = None

    def jump(self, span_s: float) -> None:
        """We are stopped, and the others go on unheard; or the machine sleeps, and they do, too."""
        self.now_s += span_s
        slept_s = self.chance.choice((0.0, span_s))
        for each in self.lives.values():
            each.beat_s = each.beat_s + span_s if slept_s else self.now_s
            each.ready_s += slept_s
            each.dies_s += slept_s
            each.frozen_s += slept_s

    # ------------------------------------------------------------- what has to hold

    def look(self) -> None:
        """Hold the world against the promises."""
        for name, times in self.starts.items():
            last = times[-DAEMON.starts_max * 2 - 2 :]
            if len(last) == DAEMON.starts_max * 2 + 2 and last[-1] - last[0] < DAEMON.starts_window_s:
                self.broken.append(f"{name} was started {len(last)} times within a window")
        for name, silent_s in self.silent_s.items():
            if name in self.lives and silent_s > FOUND_S_MAX and not self.suite.stopping:
                self.broken.append(f"{name} is frozen since {silent_s} s")
        for name, each in self.suite.daemons.items():
            if each.alive and name not in self.lives and not self._is_coming(name):
                self.broken.append(f"{name} is believed to live")
            if name in self.lives and not each.alive:
                self.broken.append(f"{name} lives on unknown")
        if self.suite.phase is Phase.OVER and self.lives:
            self.broken.append(f"over, and {list(self.lives)} live")
        due_s = self.suite.due_s()
        if due_s is not None and due_s <= self.now_s:
            self.broken.append("time is over for somebody, and nothing is done: the loop would spin")
        turns = [TURN[self.suite.daemons[name].role] for name in self.terminated]
        if turns != sorted(turns):
            self.broken.append(f"sent away in the order {self.terminated}")
        stop_s = 0.0 if self.stop_s is None else self.now_s - self.stop_s
        if stop_s > END_S_MAX and self.suite.phase is not Phase.OVER:
            self.broken.append(f"a stop takes {stop_s} s")

    def _is_coming(self, name: str) -> bool:
        return any(isinstance(event, NotStarted) and event.name == name for _, event in self.coming)


def world_of(seed: int) -> World:
    chance = random.Random(seed)
    suite = core.suite(DAEMONS, 0.0, lockstep=chance.random() < 0.3)
    return World(chance, suite, cursed=chance.choice(("", "", "weather", "worker-1")))


def play(seed: int) -> list[str]:
    """One run from its start to its end, with all that may happen; what did not hold."""
    world = world_of(seed)
    chance = world.chance
    world.begin()
    quits_s = chance.uniform(0, LIFE_S)
    while world.suite.phase is not Phase.OVER and not world.broken:
        world.step()
        if world.now_s >= quits_s and world.suite.cause is None and not world.suite.stopping:
            world.send(chance.choice((StopWanted(Cause.ASKED), StopWanted(Cause.INTERRUPTED), MarketEnded())))
        happens = chance.random()
        if happens < 0.002:
            world.jump(chance.choice((4.0, 60.0, 86_400.0)))
            world.stop_s = None if world.stop_s is None else world.now_s
            world.aborted.clear()
        elif happens < 0.005:
            order = chance.choice(tuple(Order))
            names = chance.choice(((), ("homes",), ("worker-1", "weather"), ("market",)))
            if names or order is not Order.STOP:
                world.send(Ordered(order, names))
        elif happens < 0.05:
            world.send(SlotSettled())
        elif happens < 0.052 and world.suite.stopping:
            world.send(StopWanted(Cause.INTERRUPTED))
    return world.broken


def test_whatever_happens_the_run_keeps_its_promises(is_long: bool) -> None:
    """Each seed: nobody is started twice or over the limit, no frozen one stays, none that works is killed.

    A stop ends in its time and order, nothing lives when it is over, and the loop has no reason to spin.
    """
    failed = {seed: broken for seed in range(SEEDS_LONG if is_long else SEEDS) if (broken := play(seed))}
    assert not failed, f"{len(failed)} seeds, for example {next(iter(failed.items()))}"


def test_once_all_behave_the_suite_is_whole_again() -> None:
    """After any chaos that the market survives: an order to start, and every daemon serves."""
    whole = 0
    for seed in range(200):
        world = world_of(seed)
        world.begin()
        while world.now_s < LIFE_S and not world.suite.stopping:
            world.step()
        if world.suite.stopping:
            continue
        world.calm = True
        for each in world.lives.values():
            each.dies_s, each.ready_s, each.frozen_s = 1e9, min(each.ready_s, world.now_s), 1e9
        world.send(Ordered(Order.START))
        until_s = world.now_s + 20
        while world.now_s < until_s:
            world.step()
        states = {name: each.state for name, each in world.suite.daemons.items()}
        assert set(states.values()) == {State.READY}, (seed, states)
        assert not world.broken
        whole += 1
    assert whole > 20


# ---------------------------------------------------------------- planted bugs: each has to be found


def deaf_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("energyctl.up.policy.StartLimit.take", lambda *_: True)
    monkeypatch.setattr("energyctl.up.policy.Policy.delay_s", lambda *_: 0.05)


def blind_to_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life.Daemon, "freeze", lambda *_: [])


def never_forgives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life.Daemon, "forgive", lambda *_: None)


def aborts_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life.Daemon, "kill", lambda *_: [])


def stops_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {Phase.REST: frozenset(Role)}
    whole = {phase: stages.get(phase, frozenset()) for phase in core.STAGES}
    monkeypatch.setattr(core, "STAGES", {**whole, Phase.WORKERS: frozenset({Role.MARKET})})


def ends_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.Suite, "_living", lambda *_: [])


def hears_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = life.Daemon.heard

    def deaf(each: life.Daemon, event: Notified, now_s: float) -> list[Effect]:
        return heard(each, event, now_s) if not event.alive else []

    monkeypatch.setattr(life.Daemon, "heard", deaf)


PLANTED: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    deaf_to_the_limit,
    blind_to_frozen,
    never_forgives,
    aborts_and_waits,
    stops_all_at_once,
    ends_too_early,
    hears_no_progress,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """What each of them breaks is one of the promises."""
    plant(monkeypatch)
    assert any(play(seed) for seed in range(300))
