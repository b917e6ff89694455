"""The keeper by hand: views and their token, silence, failed batches, the end."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

import pytest

from event_bus import limits
from event_bus.errors import ProtocolError
from event_bus.protocol import records
from event_bus.protocol.keeper import EXPECTED, Connect, Effect, Keeper, Kill, ToManager, ToProcess
from event_bus.protocol.records import Record, Seat, View


class Desk:
    """A keeper, and what it has just done."""

    def __init__(self) -> None:
        self.keeper = Keeper()
        self.now_s = 50.0

    def done(self) -> list[Effect]:
        """What it has done since this was asked last."""
        effects, self.keeper.effects = self.keeper.effects, []
        return effects

    def said(self, life: int) -> list[Record]:
        """What it has told one process."""
        return [each.record for each in self.done() if isinstance(each, ToProcess) and each.life == life]

    def join(self, *lives: int, batch: int, seat: str = "") -> None:
        """A batch is forked."""
        for life in lives:
            name = seat or f"p{life}"
            self.keeper.on_join(records.Join(life, name, 1000 + life, batch, len(lives)), self.now_s)

    def report(self, life: int, record: Record) -> None:
        """A process says something."""
        self.keeper.on_report(life, record, self.now_s)

    def tick(self, step_s: float = limits.HEARTBEAT_S) -> list[Effect]:
        """Time passes; what it does then."""
        self.now_s += step_s
        self.keeper.on_tick(self.now_s)
        return self.done()

    def living(self, *lives: int) -> Desk:
        """With a batch that is on the bus."""
        self.join(*lives, batch=1)
        for life in lives:
            self.report(life, records.Ready())
        self.done()
        return self


def kills(effects: list[Effect]) -> list[tuple[int, int]]:
    return [(each.life, each.signal) for each in effects if isinstance(each, Kill)]


def test_a_batch_is_on_the_bus_when_its_last_is_ready() -> None:
    """Each pair has its connection before the view; the view comes to all at once, and the manager hears."""
    desk = Desk()
    desk.join(1, 2, 3, batch=1)
    connected = [each for each in desk.done() if isinstance(each, Connect)]
    assert connected == [Connect(pair, 1) for pair in ((1, 2), (1, 3), (2, 3))]
    desk.report(1, records.Ready())
    desk.report(3, records.Ready())
    assert desk.done() == []
    desk.report(2, records.Ready())
    view = View(1, (Seat(1, "p1"), Seat(2, "p2"), Seat(3, "p3")), 0)
    assert desk.done() == [*(ToProcess(life, view) for life in (1, 2, 3)), ToManager(records.Joined(1))]


def test_the_token_is_granted_when_the_last_has_seen_the_view() -> None:
    """To the one who held it, else to the first; what was seen of an older view does not count."""
    desk = Desk().living(1, 2)
    desk.report(1, records.Seen(1, False))
    assert desk.done() == []
    desk.report(2, records.Seen(1, False))
    assert desk.done() == [ToProcess(1, records.Grant(1))]
    desk.join(3, batch=2)
    desk.report(3, records.Ready())
    desk.done()
    desk.report(2, records.Seen(2, True))
    desk.report(3, records.Seen(2, False))
    desk.report(1, records.Seen(1, False))
    assert desk.done() == []
    desk.report(1, records.Seen(2, False))
    assert desk.done() == [ToProcess(2, records.Grant(2))]


def test_two_who_hold_the_token_are_a_bug() -> None:
    """It is told where it is seen, and not smoothed over."""
    desk = Desk().living(1, 2)
    desk.report(1, records.Seen(1, True))
    with pytest.raises(ProtocolError, match="two tokens: 1 and 2"):
        desk.report(2, records.Seen(1, True))


def test_a_loss_closes_up_the_numbers_and_a_replacement_gets_its_place() -> None:
    """By the seat's name, whatever its life."""
    desk = Desk().living(1, 2, 3)
    desk.keeper.on_death(2)
    assert desk.keeper.view == View(2, (Seat(1, "p1"), Seat(3, "p3")), 1)
    assert desk.said(3) == [desk.keeper.view, records.Lost(1, "p2")]
    desk.join(4, batch=2, seat="p2")
    desk.report(4, records.Ready())
    assert desk.keeper.view == View(3, (Seat(1, "p1"), Seat(4, "p2"), Seat(3, "p3")), 1)


def test_who_is_silent_for_three_seconds_is_killed_and_not_yet_lost() -> None:
    """At 3.0 s of silence nothing, at 3.5 s SIGKILL, once; it is lost when it is dead."""
    desk = Desk().living(1, 2)
    desk.tick()
    for _ in range(6):
        desk.report(2, records.Pong(1))
        assert kills(desk.tick()) == []
    desk.report(2, records.Pong(1))
    assert kills(desk.tick()) == [(1, SIGKILL)]
    desk.report(2, records.Pong(1))
    assert kills(desk.tick()) == []
    assert len(desk.keeper.view.seats) == 2
    desk.keeper.on_death(1)
    gone = [each.record for each in desk.done() if isinstance(each, ToManager)]
    assert gone == [records.Gone(1, "p1", "it was silent for 3.5 s, and was killed")]


def test_a_slow_constructor_of_another_is_no_silence() -> None:
    """Who is ready waits for its batch unasked, ten seconds or more, and lives on."""
    desk = Desk()
    desk.join(1, 2, batch=1)
    desk.report(1, records.Ready())
    for _ in range(20):
        assert kills(desk.tick()) == []
    desk.report(2, records.Ready())
    assert kills(desk.tick()) == []


def test_a_machine_that_slept_kills_nobody() -> None:
    """A tick that comes late says nothing of the others' silence: they have their three seconds again."""
    desk = Desk().living(1)
    desk.tick()
    assert kills(desk.tick(3600.0)) == []
    for _ in range(6):
        assert kills(desk.tick()) == []
    assert kills(desk.tick()) == [(1, SIGKILL)]


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_batch_fails_as_a_whole(how: str) -> None:
    """A constructor raises, or its process dies: the others are killed, the view stays."""
    desk = Desk().living(1)
    desk.join(2, 3, batch=2)
    desk.report(3, records.Ready())
    desk.done()
    if how == "raises":
        desk.report(2, records.Failed("why"))
    else:
        desk.keeper.on_death(2)
    effects = desk.done()
    assert (3, SIGKILL) in kills(effects)
    text = "why" if how == "raises" else "process p2 (pid 1002) died before it was on the bus"
    assert [each.record for each in effects if isinstance(each, ToManager)] == [records.Refused(2, text)]
    assert [seat.life for seat in desk.keeper.view.seats] == [1]


def test_a_batch_that_is_given_up_was_not_on_the_bus() -> None:
    """One is ready, one is not: both are killed, the view stays, and nothing is lost when they die."""
    desk = Desk().living(1)
    desk.join(2, 3, batch=2)
    desk.report(3, records.Ready())
    desk.done()
    desk.keeper.on_give_up(2)
    effects = desk.done()
    assert sorted(kills(effects)) == [(2, SIGKILL), (3, SIGKILL)]
    refused = records.Refused(2, "its manager gave its start up")
    assert [each.record for each in effects if isinstance(each, ToManager)] == [refused]
    for life in (2, 3):
        desk.keeper.on_death(life)
    assert desk.done() == []
    assert [seat.life for seat in desk.keeper.view.seats] == [1]


def test_a_batch_that_is_given_up_on_the_bus_is_lost() -> None:
    """All were ready before the word came: both are killed, and each is lost when it dies, as was wanted."""
    desk = Desk().living(1)
    desk.join(2, 3, batch=2)
    for life in (2, 3):
        desk.report(life, records.Ready())
    desk.done()
    desk.keeper.on_give_up(2)
    assert desk.done() == [Kill(2, SIGKILL), Kill(3, SIGKILL)]
    for life in (2, 3):
        desk.keeper.on_death(life)
        gone = records.Gone(life, f"p{life}", "its manager gave its start up")
        assert [each.record for each in desk.done() if isinstance(each, ToManager)] == [gone]
    assert "its manager gave its start up" in EXPECTED
    assert [seat.life for seat in desk.keeper.view.seats] == [1]


def test_the_end_is_asked_for_then_pressed() -> None:
    """Stop, SIGTERM after 1 s, SIGKILL after 1.8 s, each once; the manager hears when the last is dead."""
    desk = Desk().living(1, 2)
    desk.keeper.on_stop(desk.now_s)
    desk.keeper.on_stop(desk.now_s)
    assert desk.done() == [ToProcess(1, records.Stop()), ToProcess(2, records.Stop())]
    assert [kills(desk.tick(0.25)) for _ in range(9)] == [
        *([[]] * 3), [(1, SIGTERM), (2, SIGTERM)], *([[]] * 3), [(1, SIGKILL), (2, SIGKILL)], [],
    ]  # fmt: skip
    desk.keeper.on_death(1)
    assert ToManager(records.Stopped()) not in desk.done()
    desk.keeper.on_death(2)
    assert desk.done()[-1] == ToManager(records.Stopped())


def test_a_broken_connection_is_made_anew_once() -> None:
    """Both ends tell of it; the second word is of a connection that is gone."""
    desk = Desk().living(1, 2)
    desk.report(1, records.Relink(2, 1))
    desk.report(2, records.Relink(1, 1))
    assert desk.done() == [Connect((1, 2), 2)]
    desk.report(1, records.Leave())
    desk.done()
    desk.report(2, records.Relink(1, 2))
    assert desk.done() == []
