"""Whole years by fast-forward: Fontana's community against its CSV, the default year against its promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from energymarket.engine import api
from energymarket.scenario import toml
from tests.simulation.market_place import ROOT
from tests.unit.core.kpi.test_community_year import ALL, GOOD, Year, straight, year
from tests.unit.scenario.test_compile_community import TEXT

__all__ = ["year"]  # a fixture


@pytest.mark.parametrize("homes", [ALL, GOOD], ids=["all 17 homes", "without 12 and 15"])
def test_the_community_year_has_the_energy_of_its_file(
    shared_data: Path, year: Year, tmp_path: Path, homes: tuple[int, ...]
) -> None:
    """8,760 hours through homes, gifts, prices and settlement: indicators as NumPy has them from the CSV."""
    exclude = [home for home in ALL if home not in homes]
    file = shared_data / "fontana17.csv.gz"
    fill = {"slot": "1h", "homes": 17, "layout": "community", "exclude": exclude, "file": str(file)}
    scenario, problems = toml.parse(TEXT.format(**fill), str(tmp_path / "c.toml"))
    assert scenario is not None, toml.render_problems(problems)
    found = api.simulate(scenario, out=tmp_path / "a", engine="local", workers=2)
    if homes == ALL:
        again = api.simulate(found.compiled, out=tmp_path / "b", engine="embedded", shards=5)
        assert found.ledger_hash == again.ledger_hash
    wanted = straight(*year.of(homes), year.price, year.carbon)
    energy, kpi = found.document["energy"], found.document["kpi"]
    for name in ("imported_kwh", "exported_kwh", "line_import_kwh", "line_export_kwh"):
        assert energy[name] == pytest.approx(wanted[name], rel=2e-4), name
    for share in ("sufficiency", "consumption"):
        for who in ("household", "community"):
            assert kpi[f"self_{share}"][who] == pytest.approx(wanted[f"{who}_{share}"], abs=2e-4), (
                who,
                share,
            )
    for name in ("line_import_kw", "line_export_kw"):
        assert kpi["peaks"][name] == pytest.approx(wanted[name], abs=0.02), name
    assert int(found.homes["import_wh"].sum()) / 1e3 == pytest.approx(energy["imported_kwh"])


def test_the_default_year_keeps_its_promise(tmp_path: Path) -> None:
    """The rules: a mean of 0.15 to 0.35 €/kWh, under 1 % of slots at floor or cap; r > p > e throughout."""
    found = api.simulate("default", homes=120, out=tmp_path)
    assert found.document["slots"] == 365 * 96
    price, slots = found.slots["price_ueur_per_kwh"], found.slots
    model = found.compiled.price
    touches = (price <= model.floor_ueur_per_kwh) | (price >= model.cap_ueur_per_kwh)
    assert 0.15 < price.mean() / 1e6 < 0.35
    assert touches.mean() < 0.01
    assert (slots["import_ueur_per_kwh"] > price).all()
    assert (price > slots["export_ueur_per_kwh"]).all()


def test_the_linear_price_forgets_as_its_half_life_says(tmp_path: Path) -> None:
    """Regressed on the price before and on its factor, a run's price gives back gamma and the steady effect.

    P_t = gamma P_(t-1) + alpha f_t, with f the imbalance of the slot before. gamma = 2^(-1/8) for two hours
    of quarter-hours; a steady effect of 0.05 €/kWh is alpha = 0.05 (1 - gamma) in each slot.
    """
    text = re.sub(r"(?ms)^\[price\.events\..*?(?=^\[(?!price\.events))", "", _shipped_default())
    file = tmp_path / "calm.toml"
    file.write_text(text, encoding="utf-8")
    found = api.simulate(file, homes=60, duration="40d", out=tmp_path / "out")
    price = found.slots["price_ueur_per_kwh"] / 1e6
    used, made = found.slots["consumed_wh"].astype(float), found.slots["produced_wh"].astype(float)
    imbalance = (used - made) / (used + made)
    degrees = _degrees(found.compiled.weather["temperature_mc"][1 : len(price)] / 1e3)
    columns = np.column_stack((price[:-1], imbalance[:-1], *degrees, np.ones(len(price) - 1)))
    solved, *_ = np.linalg.lstsq(columns, price[1:], rcond=None)
    gamma = 2 ** (-1 / 8)
    assert solved[0] == pytest.approx(gamma, abs=2e-3)
    assert solved[1] / (1 - gamma) == pytest.approx(0.05, rel=0.03)


def _degrees(celsius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heating below 15 °C and cooling above 24 °C, in K."""
    return np.maximum(15 - celsius, 0), np.maximum(celsius - 24, 0)


def _shipped_default() -> str:
    path = ROOT / "daemons/energymarket/scenario/shipped/default.toml"
    return path.read_text(encoding="utf-8")


def test_the_five_lines_of_python_of_the_page_run() -> None:
    """The code of operating.md, as it stands there, prints a hash, shares, a mean price and an energy."""
    page = (ROOT / "packaging/doc/operating.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    environ = {"PYTHONPATH": str(ROOT / "daemons"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^[0-9a-f]{64} \{'household': 0\.\d+.*\n0\.\d+ €/kWh \d+\.\d+ kWh$", done.stdout), (
        done.stdout
    )
