"""Wheels of this version for the system's Python, as packaging/wheels builds them: once for all workers.

The environment with pip that has built them lies beside them, and installs them again and again.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from typing import Final

from tests.system.bases import NOT_FOR_INSTALL, ROOT, tools_of

DONE: Final = ".done"


def build(place: Path) -> Path:
    """Build them below a place that the workers of a run share; whoever comes second waits for the first."""
    out = place / "wheels"
    out.mkdir(exist_ok=True)
    with (place / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / DONE).exists():
            environment = {k: v for k, v in os.environ.items() if k not in NOT_FOR_INSTALL} | tools_of(out)
            command = [str(ROOT / "packaging/wheels"), str(out)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (out / DONE).touch()
    return out
