"""`energyctl version`: ours, and that of the market if one runs."""

from __future__ import annotations

import platform

import typer

from energyctl.asking import ask
from energyctl.exits import ProblemError
from energyctl.render import Answer
from energyctl.session import Session, session

DISTRIBUTION = "energy-market"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("version")(version)


def version(ctx: typer.Context) -> Answer:
    """Show the versions of energyctl, Python, and the running market; say if they differ."""
    ours = own_version()
    market, problem = _market_version(session(ctx))
    data = {
        "type": "version",
        "energyctl": ours,
        "python": platform.python_version(),
        "market": market,
        "problem": problem,
    }
    running = f"market {market}" if market else problem
    differ = () if market in {None, ours} else ("they differ: restart the market after an upgrade",)
    return Answer(data, (f"energyctl {ours}, Python {platform.python_version()}, {running}", *differ))


def own_version() -> str:
    """The version of the installed distribution."""
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _market_version(here: Session) -> tuple[str | None, str | None]:
    """The market's version, or why it does not say it."""
    try:
        return str(ask(here, "org.varlink.service.GetInfo", timeout_s=1.0).get("version")), None
    except ProblemError as problem:
        return None, problem.message
