"""What a column can measure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a column measures. Those of a home come first, those of the place after them."""

    LOAD = "load"
    PV = "pv"
    NET = "net"  # load minus generation: above zero is import
    IMPORT = "import"
    EXPORT = "export"
    TARIFF = "tariff"  # import price
    FEED_IN = "feed_in"  # export price
    CARBON = "carbon"


HOME_ROLES: Final = (Role.LOAD, Role.PV, Role.NET, Role.IMPORT, Role.EXPORT)
