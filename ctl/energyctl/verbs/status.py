"""`energyctl status`: one screen of the market: price, flows, homes, events, and its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energyctl import systemd
from energyctl.asking import TIMEOUT_S, ask
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import Keeper, configuration, keeper_of
from energyctl.quantities import event, kwh, price
from energyctl.render import Alert, Answer, Block, Table, number
from energyctl.session import session
from energyctl.slotline import local_time, notes, with_eur
from energyctl.verbs.start import USER

SILENT_S_MAX = 0.2
"""A market that takes longer for its snapshot is shown as frozen: its unit says the rest."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Show how the market is. Exit code: 0 running, 3 not running, 5 degraded, 75 starting."""
    here = session(ctx).of(user=user)
    keeper = keeper_of(here.run_dir)
    units = systemd.show(user=keeper is Keeper.USER) if keeper is not None else []
    try:
        found: dict[str, Any] = ask(here, "Status", timeout_s=SILENT_S_MAX if units else TIMEOUT_S)["status"]
    except ProblemError as problem:
        if not units:
            raise
        return _without_market(problem, units, keeper)
    snapshot: dict[str, Any] = found.get("snapshot") or found
    state = str(found.get("state", "running"))
    processes = _processes(here.run_dir)
    said = [*found.get("notes", ()), *notes(snapshot)]
    frozen = [
        f"{p['name']} (process {p['pid']}) is {p['state']}" for p in processes if p["state"] != "running"
    ]
    frozen += [f"{unit.name} is {unit.state} {unit.why}" for unit in units if _is_bad(unit)]
    degraded = state == "degraded" or bool(frozen)
    code = Exit.TRY_AGAIN if state == "starting" else Exit.DEGRADED if degraded else Exit.OK
    blocks: list[Block] = [
        f"energy-market  {'degraded' if frozen and state == 'running' else state}{_clock(snapshot)}"
    ]
    if "price_ueur_per_kwh" in snapshot:
        blocks += _market(snapshot)
    elif "open_price_ueur_per_kwh" in snapshot:
        blocks.append(
            f"  price    {price(number(snapshot, 'open_price_ueur_per_kwh'))} €/kWh, in the first slot"
        )
    blocks += _inside(found, snapshot)
    blocks += [Alert(event(row)) for row in snapshot.get("events") or ()]
    blocks += [Alert(str(text)) for text in (*said, *frozen)]
    if processes:
        rows = [(p["name"], str(p["pid"]), p["state"]) for p in processes]
        blocks.append(Table(("process", ">pid", "state"), rows))
    if units:
        blocks.append(_table(units))
    data = {"type": "status", **found, "processes": processes, "units": _rows(units)}
    if isinstance(found.get("snapshot"), dict):
        data["snapshot"] = with_eur(found["snapshot"])
    return Answer(data, tuple(blocks), code)


def _without_market(problem: ProblemError, units: list[systemd.Unit], keeper: Keeper | None) -> Answer:
    """What can be said when the market says nothing: the units' states and reasons."""
    bad = [unit for unit in units if unit.failed]
    hint = problem.hint
    if bad:
        refused = any(unit.get("ExecMainStatus") == "78" for unit in bad)
        hint = f"energyctl logs -u {bad[0].name}; then energyctl start"
        hint = f"energyctl config check {configuration(keeper)}" if refused else hint
    blocks: list[Block] = [f"energy-market  {problem.message}", _table(units)]
    blocks += [Alert(f"{unit.name}: {unit.why}") for unit in bad]
    blocks += [f"why:   {problem.why}"] if problem.why else []
    blocks += [f"hint:  {hint}"]
    data = {"type": "status", "state": problem.name, "hint": hint, "units": _rows(units)}
    return Answer(data, tuple(blocks), problem.exit_code)


def _is_bad(unit: systemd.Unit) -> bool:
    return unit.state not in {"active", "not needed"}


def _table(units: list[systemd.Unit]) -> Table:
    rows = [
        (u.name, u.state, u.get("NRestarts", ""), u.get("StatusText", "") or u.why * u.failed) for u in units
    ]
    return Table(("unit", "state", ">restarts", "says"), rows)


def _rows(units: list[systemd.Unit]) -> list[dict[str, Any]]:
    return [
        {
            "unit": unit.name,
            "state": unit.state,
            "why": unit.why if unit.failed else "",
            "pid": int(unit.get("MainPID") or 0),
            "restarts": int(unit.get("NRestarts") or 0),
            "says": unit.get("StatusText", ""),
        }
        for unit in units
    ]


def _clock(snapshot: dict[str, Any]) -> str:
    if "slot" not in snapshot:
        return f"  slot {snapshot['open_slot']}" if "open_slot" in snapshot else ""
    speed = snapshot.get("speed")
    fast = f"  {speed:g}× speed" if isinstance(speed, (int, float)) else ""
    total = snapshot.get("slots_total")
    done = f"  {snapshot.get('slots_done', 0)} of {total} slots" if total else ""
    return f"  slot {snapshot['slot']}  {local_time(snapshot)}{fast}{done}"


def _market(snapshot: dict[str, Any]) -> list[Block]:
    totals = snapshot.get("totals") or {}
    prices = (
        f"  price    {price(number(snapshot, 'price_ueur_per_kwh'))} €/kWh"
        f"   import {price(number(snapshot, 'import_ueur_per_kwh'))}"
        f"   export {price(number(snapshot, 'export_ueur_per_kwh'))}"
    )
    flows = (
        f"  flows    produced {kwh(number(totals, 'produced_wh'))}"
        f"   consumed {kwh(number(totals, 'consumed_wh'))}"
    )
    trades = (
        f"  trades   given {kwh(number(totals, 'given_wh'))}   sold {kwh(number(totals, 'sold_wh'))}"
        f"   bought {kwh(number(totals, 'bought_wh'))}"
    )
    meters = f"  meters   in {kwh(number(totals, 'imported_wh'))}   out {kwh(number(totals, 'exported_wh'))}"
    return [prices, flows, trades, meters]


def _inside(found: dict[str, Any], snapshot: dict[str, Any]) -> list[Block]:
    queue = found.get("queue") or {}
    market = found.get("market") or {}
    homes = found.get("homes_joined", snapshot.get("homes_in", "?"))
    parts = [f"  homes    {homes} of {found.get('homes', snapshot.get('homes', '?'))} joined"]
    if queue:
        parts.append(f"queue {queue.get('messages', 0)} offers, {queue.get('bytes', 0)} bytes")
    if market.get("pid"):
        parts.append(f"market {market['pid']}, external {market.get('external_pid') or 'not running'}")
    return ["   ".join(parts)]


def _processes(run_dir: Path) -> list[dict[str, Any]]:
    """The processes that `energyctl up` keeps here, if it does."""
    from energyctl.up import proc

    kept = proc.read(run_dir)
    if kept is None:
        return []
    return [
        {
            "name": p.name,
            "pid": p.pid,
            "state": "frozen" if p.frozen() else "running" if p.alive() else "gone",
        }
        for p in (kept.up, *kept.children)
    ]
