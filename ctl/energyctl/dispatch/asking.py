"""A request: type to the dispatcher, ticket to the worker, lines until there is a result; again if need be.

Requests change nothing, so that one whose worker dies is asked again.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from energyctl.dispatch.lines import Failed, Going, Nonsense, Referred, Result, Said, TurnedDown, parse
from energyctl.dispatch.place import Address, not_running
from energyctl.exits import Exit, ProblemError
from energymarket.runtime.clock import monotonic_s

TROUBLE_MAX: Final = 6
"""Three workers that die over a request: then it may be the request's fault. A dispatcher that is gone weighs
half of that: it is back within a second or two."""

CONNECT_S_MAX: Final = 5.0
SILENCE_S_MAX: Final = 30.0
"""A worker that answers tells several times a second how far it is; a frozen one is replaced within ten."""

BACK_OFF_S: Final = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
"""Between two tries; the last one again and again. Workers are busy for seconds, restarts take less."""

LINE_BYTES_MAX: Final = 64 << 20
CHUNK_BYTES: Final = 64 * 1024

Told = Callable[[float | None, str], None]
"""Told how far it is (None: it waits), and with what."""


class _AgainError(Exception):
    """It did not come to an answer, and another try may."""

    def __init__(self, problem: ProblemError, weight: int) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.weight = weight  # of TROUBLE_MAX


class Asking:
    """One question on its way, within a time."""

    def __init__(self, address: Address, timeout_s: float, told: Told) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._end_s = monotonic_s() + timeout_s
        self._told = told
        self._met = False  # the dispatcher has been there

    def ask(self, kind: str, question: Mapping[str, object]) -> dict[str, Any]:
        """The result. ProblemError with the reason why there is none."""
        trouble, backed_off = 0, 0
        while True:
            try:
                return self._once(kind, question)
            except _AgainError as again:
                trouble += again.weight
                pause_s = BACK_OFF_S[min(backed_off, len(BACK_OFF_S) - 1)]
                backed_off += 1
                if trouble >= TROUBLE_MAX or self._left_s() <= pause_s:
                    raise again.problem from again
                self._told(None, f"{again.problem.why or again.problem.message}; trying again")
                select.select([], [], [], pause_s)

    def _once(self, kind: str, question: Mapping[str, object]) -> dict[str, Any]:
        host, port = self._address
        where = f"{host} port {port}"
        line = f"{kind} {json.dumps(dict(question))}\n" if question else f"{kind}\n"
        self._told(None, "asking the dispatcher")
        try:
            desk = self._connected(self._address, not_running(f"nobody listens on {where}"))
        except ProblemError as problem:
            if self._met and problem.exit_code is Exit.NOT_RUNNING:
                raise _AgainError(problem, 1) from problem
            raise
        self._met = True
        with closing(desk):
            match self._first(desk, line, where):
                case Referred() as referred:
                    return self._of_worker((host, referred.port), referred.ticket)
                case Result(found=found):
                    return found
                case Failed() as failed:
                    raise _failed(failed)
                case TurnedDown() as down:
                    raise _turned_down(down)
                case _:
                    raise _no_dispatcher(where, "it speaks of progress before it has asked anybody")

    def _first(self, desk: socket.socket, line: str, where: str) -> Said:
        """The dispatcher's answer, which comes when a worker is free."""
        self._send(desk, line)
        for said in self._lines(desk, where, self._left_s()):
            return said
        raise _AgainError(_hung_up("the dispatcher"), 1)

    def _of_worker(self, address: Address, ticket: str) -> dict[str, Any]:
        """The worker has the question from the dispatcher: an empty line means that one."""
        where = f"{address[0]} port {address[1]}"
        try:
            worker = self._connected(address, _hung_up("the worker"))
        except ProblemError as problem:
            raise _AgainError(problem, 2) from problem
        with closing(worker):
            self._send(worker, f"{ticket}\n\n")
            for said in self._lines(worker, where, SILENCE_S_MAX):
                match said:
                    case Going():
                        self._told(said.share, said.doing)
                    case Result(found=found):
                        return found
                    case Failed():
                        raise _failed(said)
                    case _:
                        raise _no_dispatcher(where, "no worker says what it says")
        raise _AgainError(_hung_up("the worker"), 2)

    # ---- the socket

    def _connected(self, address: Address, refused: ProblemError) -> socket.socket:
        """A connection. ProblemError `refused` where nobody listens."""
        try:
            return socket.create_connection(address, min(CONNECT_S_MAX, self._patience_s(CONNECT_S_MAX)))
        except ConnectionRefusedError as error:
            raise refused from error
        except TimeoutError as error:
            raise self._late(f"{address[0]} port {address[1]} takes no connection") from error
        except OSError as error:
            what = f"{address[0]} port {address[1]} cannot be reached"
            raise ProblemError(Exit.UNREACHABLE, "unreachable", what, error.strerror or str(error)) from error

    def _send(self, sock: socket.socket, text: str) -> None:
        try:
            sock.sendall(text.encode())
        except OSError:
            return  # it may have said why before it closed: reading will tell

    def _lines(self, sock: socket.socket, where: str, silence_s: float) -> Iterator[Said]:
        """What is said until the end of the connection. ProblemError, _AgainError."""
        rest = bytearray()
        while True:
            sock.settimeout(self._patience_s(silence_s))
            try:
                data = sock.recv(CHUNK_BYTES)
            except TimeoutError as error:
                raise self._late(f"{where} has said nothing for {silence_s:.0f} s") from error
            except OSError:
                return
            if not data:
                return
            rest += data
            if b"\n" not in data:
                if len(rest) > LINE_BYTES_MAX:
                    raise _no_dispatcher(where, "its answer has no end")
                continue
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                try:
                    yield parse(line)
                except Nonsense as nonsense:
                    raise _no_dispatcher(where, f"it says {nonsense}") from nonsense

    def _left_s(self) -> float:
        return self._end_s - monotonic_s()

    def _patience_s(self, most_s: float) -> float:
        """How long to wait for the next bytes. ProblemError when time is over."""
        left_s = self._left_s()
        if left_s <= 0:
            raise self._over()
        return max(0.001, min(most_s, left_s))

    def _late(self, why: str) -> ProblemError:
        if self._left_s() <= 0.001:
            return self._over()
        hint = "energyctl status tells how it is; frozen ones are replaced within seconds"
        return ProblemError(Exit.UNREACHABLE, "unreachable", "there is no answer", why, hint)

    def _over(self) -> ProblemError:
        return ProblemError(
            Exit.WAIT_TIMED_OUT,
            "wait_timed_out",
            f"no answer within {self._timeout_s:g} s",
            "workers are busy, or it is a long question",
            "--timeout S waits longer",
        )


def _hung_up(who: str) -> ProblemError:
    return ProblemError(
        Exit.TRY_AGAIN,
        "hung_up",
        f"{who} hung up before it answered",
        f"{who} has died or is restarting",
        "try again; the log of its unit tells why",
    )


def _turned_down(down: TurnedDown) -> ProblemError | _AgainError:
    if down.is_unknown:
        return ProblemError(
            Exit.NO_SUCH_OBJECT, "unknown_request", "the dispatcher does not know this request", down.reason
        )
    problem = ProblemError(
        Exit.TRY_AGAIN,
        "busy",
        "no worker takes the request now",
        down.reason,
        "try again in a while; [dispatch] workers and queue say how many are taken at once",
    )
    return _AgainError(problem, 0)


def _failed(failed: Failed) -> ProblemError:
    return ProblemError(Exit.FAILED, "refused", failed.what, failed.why, failed.do)


def _no_dispatcher(where: str, why: str) -> ProblemError:
    return ProblemError(
        Exit.UNREACHABLE,
        "no_dispatcher",
        f"what answers on {where} is no dispatcher",
        why,
        "--dispatcher HOST:PORT asks another one",
    )
