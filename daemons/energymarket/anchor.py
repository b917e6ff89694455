"""energy-ipc: makes, lists and removes the System V objects of a run."""

from __future__ import annotations

import argparse
import grp
import json
import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket import once
from energymarket.exits import Exit, Failure
from energymarket.transport import resources

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "energy-ipc"
_COLUMNS: Final = ("kind", "key", "id", "state", "bytes", "messages", "value", "attached", "owner", "mode")


def _share(words: argparse.Namespace) -> resources.Share | None:
    """Who gets the objects; None: they stay with whoever makes them."""
    if words.group is None:
        return None
    try:
        gid = grp.getgrnam(words.group).gr_gid
        market, weather = (
            pwd.getpwnam(name).pw_uid if name else os.geteuid()
            for name in (words.market_user, words.weather_user)
        )
    except KeyError as error:
        raise Failure(
            f"no such user or group: {error.args[0]}", "systemd-sysusers makes them", Exit.CONFIGURATION
        ) from error
    return resources.Share(gid, market, weather)


def _create(words: argparse.Namespace) -> list[dict[str, Any]]:
    share = _share(words)
    # The group of somebody who shares with nobody may be that of all users.
    resources.ensure(words.run, 0o600 if share is None else 0o660, share)
    return resources.describe(words.run)


def _list(words: argparse.Namespace) -> list[dict[str, Any]]:
    return resources.describe(words.run)


def _remove(words: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"kind": str(kind), "state": "removed"} for kind in resources.remove(words.run)]


_VERBS: Final = {"create": _create, "list": _list, "remove": _remove}


def _render(rows: list[dict[str, Any]], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(rows, indent=1)
    table = [
        [str(row.get(name, "")) if row.get(name) is not None else "-" for name in _COLUMNS] for row in rows
    ]
    table.insert(0, [name.upper() for name in _COLUMNS])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)
    return "\n".join(lines) if rows else "no System V objects are recorded for this run"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("verb", choices=tuple(_VERBS), help="what to do with the objects of the run")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the runtime directory")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.add_argument("--group", metavar="NAME", help="group that may use the objects (create)")
    parser.add_argument("--market-user", metavar="NAME", help="owner of all but the weather board (create)")
    parser.add_argument("--weather-user", metavar="NAME", help="owner of the weather board (create)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the answer is an exit code."""
    words = _parser().parse_args(arguments)

    def act() -> int:
        sys.stdout.write(_render(_VERBS[words.verb](words), as_json=words.json) + "\n")
        return Exit.OK

    return once.run(PROGRAM, act, as_json=words.json)


if __name__ == "__main__":
    sys.exit(main())
