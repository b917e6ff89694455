"""What the market tells its child on the command line."""

from __future__ import annotations

import pytest

from energymarket.core.parameters import EventKind
from energymarket.wire.external_task import ActiveEvent, ExternalTask, from_text
from energymarket.wire.fault import WireError


def test_a_task_comes_back_to_the_last_bit() -> None:
    """Floats, Unicode and negative seeds included."""
    kinds = (
        EventKind("Gasknappheit €", 0.1 + 0.2, 1 / 3, 2.5e-300, 0.5, 2.0, 4.0),
        EventKind("law", -1.0, 0, 1),
    )
    task = ExternalTask(-(2**63), kinds, 1_971_900, 4_194_304, (ActiveEvent(1, 2**40, 7),))
    assert from_text(task.to_text()) == task


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "nonsense", '{"seed":1,"kinds":[{}],"first_slot":1,"market_pid":1,"active":[]}'],
)
def test_anything_else_is_refused(text: str) -> None:
    """What is no task is a WireError."""
    with pytest.raises(WireError):
        from_text(text)
