"""The supervisor's decisions, event by event."""

from __future__ import annotations

import pytest

from energyctl.exits import Exit
from energyctl.up import core
from energyctl.up.core import Phase
from energyctl.up.events import (
    Abort,
    Announce,
    AskStop,
    Cause,
    Effect,
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
from energyctl.up.life import LEFT_S_MAX, Role, State
from energyctl.up.policy import DAEMON

DAEMONS = tuple(
    (name, role, DAEMON, True)
    for name, role in (("market", Role.MARKET), ("weather", Role.WEATHER), ("homes", Role.HOMES))
)
SERVICES = (
    *DAEMONS,
    ("dispatcher", Role.DISPATCHER, DAEMON, False),
    ("worker-1", Role.WORKER, DAEMON, False),
)


def starting() -> core.Suite:
    return core.suite(DAEMONS, 0.0)


def running(daemons: tuple[core.Listed, ...] = DAEMONS, *, lockstep: bool = False) -> core.Suite:
    """A run whose daemons have been ready since second 1."""
    suite = core.suite(daemons, 0.0, lockstep=lockstep)
    for name, *_ in daemons:
        suite.handle(Notified(name, ready=True), 1.0)
    assert suite.phase is Phase.RUNNING
    return suite


def tick_to(
    suite: core.Suite, until_s: float, alive: tuple[str, ...] = ("market", "weather", "homes")
) -> list[Effect]:
    """Let time pass, a quarter of a second at a time, in which these show that they go on."""
    effects: list[Effect] = []
    steps = round((until_s - suite.now_s) * 4)
    for step in range(1, steps + 1):
        now_s = until_s - (steps - step) / 4
        for name in alive:
            suite.handle(Notified(name, alive=True), now_s)
        effects += suite.handle(Tick(), now_s)
    return effects


def test_a_run_is_announced_once_when_the_last_daemon_is_ready() -> None:
    """READY of all daemons, in any order, announces the run once; repeating READY changes nothing."""
    suite = starting()
    assert suite.handle(Notified("homes", ready=True), 1.0) == []
    assert suite.handle(Notified("market", ready=True, status="slot 1"), 1.0) == []
    assert suite.handle(Notified("weather", ready=True), 1.0) == [Announce()]
    assert suite.handle(Notified("weather", ready=True), 2.0) == []
    assert suite.daemons["market"].status == "slot 1"


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
    suite.handle(Notified("market", stopping=True), 1.1)
    assert suite.handle(Exited("market", 0), 1.2) == [Terminate("homes")]
    assert suite.cause is Cause.ENDED


def test_a_daemon_that_says_before_it_is_ready_why_it_cannot_run_ends_the_start() -> None:
    """Exit 7 before READY: last words, the others are ended, exit code 1. A person waits for the answer."""
    suite = starting()
    effects = suite.handle(Exited("weather", 7), 0.5)
    assert effects == [
        LastWords("weather", "weather ended with exit code 7 before it was ready"),
        Terminate("homes"),
    ]
    suite.handle(Exited("homes", -15), 0.6)
    suite.handle(Exited("market", -15), 0.7)
    assert (suite.phase, suite.exit_code) == (Phase.OVER, Exit.FAILED)


def test_a_refusal_at_the_start_is_the_code_of_the_run() -> None:
    """78 of a daemon is 78 for the shell."""
    suite = starting()
    suite.handle(Exited("homes", 78), 0.5)
    assert (suite.cause, suite.exit_code) == (Cause.DIED, Exit.CONFIGURATION)


def test_who_is_killed_at_the_start_is_started_again() -> None:
    """A signal says nothing about the configuration: one more start, and the run is announced."""
    suite = starting()
    suite.handle(Exited("homes", -9), 0.5)
    assert suite.handle(Tick(), 0.56) == [Start("homes")]
    effects = [suite.handle(Notified(name, ready=True), 1.0) for name in ("market", "weather", "homes")]
    assert effects[-1] == [Announce()]


def test_the_last_words_of_the_dead_are_not_believed() -> None:
    """A notification that is read after the death does not bring a daemon back."""
    suite = running()
    suite.handle(Exited("homes", 1), 2.0)
    suite.handle(Notified("homes", ready=True), 2.0)
    assert suite.daemons["homes"].state is State.WAITING


def test_a_silent_start_has_a_deadline() -> None:
    """A daemon that never gets ready ends the run with 6 (wait timed out), and is named."""
    suite = starting()
    for name in ("market", "weather"):
        suite.handle(Notified(name, ready=True), 1.0)
    assert tick_to(suite, core.READY_S_MAX - 0.5) == []
    effects = tick_to(suite, core.READY_S_MAX)
    assert LastWords("homes", "homes is not ready") in effects
    assert suite.exit_code is Exit.WAIT_TIMED_OUT


def test_who_dies_is_started_again_after_the_delay_of_its_unit() -> None:
    """50 ms after the first death and 300 ms from the fifth restart on: RestartSec=, RestartMaxDelaySec=."""
    suite = running()
    (said,) = suite.handle(Exited("weather", -9), 5.0)
    assert said == Say("weather was killed by signal 9: started again in 0.05 s (restart 1)")
    assert suite.handle(Tick(), 5.049) == []
    assert suite.handle(Tick(), 5.05) == [Start("weather")]
    assert (suite.phase, suite.daemons["weather"].state) == (Phase.RUNNING, State.STARTING)
    for _ in range(4):
        suite.handle(Notified("weather", ready=True), suite.now_s)
        suite.handle(Exited("weather", -9), suite.now_s)
        suite.handle(Tick(), suite.now_s + 1)
    suite.handle(Exited("weather", -9), 20.0)
    assert suite.due_s() == pytest.approx(20.3) or suite.daemons["weather"].deadline_s == pytest.approx(20.3)


def crash(suite: core.Suite, name: str, now_s: float) -> tuple[int, float]:
    """Let it die at once, again and again, until nobody starts it any more: how many starts, and when."""
    starts = 0
    effects = suite.handle(Exited(name, 1), now_s)
    while suite.daemons[name].state is State.WAITING:
        now_s = suite.daemons[name].deadline_s or now_s
        for other in suite.daemons:
            suite.handle(Notified(other, alive=True), now_s)
        effects = suite.handle(Tick(), now_s)
        if Start(name) in effects:
            starts += 1
            suite.handle(Exited(name, 1), now_s)
    return starts, now_s


def test_who_dies_at_each_start_is_given_up_and_the_others_serve_on() -> None:
    """StartLimitBurst=20 within StartLimitIntervalSec=60, the first start included; then it is failed."""
    suite = running()
    starts, _ = crash(suite, "weather", 5.0)
    assert starts == DAEMON.starts_max - 1
    assert suite.daemons["weather"].state is State.FAILED
    assert "20 starts within 60 s" in suite.daemons["weather"].why
    assert (suite.phase, suite.daemons["market"].state) == (Phase.RUNNING, State.READY)
    suite.handle(StopWanted(Cause.ASKED), 30.0)
    assert suite.exit_code is Exit.FAILED


def test_what_has_failed_gets_another_chance_from_an_operator() -> None:
    """An order to start resets the limit, as `systemctl reset-failed` does."""
    suite = running()
    _, now_s = crash(suite, "weather", 5.0)
    assert suite.handle(Ordered(Order.START), now_s) == [Start("weather")]
    suite.handle(Exited("weather", 1), now_s)
    assert suite.daemons["weather"].state is State.WAITING


def test_a_market_that_is_given_up_is_the_end() -> None:
    """Without a market there is nothing to serve: the others are ended in order, exit code 1."""
    suite = running()
    crash(suite, "market", 5.0)
    assert (suite.cause, suite.exit_code) == (Cause.DIED, Exit.FAILED)


def test_a_worker_that_cannot_start_holds_up_nobody() -> None:
    """A service is tried once before the run is announced; its limit is reached later, and shown."""
    suite = core.suite(SERVICES, 0.0)
    for name in ("market", "weather", "homes", "dispatcher"):
        assert Announce() not in suite.handle(Notified(name, ready=True), 1.0)
    suite.handle(Exited("worker-1", 1), 1.0)
    assert suite.handle(Tick(), 1.05) == [Start("worker-1")]
    suite.handle(Exited("worker-1", 1), 1.1)
    starts, _ = crash(suite, "worker-1", 1.2)
    assert suite.daemons["worker-1"].state is State.FAILED
    assert (suite.phase, suite.cause) == (Phase.RUNNING, None)
    assert starts < DAEMON.starts_max


def test_a_refused_configuration_is_not_tried_again() -> None:
    """RestartPreventExitStatus=73 78 of the units."""
    for code in (73, 78):
        suite = running()
        suite.handle(Exited("weather", code), 5.0)
        assert suite.daemons["weather"].state is State.FAILED


def test_a_frozen_daemon_is_found_killed_and_replaced() -> None:
    """WatchdogSec=2 after its last sign of life SIGABRT, TimeoutAbortSec=1 later SIGKILL, then a new one."""
    suite = running()
    others = ("market", "homes")
    assert tick_to(suite, 2.75, others) == []
    assert tick_to(suite, 3.0, others) == [
        Say("weather is frozen, without progress for 2 s: killed"),
        Abort("weather"),
    ]
    assert tick_to(suite, 3.75, others) == []
    assert tick_to(suite, 4.0, others) == [Kill("weather")]
    suite.handle(Exited("weather", -9), 4.0)
    assert tick_to(suite, 4.25, others) == [Start("weather")]


def test_who_makes_progress_or_asks_for_time_is_let_live() -> None:
    """WATCHDOG=1 counts for 2 s, EXTEND_TIMEOUT_USEC= for as long as it says, STATUS= for nothing."""
    suite = running()
    tick_to(suite, 9.0)
    assert suite.daemons["weather"].state is State.READY
    suite.handle(Notified("weather", extend_s=30.0), 9.0)
    assert tick_to(suite, 38.75, ("market", "homes")) == []
    suite.handle(Notified("weather", status="busy"), 38.75)
    assert Abort("weather") in tick_to(suite, 39.0, ("market", "homes"))


def test_who_says_itself_that_it_is_stuck_is_replaced_at_once() -> None:
    """WATCHDOG=trigger of sd_notify(3)."""
    suite = running()
    assert Abort("homes") in suite.handle(Notified("homes", trigger=True), 1.5)


def test_another_interval_that_a_daemon_asks_for_counts() -> None:
    """WATCHDOG_USEC= of sd_notify(3), from its next sign of life on."""
    suite = running()
    suite.handle(Notified("weather", watchdog_s=10.0, alive=True), 1.0)
    assert tick_to(suite, 10.75, ("market", "homes")) == []
    assert Abort("weather") in tick_to(suite, 11.0, ("market", "homes"))


def test_a_supervisor_that_was_away_takes_no_silence_for_frozen() -> None:
    """SIGSTOP of ours for an hour: nobody is killed for it, and then everybody is watched as before."""
    suite = running()
    assert suite.handle(Tick(), 3601.0) == []
    assert tick_to(suite, 3602.75, ("market", "weather")) == []
    assert Abort("homes") in tick_to(suite, 3604.0, ("market", "weather"))


def test_who_is_started_again_and_never_ready_is_tried_once_more() -> None:
    """TimeoutStartSec=30: SIGTERM, TimeoutStopSec=10 later SIGKILL, and another start."""
    suite = running()
    suite.handle(Exited("weather", -11), 5.0)
    tick_to(suite, 5.25, ("market", "homes"))
    assert Terminate("weather") in tick_to(suite, 35.25, ("market", "homes"))
    assert Kill("weather") in tick_to(suite, 45.25, ("market", "homes"))
    suite.handle(Exited("weather", -9), 45.25)
    assert Start("weather") in tick_to(suite, 46.0, ("market", "homes"))


def test_what_cannot_be_started_is_tried_again() -> None:
    """No process, no descriptor, a port in use: a failure like another, told with its reason."""
    suite = running()
    suite.handle(Exited("weather", -9), 5.0)
    suite.handle(Tick(), 5.1)
    (said,) = suite.handle(NotStarted("weather", "Too many open files"), 5.1)
    assert said == Say(
        "weather could not be started: Too many open files: started again in 0.078 s (restart 2)"
    )


def test_a_stop_goes_workers_dispatcher_market_homes_rest() -> None:
    """Workers first, so that nobody asks them any more; the market settles before a home is ended."""
    suite = running(SERVICES)
    assert suite.handle(StopWanted(Cause.ASKED), 5.0) == [Terminate("worker-1")]
    assert suite.handle(Exited("worker-1", 0), 5.1) == [Terminate("dispatcher")]
    assert suite.handle(Exited("dispatcher", 0), 5.2) == [AskStop()]
    assert suite.handle(StopAnswered(), 5.3) == [Terminate("homes")]
    assert suite.handle(Exited("homes", 0), 5.4) == [Terminate("market"), Terminate("weather")]
    for name in ("market", "weather"):
        suite.handle(Exited(name, 0), 5.5)
    assert (suite.phase, suite.exit_code) == (Phase.OVER, Exit.OK)


def test_a_stop_waits_for_no_restart() -> None:
    """Who was about to be started again has ended with the run."""
    suite = running()
    suite.handle(Exited("weather", -9), 5.0)
    suite.handle(StopWanted(Cause.ASKED), 5.01)
    assert suite.daemons["weather"].state is State.ENDED
    assert tick_to(suite, 6.0) == []


def test_a_market_that_does_not_go_is_killed_after_its_deadlines() -> None:
    """No answer to Stop, no exit after SIGTERM: SIGKILL, and the run counts as failed."""
    suite = running()
    suite.handle(StopWanted(Cause.ASKED), 2.0)
    assert Terminate("homes") in tick_to(suite, 2.0 + core.ASK_S_MAX)
    for name in ("homes", "weather"):
        suite.handle(Exited(name, 0), 22.0)
    assert Kill("market") in tick_to(suite, 32.0)
    suite.handle(Exited("market", -9), 33.0)
    assert (suite.phase, suite.exit_code) == (Phase.OVER, Exit.FAILED)


def test_asking_twice_kills_at_once() -> None:
    """A second Ctrl-C does not wait for anybody."""
    suite = running()
    suite.handle(StopWanted(Cause.INTERRUPTED), 1.0)
    killed = {
        effect.name for effect in suite.handle(StopWanted(Cause.INTERRUPTED), 1.1) if isinstance(effect, Kill)
    }
    assert killed == {"market", "weather", "homes"}


def test_a_home_that_leaves_just_before_the_good_bye_is_no_failure() -> None:
    """Homes hear of the end on their own connection: they may be gone before we hear of it."""
    suite = running()
    assert suite.handle(Exited("homes", 0), 1.0) == []
    assert suite.daemons["homes"].state is State.LEFT
    suite.handle(Notified("market", stopping=True), 1.5)
    assert tick_to(suite, 6.0, ("weather",)) == []
    suite.handle(Exited("market", 0), 6.0)
    assert (suite.cause, suite.failed) == (Cause.ENDED, False)


def test_a_home_that_leaves_in_the_middle_is_a_failure() -> None:
    """Exit 0 without an end of the market: told, shown as failed, not started again (Restart=on-failure)."""
    suite = running()
    suite.handle(Exited("homes", 0), 1.0)
    effects = tick_to(suite, 1.0 + LEFT_S_MAX, ("market", "weather"))
    assert LastWords("homes", "homes left without a word") in effects
    assert (suite.daemons["homes"].state, suite.phase) == (State.FAILED, Phase.RUNNING)


def test_an_error_while_stopping_is_told() -> None:
    """A daemon that fails on its way out has last words, and the run failed."""
    suite = running()
    suite.handle(StopWanted(Cause.ASKED), 1.0)
    suite.handle(StopAnswered(), 1.1)
    effects = suite.handle(Exited("homes", 74), 1.2)
    assert effects[0] == LastWords("homes", "homes ended with exit code 74 while stopping")
    suite.handle(Exited("weather", 0), 1.3)
    suite.handle(Exited("market", 0), 1.3)
    assert suite.exit_code is Exit.FAILED


def test_an_operator_stops_one_and_starts_it_again() -> None:
    """Stopped is no failure and no reason for a restart; its SIGTERM may kill it."""
    suite = running()
    assert suite.handle(Ordered(Order.STOP, ("weather",)), 2.0) == [Terminate("weather")]
    suite.handle(Exited("weather", -15), 2.1)
    assert suite.daemons["weather"].state is State.STOPPED
    assert suite.handle(Ordered(Order.START, ("weather",)), 3.0) == [Start("weather")]


def test_an_operator_restarts_one() -> None:
    """SIGTERM, and another life as soon as it is gone, without a delay and without counting a failure."""
    suite = running()
    assert suite.handle(Ordered(Order.RESTART, ("homes",)), 2.0) == [Terminate("homes")]
    assert suite.handle(Exited("homes", 0), 2.5) == [Start("homes")]
    assert suite.daemons["homes"].restarts == 0


def test_a_restart_of_all_goes_down_in_order_and_comes_back() -> None:
    """The order of a stop, then all are started, and the run is announced again."""
    suite = running()
    assert suite.handle(Ordered(Order.RESTART), 2.0) == [AskStop()]
    suite.handle(StopAnswered(), 2.1)
    suite.handle(Exited("homes", 0), 2.2)
    suite.handle(Exited("weather", 0), 2.3)
    assert suite.handle(Exited("market", 0), 2.4) == [Start("market"), Start("weather"), Start("homes")]
    assert (suite.phase, suite.cause) == (Phase.STARTING, None)
    effects = [suite.handle(Notified(name, ready=True), 3.0) for name in ("market", "weather", "homes")]
    assert effects[-1] == [Announce()]


def test_in_lockstep_who_dies_again_and_again_without_a_slot_between_ends_the_run() -> None:
    """Five restarts; the sixth death is the end. A slot that was settled begins the count anew."""
    suite = running(lockstep=True)

    def die() -> list[Effect]:
        effects = suite.handle(Exited("homes", -9), suite.now_s)
        suite.handle(Notified("market", alive=True), suite.now_s + 0.4)
        suite.handle(Notified("weather", alive=True), suite.now_s)
        suite.handle(Tick(), suite.now_s)
        return effects

    for _ in range(2):
        for _ in range(core.RESTARTS_MAX):
            die()
            assert suite.daemons["homes"].state is State.STARTING
        suite.handle(SlotSettled(), suite.now_s)
    for _ in range(core.RESTARTS_MAX):
        die()
    effects = die()
    assert LastWords("homes", "homes died 6 times, and no slot was settled between") in effects
    assert AskStop() in effects
    assert suite.exit_code is Exit.FAILED


def test_in_lockstep_a_refusal_is_the_end() -> None:
    """A configuration that is refused will be refused again, and nothing goes on without the homes."""
    suite = running(lockstep=True)
    suite.handle(Exited("homes", int(Exit.CONFIGURATION)), 5.0)
    assert suite.cause is Cause.DIED
