"""What the command lines of dispatcher and workers have in common: the configuration, and words over it."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import replace
from pathlib import Path

from energymarket.dispatch.book import Rules
from energymarket.dispatch.limits import WORKERS_MAX
from energymarket.dispatch.records import Mode
from energymarket.exits import ConfigError, exit_of
from energymarket.scenario import toml
from energymarket.scenario.service_schema import Dispatch, DispatchMode
from energymarket.wire.dispatch_text import DIRECTORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that both daemons have."""
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="runtime directory of the suite"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the suite's configuration: its table [dispatch] counts"
    )
    parser.add_argument("--address", metavar="IP", help="instead of [dispatch] address")
    parser.add_argument(
        "--types", type=Path, metavar="DIR", help="further request types: files with a REQUEST"
    )


def add_dispatcher_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the dispatcher alone."""
    parser.add_argument(
        "--port", type=int, metavar="N", help="instead of [dispatch] port; 0: any, as it says"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="instead of [dispatch] workers")
    parser.add_argument("--queue", type=int, metavar="N", help="instead of [dispatch] queue")
    parser.add_argument("--ticket-s", type=float, metavar="S", help="instead of [dispatch] ticket_s")
    parser.add_argument("--deadline-s", type=float, metavar="S", help="instead of [dispatch] deadline_s")
    parser.add_argument("--mode", choices=[*DispatchMode], help="instead of [dispatch] mode")
    parser.add_argument("--exchanges", type=int, metavar="N", help="instead of [dispatch] exchanges")


def settings(words: argparse.Namespace) -> Dispatch:
    """The settings that hold. ConfigError with all that is wrong."""
    found = Dispatch()
    if words.config is not None:
        scenario, problems = toml.read(words.config)
        if scenario is None:
            raise ConfigError(toml.render_problems(problems))
        found = scenario.dispatch
    names = ("address", "port", "workers", "ticket_s", "deadline_s")
    given = {name: getattr(words, name, None) for name in names}
    given |= {"queue_max": getattr(words, "queue", None), "exchanges_max": getattr(words, "exchanges", None)}
    mode = getattr(words, "mode", None)
    given["mode"] = None if mode is None else DispatchMode(mode)
    found = replace(found, **{name: value for name, value in given.items() if value is not None})
    try:
        ipaddress.ip_address(found.address)
    except ValueError as error:
        raise ConfigError(f"dispatch.address: {error}", "give an IP address, such as 127.0.0.1") from error
    return found


def rules(found: Dispatch) -> Rules:
    """The rules of the dispatcher's book. ConfigError if there is nothing to do."""
    if not 1 <= found.workers <= WORKERS_MAX:
        raise ConfigError(
            f"dispatch.workers is {found.workers}: a dispatcher needs 1 to {WORKERS_MAX}",
            "set workers in [dispatch] of the configuration",
        )
    return Rules(
        workers=found.workers,
        queue_max=found.queue_max,
        ticket_s=found.ticket_s,
        deadline_s=found.deadline_s,
        mode=Mode(found.mode),
        exchanges_max=found.exchanges_max,
    )


def directory(run: Path) -> Path:
    """The directory of pipes, segment and socket, made if need be. Raises Failure."""
    path = run / DIRECTORY
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"{path}: is there and is no directory", "move it away") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", "choose another directory with --run", exit_of(error)
        ) from error
    return path
