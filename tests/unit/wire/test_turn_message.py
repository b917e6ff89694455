"""The turn of a lockstep exchange as bytes, and the order of its message types."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.limits import HOMES_MAX
from energymarket.core.turns import Role, Turn
from energymarket.wire import turn_message
from energymarket.wire.fault import WireError, WireFault

HOMES = st.integers(1, HOMES_MAX)
EPOCHS = st.integers(0, 2**32 - 1)


@given(
    turn=st.builds(
        Turn, st.sampled_from(Role), HOMES, HOMES, HOMES, st.booleans(), st.booleans(), st.booleans()
    ),
    slot=st.integers(0, 2**48 - 1),
    epoch=EPOCHS,
)
def test_a_turn_comes_back_as_it_was(turn: Turn, slot: int, epoch: int) -> None:
    """Every field, in 32 bytes."""
    data = turn_message.pack(turn, slot=slot, epoch=epoch)
    assert len(data) == 32
    assert turn_message.unpack(data) == (slot, epoch, turn)


@given(st.binary(max_size=64))
def test_noise_is_a_turn_or_refused(noise: bytes) -> None:
    """No bytes crash the reader."""
    with suppress(WireError):
        turn_message.unpack(noise)


def test_a_role_that_there_is_not_is_refused() -> None:
    """Byte 3 is the role: 1 to 4."""
    data = bytearray(turn_message.pack(Turn(Role.GIVE, 1, 1, 1), slot=1, epoch=0))
    data[3] = 5
    with pytest.raises(WireError) as refused:
        turn_message.unpack(bytes(data))
    assert refused.value.fault is WireFault.KIND


@given(epoch=EPOCHS, low=HOMES, high=HOMES)
def test_every_type_of_an_epoch_is_above_all_types_before(epoch: int, low: int, high: int) -> None:
    """So a process of an older epoch can take nothing of a newer one, and what is old is dropped first."""
    older = [turn_message.kind_of_turn(epoch, high), turn_message.kind_of_back(epoch, high)]
    assert max(older) < turn_message.kind_of_offers(epoch + 1, low)
    assert turn_message.kind_of_offers(0, low) == low  # one above the ring position, as the rules say
    assert max(older) < 2**63


@given(epoch=EPOCHS, kind=HOMES)
def test_offers_what_goes_back_and_turns_are_apart(epoch: int, kind: int) -> None:
    """The lowest type up to that of the last home is one of offers."""
    last = turn_message.kind_of_offers(epoch, HOMES_MAX)
    assert last < turn_message.kind_of_back(epoch, 1) < turn_message.kind_of_turn(epoch, 1)
    assert turn_message.kind_of_back(epoch, HOMES_MAX) < turn_message.kind_of_turn(epoch, 1)
    assert turn_message.kind_in_epoch(turn_message.kind_of_offers(epoch, kind)) == kind
    assert turn_message.kind_in_epoch(turn_message.kind_of_back(epoch, kind)) == kind
