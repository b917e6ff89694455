"""One file per verb. A verb returns an answer and prints nothing."""

from __future__ import annotations

from typing import Final

MODULES: Final[dict[str, str]] = {
    "up": "up",
    "start": "start",
    "status": "status",
    "price": "price",
    "watch": "watch",
    "homes": "homes",
    "weather": "weather",
    "event": "event",
    "ledger": "ledger",
    "stop": "stop",
    "restart": "restart",
    "reload": "reload",
    "reset": "reset",
    "home": "home",
    "logs": "logs",
    "doctor": "doctor",
    "install-units": "install_units",
    "uninstall-units": "uninstall_units",
    "config": "config",
    "scenario": "scenario",
    "ipc": "ipc",
    "call": "call",
    "version": "version",
}
"""Verb -> module of this package, in the order of the help. Each has a function `register(app)`."""
