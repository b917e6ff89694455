"""A pair's numbers and credit: nothing lost, nothing doubled, and whoever waits for room gets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from event_bus import limits
from event_bus.errors import ProtocolError
from event_bus.protocol.frames import Frame, Kind, only
from event_bus.protocol.pair import Pair

ROOM = 64


@pytest.fixture(scope="module", autouse=True)
def _narrow() -> Iterator[None]:
    """So few bytes may be untaken, and so few frames unacknowledged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "UNTAKEN_BYTES_MAX", ROOM)
        patch.setattr(limits, "ACK_EVERY_FRAMES", 4)
        yield


def test_frames_are_numbered_and_kept_until_acknowledged() -> None:
    """A new connection begins with those, and only those, that are not acknowledged, in order."""
    pair = Pair()
    data = [pair.keep(Kind.MESSAGE, 7, 0, "t", bytes([n])) for n in range(4)]
    assert [only(each).number for each in data] == [1, 2, 3, 4]
    assert pair.again() == data
    pair.acknowledged(2, 0)
    assert pair.again() == data[2:]
    pair.acknowledged(1, 0)  # late word of an old connection
    assert pair.again() == data[2:]


def test_a_number_counts_once_and_a_gap_is_a_bug() -> None:
    """What came again is dropped; what is missing cannot be."""
    pair = Pair()
    assert [pair.accept(number) for number in (1, 2, 1, 2, 3)] == [True, True, False, False, True]
    with pytest.raises(ProtocolError, match="frame 5 came after frame 3"):
        pair.accept(5)


def test_there_is_room_until_so_much_is_untaken() -> None:
    """One message of any size goes; then there is none until the other has taken enough."""
    pair = Pair()
    pair.keep(Kind.MESSAGE, 1, 0, "t", bytes(ROOM - 1))
    assert pair.has_room()
    pair.keep(Kind.MESSAGE, 1, 0, "t", bytes(5))
    assert not pair.has_room()
    pair.acknowledged(2, 4)
    assert not pair.has_room()
    pair.acknowledged(2, 5)
    assert pair.has_room()
    pair.acknowledged(2, 3)  # late word
    assert pair.has_room()


def test_word_is_due_after_so_many_frames_or_a_quarter_of_the_room() -> None:
    """So many frames, or so much taken: not before, and not again before as much has come again."""
    pair = Pair()
    for number in range(1, limits.ACK_EVERY_FRAMES):
        pair.accept(number)
        assert pair.ack_due() is None
    pair.accept(limits.ACK_EVERY_FRAMES)
    word = pair.ack_due()
    assert word is not None
    assert only(word)[:4] == (Kind.ACK, 0, limits.ACK_EVERY_FRAMES, 0)
    assert pair.ack_due() is None
    pair.take(ROOM // 4 - 1)
    assert pair.ack_due() is None
    pair.take(1)
    word = pair.ack_due()
    assert word is not None
    assert only(word).call == ROOM // 4


@given(st.integers(1, 10), st.integers(0, 99))
def test_a_new_connection_begins_with_what_came(frames: int, taken: int) -> None:
    """The last word of it may be lost with the old connection, and the other wait for it."""
    pair = Pair()
    for number in range(1, frames + 1):
        pair.accept(number)
    pair.take(taken)
    pair.ack_due()
    word = only(pair.again()[0])
    assert (word.kind, word.stamp, word.call) == (Kind.ACK, frames, taken)


class TwoSides(RuleBasedStateMachine):
    """A sender and a receiver over connections that break with anything on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.sender, self.receiver = Pair(), Pair()
        self.there: list[bytes] = []
        self.back: list[bytes] = []
        self.sent: list[bytes] = []
        self.came: list[Frame] = []
        self.taken = 0

    @precondition(lambda self: self.sender.has_room())
    @rule(size=st.sampled_from((0, 1, 5, ROOM // 4, ROOM)))
    def send(self, size: int) -> None:
        """A message, of which only the size is sent."""
        untaken = sum(map(len, self.sent)) - sum(len(each.payload) for each in self.came[: self.taken])
        assert untaken < ROOM
        self.sent.append(bytes(size))
        self.there.append(self.sender.keep(Kind.MESSAGE, 1, 0, "t", self.sent[-1]))

    @precondition(lambda self: self.there)
    @rule()
    def arrive(self) -> None:
        """The next frame comes."""
        self._come(only(self.there.pop(0)))

    def _come(self, frame: Frame) -> None:
        if frame.kind == Kind.ACK:
            self.receiver.acknowledged(frame.stamp, frame.call)
        elif self.receiver.accept(frame.number):
            self.came.append(frame)
            self._tell()

    def _tell(self) -> None:
        word = self.receiver.ack_due()
        self.back += [] if word is None else [word]

    @precondition(lambda self: self.taken < len(self.came))
    @rule()
    def take(self) -> None:
        """The program takes the next message."""
        self.receiver.take(len(self.came[self.taken].payload))
        self.taken += 1
        self._tell()

    @precondition(lambda self: self.back)
    @rule()
    def hear(self) -> None:
        """Word comes back."""
        frame = only(self.back.pop(0))
        self.sender.acknowledged(frame.stamp, frame.call)

    @rule()
    def reconnect(self) -> None:
        """All that is on its way is lost, and a new connection begins."""
        self.there, self.back = self.sender.again(), self.receiver.again()

    @invariant()
    def in_order(self) -> None:
        """What came is the beginning of what was sent."""
        assert [each.number for each in self.came] == list(range(1, len(self.came) + 1))
        assert [len(each.payload) for each in self.came] == [
            len(each) for each in self.sent[: len(self.came)]
        ]

    def teardown(self) -> None:
        """In the end all has come, and there is room again."""
        while self.there:
            self.arrive()
        while self.taken < len(self.came):
            self.take()
        while self.back:
            self.hear()
        assert len(self.came) == len(self.sent)
        assert self.sender.has_room()


TwoSides.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTwoSides = TwoSides.TestCase
