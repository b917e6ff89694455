"""Before a Ray cluster is joined: is Ray there, does somebody answer, may we; and what a refusal means."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.exits import ConfigError, Exit, Failure, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S_MAX: Final = 5.0
"""For the first packet to a cluster's address and back."""

EXTRA: Final = "pip install 'energy-market[ray]'"

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told of this run
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",  # patches of Python pickle alike
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # there is no GPU to hide; without it Ray warns
    "RAY_AUTH_MODE": "token",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # then a head that is gone is not waited for any more
}
_TOKEN_VARIABLES: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def foresee(address: str | None) -> None:
    """What can be said before a scenario is compiled: is Ray there, does somebody answer. As `join`."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("the engine ray needs Ray, which is not installed", EXTRA)
    if address is not None:
        _refuse_unreachable(address)


def _refuse_unreachable(address: str) -> None:
    """Ray would try for two minutes what a packet tells in one."""
    host, separator, port = address.rpartition(":")
    if "/" in address or not separator or not port.isdigit():
        hint = "HOST:PORT of its head, as in 10.0.0.1:6379; this machine has to be a node of it"
        raise Failure(f"{address!r} is no address of a Ray cluster", hint, Exit.USAGE)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S_MAX):
            pass
    except (OSError, OverflowError) as error:
        what = f"no Ray cluster answers at {address}: {error}"
        raise Unreachable(what, "is energy-ray-head.service active there, and the port open?") from error


@contextlib.contextmanager
def environment(*, is_local: bool) -> Iterator[None]:
    """What Ray reads when it is first imported and when it starts something; put back in the end."""
    wanted = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    if is_local:  # nobody else is to join: a token of its own, in memory only
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    elif os.environ.get("RAY_AUTH_MODE", "token") == "token" and not _has_token():
        raise Failure(
            "the cluster's token is not known here",
            "RAY_AUTH_TOKEN_PATH=FILE names the file that the cluster's machines have",
            Exit.PERMISSION,
        )
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _has_token() -> bool:
    return any(map(os.environ.get, _TOKEN_VARIABLES)) or (Path.home() / ".ray/auth_token").is_file()


def raylet_owners(proc: Path) -> set[int]:
    """User ids of the Ray nodes of this machine, from its process table."""
    owners = set()
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):  # it may have ended
            if (entry / "cmdline").read_bytes().split(b"\0")[0].endswith(b"/raylet/raylet"):
                owners.add(entry.stat().st_uid)
    return owners


def refuse_foreign_node(owners: set[int]) -> None:
    """A driver writes into its node's directories; where it cannot, Ray aborts the process."""
    if not owners or os.geteuid() in {0, *owners}:
        return
    try:
        name = pwd.getpwuid(min(owners)).pw_name
    except KeyError:
        name = str(min(owners))
    raise Failure(
        f"the Ray node of this machine is that of user {name}, and a run on it has to be, too",
        f"sudo -H -u {name}",
        Exit.PERMISSION,
    )


def explained(error: BaseException, address: str) -> Failure:
    """Ray's refusal, in a line."""
    text = str(error)
    if "InvalidAuthToken" in text or type(error).__name__ == "AuthenticationError":
        what = f"the cluster at {address} has another token than RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
        return Failure(what, "copy the head's token file to this machine", Exit.PERMISSION)
    if "No node info found" in text or "node to connect" in text:
        what = f"this machine is no node of the cluster at {address}"
        return ConfigError(what, "energy-ray-worker.service joins it; or run this on one of its machines")
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return Unreachable(
        f"the cluster at {address} does not take us: {first}", "is its head healthy? see its logs"
    )
