"""The suite's clock as workers read it: the market's clock page, found anew after a market's restart."""

from __future__ import annotations

from pathlib import Path

from energymarket.requests.kind import Moment, Refused
from energymarket.runtime import clock


class SuiteClock:
    """Reads the clock page of a run. NumPy comes with the page, so it is imported with the first reading."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def now(self) -> Moment:
        """Market time: it stands still at the end of a slot that nobody closes. Refused before any market."""
        from energymarket.transport import resources  # noqa: PLC0415 a worker starts without NumPy
        from energymarket.transport.page import ClockReader  # noqa: PLC0415 likewise

        try:
            ipc = resources.attach(self._run_dir)
            with ClockReader(ipc) as reader:
                page = reader.read()
        except resources.ResourceError as error:
            raise _no_market(str(error)) from error
        if page is None:
            raise _no_market("it has not opened a slot yet")
        share = (clock.boottime_ns() - page.open_ns) / max(1, page.slot_ns)
        begins_utc_s = page.slot * page.slot_s
        return Moment(begins_utc_s + min(max(share, 0.0), 1.0) * page.slot_s, page.slot, page.slot_s)


def _no_market(why: str) -> Refused:
    return Refused("there is no market time", why, "start the market, then ask again")
