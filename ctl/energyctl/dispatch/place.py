"""Where the dispatcher is: as told, as it says itself in the run directory, or as the configuration says."""

from __future__ import annotations

import select
from pathlib import Path
from typing import Any, Final

from energyctl import client
from energyctl.exits import Exit, ProblemError
from energyctl.session import SYSTEM_RUN, Session
from energymarket.runtime.clock import monotonic_s
from energymarket.wire.dispatch_text import DIRECTORY, NAME, SOCKET

PORT: Final = 2222
HOST: Final = "127.0.0.1"
LOOK_S_MAX: Final = 2.0
BACK_S_MAX: Final = 3.0
"""One that has died is back within a second or two; its socket is there meanwhile, and nobody listens."""
_LOOK_AGAIN_S: Final = 0.1

Address = tuple[str, int]


def address_of(here: Session, given: str | None) -> Address:
    """The address to connect to. ProblemError where no dispatcher can be meant."""
    if given is not None:
        return _parsed(given)
    path = here.run_dir / DIRECTORY / SOCKET
    try:
        status = _status(path)
    except client.Refused:
        return _configured()  # it is there, and its directory is not ours to enter
    except client.Unreachable as error:
        if error.why is client.Why.SILENT:
            raise _frozen(str(path)) from error
        if here.run_dir == SYSTEM_RUN and error.why is not client.Why.DEAD:
            return _configured()
        raise not_running(f"nobody listens on {path}") from error
    except client.VarlinkError as error:
        raise not_running(f"{path} is no dispatcher's") from error
    return _reachable(status)


def _status(path: Path) -> dict[str, Any]:
    """What the dispatcher says of itself; one that has died is waited for. The failures of client."""
    until_s = monotonic_s() + BACK_S_MAX
    while True:
        try:
            with client.Connection(path, LOOK_S_MAX) as connection:
                return connection.call(f"{NAME}.Status")
        except client.Unreachable as error:
            if error.why is not client.Why.DEAD or monotonic_s() >= until_s:
                raise
        select.select([], [], [], _LOOK_AGAIN_S)


def _reachable(status: dict[str, Any]) -> Address:
    """The address that it listens at; one that stands for all of them is reached by the loopback."""
    host, port = str(status.get("address", HOST)), int(status.get("port", PORT))
    if host in {"0.0.0.0", "::"}:  # noqa: S104 it is recognised, not listened at
        return ("::1" if ":" in host else HOST), port
    return host, port


def _configured() -> Address:
    """What the service's configuration says, if this user may read it; else the defaults."""
    from energyctl.keeper import SYSTEMS_CONFIGURATION
    from energymarket.scenario import toml

    if not SYSTEMS_CONFIGURATION.is_file():
        return HOST, PORT
    scenario, _ = toml.read(str(SYSTEMS_CONFIGURATION))
    if scenario is None:
        return HOST, PORT
    return _reachable({"address": scenario.dispatch.address, "port": scenario.dispatch.port})


def _parsed(text: str) -> Address:
    """HOST:PORT, [HOST]:PORT, or a port of this machine."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or HOST
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise ProblemError(
            Exit.USAGE, "usage", f"{text!r} is no address", "it is HOST:PORT, or a port", f"{HOST}:{PORT}"
        )
    return host, int(port)


def not_running(why: str) -> ProblemError:
    """Nobody is there who would refer us to a worker."""
    return ProblemError(
        Exit.NOT_RUNNING,
        "no_dispatcher",
        "the dispatcher is not running",
        why,
        "energyctl status shows whether it has ended or failed; where there is none, set workers in"
        " [dispatch] of the configuration and restart; energyctl kpi answers without one",
    )


def _frozen(where: str) -> ProblemError:
    return ProblemError(
        Exit.UNREACHABLE,
        "unreachable",
        "the dispatcher does not answer",
        f"{where} is there, but nobody speaks",
        "it is replaced within seconds if it is frozen: try again",
    )
