"""Broker, meters and PV in a scenario file: of two services beside the market; no result depends on them."""

# ruff: noqa: RUF009 - fields are declared by functions that answer a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from energymarket.scenario import kinds
from energymarket.scenario.kinds import key, optional, section

METER_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""An id is part of file names and of a queue's name, so it has no slash and does not begin with a dot."""


class PvMode(StrEnum):
    """How PV power is found."""

    REFERENCE = "reference"  # one clear day by the local clock, the same on every date
    PHYSICAL = "physical"  # pvlib, from place, roof, date and the compiled weather


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """[broker]: the RabbitMQ broker of meters and PV."""

    host: str = key(kinds.text(253), "where it listens", "localhost")
    port: int | None = optional(
        kinds.whole(1, 65_535), "where it listens; without, 5672, or 5671 with TLS", "5672"
    )
    user: str = key(kinds.text(120), "who we are to it", "guest")
    password: str | None = optional(
        kinds.text(400),
        "for a broker that guards nothing; the credential energy-broker-password is better",
        '"guest"',
    )
    password_file: str | None = optional(
        kinds.text(), "a file whose first line is the password", '"/etc/energy-market/broker-password"'
    )
    vhost: str = key(kinds.text(120), "its virtual host", "/")
    tls: bool = key(kinds.flag(), "speak TLS, and check the broker's certificate", False)
    ca_file: str | None = optional(
        kinds.text(),
        "who signed that certificate; without, whom the machine trusts",
        '"/etc/ssl/broker-ca.pem"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PvRoof:
    """[meters.pv]: the roof beside each meter."""

    mode: PvMode = key(kinds.choice(PvMode), "how its power is found", PvMode.REFERENCE)
    forward: bool = key(
        kinds.flag(), "pass each sample with the sun added on to the metered homes of the market", False
    )
    peak_kw: float = key(kinds.real(0.001, 100, "kW"), "of the physical roof", 3.5)
    tilt_deg: float = key(kinds.real(0, 90, "degrees"), "from the horizontal", 35.0)
    azimuth_deg: float = key(kinds.real(0, 360, "degrees"), "from north over east", 180.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """[meters]: households whose meters speak over the broker."""

    count: int = key(kinds.whole(0, 1_000), "meters, Meter_0 and on", 1)
    interval_s: float = key(kinds.real(0.001, 86_400, "s"), "between two samples", 2.0)
    pv: PvRoof = section(PvRoof, "the roof beside each meter")
