"""requetetype1: the time of the suite's clock, one line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from energymarket.requests.kind import Context, RequestType


def _answer(question: Mapping[str, object], context: Context) -> str:
    del question  # the classic names ask nothing more
    moment = datetime.fromtimestamp(int(context.now().utc_s), tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


REQUEST: Final = RequestType("requetetype1", ticketed=False, answer=_answer)
