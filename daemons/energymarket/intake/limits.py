"""The bounds of an import, each with its reason."""

from __future__ import annotations

from typing import Final

from energymarket.intake.quantities import Role

HOMES_MAX: Final = 10_000  # [data] of a scenario would carry more; series of a year of these take 3 GB
COLUMNS_MAX: Final = 3 * HOMES_MAX  # of one file
CELLS_MAX: Final = 1 << 27  # numbers held at once: 1 GiB
CHUNK_LINES: Final = 20_000  # read at a time: what lies as text in memory
SAMPLE_LINES: Final = 2_000  # looked at to see how a file is written
STEP_S_MAX: Final = 3_600  # a slot is an hour at most; a day's sum does not say when
POWER_KW_MAX: Final = 43.5  # three phases of 63 A at 230 V: the usual main fuse of a house
INTERPOLATE_S_MAX: Final = 3_600  # a gap up to this is bridged by a straight line
WEEKS_AROUND: Final = 4  # looked at on either side of a longer gap
GAP_SNAP_SHARE: Final = 0.25  # of an interval: a time beside the grid by less is meant to be on it
FOLLOWS_CORRELATION: Final = 0.7  # of a load with somebody's PV; of sound homes it was at most 0.48
FOLLOWS_NIGHT_SHARE: Final = 0.25  # of the mean load, by night; of sound homes it was at least 0.66
STUCK_S: Final = 86_400  # a load that stays the same, above zero, for a day
SILENT_S: Final = 14 * 86_400  # a quantity that stays at zero for a fortnight
MEAN_W_RANGE: Final = (3.0, 50_000.0)  # of a load: less than 26 kWh or more than 438 MWh a year is no home
PLAUSIBLE: Final = {  # medians; beyond, it is probably cent, or kilograms
    Role.TARIFF: (0.005, 3.0, "€/kWh (ct in the name of the column says cent)"),
    Role.FEED_IN: (0.0005, 3.0, "€/kWh (ct in the name of the column says cent)"),
    Role.CARBON: (2.0, 5_000.0, "g/kWh (kg in the name of the column says kg/kWh)"),
}
SCALE_RATIO: Final = 200.0  # of a home's mean load to that of the middle home, either way
