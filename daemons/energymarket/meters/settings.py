"""What the two services are told: an .ini file of their own, or the tables of the suite's configuration."""

from __future__ import annotations

import configparser
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from energymarket.exits import ConfigError
from energymarket.scenario import toml
from energymarket.scenario.meters_schema import Broker, Meters, PvRoof
from energymarket.scenario.problems import did_you_mean
from energymarket.scenario.reader import Findings, read_table
from energymarket.scenario.schema import Place
from energymarket.transport.amqp import PORT, TLS_PORT, Address

log = logging.getLogger(__name__)

PASSWORD: Final = "energy-broker-password"  # noqa: S105 the name of a credential
AUTHORITY: Final = "energy-broker-ca"
"""Credentials of the service manager: they come before what the configuration names."""
SECRET_BYTES_MAX: Final = 4_096
LOCALTIME: Final = Path("/etc/localtime")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it, with defaults where nothing was said."""

    broker: Broker
    meters: Meters
    place: Place
    timezone: str = ""  # "": the machine's own
    seed: int = 1
    names_meters: bool = False  # whether the configuration says which meters there are


_INI: Final[Mapping[str, type]] = {"broker": Broker, "meters": Meters, "pv": PvRoof, "place": Place}
_WORLD: Final = ("timezone", "seed")  # keys of [meters] that a scenario has elsewhere


def read(path: Path | None) -> Settings:
    """From a file: TOML by its name, else .ini; defaults without one. ConfigError with all that is wrong."""
    if path is None:
        return Settings(Broker(), Meters(), Place())
    if path.suffix == ".toml":
        return _of_suite(path)
    return _of_ini(path)


def _of_suite(path: Path) -> Settings:
    scenario, problems = toml.read(str(path))
    if scenario is None:
        raise ConfigError(toml.render_problems(problems))
    return Settings(
        scenario.broker or Broker(),
        scenario.meters or Meters(),
        scenario.place,
        scenario.time.timezone,
        scenario.seed,
        names_meters=scenario.meters is not None,
    )


def _of_ini(path: Path) -> Settings:
    """Sections [broker], [meters], [pv] and [place]; each may be left out, and so may each key.

    Other sections may be of other programs: a warning names them. A key of ours that nobody knows is refused.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with path.open(encoding="utf-8-sig") as file:  # a BOM is no part of it
            parser.read_file(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file", "without -conf: localhost:5672") from None
    except (OSError, UnicodeDecodeError, configparser.Error) as problem:
        raise ConfigError(f"{path}: {' '.join(str(problem).split())}") from problem
    findings = Findings(str(path), {(): 0})
    for name in parser.sections():
        if name not in _INI:  # of another program, perhaps
            hint = did_you_mean(name, tuple(_INI))
            log.warning(
                "%s: [%s] is none of our sections, and is not read%s", path, name, hint and f": {hint}"
            )
    tables = {name: dict(parser[name]) if name in parser else {} for name in _INI}
    world = {name: tables["meters"].pop(name) for name in _WORLD if name in tables["meters"]}
    roof = {key: _value(PvRoof, key, text) for key, text in tables.pop("pv").items()}
    tables["meters"]["pv"] = roof  # type: ignore[assignment]
    found: dict[str, Any] = {
        name: read_table(
            _INI[name], {k: _value(_INI[name], k, v) for k, v in table.items()}, (name,), findings
        )
        for name, table in tables.items()
    }
    seed = world.get("seed", "1")
    if not (seed.isascii() and seed.isdecimal()):
        raise ConfigError(f"{path}: meters.seed: expected a whole number, found {seed!r}")
    if findings.problems:
        raise ConfigError(toml.render_problems(findings.problems))
    return Settings(
        found["broker"],
        found["meters"],
        found["place"],
        world.get("timezone", ""),
        int(seed),
        "meters" in parser,
    )


def _value(table: type, key: str, text: object) -> object:
    """A value of an .ini file as TOML has it: the kind of its key decides what the text is."""
    if not isinstance(text, str):
        return text
    annotation = next((str(each.type) for each in fields(table) if each.name == key), "str")
    bare = text.strip()
    if annotation == "bool" and bare.lower() in {"true", "false", "yes", "no", "on", "off", "1", "0"}:
        return bare.lower() in {"true", "yes", "on", "1"}
    if annotation.startswith("int") and bare.lstrip("-").isascii() and bare.removeprefix("-").isdecimal():
        return int(bare)
    if annotation == "float":
        try:
            return float(bare)
        except ValueError:
            return bare
    return bare


def zone_of(name: str, environ: Mapping[str, str] | None = None) -> ZoneInfo:
    """The zone of the meters' clock: by name, or the machine's own. ConfigError if there is no such zone."""
    given = os.environ if environ is None else environ
    found = name or given.get("TZ", "").removeprefix(":")
    if not found and LOCALTIME.is_symlink():
        found = str(LOCALTIME.resolve()).partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(found or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        raise ConfigError(f"there is no time zone {found!r}", "a name such as Europe/Paris") from problem


def address(broker: Broker, environ: Mapping[str, str] | None = None) -> Address:
    """Where the broker is and who we are to it. ConfigError if a secret cannot be read."""
    given = os.environ if environ is None else environ
    password = _credential(given, PASSWORD)
    if password is None and broker.password_file is not None:
        password = Path(broker.password_file)
    said = broker.password if broker.password is not None else "guest"
    authority = _credential(given, AUTHORITY)
    if authority is None and broker.ca_file is not None:
        authority = Path(broker.ca_file)
    return Address(
        broker.host,
        broker.port or (TLS_PORT if broker.tls else PORT),
        broker.user,
        said if password is None else _secret(password),
        broker.vhost,
        broker.tls,
        authority,
    )


def _credential(environ: Mapping[str, str], name: str) -> Path | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory, name) if directory else None
    return path if path is not None and path.exists() else None


def _secret(path: Path) -> str:
    """The first line of a file."""
    try:
        with path.open("rb") as file:
            return file.readline(SECRET_BYTES_MAX).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"the broker's password in {path} cannot be read: {problem}") from problem
