"""Whose service manager keeps a market: the system's, the user's, or none. Light: failing commands ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from energyctl.session import SYSTEM_RUN, run_directory

TARGET: Final = "energy-market.target"
SYSTEMS_CONFIGURATION: Final = Path("/etc/energy-market/energy-market.toml")
SYSTEMS_UNITS: Final = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


class Keeper(Enum):
    """Whose service manager keeps a market."""

    SYSTEM = "system"
    USER = "user"


def users_units(environ: Mapping[str, str]) -> Path:
    """Where a user's manager looks for units first."""
    return _config_home(environ) / "systemd" / "user"


def users_configuration(environ: Mapping[str, str]) -> Path:
    """The configuration of a user's suite (%E in its units)."""
    return _config_home(environ) / "energy-market" / "energy-market.toml"


def configuration(keeper: Keeper | None) -> Path:
    """The configuration that a keeper's units read."""
    return users_configuration(os.environ) if keeper is Keeper.USER else SYSTEMS_CONFIGURATION


def _config_home(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME", "")
    return Path(base) if base.startswith("/") else Path.home() / ".config"


def means_users(*, user: bool) -> bool:
    """Whether the user's own manager is meant: it was said, or only that one has the suite's units."""
    if user:
        return True
    if any(Path(place, TARGET).exists() for place in SYSTEMS_UNITS):
        return False
    return (users_units(os.environ) / TARGET).exists()


def keeper_of(run_dir: Path) -> Keeper | None:
    """Whose units keep the market of a run directory; None: nobody's, `energyctl up` or a program does."""
    if run_dir == SYSTEM_RUN:
        return Keeper.SYSTEM
    environ = {name: value for name, value in os.environ.items() if name != "ENERGY_MARKET_RUN"}
    own = run_directory(None, environ, os.getuid(), own=True)
    kept = run_dir == own and not (run_dir / "up.json").exists() and (users_units(environ) / TARGET).exists()
    return Keeper.USER if kept else None
