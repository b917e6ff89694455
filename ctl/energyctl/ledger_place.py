"""Which ledger a command means: of a named state, of the market that runs here, or of this user's default."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from energyctl import asking
from energyctl.session import SYSTEM_RUN, Session, default_state
from energyctl.up import proc

SERVICE_SCENARIO = Path("/var/cache/energy-market/scenario")


def words_for(here: Session, state: Path | None, compiled: Path | None) -> list[str]:
    """The options by which the suite's programs find it."""
    kept = proc.read(here.run_dir) if state is None else None
    found = ["--json"] if here.as_json else []
    if kept is not None:
        state, compiled = Path(kept.state), compiled or Path(kept.compiled)
    if state is None and listens(here):
        return [*found, "--run", str(here.run_dir), *_compiled(compiled or _of_the_service(here))]
    if state is None:
        state = users_state(here)
        sys.stderr.write(f"no market runs here: the ledger in {state}; --state DIR names another\n")
    live = kept is not None and kept.up.alive() and listens(here)
    source = ["--run", str(here.run_dir)] if live else ["--ledger", str(state / "market" / "ledger.db")]
    return [
        *found,
        *source,
        *("--homes", str(state / "homes")),
        *_compiled(compiled),
    ]


def users_state(here: Session) -> Path:
    """Where this user keeps a ledger: that of their units, if they have any here, else of `energyctl up`."""
    from energyctl.keeper import Keeper, keeper_of
    from energyctl.verbs.reset import state_of

    if keeper_of(here.run_dir) is Keeper.USER:
        return state_of(user=True)
    return default_state(os.environ, "default")


def listens(here: Session) -> bool:
    """Whether a market's socket is there; ProblemError if it is there but not for us."""
    try:
        here.control.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise asking.denied(here) from error
    if not os.access(here.control, os.W_OK):
        raise asking.denied(here)
    return True


def _compiled(directory: Path | None) -> list[str]:
    return [] if directory is None else ["--compiled", str(directory)]


def _of_the_service(here: Session) -> Path | None:
    """What the suite's units have compiled, if this user may read it."""
    readable = here.run_dir == SYSTEM_RUN and os.access(SERVICE_SCENARIO / "scenario.json", os.R_OK)
    return SERVICE_SCENARIO if readable else None
