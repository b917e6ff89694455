"""requetetype2: the date of the suite's clock and the number of the slot that runs, one line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from energymarket.requests.kind import Context, RequestType


def _answer(question: Mapping[str, object], context: Context) -> str:
    del question  # the classic names ask nothing more
    now = context.now()
    return f"{datetime.fromtimestamp(now.slot * now.slot_s, tz=UTC):%Y-%m-%d} slot {now.slot}"


REQUEST: Final = RequestType("requetetype2", ticketed=False, answer=_answer)
