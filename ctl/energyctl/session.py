"""What holds for a whole command: the answer's form, and the run directory it talks to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import typer

from energymarket.wire.messages import CONTROL_SOCKET

SYSTEM_RUN = Path("/run/energy-market")


class Session:
    """The options that every verb understands."""

    __slots__ = ("as_json", "run")

    def __init__(self, as_json: bool, run: str | None) -> None:
        self.as_json = as_json
        self.run = run

    @property
    def run_dir(self) -> Path:
        """The run directory that this command talks to."""
        return run_directory(self.run, os.environ, os.getuid())

    def of(self, *, user: bool) -> Session:
        """The same, or with `--user` the one that talks to the user's own suite."""
        if not user or self.run is not None:
            return self
        environ = {name: value for name, value in os.environ.items() if name != "ENERGY_MARKET_RUN"}
        return Session(self.as_json, str(run_directory(None, environ, os.getuid(), own=True)))

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run_dir / CONTROL_SOCKET


def session(ctx: typer.Context) -> Session:
    """The session of the running command."""
    return cast("Session", ctx.obj)


def run_directory(
    given: str | None, environ: Mapping[str, str], uid: int, system: Path = SYSTEM_RUN, *, own: bool = False
) -> Path:
    """Where the sockets are: as told, as the environment says, the service's, or the user's own.

    `own` leaves the service's directory out: `energyctl up` never moves into it.
    """
    if given is not None:
        return Path(given).absolute()
    if environ.get("ENERGY_MARKET_RUN"):
        return Path(environ["ENERGY_MARKET_RUN"]).absolute()
    # Looking behind a closed door raises; a service that is there but not for us is still the one meant.
    if not own:
        try:
            os.stat(system / CONTROL_SOCKET)  # noqa: PTH116  # pathlib says "no" to a closed door on some Pythons
        except (FileNotFoundError, NotADirectoryError):
            pass
        except PermissionError:
            return system
        else:
            return system
    runtime = environ.get("XDG_RUNTIME_DIR")
    units = Path(f"/run/user/{uid}/energy-market")  # of a user's own units; su and cron do not name it
    if runtime and Path(runtime).is_dir():
        users = Path(runtime) / "energy-market"
    elif not runtime and units.is_dir():
        users = units
    else:
        users = Path(f"/tmp/energy-market-{uid}")  # noqa: S108  # its owner is checked before anything is put there
    # An installed suite that is stopped is the one meant, unless this user has a run of their own.
    stopped = not own and system.is_dir() and not users.exists()
    return system if stopped else users


def default_state(environ: Mapping[str, str], scenario: str) -> Path:
    """Where a scenario's state is kept if nothing else is said."""
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "energy-market" / scenario


def default_study(environ: Mapping[str, str], study: str) -> Path:
    """Where the results of a study lie if nothing else is said."""
    return default_state(environ, "studies") / study


def default_simulation(environ: Mapping[str, str], scenario: str) -> Path:
    """Where the results of a simulation lie if nothing else is said: apart from every live state."""
    return default_state(environ, "simulations") / scenario
