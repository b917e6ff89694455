"""When a child is started, killed and started again: pure, with time as an argument."""

from __future__ import annotations

from energymarket.runtime.child import Action, Death, Limits, Watch

MS = 1_000_000
S = 1_000 * MS
LIMITS = Limits(
    first_delay_ns=20 * MS,
    delay_ns_max=100 * MS,
    deaths_max=5,
    window_ns=60 * S,
    silence_ns_max=2 * S,
    start_ns_max=10 * S,
)


def test_the_first_start_is_at_once() -> None:
    """A new watch asks for a start, and for nothing while the child lives and speaks."""
    watch = Watch(5 * S, LIMITS)
    assert watch.action(5 * S) is Action.SPAWN
    watch.started(5 * S)
    assert watch.action(5 * S) is Action.NONE
    for second in range(6, 100):
        watch.heard(second * S)
        assert watch.action(second * S + 1_999 * MS) is Action.NONE


def test_starts_back_off_and_are_limited() -> None:
    """20, 40, 80, 100 ms after the deaths; after the fifth in 60 s not before the first is 60 s old."""
    watch = Watch(0, LIMITS)
    now, delays = 0, []
    for _ in range(5):
        watch.started(now)
        now += 1 * MS
        watch.died(now)
        delays.append(watch.due_ns() - now)
        assert watch.action(watch.due_ns() - 1) is Action.NONE
        now = watch.due_ns()
        assert watch.action(now) is Action.SPAWN
    assert delays[:4] == [20 * MS, 40 * MS, 80 * MS, 100 * MS]
    assert now == 1 * MS + 60 * S


def test_degraded_is_said_and_ends_by_itself() -> None:
    """With five deaths in the window the market is degraded; when they are old it is not."""
    watch = Watch(0, LIMITS)
    for second in range(5):
        assert not watch.degraded(second * S)
        watch.started(second * S)
        watch.died(second * S)
    assert watch.degraded(5 * S)
    assert watch.degraded(60 * S - 1)
    assert not watch.degraded(60 * S)


def test_a_death_now_and_then_costs_the_first_delay_only() -> None:
    """Deaths further apart than the window do not add up."""
    watch = Watch(0, LIMITS)
    for minute in range(0, 100, 2):
        now = minute * 60 * S
        watch.started(now)
        watch.died(now + 1)
        assert watch.due_ns() == now + 1 + 20 * MS


def test_silence_is_death() -> None:
    """2 s without a word: kill, asked again 2 s later; a child that starts has 10 s for its first word."""
    watch = Watch(0, LIMITS)
    watch.started(0)
    assert watch.action(10 * S - 1) is Action.NONE
    assert watch.action(10 * S) is Action.KILL
    assert watch.action(10 * S + 1) is Action.NONE
    assert watch.action(12 * S) is Action.KILL
    watch.died(12 * S)
    watch.started(13 * S)
    watch.heard(14 * S)
    assert watch.action(16 * S - 1) is Action.NONE
    assert watch.due_ns() == 16 * S
    assert watch.action(16 * S) is Action.KILL


def test_a_word_of_the_dead_does_not_revive_them() -> None:
    """Records that were still in the pipe when the child died change nothing."""
    watch = Watch(0, LIMITS)
    watch.started(0)
    watch.died(1 * S)
    watch.heard(1 * S)
    assert watch.action(1 * S + 20 * MS) is Action.SPAWN


def test_a_death_says_how() -> None:
    """By its exit code or by the name of the signal."""
    assert str(Death(1, 75, None)) == "exit 75"
    assert str(Death(1, None, 9)) == "killed by SIGKILL"
