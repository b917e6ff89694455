"""The colours of the report by what they mean, for light and dark screens.

Neighbours in a picture differ in lightness as well as in hue, so that they stay apart for people who see
fewer colours. Every mark stands out from its card with a contrast of 3, every text with 4.5 (WCAG 2.2,
1.4.11 and 1.4.3).
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
    "bad": "#b83a12",
    "own": "#b98500",  # own roof and battery
    "given": "#00704a",
    "traded": "#96337c",
    "import": "#868c94",
    "sold": "#1f55ad",
    "unpaid": "#2a9bae",
    "long": "#7a5ac8",
    "battery": "#7a5ac8",
    "temperature": "#c67a00",
    "imbalance": "#1f55ad",
    "events": "#a82a10",
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
    "given": "#1f9468",
    "traded": "#d070b2",
    "import": "#b4b9c0",
    "sold": "#4a86e0",
    "unpaid": "#7fdfec",
    "long": "#a58bf0",
    "battery": "#a58bf0",
    "temperature": "#e4ac3a",
    "imbalance": "#4a86e0",
    "events": "#d9502c",
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
