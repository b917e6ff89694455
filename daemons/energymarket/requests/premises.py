"""What an answer about the market stands on: its ledger, its scenario, where the homes' states lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import Failure, NotRunning, Unreachable
from energymarket.requests.kind import Context, Refused

if TYPE_CHECKING:
    from energymarket.audit.live import LiveLedger
    from energymarket.scenario.compiled import Compiled

MARKET_S_MAX: Final = 5.0
"""For an answer of the market, which serves itself first: less than the watchdog allows without progress."""

TOLD_EVERY_S: Final = 0.2
"""Progress goes over pipes and sockets: some times a second is enough for watchdog and client."""


@dataclass(frozen=True, slots=True)
class Premises:
    """A market that runs, asked over its control socket."""

    ledger: LiveLedger
    compiled: Compiled
    present: Mapping[str, Any]  # as `Present` has answered

    @property
    def homes_dir(self) -> Path:
        """Where the homes keep their states."""
        return Path(self.present["state"]) / "homes"


@contextmanager
def premises(context: Context) -> Iterator[Premises]:
    """Ask the market of the run directory what it is. What goes wrong with it meanwhile is a Refused too."""
    from energymarket.audit.live import LiveLedger
    from energymarket.audit.source import LedgerDamagedError

    ledger = LiveLedger(context.runtime, MARKET_S_MAX)
    try:
        ledger.open()
        present = ledger.ask("Present")
        yield Premises(ledger, _compiled_of(present), present)
    except LedgerDamagedError as damaged:
        raise Refused(
            "the ledger cannot be believed", str(damaged), "energyctl ledger check tells more"
        ) from damaged
    except Failure as failure:
        is_away = isinstance(failure, NotRunning | Unreachable)
        what = "the market does not answer" if is_away else "the question cannot be answered"
        do = failure.hint or "energyctl status tells how the market is"
        raise Refused(what, str(failure.args[0]), do) from failure
    finally:
        ledger.close()


def _compiled_of(present: Mapping[str, Any]) -> Compiled:
    """The scenario that the market runs, from where it has it, else from this user's own."""
    from energymarket.scenario import compiled
    from energymarket.scenario.kept import compiled_with

    wanted, why = str(present["scenario_hash"]), "it was compiled anew since the market started"
    try:
        found = compiled.load(Path(str(present["scenario"])))
    except compiled.CompiledError as error:
        why = str(error).partition("\n")[0]
    else:
        if found.hash == wanted:
            return found
    other = compiled_with(wanted)
    if other is None:
        raise Refused(
            "the scenario that the market runs is not to be had",
            why,
            f"let the workers' user read {present['scenario']}, or restart the market",
        )
    return other


class Teller:
    """Tells progress often enough, and not more often."""

    def __init__(self, progress: Callable[[float, str], None]) -> None:
        self._progress = progress
        self._told_s = float("-inf")

    def __call__(self, share: float, doing: str) -> None:
        """So much is done; raises Abandoned where nobody waits any more."""
        from energymarket.runtime.clock import monotonic_s

        now_s = monotonic_s()
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            self._progress(min(max(share, 0.0), 1.0), doing)
