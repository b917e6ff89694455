"""`energyctl doctor`: what keeps the suite from running here, and the one command that helps."""

from __future__ import annotations

import grp
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

from energyctl import systemd
from energyctl.exits import Exit
from energyctl.render import Answer, Table
from energyctl.session import SYSTEM_RUN
from energyctl.verbs.reset import STATE

FREE_BYTES_MIN = 256 << 20
CONFIGURATION = Path("/etc/energy-market/energy-market.toml")


class Found(NamedTuple):
    """One look: what was looked at, whether it is good, what was seen, what helps."""

    what: str
    good: bool
    seen: str
    helps: str = ""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor() -> Answer:
    """Look at everything that the suite needs; exit code 5 if something is wrong.

    Units, configuration, rights, disk and Python; beside what is bad stands the command that helps.
    """
    found = [*_units(), *_configuration(), *_rights(), *_disk(), *_python()]
    rows = [("ok" if each.good else "BAD", each.what, each.seen, each.helps) for each in found]
    data = {"type": "doctor", "ok": all(each.good for each in found), "found": [f._asdict() for f in found]}
    code = Exit.OK if data["ok"] else Exit.DEGRADED
    return Answer(data, (Table(("", "what", "seen", "what helps"), rows),), code)


def _units() -> Iterator[Found]:
    if not systemd.is_booted():
        yield Found("systemd", good=True, seen="not running here", helps="energyctl up needs none")
        return
    units = systemd.show()
    if not units:
        yield Found("units", good=False, seen="not installed", helps="sudo packaging/install")
        return
    failed = [unit for unit in units if unit.failed]
    for unit in failed:
        yield Found(
            unit.name, good=False, seen=unit.why, helps=f"energyctl logs -u {unit.name}; energyctl start"
        )
    if not failed:
        active = sum(unit.state == "active" for unit in units)
        yield Found("units", good=True, seen=f"{active} of {len(units)} active, none failed")
    for unit in units:
        if unit.get("NRestarts", "0") not in {"", "0"}:
            seen = f"restarted {unit['NRestarts']} times"
            yield Found(unit.name, good=True, seen=seen, helps=f"energyctl logs -u {unit.name}")


def _configuration() -> Iterator[Found]:
    from energymarket.scenario import toml

    if not CONFIGURATION.exists():
        return
    scenario, problems = toml.read(str(CONFIGURATION))
    if scenario is None:
        count = f"{len(problems)} problems, the first: {problems[0]}"
        yield Found("configuration", good=False, seen=count, helps=f"energyctl config check {CONFIGURATION}")
        return
    yield Found("configuration", good=True, seen=f"{scenario.title}: {scenario.homes_count} homes")


def _rights() -> Iterator[Found]:
    try:
        operators = grp.getgrnam("energy-ctl").gr_gid
    except KeyError:
        if systemd.installed():
            yield Found("users", good=False, seen="no group energy-ctl", helps="sudo systemd-sysusers")
        return
    control = SYSTEM_RUN / "control"
    mine = os.geteuid() == 0 or operators in {os.getegid(), *os.getgroups()}
    seen = "you may operate the suite" if mine else f"{control} is not for you"
    yield Found("rights", good=mine, seen=seen, helps="" if mine else "sudo usermod -aG energy-ctl $USER")


def _disk() -> Iterator[Found]:
    if not STATE.exists():
        return
    free = shutil.disk_usage(STATE).free
    good = free >= FREE_BYTES_MIN
    yield Found(
        "disk", good=good, seen=f"{free >> 20} MiB free for {STATE}", helps="" if good else "make room"
    )


def _python() -> Iterator[Found]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Found("python", good=sys.version_info >= (3, 11), seen=f"{version}, {sys.executable}")
