"""The style sheet of the report: one column, light and dark, desk, phone and paper."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from energymarket.daybook.colours import STEPS, variables

_RULES: Final = Path(__file__).with_name("report.css")

_FILLED: Final = (
    "own", "given", "traded", "import", "sold", "unpaid", "long", "battery", "temperature", "imbalance",
    "events", "limits", "base", "bad", "ink",
)  # fmt: skip


def sheet(tabs: int) -> str:
    """The whole sheet, for a page with so many tabs of days."""
    light = f":root{{color-scheme:light dark;{variables('light')}}}"
    dark = f"@media (prefers-color-scheme:dark){{:root{{{variables('dark')}}}}}"
    fills = "".join(
        f".fill.{name},.flow.{name}{{fill:var(--{name})}}.key.fill.{name}{{background:var(--{name})}}"
        for name in _FILLED
    )
    scale = "".join(f".h{at}{{fill:var(--h{at})}}" for at in range(2 * STEPS + 1))
    picked = "".join(_picked(at) for at in range(tabs))
    rules = _RULES.read_text(encoding="utf-8")
    return (light + dark + rules + fills + scale + picked).replace("\n", "")


def _picked(at: int) -> str:
    """The tab of a day, when its button is on or has the focus."""
    button, label = f"#pick{at}", f".tabs label[for=pick{at}]"
    return (
        f"{button}:checked~{label}{{background:var(--ink);color:var(--card);border-color:var(--ink)}}"
        f"{button}:focus-visible~{label}{{outline:2px solid var(--sold);outline-offset:2px}}"
        f"{button}:checked~.pages>section:nth-of-type({at + 1}){{display:block}}"
    )
