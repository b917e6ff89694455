"""Numbers as people read them: kWh, €, €/kWh, market time; and durations as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

from energyctl.exits import Exit, ProblemError

UEUR_PER_EUR = 1_000_000
WH_PER_KWH = 1_000

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# compiled where they are used: most commands need neither
_DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|min|m|h|d|w)"
_SLOTS = r"[0-9]{1,9}"


def kwh(energy_wh: int, *, sign: bool = False) -> str:
    """1234 Wh -> `1.234 kWh`: exact, from the integer."""
    whole, rest = divmod(abs(energy_wh), WH_PER_KWH)
    lead = "-" if energy_wh < 0 else "+" if sign and energy_wh > 0 else ""
    return f"{lead}{whole}.{rest:03d} kWh"


def price(price_ueur_per_kwh: int) -> str:
    """153750 µ€/kWh -> `0.153750`: exact, from the integer."""
    whole, rest = divmod(abs(price_ueur_per_kwh), UEUR_PER_EUR)
    return f"{'-' if price_ueur_per_kwh < 0 else ''}{whole}.{rest:06d}"


def money(money_ueur: int) -> str:
    """Micro-euro as euro with four digits: a home's slot is worth a fraction of a cent."""
    return f"{money_ueur / UEUR_PER_EUR:.4f} €"


def eur_per_kwh(price_ueur_per_kwh: int) -> float:
    """The price as the decimal number that JSON shows: 153750 -> 0.15375."""
    return price_ueur_per_kwh / UEUR_PER_EUR


def clock(time: str) -> str:
    """An RFC 3339 time in UTC as `2026-06-15 12:00`; seconds only where there are some."""
    date, _, rest = time.partition("T")
    hours = rest[:8]
    return f"{date} {hours[:5] if hours.endswith(':00') else hours}".rstrip()


def utc(wall_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in whole seconds: `2026-06-15T12:00:00Z`."""
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def intensity(permille: int) -> str:
    """1000 -> `1`, 1500 -> `1.5`."""
    return f"{permille / 1000:g}"


def event(row: Mapping[str, object]) -> str:
    """An event in a few words: `gas_shortage ×1 until slot 1240`; of a sealed slot no end is known."""
    permille = row.get("intensity_permille", 1000)
    words = f"{row.get('kind', '?')} ×{intensity(permille if isinstance(permille, int) else 1000)}"
    if row.get("from_slot", 0) is None:
        return words
    until = row.get("until_slot")
    return f"{words} until slot {until}" if until is not None else f"{words} until cleared"


def finite(value: float | None) -> float | None:
    """An option's number as it is; `nan` and `inf` pass every bound, and are refused here."""
    if value is not None and not isfinite(value):
        raise ProblemError(
            Exit.USAGE, "usage", f"{value:g} is no number to count with", hint="for example: 900, or 0.5"
        )
    return value


def duration_slots(text: str, slot_s: int) -> int:
    """Slots of `96`, `2h`, `1d`, `90min`: durations are rounded up to whole slots."""
    if re.fullmatch(_SLOTS, text):
        slots = int(text)
    else:
        match = re.fullmatch(_DURATION, text)
        if match is None:
            raise _not_a_duration(text)
        seconds = float(match[1]) * _SECONDS[match[2]]
        slots = int(-(-seconds // slot_s))
    if slots < 1:
        raise _not_a_duration(text)
    return slots


def span(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min`, `3 h 20 min`, `2 d 3 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _not_a_duration(text: str) -> ProblemError:
    return ProblemError(
        Exit.USAGE,
        "not_a_duration",
        f"{text!r} is no duration",
        "a duration is a number of slots, or a number with s, min, h, d or w, and more than none",
        "for example 96, 90min, 2h or 1d",
    )
