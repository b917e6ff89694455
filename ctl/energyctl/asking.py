"""Asking the market: every way in which that can fail becomes words for a person and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final, assert_never

from energyctl import client
from energyctl.exits import Exit, ProblemError, RefusedError
from energyctl.session import SYSTEM_RUN, Session
from energymarket.wire.messages import CONTROL

TIMEOUT_S: Final = 5.0  # reads are answered from a snapshot: a market that needs longer hangs

I64_MAX: Final = (1 << 63) - 1
_CODES: Final = {
    "NoSuchSlot": Exit.NO_SUCH_OBJECT,
    "NoSuchKind": Exit.NO_SUCH_OBJECT,
    "UnknownHome": Exit.NO_SUCH_OBJECT,
    "MethodNotFound": Exit.NO_SUCH_OBJECT,
    "InterfaceNotFound": Exit.NO_SUCH_OBJECT,
    "InvalidParameter": Exit.USAGE,
    "PermissionDenied": Exit.PERMISSION,
    "Stopping": Exit.TRY_AGAIN,
}
_OPERATORS: Final = "operators (its own user, root, members of the group energy-ctl)"


def ask(
    session: Session,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Call a method of the control interface (or any, by its full name) and return its reply."""
    try:
        # Connecting is bounded as a read is, also for calls that may take longer.
        with client.Connection(session.control, min(timeout_s, TIMEOUT_S)) as connection:
            return connection.call(full_name(method), _given(parameters), timeout_s)
    except client.FAILURES as error:
        raise in_words(session, error) from error


def follow(
    session: Session, method: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Call a method with `more` and yield its replies as they come, however far apart."""
    try:
        with client.Connection(session.control, TIMEOUT_S) as connection:
            yield from connection.watch(full_name(method), _given(parameters))
    except client.FAILURES as error:
        raise in_words(session, error) from error


def in_words(
    session: Session, error: client.VarlinkError | client.Refused | client.Unreachable
) -> ProblemError:
    """What kept a question from its answer: why, and the one command that helps."""
    match error:
        case client.VarlinkError():
            return _refused(error)
        case client.Refused():
            return denied(session)
        case client.Unreachable():
            return _unreachable(session, error)
        case _:
            assert_never(error)


def full_name(method: str) -> str:
    """`Price` is a method of the control interface; a name with dots is taken as it is."""
    return method if "." in method else f"{CONTROL}.{method}"


def _given(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}


def _unreachable(session: Session, error: client.Unreachable) -> ProblemError:
    match error.why:
        case client.Why.MISSING | client.Why.DEAD:
            return _down(session)
        case client.Why.SILENT:
            return silent(session)
        case client.Why.NONSENSE:
            return ProblemError(
                Exit.UNREACHABLE,
                "no_market",
                f"what answers on {session.control} is no market",
                "its answer is no varlink",
                "--run DIR asks in another place",
            )
        case client.Why.LOST:
            return ProblemError(
                Exit.UNREACHABLE,
                "hung_up",
                "the market hung up before it answered",
                "it is restarting, or stopping, or refuses this user more connections",
                "try again; energyctl status says how it is",
            )
        case _:
            assert_never(error.why)


def _refused(error: client.VarlinkError) -> ProblemError:
    short = error.name.rpartition(".")[2]
    if short == "ReloadRefused":
        return _reload_refused(error.parameters.get("problems") or ["the file was refused"])
    code = _CODES.get(short, Exit.FAILED)
    given = error.parameters
    said = {
        "NoSuchSlot": f"there is no slot {given.get('slot')} in the ledger",
        "NoSuchKind": f"there is no event kind {given.get('kind')!r}",
        "UnknownHome": f"there is no home {given.get('home')}",
        "PermissionDenied": f"this needs {given.get('needs')}",
        "Stopping": "the market is stopping",
        "EventRefused": f"the event was refused: {given.get('reason')}",
        "MethodNotFound": f"there is no method {given.get('method')}",
        "InterfaceNotFound": f"there is no interface {given.get('interface')}",
        "InvalidParameter": f"the market does not take the parameter {given.get('parameter')}",
    }.get(short, f"the market refused: {short}")
    why, hint = {
        "NoSuchSlot": (_held(given), "energyctl price --last 5"),
        "NoSuchKind": (
            f"this scenario has {', '.join(given.get('kinds') or ()) or 'none'}",
            "energyctl event list",
        ),
        "PermissionDenied": (
            f"only {_OPERATORS} may change the market",
            f"sudo usermod -aG energy-ctl {_user()} && newgrp energy-ctl",
        ),
        "Stopping": ("it settles its last slot", "start it again when it is gone: energyctl up"),
        "MethodNotFound": ("", "varlink's own: energyctl call org.varlink.service.GetInfo"),
    }.get(short, ("; ".join(f"{name} {value}" for name, value in given.items()), ""))
    return ProblemError(code, _snake(short), said, why, hint)


def check_slot(slot: int | None) -> None:
    """A number beyond 64 bits is no slot, and the market would not read it."""
    if slot is not None and abs(slot) > I64_MAX:
        raise ProblemError(
            Exit.NO_SUCH_OBJECT, "no_such_slot", f"there is no slot {slot}", hint="energyctl price --last 5"
        )


def _reload_refused(problems: list[str]) -> RefusedError:
    """As `config check` says it: each problem, and their number."""
    count = f"{len(problems)} error" + ("" if len(problems) == 1 else "s")
    return RefusedError("\n".join([*map(str, problems), count]))


def _held(given: Mapping[str, Any]) -> str:
    if given.get("last") is None:
        return "it is still empty: the first slot has not ended yet"
    return f"it holds the slots {given.get('first')} to {given.get('last')}"


def denied(session: Session) -> ProblemError:
    """The market's socket, or its directory, is closed to this user."""
    if session.run_dir == SYSTEM_RUN:
        why = f"{_OPERATORS} may open it; you are {_user()}"
        hint = f"sudo usermod -aG energy-ctl {_user()} && newgrp energy-ctl"
    else:
        try:
            owner = _name_of(session.run_dir.stat().st_uid)
        except PermissionError:
            owner = "OWNER"  # a directory above is closed too
        why = f"it is a run of {'somebody else' if owner == 'OWNER' else owner}, and you are {_user()}"
        hint = f"sudo -u {owner} energyctl --run {session.run_dir} ...; energyctl up starts one of your own"
    return ProblemError(
        Exit.PERMISSION, "permission_denied", f"no permission on {session.control}", why, hint
    )


def _down(session: Session) -> ProblemError:
    from energyctl.keeper import Keeper, keeper_of
    from energyctl.up import proc

    kept = proc.read(session.run_dir)
    if kept is not None and kept.up.alive() and not kept.ready:
        return _starting(kept.up.pid)
    keeper = keeper_of(session.run_dir)
    if keeper is not None:
        hint = "energyctl start" + " --user" * (keeper is Keeper.USER)
    else:
        hint = "energyctl up starts one; --run DIR asks in another place"
    if kept is not None and not kept.up.alive():
        hint = "a killed run has left something: energyctl ipc clean removes it, energyctl up goes on"
    return ProblemError(
        Exit.NOT_RUNNING,
        "not_running",
        "the market is not running",
        f"nobody listens on {session.control}",
        hint,
    )


def _starting(pid: int) -> ProblemError:
    return ProblemError(
        Exit.TRY_AGAIN,
        "starting",
        "the market is still starting",
        f"energyctl up (process {pid}) waits for its daemons",
        "try again in a moment",
    )


def silent(session: Session) -> ProblemError:
    """The market is there and does not answer."""
    from energyctl.up import proc

    kept = proc.read(session.run_dir)
    market = next((child for child in kept.children if child.role == "market"), None) if kept else None
    if market is not None and market.frozen():
        why = f"process {market.pid} is stopped by a signal or a debugger"
        hint = f"its watchdog replaces it within seconds; kill -CONT {market.pid} lets it go on"
    elif kept is not None and kept.up.alive() and not kept.ready:
        return _starting(kept.up.pid)
    else:
        why = "it listens, so it is there, but it is frozen or overloaded"
        hint = "energyctl stop ends it; look at the log first (up.log, or journalctl -u energy-market)"
    return ProblemError(Exit.UNREACHABLE, "unreachable", "the market does not answer", why, hint)


def _user() -> str:
    return _name_of(os.getuid())


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
