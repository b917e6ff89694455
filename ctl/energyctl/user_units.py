"""The suite's units for a user's own service manager: the system's, line by line, less what needs root.

Of the sandbox the parts that the kernel grants everybody stay (system calls, address families, no new
privileges). What needs namespaces, devices or capabilities goes: a user's manager of systemd 252 leaves most
of it out silently, ends two with 218/CAPABILITIES, and a later one would hide the home it runs from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from energyctl.exits import Exit, ProblemError

MARK: Final = "# Made by energyctl install-units --user from the system's "
TARGET: Final = "energy-market.target"
RECORD_OF_UP: Final = "up.json"

_INTERPRETER: Final = "/usr/lib/energy-market/bin/python3 -I"
_DROPIN: Final = re.compile(r"-systemd-(\d+)\.conf$")
_OWNERS: Final = re.compile(r" --(?:group|market-user|weather-user) \S+")
_UNQUOTABLE: Final = re.compile(r"[\s\"'\\]")

_DEPENDENCIES: Final = frozenset({"After", "Before", "Requires", "Wants"})

SYSTEMS_OWN: Final = frozenset({"sysinit.target", "network-online.target", "systemd-tmpfiles-setup.service"})
"""Units that a user's manager does not know."""

LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("User", "Group", "SupplementaryGroups", "SocketUser", "SocketGroup"), "all of it is one user's"
    ),
    **dict.fromkeys(
        ("PrivateIPC", "JoinsNamespaceOf", "RemoveIPC"),
        "the objects are in the namespace of the host, recorded in ipc.json and removed at the stop",
    ),
    **dict.fromkeys(
        ("StateDirectory", "StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode"),
        "before systemd 254 a user's state would be among the configuration: the paths are written out",
    ),
    **dict.fromkeys(("CapabilityBoundingSet", "AmbientCapabilities"), "a user has no capabilities to drop"),
    **dict.fromkeys(
        (
            "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "DevicePolicy",
            "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
            "ProtectControlGroups", "ProtectClock", "ProtectHostname", "PrivateUsers", "PrivateNetwork",
            "ReadWritePaths", "KeyringMode",
        ),
        "needs namespaces that a user's manager cannot count on",
    ),
    "LoadCredential": "a user's secrets are files that the configuration names",
    "CPUSchedulingPolicy": "Nice= and IOSchedulingClass= are what a user's manager has shown to keep",
    **dict.fromkeys(("IPAddressAllow", "IPAddressDeny", "SocketBindDeny"), "needs BPF"),
}  # fmt: skip
"""Directive -> why a user's unit does without it."""

REPLACED: Final[Mapping[str, str]] = {
    "UMask": "0077",
    "SocketMode": "0600",
    "DirectoryMode": "0700",
    "RuntimeDirectoryMode": "0700",
}
"""Directive -> its value for a user: nobody else's business."""


class Place(NamedTuple):
    """Where a user's suite lives, in the words of a unit."""

    interpreter: str
    state: str

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        """The system's paths and the user's; specifiers are expanded by the manager."""
        return (
            (_INTERPRETER, f"{self.interpreter} -E -P"),
            ("/run/energy-market", "%t/energy-market"),
            ("/var/lib/energy-market", self.state),
            ("/var/cache", "%C"),
            ("/etc/energy-market", "%E/energy-market"),
        )


def place(environ: Mapping[str, str]) -> Place:
    """This interpreter, and the state directory that `energyctl` uses too."""
    state = environ.get("XDG_STATE_HOME", "")
    if _UNQUOTABLE.search(state):
        raise ProblemError(
            Exit.USAGE,
            "state_home",
            f"a unit cannot name this directory: XDG_STATE_HOME={state!r}",
            hint="choose one without white space and quotes",
        )
    base = state.replace("%", "%%") if state.startswith("/") else "%h/.local/state"
    return Place(_quoted(interpreter()), f"{base}/energy-market")


def interpreter() -> str:
    """The interpreter as it was called: an installation that is exchanged as a whole keeps its name."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    return str(Path(sys.prefix, "bin", Path(sys.executable).name))


def _quoted(path: str) -> str:
    """A program's path as one word of an Exec line."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if _UNQUOTABLE.search(path) else text


def sources() -> Path:
    """The system's units: in the package, or in the tree that it runs from."""
    packed = Path(__file__).parent / "units"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "systemd" / "system"


def made(where: Place, systemd_version: int) -> dict[str, str]:
    """Path below the unit directory -> text, for a manager of this version."""
    root = sources()
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        newer = _DROPIN.search(path.name)
        if newer is None or int(newer[1]) <= systemd_version:
            name = str(path.relative_to(root))
            found[name] = "\n".join(_lines(name, path.read_text(encoding="utf-8"), where)) + "\n"
    return found


def _lines(name: str, text: str, where: Place) -> Iterator[str]:
    yield f"{MARK}{name}: do not edit."
    yield f"# Settings of your own: systemctl --user edit {name.partition('.d/')[0]}"
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            yield from (["", line] if line != section else [])
            section = line
            yield from _added(name, section, where)
            continue
        key, equals, value = line.partition("=")
        if not equals or line.startswith("#") or key in LEFT_OUT:
            continue
        value = _value(key, value, where)
        if value or key not in _DEPENDENCIES:
            yield f"{key}={value}"


def _value(key: str, value: str, where: Place) -> str:
    if key in REPLACED:
        return REPLACED[key]
    if key == "WantedBy":  # of the target; what stands beside the suite is the target's
        return "default.target" if value == "multi-user.target" else value
    if key in _DEPENDENCIES:
        return " ".join(unit for unit in value.split() if unit not in SYSTEMS_OWN)
    if key.startswith("Exec"):
        # "+" asks for the rights of root, who is not here.
        prefix = re.match(r"[-+@:!]*", value)
        end = prefix.end() if prefix else 0
        value = value[:end].replace("+", "") + value[end:]
        value = value.replace("systemctl ", "systemctl --user ")
        value = _OWNERS.sub("", value).replace("energymarket.failure ", "energymarket.failure --user ")
    for system, users in where.paths:
        value = value.replace(system, users)
    return value


def _added(name: str, section: str, where: Place) -> Iterator[str]:
    """What the system has from elsewhere: directories, and a namespace that takes the objects with it."""
    stem = name.partition(".d/")[0]
    if "/" in name:
        return
    if section == "[Service]" and stem.endswith(".service"):
        # For the children that the daemons start: nothing is imported from the working directory, the home.
        yield "Environment=PYTHONSAFEPATH=1"
    match stem, section:
        case "energy-config-check.service", "[Unit]":
            # The sockets would be taken from a run of `energyctl up`.
            yield f"AssertPathExists=!%t/energy-market/{RECORD_OF_UP}"
        case "energy-config-check.service", "[Service]":
            parts = ("market", "homes", "weather", "failures", "backup")
            made = ["%t/energy-market", "%C/energy-market", where.state]
            made += [f"{where.state}/{part}" for part in parts]
            yield f"ExecStartPre=/bin/mkdir -p -m 0700 {' '.join(made)}"
            # Everything else is stopped before it.
            yield "ExecStopPost=-/bin/rmdir --ignore-fail-on-non-empty %t/energy-market"
        case "energy-ipc.service", "[Service]":
            remove = f"{where.interpreter} -E -P -m energymarket.anchor remove --run"
            kept = f"{where.state}/ipc.json"
            # A manager that is killed takes the run directory with it, and the record: a copy outlives both.
            yield f"ExecStartPre=-{remove} {where.state}"
            yield f"ExecStartPost=/bin/cp %t/energy-market/ipc.json {kept}"
            yield f"ExecStopPost=-{remove} %t/energy-market"
            yield f"ExecStopPost=-/bin/rm -f {kept}"
        case _:
            return
