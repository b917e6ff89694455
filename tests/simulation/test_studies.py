"""Studies: each row is what simulate and kpi say of the same scenario, whoever dies on the way."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from energymarket.exits import Exit
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns

TIMES = ["wall_s", "cpu_s"]

GRID = """
schema = 1
title = "A grid of two parameters"
scenario = "quarter.toml"
duration = "1d"
[[vary]]
key = "homes[*].battery.share"
name = "batteries"
values = [0, 1]
[[vary]]
key = "sharing.rule"
values = ["queue", "mid_market"]
[[vary]]
key = "homes"
values = [6, 9]
"""

QUARTER = """
schema = 1
title = "A quarter of two streets"
seed = 3
[time]
start = 2025-06-16
slot = "1h"
days = 20
[weather]
source = "synthetic"
[grid]
co2_g_per_kwh = 363
[tariff]
export = 0.08
[price]
initial = 0.19
half_life_h = 2
floor = 0.09
cap = 0.32
[[price.factor]]
name = "base"
alpha = 0.18
[[price.factor]]
name = "imbalance"
alpha = 0.05
[sharing]
turn = "fair"
[[homes]]
name = "roofs"
count = 20
policy = { give = 0.5, sell = 0.5 }
load = { kind = "constant", power_w = 400 }
pv = { kwp = [4, 8] }
battery = { share = 0.2, kwh = [3, 6] }
[[homes]]
name = "flats"
count = 30
load = { kind = "constant", power_w = 250 }
"""

PENCIL = """
schema = 1
title = "A seller and a buyer by hand"
scenario = "pencil-trade"
[[vary]]
name = "price"
level = [
    { name = "20 cents", set = {} },
    { name = "10 cents", set = { "price.factor[base].alpha" = 0.05, "price.initial" = 0.1 } },
]
[[vary]]
key = "home[Buyer].consumption_wh"
name = "needs"
values = [[400, 700, 100], [400, 400, 400]]
"""


def energyctl(*words: str, code: int = 0) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "energyctl", *words], capture_output=True, text=True, check=False, timeout=200
    )
    assert answer.returncode == code, answer.stderr
    return answer.stdout if code == 0 else answer.stdout + answer.stderr


def begun(*words: str) -> subprocess.Popen[bytes]:
    """A study in a process group of its own."""
    command = [sys.executable, "-m", "energymarket.study", *words]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def wait_for_lines(path: Path, count: int, study: subprocess.Popen[bytes]) -> None:
    deadline_ns = boottime_ns() + 60_000_000_000
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert boottime_ns() < deadline_ns
        assert study.poll() is None
        sleep_until_boottime_ns(boottime_ns() + 5_000_000)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of eight cases beside its scenario, played."""
    place = tmp_path_factory.mktemp("studies")
    (place / "quarter.toml").write_text(QUARTER)
    (place / "grid.toml").write_text(GRID)
    (place / "pencil.toml").write_text(PENCIL)
    energyctl("study", str(place / "grid.toml"), "--out", str(place / "whole"), "--csv")
    return place


def table(place: Path) -> pd.DataFrame:
    return pd.read_parquet(place / "cases.parquet")


def test_a_row_is_what_simulate_and_kpi_say(directory: Path, tmp_path: Path) -> None:
    """The scenario of a case by hand: `simulate` comes to its hash; `kpi` reads its figures in the ledger."""
    text = QUARTER.replace('turn = "fair"', 'rule = "mid_market"').replace("share = 0.2", "share = 1")
    (tmp_path / "quarter.toml").write_text(text + "battery = { share = 1 }\n")
    words = [str(tmp_path / "quarter.toml"), "--homes", "9", "--for", "1d", "--out", str(tmp_path / "out")]
    played = json.loads(energyctl("simulate", *words, "--json"))
    compiled = json.loads(energyctl("scenario", "compile", words[0], "--homes", "9", "--json"))
    where = ["--state", str(tmp_path / "out"), "--compiled", compiled["directory"]]
    measured = json.loads(energyctl("kpi", *where, "--json"))
    row = table(directory / "whole").iloc[-1].to_dict()
    assert (row["param_batteries"], row["param_sharing_rule"], row["param_homes"]) == (1, "mid_market", 9)
    assert row["ledger_hash"] == played["ledger_hash"]
    assert row["scenario_hash"] == played["scenario_hash"]
    for section, prefix in (("energy", "energy_"), ("money", "money_")):
        for name, value in measured[section].items():
            assert row[prefix + name] == value, name
    kpi = measured["kpi"]
    assert row["self_sufficiency_community"] == kpi["self_sufficiency"]["community"]
    assert row["price_mean_eur_per_kwh"] == kpi["price"]["mean_eur_per_kwh"]
    assert row["spread_jain_eur_per_kwh"] == kpi["spread"]["jain_eur_per_kwh"]
    assert row["peaks_line_import_kw"] == kpi["peaks"]["line_import_kw"]
    assert row["co2_line_import_average_kg"] == kpi["co2"]["line_import_average_kg"]
    assert row["cost_eur_per_home"] == pytest.approx(measured["money"]["bill_eur"] / 9, abs=1e-6)


def test_the_printed_scenario_of_a_case_is_the_one_that_was_played(directory: Path, tmp_path: Path) -> None:
    """`--case N` prints a file that comes to the ledger of row N."""
    printed = energyctl("study", str(directory / "grid.toml"), "--case", "6")
    (tmp_path / "quarter.toml").write_text(printed)
    words = ["--for", "1d", "--out", str(tmp_path / "out"), "--json"]
    played = json.loads(energyctl("simulate", str(tmp_path / "quarter.toml"), *words))
    assert table(directory / "whole").loc[5, "ledger_hash"] == played["ledger_hash"]


def test_the_numbers_are_those_of_the_pencil(directory: Path, tmp_path: Path) -> None:
    """Three slots by hand: what is bought and sold at both prices, the line, the peak, the tariff alone."""
    energyctl("study", str(directory / "pencil.toml"), "--out", str(tmp_path))
    found = table(tmp_path)
    assert found["param_price"].tolist() == ["20 cents"] * 2 + ["10 cents"] * 2
    assert found["param_needs"].tolist()[0] == "[400, 700, 100]"
    # 1,200 Wh are sold and bought in each case, at 0.20 or 0.10 €/kWh.
    assert found["energy_sold_kwh"].tolist() == [1.2] * 4
    assert found["energy_bought_kwh"].tolist() == [1.2] * 4
    assert found["money_purchases_eur"].tolist() == [0.24, 0.24, 0.12, 0.12]
    assert found["money_sales_eur"].tolist() == [0.24, 0.24, 0.12, 0.12]
    assert found["price_mean_eur_per_kwh"].tolist() == [0.2, 0.2, 0.1, 0.1]
    # 700 Wh where 400 are produced: the line brings 300 Wh in a quarter of an hour, 1.2 kW.
    assert found["energy_line_import_kwh"].tolist() == [0.3, 0.0, 0.3, 0.0]
    assert found["peaks_line_import_kw"].tolist() == [1.2, 0.0, 1.2, 0.0]
    assert found["self_sufficiency_community"].tolist() == [0.75, 1.0, 0.75, 1.0]
    # alone: 1,200 Wh bought at 0.30 and 1,200 Wh fed in at 0.05.
    assert found["money_alone_eur"].tolist() == [0.3] * 4
    assert found["co2_line_import_average_kg"].isna().all()


def test_the_table_has_types_and_meanings(directory: Path) -> None:
    """Pandas reads numbers as numbers; Parquet says what each column is; the CSV says the same."""
    from pyarrow import parquet

    found = table(directory / "whole")
    assert found["case"].tolist() == list(range(1, 9))
    kinds = {name: found[name].dtype.kind for name in ("case", "seed", "homes", "param_homes")}
    assert set(kinds.values()) == {"i"}
    assert found["money_bill_eur"].dtype.kind == "f"
    assert set(found["status"]) == {"done"}
    schema = parquet.read_schema(directory / "whole" / "cases.parquet")
    assert all(field.metadata[b"meaning"] for field in schema)
    assert json.loads(schema.metadata[b"energy-market.study"])["title"] == "A grid of two parameters"
    with (directory / "whole" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(found.columns)
    assert [float(row["money_bill_eur"]) for row in rows] == found["money_bill_eur"].tolist()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_is_killed_goes_on(directory: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Killed in the middle, resumed: the table of an undisturbed one, and no case was played twice."""
    words = [str(directory / "grid.toml"), "--out", str(tmp_path)]
    study = begun(*words)
    wait_for_lines(tmp_path / "cases.jsonl", 3, study)
    os.kill(study.pid, number)
    assert study.wait(timeout=20) == (-signal.SIGKILL if number == signal.SIGKILL else Exit.INTERRUPTED)
    before = (tmp_path / "cases.jsonl").read_bytes()
    before = before[: before.rindex(b"\n") + 1]
    assert 3 <= before.count(b"\n") < 8
    energyctl("study", *words, "--resume")
    after = (tmp_path / "cases.jsonl").read_bytes()
    assert after.startswith(before)
    assert sorted(json.loads(line)["case"] for line in after.splitlines()) == list(range(1, 9))
    undisturbed = table(directory / "whole").drop(columns=TIMES)
    pd.testing.assert_frame_equal(table(tmp_path).drop(columns=TIMES), undisturbed, check_exact=True)
    assert not (tmp_path / "scratch").exists()


def changed(directory: Path, tmp_path: Path, name: str, old: str, new: str) -> str:
    """What --resume says when a file has changed after the first cases were played."""
    for file in ("quarter.toml", "grid.toml"):
        (tmp_path / file).write_text((directory / file).read_text())
    out = tmp_path / "out"
    study = begun(str(tmp_path / "grid.toml"), "--out", str(out))
    wait_for_lines(out / "cases.jsonl", 1, study)
    study.send_signal(signal.SIGINT)
    study.wait(timeout=20)
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(old, new))
    return energyctl("study", str(tmp_path / "grid.toml"), "--out", str(out), "--resume", code=78)


def test_a_changed_study_is_not_resumed(directory: Path, tmp_path: Path) -> None:
    """One error names the key, what it was and what it is."""
    said = changed(directory, tmp_path, "grid.toml", "values = [0, 1]", "values = [0, 0.5, 1]")
    assert "the study's vary[0].values: [0, 1] before, [0, 0.5, 1] now" in said


def test_a_changed_scenario_is_not_resumed(directory: Path, tmp_path: Path) -> None:
    """One error names the scenario's key likewise; what did not change is not named."""
    said = changed(directory, tmp_path, "quarter.toml", "export = 0.08", "export = 0.06")
    assert "the scenario's tariff.export: 0.08 before, 0.06 now" in said
    assert said.count(" before, ") == 1


def test_a_case_that_cannot_be_costs_no_other(directory: Path, tmp_path: Path) -> None:
    """A cap below the floor: that case has failed with its parameters, the others are there; exit code 5."""
    (tmp_path / "quarter.toml").write_text((directory / "quarter.toml").read_text())
    study = GRID.split("[[vary]]", maxsplit=1)[0] + '[set]\nhomes = 5\n[[vary]]\nkey = "price.cap"\nvalues = '
    (tmp_path / "cap.toml").write_text(study + "[0.3, 0.05, 0.4]\n")
    words = ["study", str(tmp_path / "cap.toml"), "--out", str(tmp_path / "out")]
    said = json.loads(_only_json(energyctl(*words, "--json", code=Exit.DEGRADED)))
    assert [(each["case"], each["parameters"]) for each in said["failures"]] == [(2, {"price.cap": 0.05})]
    assert "not below the cap" in said["failures"][0]["error"]
    found = table(tmp_path / "out")
    assert found["status"].tolist() == ["done", "failed", "done"]
    assert found["money_bill_eur"].isna().tolist() == [False, True, False]
    (tmp_path / "cap.toml").write_text(study + "[0.05]\n")
    energyctl(*words, "--anew", code=Exit.FAILED)


def _only_json(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("{"))


def test_nothing_is_played_where_something_is_wrong(tmp_path: Path) -> None:
    """An unknown parameter among known ones: one error, no folder, no case."""
    (tmp_path / "wrong.toml").write_text(
        GRID.replace("batteries", "b").replace("battery.share", "bttery.share")
    )
    said = energyctl("study", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "out"), code=78)
    assert "wrong.toml:7: vary[0].key: there is no parameter homes[*].bttery.share (did you mean" in said
    assert not (tmp_path / "out").exists()


def test_nothing_that_lies_there_is_removed(directory: Path, tmp_path: Path) -> None:
    """A folder with a file of that name is refused; a study that lies there wants --resume or --anew."""
    (tmp_path / "report.html").write_text("mine")
    said = energyctl("study", str(directory / "pencil.toml"), "--out", str(tmp_path), code=78)
    assert "report.html is of no study" in said
    assert (tmp_path / "report.html").read_text() == "mine"
    said = energyctl("study", str(directory / "grid.toml"), "--out", str(directory / "whole"), code=78)
    assert "--resume goes on with it" in said


def test_ledgers_are_kept_on_demand(directory: Path, tmp_path: Path) -> None:
    """With --keep each case is a state that report and checker take."""
    energyctl("study", str(directory / "pencil.toml"), "--out", str(tmp_path), "--keep")
    kept = sorted((tmp_path / "ledgers").iterdir())
    assert len(kept) == 4
    verified = json.loads(energyctl("ledger", "verify", "--state", str(kept[2]), "--json"))
    assert verified["ok"]
    assert (
        json.loads((kept[2] / "result.json").read_text())["ledger_hash"]
        == table(tmp_path).loc[2, "ledger_hash"]
    )


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_over_ray_it_is_the_same_table(directory: Path, tmp_path: Path) -> None:
    """One task per case, in processes of a cluster: not a figure differs. No cluster there: one error."""
    nowhere = ["--engine", "ray", "--address", "127.0.0.1:1"]
    words = ["study", str(directory / "grid.toml"), "--out", str(tmp_path), *nowhere]
    assert "127.0.0.1:1" in energyctl(*words, code=Exit.UNREACHABLE)
    energyctl("study", str(directory / "grid.toml"), "--out", str(tmp_path), "--engine", "ray")
    undisturbed = table(directory / "whole").drop(columns=TIMES)
    pd.testing.assert_frame_equal(table(tmp_path).drop(columns=TIMES), undisturbed, check_exact=True)


def test_without_pyarrow_it_says_so_before_it_plays(directory: Path, tmp_path: Path) -> None:
    """No Parquet: one error at once; with --csv there is a table all the same."""
    blocked = "import sys; sys.modules['pyarrow'] = None; import importlib.util as u; f = u.find_spec\n"
    blocked += "u.find_spec = lambda name, *rest: None if name == 'pyarrow' else f(name, *rest)\n"
    blocked += "from energymarket.study import main; sys.exit(main())"

    def run(words: Sequence[str]) -> Any:
        command = [sys.executable, "-c", blocked, str(directory / "pencil.toml"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    refused = run(["--out", str(tmp_path / "out")])
    assert refused.returncode == Exit.CONFIGURATION
    assert "pip install 'energy-market[study]'" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert run(["--out", str(tmp_path / "out"), "--csv"]).returncode == Exit.OK
    assert (tmp_path / "out" / "cases.csv").exists()
    assert not (tmp_path / "out" / "cases.parquet").exists()
