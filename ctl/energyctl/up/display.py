"""The live display of `energyctl up` on a terminal: price, terms, flows, events, slots, daemons, progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from energyctl.quantities import event, kwh, money, price, span
from energyctl.render import clean, number
from energyctl.slotline import equation, local_time, notes, sparkline, spoken
from energyctl.up import core
from energyctl.up.life import Daemon, State
from energyctl.up.proc import stat_field
from energyctl.up.process import Child
from energymarket.runtime import clock

_PRICES_KEPT: Final = 400  # as wide as a terminal gets
_SLOTS_SHOWN: Final = 5
_WORDS_SHOWN: Final = 4
_WORDS_SHOWN_MIN: Final = 2
_BORDER_LINES: Final = 3  # above, below, and the line where the cursor rests
_BORDER_COLUMNS: Final = 4
_HEADING_LINES: Final = 1  # of the table of slots
_ROOMY_COLUMNS: Final = 100
_DAEMONS_SHOWN: Final = 12  # then they are counted: a hundred single homes do not fit a screen
_FRAME_S_MIN: Final = 0.2  # faster than one reads; a fast market sends hundreds of slots a second
_STATE_STYLES: Final = {
    State.STARTING: "yellow",
    State.READY: "green",
    State.STOPPING: "yellow",
    State.WAITING: "bold yellow",
    State.LEFT: "yellow",
    State.ENDED: "dim",
    State.STOPPED: "dim",
    State.FAILED: "bold red",
}


class Display:
    """The screen of a run. It keeps what it shows, and draws at most five times a second."""

    def __init__(self, title: str) -> None:
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._title = title
        self._snapshot: dict[str, Any] = {}
        self._prices: deque[int] = deque(maxlen=_PRICES_KEPT)
        self._slots: deque[dict[str, Any]] = deque(maxlen=_SLOTS_SHOWN)
        self._words: deque[Text] = deque(maxlen=_WORDS_SHOWN)
        self._began_s = clock.monotonic_s()
        self._drawn_s = 0.0
        self._lost = False  # the terminal is gone
        self._scene: tuple[core.Suite, Mapping[str, Child]] | None = None

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Draw the daemons as they come up."""
        if not self._live.is_started and not self._lost:
            self._live.start()
        self._draw(suite, children)

    def ready(self) -> None:
        """All daemons are ready: the next frame shows it."""
        self._drawn_s = 0.0

    def slot(self, snapshot: dict[str, Any]) -> None:
        """Keep a snapshot for the next frame."""
        if snapshot.get("slot") != self._snapshot.get("slot"):
            self._prices.append(number(snapshot, "price_ueur_per_kwh"))
            self._slots.append(snapshot)
        self._snapshot = snapshot

    def tick(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Draw, if it is time."""
        self._draw(suite, children)

    def said(self, name: str, line: str) -> None:
        """A daemon's own words, at the foot of the screen."""
        self._words.append(Text(clean(spoken(name, line)), style="dim", no_wrap=True, overflow="ellipsis"))

    def note(self, text: str) -> None:
        """The supervisor's words, at the foot of the screen."""
        self._words.append(Text(clean(text), style="yellow"))

    def last_words(self, text: str, lines: list[str]) -> None:
        """How a daemon ended: above the screen, where it stays."""
        self._guarded(lambda: self._console.print(Text(f"error: {clean(text)}", style="bold red")))
        for line in lines:
            self._guarded(lambda line=line: self._console.print(Text(f"  {clean(line)}"), soft_wrap=True))

    def close(self) -> None:
        """Give the terminal back; the last frame stays."""
        if self._live.is_started:
            if self._scene is not None:
                self._drawn_s = 0.0
                self._draw(*self._scene)
            self._guarded(self._live.stop)

    # ------------------------------------------------------------- drawing

    def _draw(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        self._scene = (suite, children)
        now_s = clock.monotonic_s()
        if now_s - self._drawn_s < _FRAME_S_MIN or self._lost:
            return
        self._drawn_s = now_s
        self._guarded(lambda: self._live.update(self._frame(suite, children), refresh=True))

    def _guarded(self, draw: Any) -> None:  # noqa: ANN401  # a callable whose answer nobody wants
        """A terminal that was closed must not keep the run from ending in order."""
        if self._lost:
            return
        try:
            draw()
        except OSError:
            self._lost = True

    def _frame(self, suite: core.Suite, children: Mapping[str, Child]) -> RenderableType:
        head: list[RenderableType] = []
        if self._snapshot:
            head += [self._price(), self._flows(), *self._alerts()]
        foot: list[RenderableType] = [_daemons(suite, children)]
        progress = [self._progress()] if self._snapshot.get("slots_total") else []
        # On a small terminal the past gives way, so that the health of the daemons is always in sight.
        free = self._console.height - self._height([*head, *foot, *progress]) - _BORDER_LINES
        slots = max(1, min(_SLOTS_SHOWN, free - _HEADING_LINES - _WORDS_SHOWN_MIN))
        words = max(1, min(_WORDS_SHOWN, free - _HEADING_LINES - slots))
        if self._snapshot:
            head.append(self._history(slots))
        foot += list(self._words)[-words:]
        running = suite.cause is None
        phase = f"{suite.phase.value}{self._speed()}" if running else f"{suite.phase.value}: {_why(suite)}"
        ran = span(clock.monotonic_s() - self._began_s)
        return Panel(
            Group(*head, *foot, *progress),
            title=Text(f" {self._title} "),
            title_align="left",
            subtitle=Text(f" {phase}, {ran}{'; Ctrl-C stops' if running else ''} "),
            subtitle_align="right",
            border_style="green" if suite.phase is core.Phase.RUNNING else "yellow",
        )

    def _height(self, parts: list[RenderableType]) -> int:
        """How many lines the parts need inside the border."""
        inside = self._console.options.update_width(self._inner_width)
        return len(self._console.render_lines(Group(*parts), inside, pad=False))

    @property
    def _inner_width(self) -> int:
        return max(10, self._console.width - _BORDER_COLUMNS)

    def _speed(self) -> str:
        speed = self._snapshot.get("speed")
        return f" at {speed:g}× real time" if isinstance(speed, (int, float)) and speed > 0 else ""

    def _price(self) -> RenderableType:
        now = self._snapshot
        # A factor that adds nothing just now would only cost a line; `price --explain` has them all.
        worth = [row for row in now.get("terms") or () if number(row, "value_ueur_per_kwh")]
        terms = {
            "price_ueur_per_kwh": now.get("price_ueur_per_kwh"),
            "terms": worth,
            "unclipped_ueur_per_kwh": now.get("unclipped_ueur_per_kwh"),
        }
        head = Text(f"{local_time(now)}  slot {now.get('slot', '?')}  ", style="bold", no_wrap=True)
        head.append(f"{price(number(now, 'price_ueur_per_kwh'))} €/kWh", style="bold cyan")
        head.append(f"  import {_short_price(number(now, 'import_ueur_per_kwh'))}")
        head.append(f"  export {_short_price(number(now, 'export_ueur_per_kwh'))}")
        return Group(
            head,
            Text(sparkline(self._prices, self._inner_width), style="cyan"),
            Text(clean(equation(terms)), style="dim"),
        )

    def _flows(self) -> RenderableType:
        totals = self._snapshot.get("totals") or {}
        weather = self._snapshot.get("weather") or {}
        table = Table.grid(padding=(0, 2))
        for _ in range(5):
            table.add_column(no_wrap=True)
        table.add_row(
            "kWh",
            f"produced {_energy(totals, 'produced_wh')}",
            f"given {_energy(totals, 'given_wh')}",
            f"sold {_energy(totals, 'sold_wh')}",
            f"meters in {_energy(totals, 'imported_wh')}",
        )
        table.add_row(
            "",
            f"consumed {_energy(totals, 'consumed_wh')}",
            f"expired {_energy(totals, 'expired_wh')}",
            f"bought {_energy(totals, 'bought_wh')}",
            f"meters out {_energy(totals, 'exported_wh')}",
        )
        sky = (
            f"{weather.get('temperature_c', 0):.1f} °C   wind {weather.get('wind_m_per_s', 0):.1f} m/s   "
            f"sun {weather.get('ghi_w_per_m2', 0):.0f} W/m²   rain {weather.get('rain_mm_per_h', 0):.1f} mm/h"
            if weather
            else ""
        )
        homes = f"homes {self._snapshot.get('homes_in', '?')} of {self._snapshot.get('homes', '?')} in"
        bill = f"homes' balance {money(number(totals, 'homes_money_ueur'))}"
        return Group(table, Text(f"{homes}   {bill}", no_wrap=True), Text(sky, no_wrap=True))

    def _alerts(self) -> Iterator[Text]:
        for row in self._snapshot.get("events") or ():
            yield Text(clean(f"! {event(row)} ({row.get('origin', '?')})"), style="bold red")
        said = notes(self._snapshot)
        if said:
            yield Text(f"! {', '.join(said)}", style="yellow")

    def _history(self, slots: int) -> RenderableType:
        roomy = self._console.width >= _ROOMY_COLUMNS
        table = Table(box=None, padding=(0, 3 if roomy else 1, 0, 0), pad_edge=False, header_style="bold dim")
        table.add_column("time", no_wrap=True)
        for heading in ("€/kWh", "given kWh", "sold kWh", "bought kWh", "meters in", "meters out", "homes €"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in list(reversed(self._slots))[:slots]:
            totals = row.get("totals") or {}
            energies = ("given_wh", "sold_wh", "bought_wh", "imported_wh", "exported_wh")
            table.add_row(
                local_time(row).rpartition(" ")[2],
                price(number(row, "price_ueur_per_kwh")),
                *(_energy(totals, name) for name in energies),
                money(number(totals, "homes_money_ueur")).removesuffix(" €"),
            )
        return table

    def _progress(self) -> RenderableType:
        done, total = number(self._snapshot, "slots_done"), number(self._snapshot, "slots_total")
        table = Table.grid(padding=(0, 2))
        table.add_row(
            Text(f"{done} of {total} slots"), ProgressBar(total=total, completed=min(done, total), width=50)
        )
        return table


def _why(suite: core.Suite) -> str:
    return suite.cause.value if suite.cause is not None else ""


def _energy(totals: Mapping[str, Any], name: str) -> str:
    return kwh(number(totals, name)).removesuffix(" kWh")


def _short_price(price_ueur_per_kwh: int) -> str:
    """0.330000 -> `0.33`, 0.173605 -> `0.1736`: beside the price a few digits do."""
    whole, _, decimals = f"{price_ueur_per_kwh / 1_000_000:.4f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def _daemons(suite: core.Suite, children: Mapping[str, Child]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold dim", expand=True)
    for heading in ("daemon", "pid", "state", "restarts", "memory"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "restarts" else "left")
    # What a daemon says takes the room that is left, and no more: the columns before it stay.
    table.add_column("says", no_wrap=True, overflow="ellipsis", ratio=1)
    # Who is not well is shown first: a hundred single homes do not fit a screen.
    shown = list(suite.daemons.values())
    if len(shown) > _DAEMONS_SHOWN:
        shown.sort(key=_is_well)
    for each in shown[:_DAEMONS_SHOWN]:
        pid = children[each.name].pid if each.alive and each.name in children else None
        state = Text(_state(each, suite.now_s), style=_STATE_STYLES[each.state])
        says = each.why if each.state in {State.WAITING, State.FAILED} else each.status
        restarts = str(each.restarts) if each.restarts else ""
        table.add_row(each.name, str(pid or ""), state, restarts, _memory(pid) if pid else "", clean(says))
    if len(shown) > _DAEMONS_SHOWN:
        rest = shown[_DAEMONS_SHOWN:]
        ready = sum(d.state is State.READY for d in rest)
        table.add_row(f"{len(rest)} more", "", f"{ready} ready", "", "", "")
    return table


def _is_well(each: Daemon) -> bool:
    return each.state not in {State.WAITING, State.FAILED, State.LEFT}


def _state(each: Daemon, now_s: float) -> str:
    """One word; of a daemon that is to be started again also when, and how many starts are left to it."""
    if each.state is not State.WAITING or each.deadline_s is None:
        return each.state.value
    left = each.limit.left(now_s)
    return f"again in {max(0.0, each.deadline_s - now_s):.1f} s, {left} starts left"


def _memory(pid: int) -> str:
    pages = stat_field(pid, 24)  # resident set, in pages of 4 KiB
    return f"{int(pages) * 4096 // 1_000_000} MB" if pages else ""
