"""Words that both services take on the command line, and how they are read."""

from __future__ import annotations

import argparse
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energymarket.exits import Failure, exit_of
from energymarket.meters import limits
from energymarket.scenario import kinds
from energymarket.scenario.kinds import RefusedError
from energymarket.scenario.meters_schema import METER_ID
from energymarket.transport.amqp import Pace

FIRST_YEAR: Final = datetime.fromtimestamp(limits.TIME_S_MIN, UTC).year
LAST_YEAR: Final = datetime.fromtimestamp(limits.TIME_S_MAX - 1, UTC).year
YEARS: Final = f"{FIRST_YEAR}-01-01 to {LAST_YEAR}-12-31 of UTC: no PV service takes another time"
PACE: Final = Pace(limits.BACKOFF_FIRST_S, limits.BACKOFF_MAX_S, limits.CONNECT_TIMEOUT_S, limits.HEARTBEAT_S)


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser with what both have; words may not be cut short."""
    made = argparse.ArgumentParser(program, description=description, allow_abbrev=False)
    made.add_argument(
        "-conf",
        "--configuration-file",
        type=Path,
        metavar="FILE",
        help="an .ini file with [broker] host, port, ..., or the suite's .toml; without: localhost:5672",
    )
    return made


def whole(text: str) -> int:
    """A whole number in plain digits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive(text: str) -> float:
    """A number above zero or zero."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of zero or more")
    return value


def span_s(text: str) -> int:
    """A span of time in s: 1d, 6h, 90min, 30s."""
    try:
        return kinds.span().read(text)
    except RefusedError as refused:
        raise argparse.ArgumentTypeError(refused.reason) from refused


def moment(text: str) -> datetime:
    """A date, or a date and a time, of the meters' clock; or with an offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date such as 2026-07-01 or 2026-07-01T05:30"
        ) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"{text!r} is not within {YEARS}")
    return found


def meter_id(text: str) -> str:
    """An id that can be part of a file's name."""
    if not re.fullmatch(METER_ID, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no meter's id: letters, digits, '_', '.' and '-', at most 64, no dot first"
        )
    return text


@contextmanager
def using(directory: Path, option: str) -> Iterator[None]:
    """Failure, in a line for people, where the system refuses what is done in a directory of ours."""
    try:
        yield
    except OSError as problem:
        where = problem.filename if isinstance(problem.filename, str) else directory
        why = (
            "it is no directory" if isinstance(problem, FileExistsError) else problem.strerror or str(problem)
        )
        raise Failure(f"{where}: {why}", f"{option} DIR names another place", exit_of(problem)) from problem


def state_directory() -> Path:
    """Where a meter service that was told nothing keeps its samples: below the user's state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local/state"
    return base / "energy-market" / "meters"


def jitter() -> float:
    """Chance in 0..1 for delays: not that of any result."""
    return secrets.randbelow(1 << 20) / (1 << 20)
