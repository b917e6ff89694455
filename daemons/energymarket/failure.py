"""energy-failure: keeps the evidence when a unit has failed for good: how it ended and its last words."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import Exit
from energymarket.runtime import service
from energymarket.runtime.clock import wall_ns
from energymarket.runtime.occasions import Occasion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-failure"
RECORDS_KEPT: Final = 200
"""A crash loop that is revived again and again must not fill the disk."""
LINES_KEPT: Final = 100
_SEEN: Final = ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "INVOCATION_ID")


def evidence(unit: str, environ: Mapping[str, str], now_ns: int, *, user: bool = False) -> dict[str, Any]:
    """What is known: systemd's MONITOR_ variables tell how the unit ended, the journal what it said."""
    told = {name.lower(): environ.get(f"MONITOR_{name}", "") for name in _SEEN}
    moment = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return {
        "type": "failure",
        "unit": unit,
        "time": moment.isoformat().replace("+00:00", "Z"),
        **told,
        "said": _last_words(unit, told["invocation_id"], user=user),
    }


def _last_words(unit: str, invocation: str, *, user: bool) -> list[str]:
    kind = "--user-unit" if user else "--unit"
    which = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else [f"{kind}={unit}"]
    command = [
        "/usr/bin/journalctl",
        "--quiet",
        "--no-pager",
        "--output=cat",
        f"--lines={LINES_KEPT}",
        *which,
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"the journal cannot be read: {error}"]
    return done.stdout.decode(errors="replace").splitlines()


def _has_failed(unit: str, *, user: bool) -> bool:
    """Whether it is the unit itself; where nobody can be asked, a record too many is better than none."""
    whose = ["--user"] if user else []
    command = ["/usr/bin/systemctl", *whose, "show", "--value", "--property=ActiveState", unit]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.stdout.strip() not in {"inactive", "active"}


def keep(directory: Path, record: Mapping[str, Any]) -> Path:
    """Write a record, whole or not at all; the oldest ones go. The answer is its path."""
    name = f"{record['time'].replace(':', '')}-{record['unit']}.json"
    path, draft = directory / name, directory / f".{name}.{os.getpid()}"
    draft.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
    for old in sorted(directory.glob("*.json"))[:-RECORDS_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("unit", help="the unit that has failed")
    parser.add_argument("--user", action="store_true", help="it is one of the user's own manager")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where records are kept")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record one failure; the answer is an exit code."""
    words = _words(arguments)

    def serve(_stop: service.StopFlag) -> int:
        if not _has_failed(words.unit, user=words.user):
            return Exit.OK  # something that it requires has failed, and has a record of its own
        record = evidence(words.unit, os.environ, wall_ns(), user=words.user)
        path = keep(words.state, record)
        how = f"{record['service_result'] or 'failed'} {record['exit_code']} {record['exit_status']}".strip()
        fields = Occasion.UNIT_FAILED.fields(UNIT=words.unit, RECORD=str(path))
        log.critical("%s has failed for good: %s; see %s", words.unit, how, path, extra=fields)
        return Exit.OK

    return service.run(PROGRAM, serve)


if __name__ == "__main__":
    sys.exit(main())
