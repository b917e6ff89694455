"""`energyctl uninstall-units --user`: your units are stopped and removed; ledger and configuration stay."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.keeper import TARGET, users_units
from energyctl.render import Answer
from energyctl.verbs.install_units import only_users, ours
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("uninstall-units")(uninstall_units)


def uninstall_units(*, user: Annotated[bool, USER] = False) -> Answer:
    """Stop the suite of your own service manager and take its units away."""
    only_users(user=user)
    root = users_units(os.environ)
    found = ours(root)
    answers = systemd.answers(user=True)
    if answers and systemd.installed(user=True):
        systemd.tell(["stop", *systemd.EVERYTHING], user=True, timeout_s=systemd.STOP_S_MAX)
        systemd.order(["disable", "--quiet", TARGET], user=True)
    for path in found:
        path.unlink()
        with suppress(OSError):  # a drop-in of the user's own may be left in it
            if path.parent != root:
                path.parent.rmdir()
    if answers:
        systemd.order(["daemon-reload"], user=True)
        systemd.order(["reset-failed", *systemd.PATTERNS], user=True)
    names = [str(path.relative_to(root)) for path in found]
    text = f"{len(names)} units removed from {root}; configuration, ledger and registers stay"
    return Answer(
        {"type": "units_removed", "directory": str(root), "units": names},
        (text if names else f"no units of ours in {root}",),
    )
