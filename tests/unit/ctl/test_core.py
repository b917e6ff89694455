"""The supervisor's decisions, event by event."""

from __future__ import annotations

from energyctl.exits import Exit
from energyctl.up import core
from energyctl.up.core import (
    Announce,
    AskStop,
    Cause,
    Exited,
    Kill,
    LastWords,
    MarketEnded,
    Notified,
    Phase,
    Restart,
    Role,
    Say,
    SlotSettled,
    State,
    StopAnswered,
    StopWanted,
    Terminate,
    Tick,
)

DAEMONS = (("market", Role.MARKET), ("weather", Role.WEATHER), ("homes", Role.HOMES))


def starting() -> core.Suite:
    return core.suite(DAEMONS, 0.0)


def running() -> core.Suite:
    suite = starting()
    for name, _ in DAEMONS:
        suite.handle(Notified(name, ready=True), 1.0)
    assert suite.phase is Phase.RUNNING
    return suite


def test_a_run_is_announced_once_when_the_last_daemon_is_ready() -> None:
    """READY of all daemons, in any order, announces the run once; repeating READY changes nothing."""
    suite = starting()
    assert suite.handle(Notified("homes", ready=True), 1.0) == []
    assert suite.handle(Notified("market", ready=True, status="slot 1"), 1.0) == []
    assert suite.handle(Notified("weather", ready=True), 1.0) == [Announce()]
    assert suite.handle(Notified("weather", ready=True), 2.0) == []
    assert suite.daemons["market"].status == "slot 1"
    assert suite.deadline_s is None


def test_a_stop_goes_market_first_then_homes_then_the_rest() -> None:
    """The market settles before a home is ended, and homes go before weather and market."""
    suite = running()
    assert suite.handle(StopWanted(Cause.ASKED), 5.0) == [AskStop()]
    assert suite.handle(StopAnswered(), 6.0) == [Terminate("homes")]
    assert suite.handle(Exited("homes", 0), 6.1) == [Terminate("market"), Terminate("weather")]
    assert suite.handle(Exited("weather", -15), 6.2) == []
    assert suite.handle(Exited("market", 0), 6.3) == []
    assert suite.phase is Phase.OVER
    assert suite.exit_code is Exit.OK


def test_the_end_of_market_time_is_a_good_end() -> None:
    """A market that announces its end, and leaves with 0, ends the run with exit code 0."""
    suite = running()
    assert suite.handle(MarketEnded(), 9.0) == [AskStop()]
    suite.handle(Exited("market", 0), 9.1)
    suite.handle(Exited("homes", 0), 9.2)
    suite.handle(Exited("weather", 0), 9.3)
    assert (suite.phase, suite.cause, suite.exit_code) == (Phase.OVER, Cause.ENDED, Exit.OK)


def test_a_market_may_end_before_the_homes_are_ready() -> None:
    """A run of one slot can be over while homes still start: no failure."""
    suite = starting()
    suite.handle(Notified("market", ready=True), 1.0)
    assert suite.handle(Notified("market", stopping=True), 1.1) == [AskStop()]
    assert suite.cause is Cause.ENDED


def test_a_daemon_that_dies_before_it_is_ready_ends_the_run_with_its_last_words() -> None:
    """Exit 7 before READY: last words, the others are ended, exit code 1."""
    suite = starting()
    effects = suite.handle(Exited("weather", 7), 0.5)
    assert effects == [
        LastWords("weather", "weather ended with exit code 7 before it was ready"),
        Terminate("homes"),
    ]
    suite.handle(Exited("homes", -15), 0.6)
    suite.handle(Exited("market", -15), 0.7)
    assert (suite.phase, suite.exit_code) == (Phase.OVER, Exit.FAILED)


def test_ready_and_death_in_the_same_moment_is_a_death() -> None:
    """READY is read first, the death right after it: the run ends, it does not hang."""
    suite = starting()
    suite.handle(Notified("weather", ready=True), 0.5)
    effects = suite.handle(Exited("weather", -9), 0.5)
    assert effects[0] == LastWords("weather", "weather was killed by signal 9 in the middle of the run")
    assert suite.cause is Cause.DIED


def test_the_last_words_of_the_dead_are_not_believed() -> None:
    """A notification that is read after the death does not bring a daemon back."""
    suite = running()
    suite.handle(Exited("homes", 1), 2.0)
    suite.handle(Notified("homes", ready=True), 2.0)
    assert suite.daemons["homes"].state is State.DEAD


def test_a_silent_start_has_a_deadline() -> None:
    """A daemon that never gets ready ends the run with 6 (wait timed out), and is named."""
    suite = starting()
    suite.handle(Notified("market", ready=True), 1.0)
    suite.handle(Notified("weather", ready=True), 1.0)
    assert suite.handle(Tick(), core.READY_S_MAX - 0.1) == []
    effects = suite.handle(Tick(), core.READY_S_MAX)
    assert LastWords("homes", "homes is not ready") in effects
    assert suite.exit_code is Exit.WAIT_TIMED_OUT


def test_a_frozen_market_is_killed_after_its_deadlines() -> None:
    """No answer to Stop, no exit after SIGTERM: SIGKILL, and the run counts as failed."""
    suite = running()
    suite.handle(StopWanted(Cause.ASKED), 0.0)
    assert Terminate("homes") in suite.handle(Tick(), core.ASK_S_MAX)
    suite.handle(Exited("homes", 0), core.ASK_S_MAX)
    suite.handle(Exited("weather", 0), core.ASK_S_MAX)
    assert Kill("market") in suite.handle(Tick(), core.ASK_S_MAX + core.TERM_S_MAX)
    suite.handle(Exited("market", -9), 99.0)
    assert (suite.phase, suite.exit_code) == (Phase.OVER, Exit.FAILED)


def test_asking_twice_kills_at_once() -> None:
    """A second Ctrl-C does not wait for anybody."""
    suite = running()
    suite.handle(StopWanted(Cause.INTERRUPTED), 0.0)
    killed = {
        effect.name for effect in suite.handle(StopWanted(Cause.INTERRUPTED), 0.1) if isinstance(effect, Kill)
    }
    assert killed == {"market", "weather", "homes"}


def test_a_home_that_leaves_just_before_the_good_bye_is_no_failure() -> None:
    """Homes hear of the end on their own connection: they may be gone before we hear of it."""
    suite = running()
    assert suite.handle(Exited("homes", 0), 1.0) == []
    assert suite.phase is Phase.DOUBT
    suite.handle(Notified("market", stopping=True), 1.5)
    assert suite.cause is Cause.ENDED


def test_a_home_that_leaves_in_the_middle_is_a_failure() -> None:
    """Exit 0 without an end of the market is a death too, once the doubt is over."""
    suite = running()
    suite.handle(Exited("homes", 0), 1.0)
    effects = suite.handle(Tick(), 1.0 + core.DOUBT_S_MAX)
    assert effects[0] == LastWords("homes", "homes left without a word")
    assert suite.exit_code is Exit.FAILED


def test_an_error_while_stopping_is_told() -> None:
    """A daemon that fails on its way out has last words, and the run failed."""
    suite = running()
    suite.handle(StopWanted(Cause.ASKED), 0.0)
    suite.handle(StopAnswered(), 0.1)
    effects = suite.handle(Exited("homes", 74), 0.2)
    assert effects[0] == LastWords("homes", "homes ended with exit code 74 while stopping")
    suite.handle(Exited("weather", 0), 0.3)
    suite.handle(Exited("market", 0), 0.3)
    assert suite.exit_code is Exit.FAILED


def stepping() -> core.Suite:
    """A run in lockstep, all ready."""
    suite = core.suite(DAEMONS, 0.0, restarts=True)
    for name, _ in DAEMONS:
        suite.handle(Notified(name, ready=True), 1.0)
    return suite


def test_in_lockstep_who_dies_is_started_again_and_awaited() -> None:
    """The run goes on; the new one has as long to be ready as at the start, and then no deadline is left."""
    suite = stepping()
    said, restart = suite.handle(Exited("weather", -9), 5.0)
    assert said == Say("weather was killed by signal 9: started again")
    assert restart == Restart("weather")
    assert (suite.phase, suite.daemons["weather"].state) == (Phase.RUNNING, State.STARTING)
    assert suite.deadline_s == 5.0 + core.READY_S_MAX
    suite.handle(Notified("weather", ready=True), 6.0)
    assert suite.handle(Tick(), 1e9) == []
    assert suite.phase is Phase.RUNNING


def test_who_dies_again_and_again_without_a_slot_between_ends_the_run() -> None:
    """Five restarts; the sixth death is the end. A slot that was settled begins the count anew."""
    suite = stepping()
    for _ in range(2):
        for _ in range(core.RESTARTS_MAX):
            assert Restart("homes") in suite.handle(Exited("homes", -9), 5.0)
        suite.handle(SlotSettled(), 6.0)
    for _ in range(core.RESTARTS_MAX):
        suite.handle(Exited("homes", 1), 7.0)
    effects = suite.handle(Exited("homes", 1), 8.0)
    assert Say("homes died 6 times, and no slot was settled between") in effects
    assert AskStop() in effects
    assert suite.exit_code is Exit.FAILED


def test_in_lockstep_a_refusal_is_the_end() -> None:
    """A configuration that is refused (78) will be refused again, as will what fails before it is ready."""
    for code, before in ((int(Exit.CONFIGURATION), False), (1, False), (int(Exit.CONFIGURATION), True)):
        suite = stepping() if before else core.suite(DAEMONS, 0.0, restarts=True)
        assert Restart("homes") not in suite.handle(Exited("homes", code), 5.0)
        assert suite.cause is Cause.DIED


def test_who_is_restarted_and_never_ready_ends_the_run() -> None:
    """Nobody waits for ever for a daemon that hangs at its start."""
    suite = stepping()
    suite.handle(Exited("market", -11), 5.0)
    effects = suite.handle(Tick(), 6.0 + core.READY_S_MAX)
    assert LastWords("market", "market is not ready") in effects
    assert suite.exit_code is Exit.WAIT_TIMED_OUT


def test_live_nobody_is_started_again() -> None:
    """Without lockstep a death in the middle ends the run, as ever."""
    suite = running()
    assert Restart("weather") not in suite.handle(Exited("weather", -9), 5.0)
    assert suite.cause is Cause.DIED
