"""The colours of the report by what they mean, for light and dark screens.

Hues that keep their order of lightness and stay apart for people who see fewer colours; every mark stands
out from the page with a contrast of 3 and every text with 4.5 (WCAG 2.2, 1.4.11 and 1.4.3).
"""

from __future__ import annotations

from typing import Final

from energymarket.daybook import causes

PAGE: Final = "page"
CARD: Final = "card"
INK: Final = "ink"
SOFT: Final = "soft"
GRID: Final = "grid"
LINE: Final = "rule"

LIGHT: Final = {
    PAGE: "#f4f3ef",
    CARD: "#fdfdfb",
    INK: "#1d1f21",
    SOFT: "#5b6066",
    GRID: "#e4e3de",
    LINE: "#c9c8c2",
    "good": "#0b7a4b",
    "bad": "#b3361b",
    "own": "#c08a00",  # own roof and battery
    "given": "#0b8a5c",
    "traded": "#b5488f",
    "import": "#6b7178",
    "sold": "#2b6cc4",
    "unpaid": "#12879b",
    "long": "#7a5ac8",
    "battery": "#7a5ac8",
    "temperature": "#c67a00",
    "imbalance": "#2b6cc4",
    "events": "#c43d1d",
    "limits": "#6b7178",
    "base": "#8a8f96",
}

DARK: Final = {
    PAGE: "#131416",
    CARD: "#1c1e21",
    INK: "#e9e9e6",
    SOFT: "#a5aab0",
    GRID: "#2e3135",
    LINE: "#474b50",
    "good": "#3fc48d",
    "bad": "#f08a6c",
    "own": "#e0b038",
    "given": "#35b883",
    "traded": "#dc7cbb",
    "import": "#8b9199",
    "sold": "#5f9df0",
    "unpaid": "#45bccf",
    "long": "#a58bf0",
    "battery": "#a58bf0",
    "temperature": "#e0a030",
    "imbalance": "#5f9df0",
    "events": "#ee6f4a",
    "limits": "#8b9199",
    "base": "#7d838a",
}

CAUSE: Final = {
    causes.BASE: "base",
    causes.TEMPERATURE: "temperature",
    causes.IMBALANCE: "imbalance",
    causes.EVENTS: "events",
    causes.LIMITS: "limits",
}

TEXTS: Final = (INK, SOFT, "good", "bad")
SURFACES: Final = (PAGE, CARD, GRID, LINE)

# ---- a scale with two ends and nothing in the middle: blue feeds in, orange draws

STEPS: Final = 6
"""Classes on each side of zero."""

_ENDS: Final = {
    # (middle, towards the grid, from the grid): at the middle the page, at the ends the strongest colour
    "light": ("#f0efeb", "#0b4a94", "#a33c00"),
    "dark": ("#33363a", "#7db8ff", "#ffa45e"),
}


def diverging(theme: str) -> list[str]:
    """2 × STEPS + 1 colours from the strongest feed-in over nothing to the strongest draw."""
    middle, low, high = _ENDS[theme]
    down = [_mixed(middle, low, at / STEPS) for at in range(STEPS, 0, -1)]
    up = [_mixed(middle, high, at / STEPS) for at in range(1, STEPS + 1)]
    return [*down, middle, *up]


def _mixed(first: str, second: str, share: float) -> str:
    pairs = zip(_rgb(first), _rgb(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def variables(theme: str) -> str:
    """The colours as custom properties of CSS."""
    named = LIGHT if theme == "light" else DARK
    plain = [f"--{name}:{value}" for name, value in named.items()]
    scale = [f"--h{at}:{value}" for at, value in enumerate(diverging(theme))]
    return ";".join([*plain, *scale])
