"""`energyctl doctor`: what keeps the suite from running here, and the one command that helps."""

from __future__ import annotations

import grp
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from energyctl import standing, systemd
from energyctl.exits import Exit
from energyctl.keeper import TARGET, Keeper, configuration, means_users
from energyctl.render import Answer, Table
from energyctl.session import SYSTEM_RUN, session
from energyctl.up import proc
from energyctl.verbs.reset import state_of
from energyctl.verbs.start import USER

FREE_BYTES_MIN = 256 << 20
LINGER = Path("/var/lib/systemd/linger")


class Found(NamedTuple):
    """One look: what was looked at, whether it is good, what was seen, what helps."""

    what: str
    good: bool
    seen: str
    helps: str = ""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Look at everything that the suite needs; exit code 5 if something is wrong.

    Units, configuration, rights, disk, Python and market; beside what is bad stands what helps.
    """
    return examine(standing.look(session(ctx).of(user=user)), user=user)


def examine(market: standing.Standing, *, user: bool) -> Answer:
    """The looks at the machine, and how the market stands."""
    user = means_users(user=user)
    found = [*_units(user=user), *_configuration(user=user), *(_linger() if user else _rights())]
    found += [*_disk(state_of(user=user)), *_python(), *_market(market)]
    rows = [("ok" if each.good else "BAD", each.what, each.seen, each.helps) for each in found]
    data = {"type": "doctor", "ok": all(each.good for each in found), "found": [f._asdict() for f in found]}
    code = Exit.OK if data["ok"] else Exit.DEGRADED
    return Answer(data, (Table(("", "what", "seen", "what helps"), rows),), code)


def _units(*, user: bool) -> Iterator[Found]:
    if not systemd.is_booted():
        yield Found("systemd", good=True, seen="not running here", helps="energyctl up needs none")
        return
    units = systemd.show(user=user)
    if not units:
        helps = "energyctl install-units --user" if user else "sudo packaging/install"
        yield Found("units", good=False, seen="not installed", helps=helps)
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


def _configuration(*, user: bool) -> Iterator[Found]:
    from energymarket.scenario import toml

    file = configuration(Keeper.USER if user else Keeper.SYSTEM)
    if not file.exists():
        return
    scenario, problems = toml.read(str(file))
    if scenario is None:
        count = f"{len(problems)} problems, the first: {problems[0]}"
        yield Found("configuration", good=False, seen=count, helps=f"energyctl config check {file}")
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


def _linger() -> Iterator[Found]:
    """Without it a manager ends with the last login, and logind removes what its user has of System V."""
    import pwd

    lingers = (LINGER / pwd.getpwuid(os.getuid()).pw_name).exists()
    seen = (
        "goes on without a login"
        if lingers
        else "ends, IPC objects included (RemoveIPC=), with your last login"
    )
    yield Found("linger", good=True, seen=seen, helps="" if lingers else "loginctl enable-linger")


def _disk(state: Path) -> Iterator[Found]:
    if not state.exists():
        return
    free = shutil.disk_usage(state).free
    good = free >= FREE_BYTES_MIN
    yield Found(
        "disk", good=good, seen=f"{free >> 20} MiB free for {state}", helps="" if good else "make room"
    )


def _market(found: standing.Standing) -> Iterator[Found]:
    """As `status` sees it. That none runs is bad where one was begun and not stopped."""
    if found.status is not None:
        stuck = [row for row in found.process_rows() if row["state"] != "running"]
        for row in stuck:
            seen = f"process {row['pid']} is {row['state']}"
            yield Found(row["name"], good=False, seen=seen, helps="energyctl status")
        state = str(found.status.get("state", "running"))
        good = state != "degraded"
        yield Found("market", good=good, seen=state, helps="" if good else "energyctl status")
    elif (problem := found.problem) is not None:
        begun = any(unit.name == TARGET and unit.state == "active" for unit in found.units)
        begun |= proc.read(found.run_dir) is not None
        stopped = problem.exit_code is Exit.NOT_RUNNING and not begun
        good = stopped or problem.exit_code is Exit.TRY_AGAIN
        yield Found("market", good=good, seen=f"{problem.message}: {problem.why}", helps=problem.hint)


def _python() -> Iterator[Found]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Found("python", good=sys.version_info >= (3, 11), seen=f"{version}, {sys.executable}")
