"""`energyctl metrics`: the market and its units as metrics that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from energyctl import standing
from energyctl.exits import Exit
from energyctl.exposition import Family, text_of
from energyctl.quantities import UEUR_PER_EUR
from energyctl.render import Answer
from energyctl.session import session
from energyctl.verbs.version import own_version

J_PER_WH: Final = 3600
_STATES: Final = ("running", "degraded", "starting", "stopping", "ended", "unreachable", "down")
_COUNTERS: Final = (
    ("orders", "orders_total", "Single orders that were booked."),
    ("late_batches", "late_batches_total", "Batches that came after their gate."),
    ("refused_batches", "refused_batches_total", "Batches that were refused whole."),
    ("shed_offers", "shed_offers_total", "Offers of gifts that found the queue full."),
    ("readings_estimated", "readings_estimated_total", "Readings of meters that were late in part."),
    ("readings_missing", "readings_missing_total", "Readings of meters of which nothing was there in time."),
    ("readings_corrected", "readings_corrected_total", "Readings of meters that corrected earlier ones."),
    ("void_claims", "void_claims_total", "Claims of gifts that did not count."),
    ("slots_done", "slots_committed_total", "Slots that this market has made durable."),
)
_UNIT_STATES: Final = ("active", "inactive", "failed", "not needed", "activating", "deactivating")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("metrics")(metrics)


def metrics(ctx: typer.Context) -> Answer:
    """Print metrics in Prometheus' text format; also, and with exit code 0, while the market is down.

    Energy is in joules (1 kWh = 3 600 000 J), prices are in euro per kWh. Counters begin with the market.
    """
    found = standing.look(session(ctx))
    if found.problem is not None and found.problem.exit_code is Exit.PERMISSION:
        raise found.problem  # who may not ask does not know that it is down
    families = [*_market(found), *_prices(found.status or {}), *_inside(found.status or {}), *_units(found)]
    data = {"type": "metrics", "metrics": [each for family in families for each in family.documents()]}
    return Answer(data, (text_of(families),))


def _market(found: standing.Standing) -> Iterator[Family]:
    up = Family("up", "gauge", "1 if the market answers, else 0.")
    up.add(int(found.status is not None))
    yield up
    info = Family("build_info", "gauge", "Always 1; the version of energyctl.")
    info.add(1, version=own_version())
    yield info
    if found.status is not None:
        state = str(found.status.get("state", "running"))
    else:
        state = "unreachable" if found.problem is not None and found.problem.name == "unreachable" else "down"
    states = Family("state", "gauge", "1 for the state that the market is in, 0 for the others.")
    for name in _STATES:
        states.add(int(name == state), state=name)
    yield states


def _prices(status: Mapping[str, Any]) -> Iterator[Family]:
    snapshot = status.get("snapshot") or {}
    opened = snapshot.get("open_slot")
    for name, key, text in (
        ("price", "price_ueur_per_kwh", "Local price of the last committed slot."),
        ("import_price", "import_ueur_per_kwh", "What the grid asks, in the last committed slot."),
        ("export_price", "export_ueur_per_kwh", "What the grid pays, in the last committed slot."),
        ("open_price", "open_price_ueur_per_kwh", "Local price of the open slot."),
    ):
        family = Family(f"{name}_euros_per_kilowatthour", "gauge", text)
        value = snapshot.get(key)
        family.add(None if value is None else value / UEUR_PER_EUR)
        yield family
    last = status.get("last_slot") or {}
    for name, number, text in (
        ("slot", last.get("slot"), "Number of the last committed slot: UTC seconds divided by its length."),
        ("open_slot", opened, "Number of the open slot."),
        ("slot_age_seconds", _over(last.get("age_ms"), 1e3), "Time since the last slot was made durable."),
        (
            "slot_lateness_seconds",
            _over(snapshot.get("lateness_us"), 1e6),
            "How late the open slot opened.",
        ),
        ("clearing_lateness_seconds", _over(status.get("late_ms"), 1e3), "How overdue the next slot is now."),
    ):
        family = Family(name, "gauge", text)
        family.add(number)
        yield family
    events = Family(
        "event_intensity_ratio", "gauge", "Active external events; 1 is the scenario's intensity."
    )
    for kind, permille in _intensities(snapshot).items():
        events.add(permille / 1000, kind=kind)
    yield events


def _intensities(snapshot: Mapping[str, Any]) -> dict[str, int]:
    """The sum per kind: two events of a kind act together."""
    found: dict[str, int] = {}
    for event in snapshot.get("events") or ():
        kind = str(event.get("kind", ""))
        found[kind] = found.get(kind, 0) + int(event.get("intensity_permille", 0))
    return found


def _inside(status: Mapping[str, Any]) -> Iterator[Family]:
    counts, queue = status.get("counts") or {}, status.get("queue") or {}
    permits, market = status.get("transactions") or {}, status.get("market") or {}
    for name, number, text in (
        ("homes", status.get("homes"), "Homes of the scenario."),
        ("homes_joined", status.get("homes_joined"), "Homes that trade."),
        ("queue_messages", queue.get("messages"), "Messages in the queue of offers."),
        ("queue_bytes", queue.get("bytes"), "Bytes in the queue of offers."),
        ("transactions_permits", permits.get("permits"), "Simultaneous transactions that are allowed."),
        ("transactions_busy", permits.get("busy"), "Transactions at this moment."),
        ("transactions_waiting", permits.get("waiting"), "Orders that wait for a permit."),
        ("weather_stale", _flag(status.get("weather_stale")), "1 if the weather of the open slot is old."),
        ("generation", market.get("generation"), "How often a market has opened this ledger."),
        (
            "external_up",
            None if not market else int(bool(market.get("external_pid"))),
            "1 if the child that tells of events runs.",
        ),
    ):
        family = Family(name, "gauge", text)
        family.add(number)
        yield family
    behind = Family("meter_behind_seconds", "gauge", "Market time since a home's meter was heard last.")
    for each in status.get("meters") or ():
        behind.add(each["behind_s"], home=each["home"], meter=each["meter"])
    yield behind
    starts = Family("external_starts_total", "counter", "How often the child was started.")
    starts.add(market.get("external_starts"))
    yield starts
    for key, name, text in _COUNTERS:
        family = Family(name, "counter", text)
        family.add(counts.get(key))
        yield family
    energy = Family(
        "energy_joules_total", "counter", "Energy of the committed slots by kind; 3600 J are 1 Wh."
    )
    for kind, energy_wh in (counts.get("energy_wh") or {}).items():
        energy.add(energy_wh * J_PER_WH, kind=kind)
    yield energy


def _units(found: standing.Standing) -> Iterator[Family]:
    states = Family("unit_state", "gauge", "1 for the state that a unit is in, 0 for the others.")
    restarts = Family("unit_restarts_total", "counter", "How often the service manager restarted a unit.")
    age = Family("unit_state_age_seconds", "gauge", "How long a unit has been in its state.")
    for row in found.unit_rows():
        for name in dict.fromkeys((*_UNIT_STATES, row["state"])):
            states.add(int(row["state"] == name), unit=row["unit"], state=name)
        restarts.add(row["restarts"], unit=row["unit"])
        age.add(row["age_s"], unit=row["unit"])
    processes = Family("process_up", "gauge", "1 if a process of `energyctl up` runs and is not frozen.")
    for row in found.process_rows():
        processes.add(int(row["state"] == "running"), process=row["name"])
    yield from (states, restarts, age, processes)


def _over(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


def _flag(value: object) -> int | None:
    return None if value is None else int(bool(value))
