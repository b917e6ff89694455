"""Verbs that run one of the suite's programs: it inherits our stdio, and its exit code is ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def run_program(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m energymarket.MODULE` and return its exit code; 128 + the signal that killed it."""
    try:
        code = subprocess.run(
            [sys.executable, "-m", f"energymarket.{module}", *arguments], check=False
        ).returncode
    except KeyboardInterrupt:
        # the terminal has interrupted the program too; it has been waited for
        return 130
    return 128 - code if code < 0 else code
