"""Plays a case: compile, fast-forward, measure; what it came to as one flat row."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from energymarket.engine import api
from energymarket.exits import ConfigError, Failure
from energymarket.scenario.cache import locate
from energymarket.scenario.compile import CompileError, compile_into
from energymarket.scenario.compile_memo import Memo
from energymarket.scenario.compiled import CompiledError, load
from energymarket.studies import columns
from energymarket.studies.outcome import Outcome

if TYPE_CHECKING:
    from energymarket.scenario.compiled import Compiled
    from energymarket.scenario.schema import Scenario
    from energymarket.studies.axes import Shown
    from energymarket.studies.cases import Order


class Player:
    """Plays cases one after the other, and remembers what their scenarios have in common."""

    def __init__(self) -> None:
        self._memo = Memo()

    def serve(self, order: Order) -> Outcome:
        """Play one. A case that cannot be is an outcome too; a full disk or a bug is raised."""
        try:
            return Outcome(order.number, self._played(order))
        except Failure as failure:
            return Outcome(order.number, error=str(failure))

    def _played(self, order: Order) -> dict[str, Shown | None]:
        scenario = order.scenario
        place = Path(tempfile.mkdtemp(prefix=f"case-{order.number}-", dir=order.scratch))
        try:
            compiled = self._compiled(scenario, place / "compiled")
            out = place / "run" if order.keep is None else Path(order.keep)
            result = api.simulate(compiled, duration=order.duration, engine="embedded", out=out)
            return columns.values_of(result.document)
        finally:
            shutil.rmtree(place, ignore_errors=True)  # what is left lies in the study's scratch, which goes

    def _compiled(self, scenario: Scenario, place: Path) -> Compiled:
        try:
            found = locate(scenario)
            if found is not None:
                return load(found)
            place.mkdir()
            compile_into(place, scenario, memo=self._memo)
            return load(place)
        except (CompileError, CompiledError) as error:
            raise ConfigError(str(error)) from error

    def warm(self, order: Order) -> None:
        """Compile a case for what it has in common with others, before workers are forked."""
        place = Path(tempfile.mkdtemp(prefix="common-", dir=order.scratch))
        try:
            self._compiled(order.scenario, place / "compiled")
        finally:
            shutil.rmtree(place, ignore_errors=True)


def bug(number: int, trace: str) -> Outcome:
    """The outcome of a case whose player broke: the last line of the trace says how."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    return Outcome(number, error=f"a bug: {lines[-1] if lines else 'unknown'}", trace=trace)
