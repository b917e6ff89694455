"""A process's side by hand: the clock, what comes early, calls to the dying, losses told once."""

from __future__ import annotations

import pytest

from event_bus.errors import NoSuchProcess, ProtocolError
from event_bus.protocol import records
from event_bus.protocol.frames import Kind, only, pack
from event_bus.protocol.member import Member
from event_bus.protocol.records import Seat, View


def seats(*lives: int) -> tuple[Seat, ...]:
    return tuple(Seat(life, f"p{life}") for life in lives)


def joined(life: int, *lives: int) -> Member:
    """A process that is connected with the others and in the first view."""
    member = Member(life)
    for other in lives:
        if other != life:
            member.on_record(records.Link(other, 1))
    member.on_record(View(1, seats(*lives), 0))
    member.outgoing.clear()
    member.reports.clear()
    return member


def test_the_clock_counts_the_programs_messages_only() -> None:
    """+1 on send, the larger of both + 1 on receive; a ping, a view, an ask, the token: nothing."""
    member = joined(1, 1, 2)
    member.send([2], b"", "t")
    assert member.clock == 1
    member.on_frame(2, only(pack(Kind.MESSAGE, 1, 10, 0, "t")))
    assert member.clock == 11
    member.on_frame(2, only(pack(Kind.MESSAGE, 2, 3, 0, "t")))
    assert member.clock == 12
    member.on_record(records.Ping(1))
    member.on_record(records.Grant(1))
    member.on_frame(2, only(pack(Kind.ASK, 3, 99, 1)))
    member.on_frame(2, only(pack(Kind.TOKEN, 4, 99, 1)))
    member.on_record(View(2, seats(1), 1))
    assert member.clock == 12


def test_what_comes_from_one_of_a_later_view_waits_for_it() -> None:
    """In order, and then counts for the clock as any other."""
    member = joined(1, 1)
    member.on_record(records.Link(2, 1))
    member.on_frame(2, only(pack(Kind.MESSAGE, 1, 5, 0, "t", b"a")))
    member.on_frame(2, only(pack(Kind.MESSAGE, 2, 6, 0, "t", b"b")))
    assert (len(member.mailbox), member.clock) == (0, 0)
    member.on_record(View(2, seats(1, 2), 0))
    assert [each.payload for each in member.mailbox.take_all()] == [b"a", b"b"]
    assert member.clock == 7


def test_an_ask_of_a_later_generation_counts_in_it() -> None:
    """The left has seen the view before; when it comes here, the right is asked on."""
    member = joined(2, 1, 2, 3)
    member.on_frame(1, only(pack(Kind.ASK, 1, 0, 2)))
    assert member.outgoing == []
    member.on_record(View(2, seats(1, 2, 3), 1))
    (life, data), frame = member.outgoing[0], only(member.outgoing[0][1])
    assert (life, frame.kind, frame.call) == (3, Kind.ASK, 2)
    assert data


def test_the_token_of_an_old_generation_is_void() -> None:
    """Granted or passed: whoever takes it is not inside."""
    member = joined(1, 1, 2)
    member.want_token()
    member.on_record(View(2, seats(1, 2), 1))
    member.on_record(records.Grant(1))
    member.on_frame(2, only(pack(Kind.TOKEN, 1, 0, 1)))
    assert not member.inside
    member.on_record(records.Grant(2))
    assert member.inside


def test_who_gives_up_alone_keeps_the_token_that_comes() -> None:
    """The other died, the grant is on its way, the program gives up: it may still enter later."""
    member = joined(1, 1, 2)
    member.want_token()
    member.on_record(View(2, seats(1), 1))
    member.cancel_token()
    member.on_record(records.Grant(2))
    assert not member.inside
    member.want_token()
    assert member.inside


def test_a_call_waits_for_the_living_only() -> None:
    """Who is lost is struck off what is waited for; what it answered before stays."""
    member = joined(1, 1, 2, 3, 4)
    call = member.send([2, 3, 4], b"", "t", answered=True)
    member.on_frame(2, only(pack(Kind.ANSWER, 1, 2, call, "", b"yes")))
    member.on_record(View(2, seats(1, 4), 2))
    assert member.answers[call] == {2: b"yes", 4: None}


def test_there_is_room_at_one_who_is_gone() -> None:
    """Its connection is closed, its pair forgotten: whoever waits to send to it goes on."""
    member = joined(1, 1, 2)
    member.on_link_down(2, 1)
    member.on_record(View(2, seats(1), 1))
    assert member.has_room(2)


def test_a_connection_that_breaks_is_asked_for_unless_the_other_is_gone() -> None:
    """And the new one begins with what the old may have lost."""
    member = joined(1, 1, 2)
    member.send([2], b"x", "t")
    sent = list(member.outgoing)
    member.on_link_down(2, 1)
    assert member.reports == [records.Relink(2, 1)]
    member.outgoing.clear()
    member.send([2], b"y", "t")
    assert member.outgoing == []
    member.on_record(records.Link(2, 2))
    assert [only(data).payload for _, data in member.outgoing] == [b"x", b"y"]
    assert member.outgoing[0] == sent[0]
    member.reports.clear()
    member.on_record(View(2, seats(1), 1))
    member.reports.clear()
    member.on_link_down(2, 2)
    assert member.reports == []


def test_a_loss_is_told_once_and_an_arrival_says_what_it_knew() -> None:
    """A process that came after three losses knows of them; two more are told together."""
    member = Member(1)
    member.on_record(View(7, seats(1, 2, 3), 3))
    member.reports.clear()
    member.arrive("b", keep_all=True)
    for losses, name in ((4, "p2"), (5, "p3")):
        member.on_record(records.Lost(losses, name))
    assert member.untold() == ("p2", "p3")
    assert member.untold() == ()
    assert not member.has_untold
    member.arrive("b", keep_all=True)
    assert member.reports == [records.Arrive("b", True, 1, 3), records.Arrive("b", True, 2, 5)]


def test_an_opening_is_of_the_arrival_that_it_names() -> None:
    """One that crossed a withdrawal does not open the next round."""
    member = joined(1, 1, 2)
    first = member.arrive("b", keep_all=False)
    second = member.arrive("b", keep_all=False)
    member.on_record(records.Open("b", first.number))
    assert not second.opened
    member.on_record(records.Withdrawn("b", second.number))
    assert second.withdrawn
    third = member.arrive("b", keep_all=False)
    member.on_record(records.Open("b", third.number))
    assert (third.opened, third.withdrawn) == (True, False)


def test_what_the_other_side_does_not_say_is_a_bug() -> None:
    """A record of the wrong direction, a number that nobody has."""
    member = joined(1, 1, 2)
    with pytest.raises(ProtocolError, match="the keeper does not say Pong"):
        member.on_record(records.Pong(1))
    with pytest.raises(NoSuchProcess, match="no process 2: 2 live"):
        member.seat(2)
