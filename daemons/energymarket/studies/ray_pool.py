"""Cases as tasks of a Ray cluster, one task each. Ray is imported when it is asked for."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine.cluster import RayCluster
from energymarket.studies.outcome import Outcome
from energymarket.studies.playing import Player, bug

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.runtime.service import Flag
    from energymarket.studies.cases import Order

AHEAD: Final = 2
"""Tasks per processor that wait in the cluster, so that none is idle between two cases."""

LOOK_S: Final = 1.0
"""Ray's wait has no descriptor to join with the flag of Ctrl-C: it is looked at so often."""

TRIES: Final = 3
"""A case whose node is lost is played again so many times: it depends on nothing but its order."""


def _play(order: Order) -> Outcome:
    """One case, in a worker of the cluster: its scratch is there, its memo goes with the process."""
    global _player  # noqa: PLW0603 - what a worker's process remembers between tasks
    _player = _player or Player()
    with tempfile.TemporaryDirectory(prefix="energy-study-") as scratch:
        return _player.serve(replace(order, scratch=scratch))


_player: Player | None = None


class RayPool:
    """The cluster at an address, or one that is started here and ends with the study."""

    def __init__(self, address: str | None, most: int | None) -> None:
        """`most` tasks at a time; None: as many as there are processors, and some ahead."""
        self._cluster = RayCluster(address, None)
        self._cluster.join()
        self._ray: Any = self._cluster.library
        self._most = most or AHEAD * self._cluster.cpus
        self._play = self._ray.remote(num_cpus=1, max_retries=TRIES)(_play)
        self._busy: dict[Any, int] = {}

    @property
    def room(self) -> int:
        """How many more tasks may wait in the cluster."""
        return self._most - len(self._busy)

    def begin(self, order: Order) -> None:
        """Submit a task."""
        self._busy[self._play.remote(order)] = order.number

    def outcomes(self, stop: Flag) -> Sequence[Outcome]:
        """Wait for tasks that have ended, or for the flag."""
        while not stop.is_set():
            ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=LOOK_S)
            if ready:
                return [self._answer(each) for each in ready]
        return []

    def _answer(self, task: Any) -> Outcome:  # noqa: ANN401 - an ObjectRef
        number = self._busy.pop(task)
        try:
            found: Outcome = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return bug(number, str(error))
        except self._ray.exceptions.RayError as error:
            return Outcome(number, error=f"Ray has lost it {TRIES + 1} times: {type(error).__name__}")
        return found

    def close(self) -> None:
        """Leave the cluster; tasks of ours end with it."""
        for task in self._busy:
            self._ray.cancel(task, force=True)
        self._busy.clear()
        self._cluster.leave()
