"""The one file that reads a clock."""

from __future__ import annotations

import time


def now_s() -> float:
    """Seconds that never go back, of no meaning but their differences."""
    return time.monotonic()
