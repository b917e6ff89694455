"""report: the indicators of the live ledger for a period, of the community or of one home.

A question may have `last` ("7d", "96"), or `from` and `to` (a slot, a day as 2025-06-16, a time as
2025-06-16T12:00), `home` (its number), and `homes` (true: a table of all homes besides).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from energymarket.exits import Failure
from energymarket.requests import asked
from energymarket.requests.kind import Context, Refused, RequestType
from energymarket.requests.premises import Premises, Teller, premises

if TYPE_CHECKING:
    from energymarket.core.parameters import Period
    from energymarket.daybook.indicators import Indicators

MEMBERS: Final = ("last", "from", "to", "home", "homes")
_SLOT_MAX: Final = 1 << 40


def _answer(question: Mapping[str, object], context: Context) -> Mapping[str, object]:
    asked.known_only(question, MEMBERS)
    wants_table = asked.is_asked(question, "homes", default=False)
    told = Teller(context.progress)
    context.progress(0.0, "asking the market")
    with premises(context) as found:
        home = asked.whole(question, "home", 1, found.compiled.homes_count)
        first, last = _span(question, found)
        indicators, notes = _read(found, first, last, told)
    told(1.0, "adding up")
    if home is not None:
        return _of_home(indicators, home, notes)
    return _of_all(indicators, notes, home_table=wants_table)


def _read(found: Premises, first: int, last: int, told: Teller) -> tuple[Indicators, list[str]]:
    """The indicators of these slots, and what is to be said of the period."""
    from energymarket.audit.span import Span
    from energymarket.daybook.indicators import indicators_of

    count = last - first + 1
    span = Span(
        found.ledger,
        first,
        last,
        lambda slot: told((slot - first) / count, f"reading slot {slot - first + 1:,} of {count:,}"),
    )
    # Registers count from the ledger's beginning: of another period they say nothing.
    is_whole = first == _held(found)[0]
    indicators = indicators_of(span, found.homes_dir if is_whole else None, found.compiled)
    if not indicators.tally.community.slots:
        raise _nothing(found, "none of it is in the ledger")
    _know_batteryless(indicators)
    notes = []
    if span.is_widened:
        notes.append(
            f"the detail of these days has been compacted to sums, which cannot be cut: the period is slots "
            f"{span.first} to {span.last}, not {first} to {last}"
        )
    return indicators, notes


def _know_batteryless(found: Indicators) -> None:
    """A home that owns no battery holds nothing more at the end, whether its registers are at hand or not."""
    from energymarket.core.kpi.storage import taken_in_wh

    owns_none = found.compiled.homes["battery_capacity_wh"] == 0
    found.storage.known[owns_none & (taken_in_wh(found.tally) == 0)] = True


# the period


def _held(found: Premises) -> tuple[int, int]:
    """First and last slot of the ledger. Raises Refused for an empty one."""
    first, last = found.present["first_slot"], found.present["slot"]
    if last is None or first is None:
        raise Refused("the ledger is still empty", "the first slot has not ended yet", "ask again in a while")
    return int(first), int(last)


def _span(question: Mapping[str, object], found: Premises) -> tuple[int, int]:
    """First and last slot that are asked for, as far as the ledger has them."""
    from energymarket.engine.api import slots_in

    begin, end = _held(found)
    period, duration = found.compiled.period, asked.words(question, "last")
    if duration is not None:
        if "from" in question or "to" in question:
            raise Refused("the period is said twice", "'last' goes without 'from' and 'to'", "leave one out")
        try:
            slots = slots_in(duration, period)
        except Failure as failure:
            raise Refused("'last' of the question", str(failure.args[0]), failure.hint) from failure
        return max(begin, end - slots + 1), end
    first = _edge(question, "from", period, is_end=False)
    last = _edge(question, "to", period, is_end=True)
    if first is not None and last is not None and first > last:
        raise Refused(
            "the period has no slot", f"it begins with slot {first} and ends with {last}", "turn them round"
        )
    first, last = begin if first is None else first, end if last is None else last
    if last < begin or first > end:
        raise _nothing(found, f"slots {first} to {last} were asked for")
    return max(first, begin), min(last, end)


def _nothing(found: Premises, why: str) -> Refused:
    begin, end = _held(found)
    zone, slot_s = ZoneInfo(found.compiled.period.timezone), found.compiled.period.slot_s
    begins, ends = (
        datetime.fromtimestamp(slot * slot_s, tz=UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for slot in (begin, end + 1)
    )
    held = f"the ledger has slots {begin} to {end}, {begins} to {ends}"
    return Refused("nothing is known of this period", why, f"ask for a part of what there is: {held}")


def _edge(question: Mapping[str, object], name: str, period: Period, *, is_end: bool) -> int | None:
    """The first slot of a period, or its last: a day counts as a whole, a time is where a slot begins."""
    value = question.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SLOT_MAX:
        return value
    zone = ZoneInfo(period.timezone)
    try:
        text = asked.words(question, name) or ""
        if len(text) == len("2025-06-16"):
            day = date.fromisoformat(text) + timedelta(days=is_end)
            moment = datetime(day.year, day.month, day.day, tzinfo=zone)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        slot = -int(-moment.timestamp() // period.slot_s)
    except (ValueError, OverflowError) as error:
        how = "a slot's number, a day like 2025-06-16, or a time like 2025-06-16T12:00"
        raise Refused(f"{name!r} of the question is {value!r:.60}", str(error), f"write {how}") from error
    return slot - is_end


# the answer


def _of_all(found: Indicators, notes: list[str], *, home_table: bool) -> dict[str, Any]:
    from energymarket.daybook import kpi_words

    made = found.document(home_table=home_table)
    made["kpi"]["notes"] += notes
    lines = kpi_words.lines_of(made, found.compiled)
    return {"type": "report", "period": _period(found)} | made | {"words": lines}


def _of_home(found: Indicators, home: int, notes: list[str]) -> dict[str, Any]:
    from energymarket.daybook import kpi_words

    row, made = _row(found, home), found.document(home_table=False)
    made["kpi"]["notes"] += notes
    run = {name: made["kpi"][name] for name in ("slots", "first_slot", "last_slot", "slot_s", "notes")}
    lines = kpi_words.home_lines(row, made, found.compiled)
    return {"type": "report_home", "period": _period(found)} | row | {"kpi": run, "words": lines}


def _row(found: Indicators, home: int) -> dict[str, Any]:
    """The figures of a home; its shares also as metered, which needs no register."""
    from energymarket.core.kpi import sufficiency

    row, tally = found.of_home(home), found.tally
    met_wh = int(sufficiency.met_by_home_wh(tally)[home - 1])
    for name, whole in (("self_sufficiency", "consumed_wh"), ("self_consumption", "produced_wh")):
        share = sufficiency.share(met_wh, int(tally.of(whole)[home - 1]))
        row[f"{name}_as_metered"] = None if share is None else round(share, 6)
    return row


def _period(found: Indicators) -> dict[str, Any]:
    """From and to, the end not included, by the clocks of the place."""
    from energymarket.core import clock

    community, period = found.tally.community, found.compiled.period
    first, last = community.first_slot or 0, community.last_slot or 0
    begins, ends = (
        clock.begins(slot, period.slot_s, period.timezone).isoformat() for slot in (first, last + 1)
    )
    return {"from": begins, "to": ends, "first_slot": first, "last_slot": last, "slots": community.slots}


REQUEST: Final = RequestType("report", ticketed=True, answer=_answer)
