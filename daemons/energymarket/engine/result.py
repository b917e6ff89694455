"""What a run comes to: one document for programs, arrays for Python."""

from __future__ import annotations

import importlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core import clock
from energymarket.core.market import Accounts
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.exits import Failure
from energymarket.transport.generation import GenerationFile
from energymarket.transport.ledger_reader import LedgerReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from energymarket.engine.run import Run
    from energymarket.scenario.compiled import Compiled

ENERGIES: Final = (
    "produced", "consumed", "imported", "exported", "offered", "taken", "returned", "rest_sold", "expired",
    "received", "sold", "bought", "short", "long",
)  # fmt: skip
MONEYS: Final = ("homes", "operator", "grid", "fees")
_ROW: Final = ("slot", "price_ueur_per_kwh", "import_ueur_per_kwh", "export_ueur_per_kwh")


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over, however it was played."""

    slots: int
    slots_planned: int
    totals: Mapping[str, int]  # sums over its slots, by the names of `core.totals`
    hash: str
    complete: bool
    indicators: Mapping[str, Any]  # `energy`, `money`, `kpi` and what else was measured
    engine: str
    shards: int
    workers: int
    wall_s: float
    cpu_s: float
    account: Mapping[str, Any]  # what the engine has to say of itself, by its name: who played, who was lost


def document_of(run: Run, *, engine: str, wall_s: float, cpu_s: float) -> dict[str, Any]:
    """The result of a run, as `energyctl simulate --json` prints it."""
    plan = run.plan
    played = Played(
        slots=run.sums.slots,
        slots_planned=plan.slots,
        totals=run.sums.totals,
        hash=run.hash.hex(),
        complete=run.next_slot == run.end_slot,
        indicators=run.indicators(),
        engine=engine,
        shards=plan.shards or len(run.account["ray"]["actors"]),
        workers=0 if engine == "embedded" else plan.workers,
        wall_s=wall_s,
        cpu_s=cpu_s,
        account=run.account,
    )
    return document_from(plan.compiled, played)


def document_from(compiled: Compiled, played: Played) -> dict[str, Any]:
    """The document of a scenario that was played."""
    period, found, totals = compiled.period, played.indicators, played.totals
    energy = {f"{name}_kwh": totals.get(f"{name}_wh", 0) / 1e3 for name in ENERGIES}
    money = {f"{name}_eur": totals.get(f"{name}_money_ueur", 0) / 1e6 for name in MONEYS}
    end_slot = period.first_slot + played.slots
    return {
        "type": "simulation",
        "scenario": compiled.name,
        "title": compiled.title,
        "scenario_hash": compiled.hash,
        "seed": compiled.seed,
        "complete": played.complete,
        "homes": compiled.homes_count,
        "slots": played.slots,
        "slots_planned": played.slots_planned,
        "slot_s": period.slot_s,
        "first_slot": period.first_slot,
        "from": clock.begins(period.first_slot, period.slot_s, period.timezone).isoformat(),
        "until": clock.begins(end_slot, period.slot_s, period.timezone).isoformat(),
        "ledger_hash": played.hash,
        "engine": played.engine,
        "shards": played.shards,
        "workers": played.workers,
        **played.account,
        "wall_s": round(played.wall_s, 3),
        "cpu_s": round(played.cpu_s, 3),
        "energy": energy | found["energy"],
        "money": money | found["money"],
        **{name: part for name, part in found.items() if name not in {"energy", "money"}},
    }


def lines_of(document: Mapping[str, Any], place: str) -> list[str]:
    """The document for people; `place` is where the ledger lies."""
    energy, money = document["energy"], document["money"]
    slots, homes, wall_s = document["slots"], document["homes"], document["wall_s"]
    of = "" if document["complete"] else f" of {document['slots_planned']:,} (interrupted; --resume goes on)"
    rate = slots * homes / max(wall_s, 1e-9)
    return [
        f"{document['scenario']}: {document['title']}",
        f"{homes:,} homes, {slots:,} slots{of}, {document['from']} to {document['until']}",
        f"{wall_s:.1f} s ({rate / 1e6:.2f} million home-slots per second), engine {document['engine']}",
        "",
        f"consumed {energy['consumed_kwh']:14,.1f} kWh    produced {energy['produced_kwh']:14,.1f} kWh",
        f"imported {energy['imported_kwh']:14,.1f} kWh    exported {energy['exported_kwh']:14,.1f} kWh",
        f"given    {energy['taken_kwh']:14,.1f} kWh    sold     {energy['sold_kwh']:14,.1f} kWh",
        f"homes    {money['homes_eur']:14,.2f} €      grid     {money['grid_eur']:14,.2f} €",
        *_rules(document),
        *_cluster(document),
        "",
        f"ledger {document['ledger_hash']}",
        f"in {place}",
    ]


def _rules(document: Mapping[str, Any]) -> list[str]:
    """Bills under every sharing rule, if they were compared."""
    found = document.get("sharing")
    if found is None:
        return []
    rows = [
        f"{rule:14} {each['bill_eur']:14,.2f} € {each['worse_off_homes']:10,}"
        for rule, each in sorted(found["rules"].items(), key=lambda item: float(item[1]["bill_eur"]))
    ]
    return ["", f"{'sharing rule':14} {'all homes pay':>16} {'worse off':>10} than alone", *rows]


def _cluster(document: Mapping[str, Any]) -> list[str]:
    """Who played on a Ray cluster, and who was lost."""
    found = document.get("ray")
    if found is None:
        return []
    hosts = sorted({f"{each['host']} ({each['address']})" for each in found["nodes"]})
    lost = [
        f"{each['at']} shard {each['shard']} at slot {each['slot']}: {each['reason']};"
        f" replaced in {each['took_s']:.1f} s, {each['slots_again']} slots played again"
        for each in found["replacements"]
    ]
    actors = len(found["actors"])
    return ["", f"Ray {found['version']} at {found['address']}: {actors} actors; {', '.join(hosts)}", *lost]


@dataclass(frozen=True)
class Result:
    """A finished run: its document, its folder, and its figures as arrays.

    >>> result.ledger_hash, result.slots["price_ueur_per_kwh"].mean(), result.homes["import_wh"].sum()
    """

    document: Mapping[str, Any]
    folder: Path
    compiled: Compiled

    @property
    def ledger_hash(self) -> str:
        """The hash of the ledger's last slot: the same for every run of the same scenario."""
        return str(self.document["ledger_hash"])

    @cached_property
    def slots(self) -> dict[str, npt.NDArray[np.int64]]:
        """One value per slot: number, prices in µ€/kWh, and every total of the ledger (Wh and µ€)."""
        path = self.folder / "market" / "ledger.db"
        query = f"SELECT {', '.join(_ROW)}, totals FROM slots ORDER BY slot"  # noqa: S608 names of ours
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                rows = db.execute(query).fetchall()
        except sqlite3.DatabaseError as error:
            raise Failure(f"{path}: {error}") from error
        totals = [json.loads(row[-1]) for row in rows]
        columns = {name: np.array([row[at] for row in rows], np.int64) for at, name in enumerate(_ROW)}
        names = totals[0] if totals else {}
        return columns | {name: np.array([each[name] for each in totals], np.int64) for name in names}

    @cached_property
    def homes(self) -> dict[str, npt.NDArray[np.int64]]:
        """One value per home: id, registers and battery content at the end (Wh), money of all slots (µ€)."""
        homes = self.compiled.homes_count
        state = self._registers(homes)
        whole = {
            name: state.column(name).astype(np.int64) for name, kind in STATE_COLUMNS if name.endswith("_wh")
            and kind.kind == "i"
        }  # fmt: skip
        return {"home": np.arange(1, homes + 1), **whole, "money_ueur": self._balances(homes)}

    def _registers(self, homes: int) -> State:
        path = self.folder / "homes" / f"shard-1-{homes}.state"
        identity = bytes.fromhex(self.compiled.hash)
        with GenerationFile(path, 1, homes, State.size_bytes(homes), identity) as file:
            data, _ = file.load(self.document["first_slot"] + self.document["slots"] - 1)
            return State(bytes(data), homes)

    def _balances(self, homes: int) -> npt.NDArray[np.int64]:
        reader = LedgerReader(self.folder / "market" / "ledger.db")
        with closing(reader):
            reader.open_read_only()
            found = reader.latest_checkpoint()
        if found is None:
            raise Failure(f"{reader.path} has no accounts")
        return Accounts.unpack(found[1], homes).balance_ueur

    def frame(self, table: str = "slots") -> Any:  # noqa: ANN401 - a pandas.DataFrame, where there is one
        """The table `slots` (by UTC time) or `homes` (by id) as a data frame. ImportError without pandas."""
        pandas = importlib.import_module("pandas")
        if table == "homes":
            return pandas.DataFrame(self.homes).set_index("home")
        if table != "slots":
            raise ValueError(f"there is no table {table!r}: slots or homes")
        frame = pandas.DataFrame(self.slots)
        seconds = frame["slot"] * self.compiled.period.slot_s
        return frame.set_index(pandas.to_datetime(seconds, unit="s", utc=True).rename("time"))
