"""`energyctl top`: rates, lateness, traffic, memory and processes of a running suite, live."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from energyctl import asking, client, systemd
from energyctl.exits import Exit
from energyctl.keeper import Keeper, keeper_of
from energyctl.render import Answer, wants_colour
from energyctl.session import Session, session
from energyctl.verbs.start import USER

if TYPE_CHECKING:
    from energyctl.top.terminal import Terminal

STATUS_S_MAX: Final = 1.0
"""A market that needs longer for its status is shown as one that does not answer."""
LOOK_S: Final = 5.0
"""Units are asked for so often: it starts a program."""
INTERVALS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("top")(top)


def top(
    ctx: typer.Context,
    *,
    interval: Annotated[
        float, typer.Option("--interval", "-w", min=0.2, max=3600.0, metavar="S", help="Refresh so often.")
    ] = 1.0,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", min=1, metavar="N", help="End after so many refreshes."),
    ] = None,
    user: Annotated[bool, USER] = False,
) -> Iterator[Answer] | int:
    """Watch the suite at work: slots per second, lateness, traffic, queue, ledger, memory, processes.

    On a terminal it fills the screen: q quits, ? explains. Elsewhere it prints the screen's figures at each
    refresh, with --json one document per line. It ends with the market, or with Ctrl-C.
    """
    here = session(ctx).of(user=user)
    view = View(here)
    view.begin()
    if here.as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return _records(view, interval, count)
    return _screen(view, interval, count)


class View:
    """What is known of the suite; asked and heard by one thread."""

    def __init__(self, here: Session) -> None:
        from energyctl.top.record import Before
        from energyctl.top.slots import Slots

        self.here = here
        self.slots = Slots()
        self.over = False
        self.problem = ""
        self._before = Before()
        self._watch: client.Connection | None = None
        self._looked_s: float | None = None
        self._roots: list[tuple[str, int]] = []
        self._unit_restarts = 0

    def begin(self) -> None:
        """Begin to hear slots. ProblemError if there is no market."""
        try:
            self._listen()
        except client.FAILURES as error:
            raise asking.in_words(self.here, error) from error

    def _listen(self) -> None:
        watch = client.Connection(self.here.control, STATUS_S_MAX).open()
        watch.send(asking.full_name("Watch"), more=True)
        answer, _ = watch.receive(STATUS_S_MAX)
        self.slots.begin(answer.get("snapshot") or {})
        self._watch, self.problem = watch, ""

    def fileno(self) -> int | None:
        """What to wait for; None while the market is away."""
        return None if self._watch is None else self._watch.fileno()

    def hear(self) -> None:
        """Take in what the market has said."""
        from energyctl.top.slots import is_over
        from energymarket.runtime.clock import monotonic_s

        watch = self._watch
        if watch is None:
            return
        try:
            while True:
                answer, _ = watch.receive(STATUS_S_MAX)
                snapshot = answer.get("snapshot") or {}
                self.slots.hear(snapshot, monotonic_s())
                self.over = self.over or is_over(snapshot)
                if not watch.has_more:
                    return
        except client.FAILURES as error:
            self._lost(error)

    def _lost(self, error: Any) -> None:  # noqa: ANN401 - one of client.FAILURES
        """The market has gone: it may come back, and is asked again at each refresh."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        problem = asking.in_words(self.here, error)
        self.problem = f"{problem.message}: {problem.why}" if problem.why else problem.message

    def record(self) -> dict[str, Any]:
        """The figures of now."""
        from energyctl.top import processes, record
        from energymarket.runtime.clock import monotonic_s

        if self._watch is None and not self.over:
            try:
                self._listen()
            except client.FAILURES as error:
                self._lost(error)
        status = None
        if self._watch is not None:
            try:
                with client.Connection(self.here.control, STATUS_S_MAX) as connection:
                    status = connection.call(asking.full_name("Status")).get("status") or {}
                self.problem = ""
            except client.FAILURES as error:
                self._lost(error)
        now_s = monotonic_s()
        self._look(status, now_s)
        return record.record_of(
            self.slots,
            status,
            self.problem,
            processes.of_suite(self._roots),
            self._unit_restarts,
            self._before,
            now_s,
        )

    def _look(self, status: dict[str, Any] | None, now_s: float) -> None:
        """Which processes there are: those that `energyctl up` has recorded, or the units'."""
        from energyctl.supervised import Supervised
        from energyctl.up import proc

        if self._looked_s is not None and now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        kept = proc.read(self.here.run_dir)
        if kept is not None and kept.up.alive():
            self._roots = [(each.name, each.pid) for each in kept.children]
            self._unit_restarts = sum(unit.restarts for unit in Supervised(self.here, kept.up).units())
            return
        keeper = keeper_of(self.here.run_dir)
        market = int(((status or {}).get("market") or {}).get("pid") or 0)
        self._roots = [("market", market)] if market else []
        if keeper is None:
            return
        showing = systemd.Showing(systemd.SHOWN, user=keeper is Keeper.USER)
        units = showing.begin().units()
        self._roots = [(_short(unit.name), unit.pid) for unit in units if unit.pid]
        self._unit_restarts = sum(unit.restarts for unit in units)

    def close(self) -> None:
        """Hang up."""
        if self._watch is not None:
            self._watch.close()


def _short(unit: str) -> str:
    """`energy-home@7.service` -> `home 7`."""
    return unit.removeprefix("energy-").removesuffix(".service").replace("@", " ")


def _records(view: View, interval_s: float, count: int | None) -> Iterator[Answer]:
    """An answer at each refresh."""
    from energyctl.top import screen
    from energymarket.runtime.clock import monotonic_s

    try:
        view.record()  # what the first refresh is compared with
        due_s, done = monotonic_s() + interval_s, 0
        while True:
            _wait(view, due_s, ())
            record = view.record()
            lines = screen.lines_of(record, view.slots.kept, (80, 60), interval_s=interval_s, helping=False,
                                    colour=False)  # fmt: skip
            text = "\n".join(line for line in lines[:-1] if line.strip())
            done += 1
            yield Answer(record, (f"{text}\n",))
            if view.over or (count is not None and done >= count):
                return
            due_s = max(due_s + interval_s, monotonic_s())
    finally:
        view.close()


def _screen(view: View, interval_s: float, count: int | None) -> int:
    """The view until q, Ctrl-C or the market's end; the terminal is as before, whatever happens."""
    from energyctl.top.terminal import Ended, Terminal

    try:
        with Terminal() as terminal:
            return _drawn(view, terminal, interval_s, count)
    except Ended as ended:
        return 128 + ended.number
    finally:
        view.close()


def _drawn(view: View, terminal: Terminal, interval_s: float, count: int | None) -> int:
    from energyctl.top import screen
    from energymarket.runtime.clock import monotonic_s

    colour, helping, done = wants_colour(sys.stdout), False, 0
    due_s, record = monotonic_s(), view.record()
    while True:
        now_s = monotonic_s()
        if now_s >= due_s:
            record = view.record()
            due_s = max(due_s + interval_s, now_s)
            done += 1
        terminal.draw(
            screen.lines_of(
                record,
                view.slots.kept,
                terminal.size(),
                interval_s=interval_s,
                helping=helping,
                colour=colour,
            )
        )
        if view.over or (count is not None and done >= count):
            return Exit.OK
        typed = _wait(view, due_s, terminal.wakes())
        if typed & {terminal.wakes()[1]}:
            terminal.drain()
        if terminal.wakes()[0] not in typed:
            continue
        keys = terminal.keys()
        if not keys or "q" in keys.lower():  # nothing: the terminal is gone
            return Exit.OK
        helping = helping ^ ("?" in keys)
        step = ("-" in keys) - ("+" in keys)
        if step:
            interval_s = _other(interval_s, step)
            due_s = monotonic_s()


def _other(interval_s: float, step: int) -> float:
    """The next longer or shorter interval."""
    if step > 0:
        return next((each for each in INTERVALS_S if each > interval_s), INTERVALS_S[-1])
    return next((each for each in reversed(INTERVALS_S) if each < interval_s), INTERVALS_S[0])


def _wait(view: View, due_s: float, wakes: tuple[int, ...]) -> set[int]:
    """Hear the market until it is time, or one of the descriptors is ready: those."""
    from energymarket.runtime.clock import monotonic_s

    while (left_s := due_s - monotonic_s()) > 0:
        market = view.fileno()
        listening = [*wakes, *([] if market is None else [market])]
        ready, _, _ = select.select(listening, (), (), left_s)
        if market is not None and market in ready:
            view.hear()
            if view.over:
                return set()
        if found := set(ready) & set(wakes):
            return found
    return set()
