"""`energyctl status`: one screen of the market: price, flows, homes, events, and its processes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from energyctl import standing
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import configuration, keeper_of
from energyctl.quantities import event, kwh, price, span
from energyctl.render import Alert, Answer, Block, Table, number
from energyctl.session import session
from energyctl.slotline import local_time, notes, with_eur
from energyctl.verbs.start import USER

SINGLE_HOMES_SHOWN_MAX = 10
"""Where more of them are well, the table says how many; the JSON document has them all."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Show how the market is. Exit code: 0 running, 3 not running, 5 degraded, 69 frozen, 75 starting."""
    here = session(ctx).of(user=user)
    found = standing.look(here)
    if found.status is None:
        return _without_market(found)
    return _with_market(found, found.status)


def _with_market(found: standing.Standing, said: dict[str, Any]) -> Answer:
    snapshot: dict[str, Any] = said.get("snapshot") or {}
    state = str(said.get("state", "running"))
    processes = found.process_rows()
    bad = [f"{p['name']} (process {p['pid']}) is {p['state']}" for p in processes if p["state"] != "running"]
    bad += [
        f"{unit.name} is {unit.state}: {unit.why}".rstrip(": ")
        for unit in found.units
        if standing.is_bad(unit)
    ]
    if bad and state == "running":
        state = "degraded"
    code = {"starting": Exit.TRY_AGAIN, "degraded": Exit.DEGRADED}.get(
        state, Exit.DEGRADED if bad else Exit.OK
    )
    blocks: list[Block] = [f"energy-market  {state}{_clock(said, snapshot)}"]
    if "price_ueur_per_kwh" in snapshot:
        blocks += _market(snapshot)
    elif "open_price_ueur_per_kwh" in snapshot:
        blocks.append(
            f"  price    {price(number(snapshot, 'open_price_ueur_per_kwh'))} €/kWh, in the first slot"
        )
    blocks += _inside(said, snapshot)
    blocks += [Alert(event(row)) for row in snapshot.get("events") or ()]
    blocks += [Alert(str(text)) for text in (*said.get("notes", ()), *notes(snapshot), *bad)]
    blocks += _tables(found)
    data = {"type": "status", **said, "state": state, **_rows(found)}
    if isinstance(said.get("snapshot"), dict):
        data["snapshot"] = with_eur(snapshot)
    return Answer(data, tuple(blocks), code)


def _without_market(found: standing.Standing) -> Answer:
    """What can be said when the market says nothing: the units' states, reasons and last words."""
    problem = found.problem
    if problem is None or not found.units:
        raise problem or ProblemError(Exit.UNREACHABLE, "unreachable", "the market does not answer")
    bad = [unit for unit in found.units if unit.failed]
    hint = problem.hint
    if bad:
        refused = any(unit.exit_status == "78" for unit in bad)
        hint = f"energyctl logs -u {bad[0].name}; then energyctl start"
        hint = f"energyctl config check {configuration(keeper_of(found.run_dir))}" if refused else hint
    blocks: list[Block] = [f"energy-market  {problem.message}"]
    last = next((u.says for u in found.units if u.name == standing.MARKET), "")
    blocks += [f"  last words  {last}"] if last else []
    blocks += _tables(found)
    blocks += [Alert(f"{unit.name}: {unit.why}") for unit in bad]
    blocks += [f"why:   {problem.why}"] if problem.why else []
    blocks += [f"hint:  {hint}"] if hint else []
    data = {"type": "status", "state": problem.name, "why": problem.why, "hint": hint, **_rows(found)}
    return Answer(data, tuple(blocks), problem.exit_code)


def _rows(found: standing.Standing) -> dict[str, Any]:
    return {
        "units": found.unit_rows(),
        "sockets": found.socket_rows(),
        "processes": found.process_rows(),
    }


def _tables(found: standing.Standing) -> list[Block]:
    blocks: list[Block] = []
    if found.processes:
        running = [(p["name"], str(p["pid"]), p["state"]) for p in found.process_rows()]
        blocks.append(Table(("process", ">pid", "state"), running))
    if found.units:
        well = {unit.name for unit in found.units if unit.is_single_home and not standing.is_bad(unit)}
        hidden = well if len(well) > SINGLE_HOMES_SHOWN_MAX else set()
        rows = [
            (
                row["unit"],
                row["state"],
                "" if row["age_s"] is None else span(row["age_s"]),
                str(row["restarts"] or ""),
                row["why"] or row["says"],
            )
            for row in found.unit_rows()
            if row["unit"] not in hidden
        ]
        rows += [("energy-home@…", "active", "", "", f"{len(hidden)} single homes")] if hidden else []
        blocks.append(Table(("unit", "state", ">for", ">restarts", "says"), rows))
        absent = [
            row["path"] for row in found.socket_rows() if row["state"] == "active" and row["present"] is False
        ]
        blocks += [Alert(f"{path} is missing, though its unit is active") for path in absent]
    return blocks


def _clock(said: dict[str, Any], snapshot: dict[str, Any]) -> str:
    if "slot" not in snapshot:
        return f"  slot {snapshot['open_slot']}" if "open_slot" in snapshot else ""
    speed = snapshot.get("speed")
    fast = f"  {speed:g}× speed" if isinstance(speed, (int, float)) else ""
    total = snapshot.get("slots_total")
    done = f"  {snapshot.get('slots_done', 0)} of {total} slots" if total else ""
    age_ms = (said.get("last_slot") or {}).get("age_ms")
    ago = f" ({_ago(age_ms / 1000)} ago)" if isinstance(age_ms, int) else ""
    return f"  slot {snapshot['slot']}{ago}  {local_time(snapshot)}{fast}{done}"


def _ago(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


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
    return ["   ".join(parts), *_meters(found)]


def _meters(found: dict[str, Any]) -> list[Block]:
    """Metered homes: how many, and how fresh what they live by is."""
    rows = found.get("meters") or []
    if not rows:
        return []
    heard = [row["behind_s"] for row in rows if row["behind_s"] is not None]
    late = sum(bool(row["estimated_s"]) for row in rows)
    oldest = f"   heard {span(max(heard))} ago or later" if heard else ""
    return [f"  metered  {len(rows)} homes{oldest}   {late} with an estimated reading"]
