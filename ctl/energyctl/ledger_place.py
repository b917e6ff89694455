"""Which ledger a command means: of a named state, of the market that runs here, or of this user's default."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from energyctl.session import Session, default_state
from energyctl.up import proc


def words_for(here: Session, state: Path | None, compiled: Path | None) -> list[str]:
    """The options by which the suite's programs find it."""
    kept = proc.read(here.run_dir) if state is None else None
    found = ["--json"] if here.as_json else []
    if kept is not None:
        state, compiled = Path(kept.state), compiled or Path(kept.compiled)
    if state is None and here.control.exists():
        return [*found, "--run", str(here.run_dir)]
    if state is None:
        state = default_state(os.environ, "default")
        sys.stderr.write(f"no market runs here: the ledger in {state}; --state DIR names another\n")
    live = kept is not None and kept.up.alive() and here.control.exists()
    source = ["--run", str(here.run_dir)] if live else ["--ledger", str(state / "market" / "ledger.db")]
    return [
        *found,
        *source,
        *("--homes", str(state / "homes")),
        *(("--compiled", str(compiled)) if compiled is not None else ()),
    ]
