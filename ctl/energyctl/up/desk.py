"""`io.energymarket.Supervisor`: who runs, and what an operator wants. The core decides, not the desk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from energyctl.up.core import Phase, Suite
from energyctl.up.events import Cause, Order, Ordered, StopWanted
from energyctl.up.life import Daemon, State
from energyctl.up.process import Child
from energymarket import __version__
from energymarket.transport.call import Call
from energymarket.transport.server import Server
from energymarket.transport.server_limits import ServerLimits
from energymarket.wire.messages import SUPERVISOR, SUPERVISOR_INTERFACE, SUPERVISOR_SOCKET
from energymarket.wire.varlink import Maker, encode_reply

MAKER: Final = Maker("energy-market", "energyctl up", __version__, "")
MODE: Final = 0o660
LIMITS: Final = ServerLimits(connections_max=64, connections_per_uid_max=64, backlog=64)
"""Operators and their programs. Descriptors are for the daemons first."""
_ROOT: Final = 0
_SETTLED: Final = frozenset({State.READY, State.ENDED, State.STOPPED, State.FAILED, State.LEFT})
_TOLD: Final = ("state", "pid", "restarts", "says", "why")
"""What is worth a word to who watches; ages are not."""


class Desk:
    """The supervisor's socket, served between two rounds of its loop by the one thread there is."""

    def __init__(self, children: Mapping[str, Child], units: Mapping[str, str]) -> None:
        self._children = children
        self._units = dict(units)  # name -> name under systemd
        self._wanted: list[Ordered | StopWanted] = []
        self._waiting: list[tuple[Call, tuple[str, ...]]] = []
        self._watching: list[Call] = []
        self._said: list[Any] = []
        self._suite: Suite
        self._server: Server

    def open(self, run: Path, suite: Suite) -> None:
        """Listen in the run directory."""
        self._suite = suite
        self._server = Server(MAKER, LIMITS).open()
        self._server.listen(run / SUPERVISOR_SOCKET, MODE, self._take, [SUPERVISOR_INTERFACE])

    def close(self) -> None:
        """Send away who still waits; the socket's file goes."""
        for call, _ in self._waiting:
            call.error(f"{SUPERVISOR}.Stopping")
        self._waiting.clear()
        self._server.turn()
        self._server.close()

    def fileno(self) -> int:
        """Readable when somebody says something."""
        return self._server.fileno()

    def wait_s(self) -> float:
        """For how long the loop may wait for us."""
        return self._server.wait_s()

    def turn(self) -> list[Ordered | StopWanted]:
        """Hear who has come; the answer is what they want of the core."""
        self._server.turn()
        wanted, self._wanted = self._wanted, []
        return wanted

    def tell(self, now_s: float) -> None:
        """Answer what is carried out by now, and tell those who watch what has changed."""
        if not self._waiting and not self._watching:
            return
        rows = self.rows(now_s)
        still = []
        for call, names in self._waiting:
            if all(self._suite.daemons[name].state in _SETTLED for name in names) and not self._renews():
                call.reply({"units": [row for row in rows if row["name"] in names]})
            elif not call.gone:
                still.append((call, names))
        self._waiting = still
        said = [[row[name] for name in _TOLD] for row in rows]
        if said == self._said:
            return
        self._said = said
        frame = encode_reply(self._state(rows), continues=True)
        self._watching = [call for call in self._watching if not call.gone]
        for call in self._watching:
            call.reply_frame(frame, continues=True)

    def rows(self, now_s: float) -> list[dict[str, Any]]:
        """The units as they are."""
        return [self._row(each, now_s) for each in self._suite.daemons.values()]

    def _row(self, each: Daemon, now_s: float) -> dict[str, Any]:
        waits = each.state is State.WAITING and each.deadline_s is not None
        watched = each.state is State.READY and each.watchdog_s
        silent_s = now_s + each.watchdog_s - each.alive_until_s
        return {
            "unit": self._units[each.name],
            "name": each.name,
            "state": each.state.value,
            "pid": self._children[each.name].pid if each.alive and each.name in self._children else 0,
            "restarts": each.restarts,
            "age_ms": _ms(now_s - each.since_s),
            "says": each.status,
            "why": each.why if each.state in {State.WAITING, State.FAILED} else "",
            "code": each.code,
            "restart_in_ms": _ms((each.deadline_s or 0.0) - now_s) if waits else None,
            "starts": each.limit.starts,
            "starts_max": each.limit.starts_max,
            "starts_window_ms": _ms(each.limit.window_s),
            "silent_ms": _ms(silent_s) if watched else None,
        }

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"units": rows, "phase": self._suite.phase.value}

    def _renews(self) -> bool:
        return self._suite.renewing or self._suite.phase is Phase.STARTING

    # ------------------------------------------------------------- calls

    def _take(self, call: Call) -> None:
        method = call.method.rpartition(".")[2]
        match method:
            case "Units":
                call.reply(self._state(self.rows(self._suite.now_s)))
            case "Watch":
                self._watch(call)
            case _:
                self._order(call, Order(method.lower()))

    def _watch(self, call: Call) -> None:
        state = self._state(self.rows(self._suite.now_s))
        if not call.more:
            call.reply(state)
            return
        call.reply(state, continues=True)
        self._watching.append(call)

    def _order(self, call: Call, order: Order) -> None:
        if call.peer.uid not in {_ROOT, os.getuid()}:
            call.error(f"{SUPERVISOR}.PermissionDenied", {"needs": "the run's own user, or root"})
            return
        if self._suite.stopping:
            call.error(f"{SUPERVISOR}.Stopping")
            return
        asked = call.parameters["units"] or []
        named = {text: self._named(text) for text in asked}
        strange = next((text for text, name in named.items() if name is None), None)
        if strange is not None:
            known = list(self._units.values())
            call.error(f"{SUPERVISOR}.NoSuchUnit", {"unit": strange[:128], "units": known})
            return
        names = tuple(dict.fromkeys(name for name in named.values() if name is not None))
        if not names and order is Order.STOP:
            self._wanted.append(StopWanted(Cause.ASKED))
            call.reply({"units": self.rows(self._suite.now_s)})
            return
        self._wanted.append(Ordered(order, names))
        self._waiting.append((call, names or tuple(self._suite.daemons)))

    def _named(self, text: str) -> str | None:
        for name, unit in self._units.items():
            if text in {name, unit, unit.removesuffix(".service")}:
                return name
        return None


def _ms(span_s: float) -> int:
    return max(0, round(span_s * 1000))
