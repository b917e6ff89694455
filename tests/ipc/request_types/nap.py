"""nap: takes its time, `s` seconds, and says how far it is; with `silent` it says nothing after that."""

from __future__ import annotations

import os
from collections.abc import Mapping

from energymarket.requests.kind import Context, RequestType
from energymarket.runtime import clock


def _nap(question: Mapping[str, object], context: Context) -> Mapping[str, object]:
    span_s = float(str(question.get("s", 1)))
    begin_s = now_s = clock.monotonic_s()
    while now_s < begin_s + span_s:
        if not question.get("silent") or now_s == begin_s:
            context.progress((now_s - begin_s) / span_s, "napping")
        clock.sleep_until_boottime_ns(clock.boottime_ns() + 50_000_000)
        now_s = clock.monotonic_s()
    return {"slept_s": span_s, "pid": os.getpid()}


REQUEST = RequestType("nap", ticketed=True, answer=_nap)
