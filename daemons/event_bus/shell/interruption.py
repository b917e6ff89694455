"""Ctrl-C while processes are forked."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def interruption_later() -> Iterator[None]:
    """Within it SIGINT waits.

    Amid a fork, Python loses what an interruption raises, and a child that has not yet said that it ignores
    the signal dies of it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
