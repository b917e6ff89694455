"""Why a home got or paid what it did under each sharing rule: nothing is told that was not so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from energymarket.audit.opened import Notes, Opened
from energymarket.core import ledger
from energymarket.core.parameters import Rule
from energymarket.daybook import home_reasons
from tests.unit.core.sharing.made_community import Community, whole

SCARCE = (300, 100, -500, -300)
TOLD = {
    Rule.QUEUE: {"got as gifts": "when its turn came", "bought": "after the exchange of gifts"},
    Rule.PRO_RATA: {"got as gifts": "in proportion", "bought": "after the exchange of gifts"},
    Rule.NEED_FIRST: {"got as gifts": "the greatest need first", "bought": "after the exchange of gifts"},
    Rule.STATIC_KEY: {"bought": "by the static key", "imbalance, short": "from no member"},
    Rule.DYNAMIC_KEY: {"bought": "by the dynamic key", "imbalance, short": "from no member"},
    Rule.MID_MARKET: {"bought": "at the mid-market rate", "imbalance, short": "from no member"},
    Rule.GRID_ONLY: {"imbalance, short": "from no member"},
}


@pytest.mark.parametrize("rule", Rule)
def test_every_part_of_a_bill_has_its_cause(rule: Rule) -> None:
    """Home 3 lacks 500 Wh: the parts that the rule makes of it, each with a reason, add up to its money."""
    closed = Community(rule, whole(3, 1, 3, 2)).play(*SCARCE)
    head, columns, gifts, orders = ledger.unpack(closed.body)
    notes = Notes({}, {"batches": [list(batch) for batch in closed.batches], "sharing": str(rule)})
    found = Opened(cast("Any", SimpleNamespace(slot=closed.slot)), head, columns, gifts, orders, notes)
    facts = home_reasons.told_of(found, 3, None, 3)
    told = {each["what"]: each["because"] for each in facts["parts"]}
    assert told.keys() == TOLD[rule].keys()
    assert all(words in told[what] for what, words in TOLD[rule].items())
    assert facts["parts_ueur"] == facts["money_ueur"]
