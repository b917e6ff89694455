"""One file per verb. A verb returns an answer and prints nothing."""

from __future__ import annotations

from typing import Final

from energymarket.exits import Plugin

MODULES: Final[dict[str, str]] = {
    "up": "up",
    "simulate": "simulate",
    "study": "study",
    "start": "start",
    "status": "status",
    "price": "price",
    "watch": "watch",
    "top": "top",
    "wait": "wait",
    "workers": "workers",
    "homes": "homes",
    "weather": "weather",
    "event": "event",
    "ledger": "ledger",
    "meters": "meters",
    "report": "report",
    "ask": "ask",
    "stop": "stop",
    "restart": "restart",
    "reload": "reload",
    "reset": "reset",
    "home": "home",
    "logs": "logs",
    "doctor": "doctor",
    "check": "check",
    "metrics": "metrics",
    "explain": "explain",
    "replay": "replay",
    "kpi": "kpi",
    "bug-report": "bug_report",
    "install-units": "install_units",
    "uninstall-units": "uninstall_units",
    "config": "config",
    "import": "import_",
    "scenario": "scenario",
    "ipc": "ipc",
    "call": "call",
    "completion": "completion",
    "version": "version",
}
"""Verb -> module of this package, in the order of the help. Each has a function `register(app)`."""

USAGE_CODES: Final[dict[str, int]] = {"check": Plugin.UNKNOWN}
"""What wrong words end with where that is not Exit.USAGE: for a monitoring system 2 would be an alarm."""
