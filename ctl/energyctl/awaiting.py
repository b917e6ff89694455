"""Waiting for the market: its own notices are heard, nothing is polled while it is there."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from energyctl import asking, client
from energyctl.exits import Exit, ProblemError
from energyctl.session import Session
from energymarket.runtime.clock import monotonic_s

RETRY_S: Final = 0.1  # between two looks whether a market is there by now
_PASSING: Final = frozenset({Exit.NOT_RUNNING, Exit.TRY_AGAIN, Exit.UNREACHABLE})
OVER: Final = frozenset({"ended", "stopped"})

Snapshot = Mapping[str, Any]


class Watching:
    """The market's snapshots as they come, until a deadline; a market that is gone is looked for again."""

    def __init__(self, here: Session, timeout_s: float | None) -> None:
        self._here = here
        self._end_s = None if timeout_s is None else monotonic_s() + timeout_s
        self.timeout_s = timeout_s
        self.problem: ProblemError | None = None  # why there is no market now
        self.last: Snapshot = {}

    def until(self, met: Callable[[Snapshot], bool], what: str) -> Snapshot:
        """The first snapshot that meets it. ProblemError when time is over, or it can never be met."""
        for snapshot in self:
            if met(snapshot):
                return snapshot
        raise ProblemError(
            Exit.WAIT_TIMED_OUT,
            "wait_timed_out",
            f"{what}: not within {self.timeout_s:g} s",
            self._seen(),
            self.problem.hint
            if self.problem
            else "energyctl status says how it is; --timeout S waits longer",
        )

    def __iter__(self) -> Iterator[Snapshot]:
        while (left_s := self._left_s()) is None or left_s > 0:
            try:
                yield from self._connected()
            except client.FAILURES as error:
                if isinstance(error, client.Unreachable) and error.why is client.Why.SILENT and self._over():
                    return
                self.problem = asking.in_words(self._here, error)
                if self.problem.exit_code not in _PASSING or self.problem.name == "no_market":
                    raise self.problem from error
            self._pause()

    def _connected(self) -> Iterator[Snapshot]:
        left_s = self._left_s()
        bound_s = asking.TIMEOUT_S if left_s is None else min(asking.TIMEOUT_S, max(left_s, 0.001))
        with client.Connection(self._here.control, bound_s) as connection:
            connection.send(asking.full_name("Watch"), {"phases": True}, more=True)
            continues = True
            while continues:
                left_s = self._left_s()
                answer, continues = connection.receive(None if left_s is None else max(left_s, 0.001))
                self.problem = None
                self.last = answer.get("snapshot") or {}
                yield self.last

    def _left_s(self) -> float | None:
        return None if self._end_s is None else self._end_s - monotonic_s()

    def _over(self) -> bool:
        left_s = self._left_s()
        return left_s is not None and left_s <= 0

    def _pause(self) -> None:
        left_s = self._left_s()
        select.select([], [], [], RETRY_S if left_s is None else max(0.0, min(RETRY_S, left_s)))

    def _seen(self) -> str:
        """How it was when time was over."""
        if self.problem is not None:
            return self.problem.message
        if not self.last:
            return "the market has not answered"
        slot = self.last.get("slot", self.last.get("open_slot"))
        told = [f"the last slot is {slot}"] if slot is not None else []
        told += [f"phase {self.last['phase']}"] if "phase" in self.last else []
        if "homes_joined" in self.last:
            told.append(f"{self.last['homes_joined']} of {self.last.get('homes')} homes trade")
        return ", ".join(told)
