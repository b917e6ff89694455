"""The inbox of the thread that owns a state: urgent first, in helpings, never without an end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.inbox import HELPING_MAX, Inbox


@pytest.fixture
def inbox() -> Iterator[Inbox[str]]:
    """An inbox, closed after the test."""
    made: Inbox[str] = Inbox()
    yield made
    made.close()


def test_what_can_wait_comes_after_what_is_urgent_and_one_at_a_time(inbox: Inbox[str]) -> None:
    """Neither keeps the other out: each helping has all the urgent ones and one that could wait."""
    for letter in "xyz":
        inbox.put_later(letter)
    for letter in "ab":
        inbox.put(letter)
    assert inbox.wait(None) == ["a", "b", "x"]
    assert [inbox.wait(None), inbox.wait(None)] == [["y"], ["z"]]
    assert inbox.wait(boottime_ns() + 1_000_000) == []


def test_a_crowd_is_served_in_helpings(inbox: Inbox[str]) -> None:
    """The owner looks at its clock between them; what is left at the end is handed over too."""
    for number in range(2 * HELPING_MAX + 1):
        inbox.put(str(number))
    inbox.put_later("last")
    assert len(inbox.wait(None)) == HELPING_MAX + 1
    assert inbox.rest() == [str(number) for number in range(HELPING_MAX, 2 * HELPING_MAX + 1)]
    assert inbox.rest() == []


def test_who_looks_in_sets_no_alarm(inbox: Inbox[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces of work: what has come is there, and nothing is waited for; later an alarm rings."""
    with monkeypatch.context() as patched:
        patched.delattr(inbox._alarm.__class__, "set")
        assert inbox.wait(0) == []
        inbox.put("a")
        inbox.put_later("b")
        assert inbox.wait(0) == ["a", "b"]
        assert inbox.wait(0) == []
    assert inbox.wait(boottime_ns() + 1_000_000) == []
