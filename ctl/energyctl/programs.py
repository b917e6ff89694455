"""Verbs that run one of the suite's programs: it inherits our stdio, and its exit code is ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of the suite's programs, found where we were found: never in the cwd.

    Plain `python -m` looks into the current directory first, so that root in somebody's directory would run
    that one's package. -P leaves the directory out and lets PYTHONPATH stand; who was isolated from that
    too (the installed commands are) starts only what is isolated.
    """
    apart = "-I" if sys.flags.isolated else "-P"
    return [sys.executable, apart, "-m", f"energymarket.{module}", *arguments]


def run_program(module: str, arguments: Sequence[str]) -> int:
    """Run energymarket.MODULE and return its exit code; 128 + the signal that killed it."""
    try:
        code = subprocess.run(python(module, *arguments), check=False).returncode
    except KeyboardInterrupt:
        # the terminal has interrupted the program too; it has been waited for
        return 130
    return 128 - code if code < 0 else code
