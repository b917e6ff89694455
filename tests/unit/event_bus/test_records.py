"""Records as packets: every record of the table comes back."""

from __future__ import annotations

import marshal
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_bus.errors import ProtocolError
from event_bus.protocol import records
from event_bus.protocol.records import RECORDS, Record, Seat, View

VALUES: dict[object, st.SearchStrategy[typing.Any]] = {
    int: st.integers(-(1 << 70), 1 << 70),
    str: st.text(max_size=20),
    bool: st.booleans(),
    tuple[Seat, ...]: st.lists(st.builds(Seat, st.integers(), st.text(max_size=8))).map(tuple),
}


def a_record(kind: type) -> st.SearchStrategy[Record]:
    fields = typing.get_type_hints(kind)
    return st.builds(kind, **{name: VALUES[hint] for name, hint in fields.items()})


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back(kind: type) -> None:
    """Whatever is in its fields, and as what it was."""

    @given(a_record(kind))
    def comes_back(record: Record) -> None:
        again = records.unpack(records.pack(record))
        assert again == record
        assert type(again) is kind

    comes_back()


def test_the_table_has_every_record_of_the_page() -> None:
    """A record that is defined and not in the table could not be sent."""
    defined = {
        each
        for each in vars(records).values()
        if isinstance(each, type) and issubclass(each, tuple) and each.__module__ == records.__name__
    }
    assert defined - {Seat} == set(RECORDS)


def test_seats_are_seats_again() -> None:
    """A view's seats come back with their names, not as bare pairs."""
    view = records.unpack(records.pack(View(3, (Seat(1, "a"), Seat(2, "b")), 0)))
    assert isinstance(view, View)
    assert [seat.name for seat in view.seats] == ["a", "b"]


def test_a_number_that_is_not_in_the_table_is_refused() -> None:
    """Both ends are one program: this is a bug, and is told as one."""
    with pytest.raises(ProtocolError, match="record number 99"):
        records.unpack(marshal.dumps((99, 1)))
