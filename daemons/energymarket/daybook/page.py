"""The report as one page: no network, no script, one file; the same ledger gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket.audit import telling
from energymarket.audit.telling import eur, kwh
from energymarket.core.parameters import Rule, Take
from energymarket.daybook import (
    bills,
    day_plate,
    duration,
    heat,
    plate,
    price_plate,
    sankey,
    spread,
    style,
    tiles,
    words,
)
from energymarket.daybook.balance import ACCOUNTS, balance_of
from energymarket.daybook.local_days import Calendar, date_of
from energymarket.daybook.markup import Markup, joined, tag
from energymarket.daybook.plate import Rows

if TYPE_CHECKING:
    from energymarket.audit.checker import Result
    from energymarket.audit.figures import Figures
    from energymarket.daybook.balance import Balance
    from energymarket.daybook.indicators import Indicators
    from energymarket.daybook.plate import Plate
    from energymarket.scenario.compiled import Compiled

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may fetch for the page: nothing."""

EVENTS_LISTED_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Told:
    """All that the page is made of. What is None is not known, and the page says so."""

    slots: Figures
    result: Result | None  # None: nothing was checked
    compiled: Compiled | None
    homes: int
    indicators: Indicators | None = None
    unknown: str = ""  # why there are no indicators, though the scenario is known
    day: int | None = None  # a day that was asked for

    @property
    def calendar(self) -> Calendar | None:
        """Whose clocks are read."""
        return None if self.compiled is None else Calendar.of(self.compiled.period)

    @property
    def title(self) -> str:
        """What the scenario calls itself."""
        return "energy-market" if self.compiled is None else self.compiled.title


def page(told: Told) -> str:
    """The whole document: well-formed XML after its first line."""
    parts, tabs = _sections(told) if len(told.slots) else ([_empty()], 0)
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'),
        tag("title", told.title),
        Markup(f"<style>{style.sheet(tabs)}</style>"),
    ]
    body = [_header(told), tag("main", parts), _footer(told)]
    document = tag("html", [tag("head", head), tag("body", body)], lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _empty() -> Markup:
    return tag("section", [tag("p", "The ledger is empty: no slot was settled.")], class_="card")


def _sections(told: Told) -> tuple[list[Markup], int]:
    slots, calendar = told.slots, told.calendar
    balance = balance_of(slots)
    limits = None if told.compiled is None else _limits(told.compiled)
    found = [
        _key_figures(told, balance),
        plate.shown(price_plate.plate(slots, calendar, limits)),
    ]
    tabs = 0
    if calendar is None:
        found.append(_without_calendar())
    else:
        days, tabs = _days(slots, calendar, told.day)
        found.append(days)
    found.append(plate.shown(sankey.plate(balance, _span(told), _losses_wh(told.indicators))))
    found += _bills(told.indicators, balance)
    if calendar is not None:
        found.append(plate.shown(duration.plate(slots, calendar)))
        if heat.is_worth_it(slots, calendar):
            found.append(plate.shown(heat.plate(slots, calendar)))
    found += [plate.shown(spread.plate(slots)), _balance(balance), _happened(told)]
    return found, tabs


def _key_figures(told: Told, balance: Balance) -> Markup:
    parts = [Markup("<h2>Key figures</h2>")]
    if told.indicators is None:
        figures = tiles.of_totals(told.slots, balance, told.calendar, told.homes)
        parts.append(tiles.shown(figures))
        if told.unknown:
            parts.append(
                tag("p", f"Indicators and bills by rule are not known: {told.unknown}", class_="note")
            )
    else:
        document = told.indicators.document(home_table=False)
        parts.append(tiles.shown(tiles.of_document(document)))
        parts += [tag("p", note, class_="note") for note in document["kpi"]["notes"]]
        listed = [plate.table(rows) for rows in tiles.rows_of(document)]
        parts.append(tag("details", [tag("summary", "All indicators and what they mean"), *listed]))
    return tag("section", parts, class_="keys", aria_label="key figures")


def _losses_wh(indicators: Indicators | None) -> int | None:
    """What all batteries lost, where the registers of all homes are at hand."""
    if indicators is None or not indicators.storage.known.all():
        return None
    return int(indicators.storage.losses_wh.sum())


def _bills(indicators: Indicators | None, balance: Balance) -> list[Markup]:
    if indicators is None or indicators.comparison is None or not indicators.comparison.slots:
        return []
    compared = bills.of_comparison(indicators.comparison)
    left_out = indicators.tally.community.slots - indicators.comparison.slots
    return [plate.shown(bills.plate(compared, left_out, balance.money_ueur["operator"]))]


def _limits(compiled: Compiled) -> tuple[int, int]:
    return compiled.price.floor_ueur_per_kwh, compiled.price.cap_ueur_per_kwh


def _without_calendar() -> Markup:
    text = (
        "The ledger counts slots and does not say how long one is: with its scenario (--compiled DIR)"
        " there are dates here, days, powers, a duration curve and a heat map."
    )
    return tag("section", [tag("p", text)], class_="card")


def _span(told: Told) -> str:
    first, last = int(told.slots.slot[0]), int(told.slots.slot[-1])
    if told.calendar is None:
        return f"slots {first} to {last}"
    begin, end = told.calendar.begins(first), told.calendar.begins(last + 1)
    if (end - begin).days >= 2:
        return f"{begin.day} {begin:%B %Y} to {end.day} {end:%B %Y}"
    return (
        f"{begin.day} {begin:%B %Y %H:%M} to {end:%H:%M}"
        if begin.date() == end.date()
        else (f"{begin.day} {begin:%B %Y %H:%M} to {end.day} {end:%B %H:%M}")
    )


def _header(told: Told) -> Markup:
    slots = told.slots
    parts = [tag("h1", told.title)]
    if len(slots):
        length = "" if told.calendar is None else f" of {_duration(told.calendar.slot_s)}"
        zone = "" if told.calendar is None else f" ({told.calendar.timezone})"
        sub = f"{_span(told)}{zone} · {len(slots):,} slots{length} · {told.homes:,} homes"
        if told.compiled is not None:
            sub += f" · {_sharing(told.compiled)}"
        parts.append(tag("p", sub, class_="sub"))
    return tag("header", [*parts, _verdict(told.result)])


def _duration(slot_s: int) -> str:
    return f"{slot_s // 60} min" if slot_s % 60 == 0 else f"{slot_s} s"


def _sharing(compiled: Compiled) -> str:
    sharing = compiled.sharing
    if sharing.rule is not Rule.QUEUE:
        return bills.NAMES[sharing.rule]
    greedy = "" if sharing.take is Take.EXACT else f", excess {sharing.excess}"
    return f"gifts by queue: {sharing.take}, {sharing.turn}{greedy}"


def _verdict(result: Result | None) -> Markup:
    if result is None:
        text = [tag("b", "Not checked."), " This report believes the ledger: it was made with --no-check."]
        return tag("p", text, class_="verdict")
    if not result.ok:
        count = f"The checker disagrees: {result.findings_count:,} findings."
        return tag("p", [tag("b", count), " They are listed at the end of this page."], class_="verdict bad")
    held = f" and the registers of {result.homes_compared:,} homes" if result.homes_compared else ""
    text = [tag("b", "Checked."), f" Hash chain, bills and prices of all slots{held} agree."]
    return tag("p", text, class_="verdict good")


def _days(slots: Figures, calendar: Calendar, wanted: int | None) -> tuple[Markup, int]:
    """Days as tabs that need no script: a radio button each, so that arrow keys move between them."""
    chosen = day_plate.chosen_days(slots, calendar, wanted)
    day, _ = calendar.local(slots.slot)
    picks, labels, pages = [], [], []
    for at, each in enumerate(chosen):
        inside = (day == each.day).nonzero()[0]
        part = slots.part(int(inside[0]), int(inside[-1]) + 1)
        date = date_of(each.day)
        name = f"{date.day} {date:%b}: {', '.join(each.why)}"
        checked = "checked" if at == 0 else None
        picks.append(
            tag(
                "input",
                type="radio",
                name="day",
                id=f"pick{at}",
                class_="pick",
                checked=checked,
                aria_label=name,
            )
        )
        labels.append(tag("label", name, for_=f"pick{at}"))
        pages.append(_page(day_plate.plate(part, calendar, each)))
    parts = [
        tag("h2", "A day's flows", id="days-title"),
        *picks,
        tag("div", labels, class_="tabs"),
        tag("div", pages, class_="pages"),
    ]
    return tag("section", parts, class_="card", aria_labelledby="days-title"), len(chosen)


def _page(day: Plate) -> Markup:
    return Markup(plate.shown(day, "h3").replace(' class="plate"', "", 1))


def _balance(balance: Balance) -> Markup:
    energy = [
        ("produced", balance.produced_wh),
        ("+ taken in over the meters", balance.imported_wh),
        ("− consumed", balance.consumed_wh),
        ("− given out over the meters", balance.exported_wh),
        ("= stored or lost in batteries", balance.in_batteries_wh),
        ("given to neighbours", balance.given_wh),
        ("traded with neighbours", balance.traded_wh),
        ("bought from the grid", balance.bought_from_grid_wh),
        ("sold to the grid", balance.sold_to_grid_wh),
        ("gifts nobody took, fed in unpaid", balance.expired_wh),
        ("short of the contract, at import price", balance.short_wh),
        ("beyond the contract, at export price", balance.long_wh),
        ("meters less contracts: must be 0", balance.grid_difference_wh),
    ]
    money = [(name, eur(balance.money_ueur[name])) for name in ACCOUNTS]
    money.append(("all accounts: must be 0", eur(sum(balance.money_ueur.values()))))
    tables = [
        tag("div", [plate.table(Rows(["energy", "kWh"], [(name, kwh(value)) for name, value in energy]))]),
        tag("div", [plate.table(Rows(["money: above zero is income", "€"], money))]),
    ]
    parts = [Markup("<h2>The balance, exact</h2>"), tag("div", tables, class_="columns")]
    return tag("section", parts, class_="card")


def _happened(told: Told) -> Markup:
    counts = words.counts_of(told.slots, told.homes)
    parts = [Markup("<h2>What happened</h2>")]
    parts.append(plate.table(Rows(["", "times"], [(name, f"{count:,}") for name, count in counts.items()])))
    spells = list(words.spells_of(told.slots))
    rows = [
        [name.replace("_", " "), words.when(first, told.compiled), words.when(last + 1, told.compiled)]
        for name, first, last in spells
    ]
    if rows:
        left_out = len(rows) - EVENTS_LISTED_MAX
        note = f"{left_out} more are left out." if left_out > 0 else ""
        listed = plate.table(Rows(["event", "from", "to"], rows[:EVENTS_LISTED_MAX], note))
        parts.append(tag("details", [tag("summary", f"{len(rows):,} events"), listed]))
    else:
        parts.append(tag("p", "No event acted on the price.", class_="soft"))
    return joined([tag("section", parts, class_="card"), _findings(told.result)])


def _findings(result: Result | None) -> Markup:
    if result is None or (result.ok and not result.notes):
        return Markup()
    lines = [f"note: {note}" for note in result.notes]
    lines += [finding.line() for finding in result.findings[: telling.FINDINGS_SHOWN_MAX]]
    more = result.findings_count - min(len(result.findings), telling.FINDINGS_SHOWN_MAX)
    lines += [f"… and {more} more: energyctl ledger check lists them"] if more else []
    parts = [Markup("<h2>What the checker says</h2>"), tag("ul", [tag("li", line) for line in lines])]
    return tag("section", parts, class_="card")


def _footer(told: Told) -> Markup:
    if not len(told.slots):
        return Markup()
    lines = [f"Last hash of the ledger: {told.slots.hash_at(len(told.slots) - 1)}"]
    if told.compiled is not None:
        lines.append(f"Scenario {told.compiled.name}, seed {told.compiled.seed}, hash {told.compiled.hash}")
    lines.append("Made by energyctl report. The page holds no script and asks no network for anything.")
    return tag("footer", [tag("p", line) for line in lines])
