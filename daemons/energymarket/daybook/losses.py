"""What the homes' batteries lost, by the homes' own registers: the ledger sees meters only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.audit.findings import Findings
from energymarket.audit.register_files import read_all

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.audit.register_files import Registers
    from energymarket.daybook.balance import Balance


def losses_wh_of(directory: Path | None, last_slot: int, balance: Balance) -> int | None:
    """The losses of all homes up to the last slot.

    None where the registers do not tell of just the time that the ledger tells of: a file is missing, is
    slots away, or has other sums.
    """
    if directory is None or not directory.is_dir():
        return None
    found: dict[int, Registers] = {}
    for each in read_all(directory, Findings(), None):
        if each.slot == last_slot:
            found[each.first] = each
    sums = {
        name: sum(int(each.state.column(name).astype(int).sum()) for each in found.values())
        for name in ("production_wh", "consumption_wh", "import_wh", "export_wh", "losses_wh")
    }
    ledger = (balance.produced_wh, balance.consumed_wh, balance.imported_wh, balance.exported_wh)
    own = tuple(sums[name] for name in ("production_wh", "consumption_wh", "import_wh", "export_wh"))
    return sums["losses_wh"] if found and own == ledger else None
