"""A picture of a meter's day: what it consumed, what the roof gave, and both, by the local clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.exits import Exit, Failure

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.meters.reading import Rows

# Okabe and Ito's colours, as the picture of a market's day has them
_METER: Final = "#0072B2"
_PV: Final = "#E69F00"
_SUM: Final = "#222222"
_SOFT: Final = "#555555"


def draw(path: Path, meter_id: str, date: str, rows: Rows, utc_offset_s: int) -> None:
    """Write the picture, PNG or SVG by the path's name. Failure where matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 only who wants a picture needs it

        mpl.use("Agg")
        from matplotlib import dates as typeless  # noqa: PLC0415
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise Failure(
            str(error), "pip install 'energy-market[report]' adds the picture", Exit.CONFIGURATION
        ) from error
    dates: Any = typeless
    in_order = rows[np.argsort(rows["time_s"], kind="stable")]
    clock = [datetime.fromtimestamp(time_s + utc_offset_s, UTC) for time_s in in_order["time_s"].tolist()]
    style: Any = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
    }
    with mpl.rc_context(style):
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(12, 7.4), sharex=True, height_ratios=(1.2, 1), layout="constrained"
        )
        above.plot(clock, in_order["meter_w"] / 1000, color=_METER, linewidth=0.8, label="meter")
        above.fill_between(clock, in_order["pv_kw"], color=_PV, alpha=0.45, linewidth=0, label="PV")
        below.plot(clock, in_order["sum_w"] / 1000, color=_SUM, linewidth=0.8, label="meter + PV")
        for axes in (above, below):
            axes.set_ylabel("kW")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
            axes.set_axisbelow(True)
            axes.legend(loc="upper left", frameon=False, ncols=2)
        below.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        below.set_xlabel("clock of the meter")
        figure.suptitle(f"{meter_id} · {date}", x=0.01, ha="left", fontsize=14, fontweight="bold", color=_SUM)
        above.set_title(_figures(in_order), loc="left", fontsize=10, color=_SOFT)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _figures(rows: Rows) -> str:
    """Energies by the trapezoid rule, over gaps as over everything else; and the peaks."""
    hours = rows["time_s"] / 3600.0
    widths = np.diff(hours)

    def energy_kwh(power_kw: Any) -> float:  # noqa: ANN401 an array
        return float(np.sum(widths * (power_kw[1:] + power_kw[:-1]) / 2.0))

    meter_kw = rows["meter_w"] / 1000
    return (
        f"{len(rows):,} samples, consumed {energy_kwh(meter_kw):.1f} kWh (peak {meter_kw.max():.2f} kW), "
        f"PV {energy_kwh(rows['pv_kw']):.1f} kWh (peak {rows['pv_kw'].max():.2f} kW)"
    )
