"""What a daemon of a run is called under systemd."""

from __future__ import annotations

from typing import Final

_UNITS: Final = {"fetch": "weather-fetch"}


def unit_of(name: str) -> str:
    """The unit that is the same under systemd: `home-3` is energy-home@3.service."""
    kind, dash, number = name.rpartition("-")
    if dash and number.isdecimal():
        return f"energy-{kind}@{number}.service"
    return f"energy-{_UNITS.get(name, name)}.service"
