"""Where the energy of the whole run came from, through whose hands it went, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket.audit.telling import kwh
from energymarket.daybook import amounts, axes
from energymarket.daybook.markup import Markup, joined, number, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.daybook.balance import Balance


@dataclass(frozen=True, slots=True)
class Node:
    """A place that energy comes to, or from."""

    name: str
    kind: str  # its colour
    column: int  # 0 at the left


NODES: Final = {
    "production": Node("production", "own", 0),
    "from battery": Node("taken from batteries", "battery", 0),
    "passed on": Node("passed on", "base", 0),
    "own use": Node("own roof and battery", "own", 1),
    "fed out": Node("out over the meters", "base", 1),
    "battery": Node("kept by batteries", "battery", 2),
    "lost": Node("lost in batteries", "battery", 2),
    "stored": Node("left in batteries", "battery", 2),
    "gifts": Node("gifts", "given", 2),
    "trade": Node("sold to neighbours", "traded", 2),
    "sold": Node("sold to the grid", "sold", 2),
    "unpaid": Node("gifts nobody took", "unpaid", 2),
    "long": Node("beyond the contract", "long", 2),
    "from grid": Node("from the grid", "import", 2),
    "taken in": Node("in over the meters", "base", 3),
    "consumption": Node("consumption", "ink", 4),
    "again": Node("passed on", "base", 4),
}
"""In the order from top to bottom within a column."""

ORDER: Final = tuple(NODES)


@dataclass(frozen=True, slots=True)
class Link:
    """Energy from one node to another: above zero, in whole Wh."""

    source: str
    target: str
    energy_wh: int


def links_of(balance: Balance, losses_wh: int | None = None) -> list[Link]:
    """The flows of a balance; into and out of each node in between goes the same, to the Wh.

    Meters see what leaves and enters homes, contracts see whose it was. Contracts can exceed meters where
    energy changes hands twice (a gift that is sold on, a sale that the grid has to cover): that much is
    `passed on`. Where meters exceed contracts (one late reading that holds both ways), it is netted.
    `losses_wh` are those of the batteries by the homes' own registers, where all are at hand.
    """
    exported, imported = balance.exported_wh, balance.imported_wh
    out = balance.given_wh + balance.traded_wh
    out += balance.sold_to_grid_wh + balance.expired_wh + balance.long_wh
    twice = out - exported
    fed = min(balance.produced_wh, exported)
    used = min(balance.consumed_wh, imported)
    kept = balance.in_batteries_wh
    stored = kept if losses_wh is None else kept - losses_wh
    found = [
        ("production", "own use", balance.produced_wh - fed),
        ("from battery", "own use", max(-stored, 0)),
        ("taken in", "own use", imported - used),
        ("own use", "consumption", balance.consumed_wh - used),
        ("own use", "fed out", exported - fed),
        ("own use", "lost", losses_wh or 0),
        ("own use", "battery" if losses_wh is None else "stored", max(stored, 0)),
        ("production", "fed out", fed),
        ("passed on", "fed out", max(twice, 0)),
        ("fed out", "gifts", balance.given_wh),
        ("fed out", "trade", balance.traded_wh),
        ("fed out", "taken in", max(-twice, 0)),
        ("fed out", "sold", balance.sold_to_grid_wh),
        ("fed out", "unpaid", balance.expired_wh),
        ("fed out", "long", balance.long_wh),
        ("gifts", "taken in", balance.given_wh),
        ("trade", "taken in", balance.traded_wh),
        ("from grid", "taken in", balance.bought_from_grid_wh + balance.short_wh),
        ("taken in", "consumption", used),
        ("taken in", "again", max(twice, 0)),
    ]
    return [Link(*each) for each in found if each[2] > 0]


def plate(balance: Balance, span: str, losses_wh: int | None = None) -> Plate:
    """The picture of a whole run; `span` says from when to when."""
    links = links_of(balance, losses_wh)
    own = max(balance.produced_wh - balance.exported_wh, 0)
    says = (
        f"Of {amounts.energy(balance.produced_wh)} produced, the homes kept {amounts.energy(own)} for "
        f"themselves, gave {amounts.energy(balance.given_wh)} to neighbours and sold them "
        f"{amounts.energy(balance.traded_wh)}; "
        f"{amounts.energy(balance.bought_from_grid_wh + balance.short_wh)} came from the grid."
    )
    rows = [[_named(each.source), f"to {_named(each.target)}", kwh(each.energy_wh)] for each in links]
    return Plate(
        "flows",
        f"Where the energy went, {span}",
        says if links else "No energy flowed.",
        lambda width: _draw(links, width),
        Rows(["from", "to", "energy"], rows, "To the Wh. What enters a place in the middle leaves it."),
    )


def _named(node: str) -> str:
    return NODES[node].name


# ---- layout


@dataclass(slots=True)
class _Place:
    """Where a node stands, and how much of its sides links have taken so far."""

    x: float
    y: float
    height: float
    energy_wh: int
    out_px: float = 0.0
    in_px: float = 0.0


BAR_PX: Final = 13
GAP_PX: Final = 30
_THIN_PX: Final = 0.7
_BEHIND_OWN: Final = (2, 3)
"""Columns that begin below the band of what homes use themselves, which passes over them."""


def _draw(links: Sequence[Link], width: int) -> Drawing:
    narrow = axes.is_narrow(width)
    places, bottom = _layout(links, width)
    ordered = sorted(links, key=lambda each: (ORDER.index(each.source), ORDER.index(each.target)))
    bands = [_band(each, places[each.source], places[each.target]) for each in ordered]
    bars = [_bar(name, place, narrow=narrow) for name, place in places.items()]
    return Drawing(bottom + 10, joined([*bands, *bars]))


def _layout(links: Sequence[Link], width: int) -> tuple[dict[str, _Place], float]:
    """Columns of equal scale; the fullest one fills the height."""
    through: dict[str, int] = {}
    for name in ORDER:
        out = sum(each.energy_wh for each in links if each.source == name)
        into = sum(each.energy_wh for each in links if each.target == name)
        if max(out, into):
            through[name] = max(out, into)
    own = sum(each.energy_wh for each in links if (each.source, each.target) == ("own use", "consumption"))
    columns = [[name for name in through if NODES[name].column == at] for at in range(5)]
    most = max(
        sum(through[name] for name in column) + (own if at in _BEHIND_OWN else 0)
        for at, column in enumerate(columns)
    )
    scale = 340.0 / max(most, 1)
    places: dict[str, _Place] = {}
    bottom = 0.0
    for at, column in enumerate(columns):
        x = 2 + at * (width - BAR_PX - 4) / 4
        y = 26.0
        if at in _BEHIND_OWN and own:
            y += own * scale + GAP_PX
        for name in column:
            size = max(through[name] * scale, _THIN_PX)
            places[name] = _Place(x, y, size, through[name])
            y += size + GAP_PX
        bottom = max(bottom, y - GAP_PX)
    return places, bottom


def _band(link: Link, source: _Place, target: _Place) -> Markup:
    """A band of even width: as thick as its share of the nodes at both ends."""
    thick = link.energy_wh / source.energy_wh * source.height
    end = link.energy_wh / target.energy_wh * target.height
    x0, x1 = source.x + BAR_PX, target.x
    y0, y1 = source.y + source.out_px, target.y + target.in_px
    source.out_px += thick
    target.in_px += end
    bend = (x0 + x1) / 2
    n = number
    path = (
        f"M{n(x0)} {n(y0)}C{n(bend)} {n(y0)} {n(bend)} {n(y1)} {n(x1)} {n(y1)}"
        f"V{n(y1 + end)}C{n(bend)} {n(y1 + end)} {n(bend)} {n(y0 + thick)} {n(x0)} {n(y0 + thick)}Z"
    )
    kind = _colour_of(link)
    told = f"{_named(link.source)} to {_named(link.target)}: {kwh(link.energy_wh)}"
    return tag("path", [tag("title", told)], class_=f"flow {kind}", d=path, data_wh=str(link.energy_wh))


def _colour_of(link: Link) -> str:
    """A flow has the colour of what it is: of its end, unless that is where all kinds meet."""
    target = NODES[link.target].kind
    return NODES[link.source].kind if target in {"base", "ink"} else target


def _bar(name: str, place: _Place, *, narrow: bool) -> Markup:
    node = NODES[name]
    told = tag("title", f"{node.name}: {kwh(place.energy_wh)}")
    kind = f"fill {node.kind}"
    bar = tag("rect", [told], class_=kind, x=place.x, y=place.y, width=BAR_PX, height=place.height)
    side = "start" if node.column < 4 else "end"
    x = place.x if side == "start" else place.x + BAR_PX
    size = amounts.energy(place.energy_wh)
    if narrow:
        above = tag(
            "text", _SHORT.get(node.name, node.name), class_="small", x=x, y=place.y - 15, text_anchor=side
        )
        text = tag("text", size, class_="small soft", x=x, y=place.y - 4, text_anchor=side)
        return joined([bar, above, text])
    parts = [f"{node.name} ", tag("tspan", size, class_="soft")]
    return joined([bar, tag("text", parts, class_="label", x=x, y=place.y - 6, text_anchor=side)])


_SHORT: Final = {
    "taken from batteries": "from battery",
    "own roof and battery": "own use",
    "out over the meters": "out",
    "in over the meters": "in",
    "sold to neighbours": "traded",
    "sold to the grid": "sold to grid",
    "gifts nobody took": "not taken",
    "beyond the contract": "beyond",
    "kept by batteries": "batteries",
    "lost in batteries": "lost",
    "left in batteries": "stored",
}
"""Names for a phone."""
