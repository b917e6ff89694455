"""energy-market: the local energy market you can kill -9."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energymarket.engine.api import simulate

__all__ = ["__version__", "simulate"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """`energymarket.simulate`, loaded when it is asked for: daemons and commands start without it."""
    if name == "simulate":
        return importlib.import_module("energymarket.engine.api").simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
