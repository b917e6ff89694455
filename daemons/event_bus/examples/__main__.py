"""Lists the examples, each with one line."""

from __future__ import annotations

import importlib
import sys

from event_bus.examples.console import run, show

NAMES = ("p2p_graph", "data_replication", "synchronous_communication", "dice_game")


def main() -> int:
    """Print them; the answer is an exit code."""
    for name in NAMES:
        said = importlib.import_module(f"event_bus.examples.{name}").__doc__ or ""
        show(f"python -m event_bus.examples.{name}\n    {said.splitlines()[0]}")
    show("Each has --help.")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
