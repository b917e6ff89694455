"""`energyctl weather`: the sample of the open slot as the market reads it from the board."""

from __future__ import annotations

from typing import Any, Final

import typer

from energyctl.asking import ask
from energyctl.render import Alert, Answer, Block, Table
from energyctl.session import session

_SHOWN: Final = (
    ("temperature_c", "temperature", "{:.1f} °C"),
    ("trend_c_per_h", "trend", "{:+.1f} °C/h"),
    ("wind_m_per_s", "wind (10 m)", "{:.1f} m/s"),
    ("ghi_w_per_m2", "sun, horizontal", "{:.0f} W/m²"),
    ("dni_w_per_m2", "sun, direct", "{:.0f} W/m²"),
    ("dhi_w_per_m2", "sun, diffuse", "{:.0f} W/m²"),
    ("rain_mm_per_h", "rain", "{:.1f} mm/h"),
    ("cloud", "cloud", "{:.0%}"),
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("weather")(weather)


def weather(ctx: typer.Context) -> Answer:
    """Show the weather of the open slot: what homes and price go by, and whether it is stale."""
    found: dict[str, Any] = ask(session(ctx), "Weather")["weather"]
    rows = [
        (label, form.format(found[name]))
        for name, label, form in _SHOWN
        if isinstance(found.get(name), (int, float))
    ]
    blocks: list[Block] = [Table(("what", ">value"), rows)]
    if found.get("stale"):
        blocks.append(Alert("stale: the last sample is used; is energy-weatherd running?"))
    return Answer({"type": "weather", **found}, tuple(blocks))
