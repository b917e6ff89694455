"""large: a result of so many bytes; `fault` is answered with a bug, `refuse` with a refusal."""

from __future__ import annotations

from collections.abc import Mapping

from energymarket.requests.kind import Context, Refused, RequestType


def _large(question: Mapping[str, object], _context: Context) -> Mapping[str, object]:
    if question.get("refuse"):
        raise Refused("it is refused", "the test wants it", "do not ask")
    if question.get("fault"):
        return {"value": 1 / 0}
    return {"text": "x" * int(str(question.get("bytes", 1)))}


REQUEST = RequestType("large", ticketed=True, answer=_large)
