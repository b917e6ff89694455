"""What a home trades, in text that leaves the machine: it tells when somebody is at home, and is left out.

A home that is a process of its own says it in its log and in its status, and failure records quote both.
"""

from __future__ import annotations

import re
from typing import Final

LEFT_OUT: Final = "[left out]"

_TOLD: Final = re.compile(
    r"(?:buys|sells) [0-9]+ Wh[^\"\n]*"  # home 7 buys 250 Wh at 0.190000 €/kWh, receipt …
    r"|given [0-9.]+ kWh, received [^\"\n]*"  # slot 5: given 0.250 kWh, received 0.000 kWh, +0.0475 €, …
)


def without_trades(text: str) -> tuple[str, int]:
    """The text without the energy and money of homes, and how often it told them."""
    return _TOLD.subn(LEFT_OUT, text)
