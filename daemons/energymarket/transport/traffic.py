"""The traffic of a server's connections: calls in, answers out in order, limits and deadlines kept.

Everything here runs in the loop's thread.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Final

from energymarket.transport.call import Call
from energymarket.transport.connection import Connection, NotReading
from energymarket.transport.deadlines import Deadlines
from energymarket.transport.ends import End, Ends
from energymarket.transport.passing import RECEIVE_FLAGS, TRUNCATED, close_all, received_descriptors
from energymarket.transport.server_limits import ServerLimits
from energymarket.wire.varlink import (
    INVALID_PARAMETER,
    Malformed,
    Parameters,
    Refused,
    decode_call,
    encode_error,
    invalid_parameter,
)

CHUNK_BYTES: Final = 64 * 1024
"""Read at once from one connection, so that a busy one does not keep the others waiting."""

STARTS_MAX: Final = 64
"""Calls of one connection started in one turn: whoever sends thousands at once waits between them."""

WAIT_S_MAX: Final = 60.0
"""Of one wait without any deadline."""

_FRAME: Final[Parameters] = {"parameter": "frame"}


class Traffic:
    """All open connections of one server."""

    def __init__(
        self, limits: ServerLimits, epoll: select.epoll, on_reaped: Callable[[Connection], None]
    ) -> None:
        self.connections: dict[int, Connection] = {}
        self.ends = Ends()
        self.now_s = 0.0
        self._limits = limits
        self._epoll = epoll
        self._on_reaped = on_reaped
        self._partial: Deadlines[Connection] = Deadlines(limits.partial_s_max)
        self._stalled: Deadlines[Connection] = Deadlines(limits.stalled_s_max)
        self._paused: Deadlines[Connection] = Deadlines(limits.quota_pause_s)
        self._input_bytes = 0
        self._unsettled: dict[Connection, None] = {}
        self._closed: list[Connection] = []

    def add(self, connection: Connection) -> None:
        """Begin to read from a connection."""
        self.connections[connection.fd] = connection
        connection.mask = select.EPOLLIN
        connection.tokens_at_s = self.now_s
        self._epoll.register(connection.fd, connection.mask)

    def handle(self, connection: Connection, events: int) -> None:
        """Do what epoll says of a connection."""
        if connection.closed:
            return
        if events & select.EPOLLOUT:
            self._write(connection)
        if connection.mask & select.EPOLLIN:
            if events & ~select.EPOLLOUT:
                self.read(connection, hung_up=bool(events & select.EPOLLHUP))
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self.end(connection, End.PEER_LEFT)

    def turn_over(self) -> None:
        """After each turn: deadlines, waiting calls, and only then the closing of descriptors.

        A closed descriptor's number may come back at once, so none is closed while events of the
        turn may still name it.
        """
        self._expire()
        unsettled, self._unsettled = self._unsettled, {}
        for connection in unsettled:
            self._settle(connection)
        closed, self._closed = self._closed, []
        for connection in closed:
            connection.close()
            del self.connections[connection.fd]
            self._on_reaped(connection)

    def wait_s(self) -> float:
        """How long the loop may wait."""
        if self._unsettled or self._closed:
            return 0.0
        until_s = self.now_s + WAIT_S_MAX
        for deadlines in (self._partial, self._stalled, self._paused):
            until_s = min(until_s, deadlines.first_s(until_s))
        return max(0.0, until_s - self.now_s)

    def unsent(self) -> bool:
        """Whether answers wait for a peer to read."""
        return bool(self._stalled)

    def end(self, connection: Connection, reason: End) -> None:
        """Close a connection at the end of this turn."""
        if connection.closed:
            return
        connection.closed = True
        connection.end = reason
        self.ends.count(reason, connection.peer, self.now_s)
        self._input_bytes -= len(connection.rest)
        for deadlines in (self._partial, self._stalled, self._paused):
            deadlines.drop(connection)
        self._closed.append(connection)

    # ---- in

    def read(self, connection: Connection, *, hung_up: bool) -> None:
        """Take what came; a lone frame, the usual case, is started without being kept first."""
        listener = connection.listener
        try:
            data, ancillary, flags, _ = connection.sock.recvmsg(
                CHUNK_BYTES, listener.ancillary_bytes, RECEIVE_FLAGS
            )
        except BlockingIOError:
            return
        except OSError:  # the peer left with answers unread
            self.end(connection, End.PEER_LEFT)
            return
        if not data:
            connection.ended = True
            if hung_up:
                self.end(connection, End.PEER_LEFT)
            else:
                self._settle(connection)
        elif ancillary or flags & TRUNCATED:
            self._read_descriptors(connection, data, received_descriptors(ancillary), flags)
        elif not connection.rest and data.find(0) == len(data) - 1 and connection.may_start():
            self._start(connection, data[:-1], None)
            if connection.calls or connection.oneway_calls:
                self._unsettled[connection] = None
        else:
            self._keep(connection, data, [])

    def _read_descriptors(
        self, connection: Connection, data: bytes, descriptors: list[int], flags: int
    ) -> None:
        descriptors_max = connection.limits.descriptors_max
        if flags & TRUNCATED or len(connection.head_descriptors) + len(descriptors) > descriptors_max:
            close_all(descriptors)
            self._condemn(connection, End.TOO_MANY_DESCRIPTORS, "descriptors", descriptors_max)
        else:
            self._keep(connection, data, descriptors)

    def _keep(self, connection: Connection, data: bytes, descriptors: list[int]) -> None:
        """Add received bytes to what waits, within the bounds of one and of all."""
        connection.add(data, descriptors)
        self._input_bytes += len(data)
        frame_bytes_max = connection.limits.frame_bytes_max
        if not connection.complete and len(connection.rest) > frame_bytes_max:
            self._condemn(connection, End.FRAME_TOO_BIG, "frame_bytes", frame_bytes_max)
        elif self._input_bytes > self._limits.input_bytes_max:
            self._condemn(connection, End.TOO_MUCH_INPUT, "input_bytes", self._limits.input_bytes_max)
        elif not connection.complete and connection not in self._partial:
            self._partial.start(connection, self.now_s)
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Start what may start, close what is over, and listen for what is wanted next."""
        started = 0
        while connection.complete and connection.may_start():
            if started == STARTS_MAX:
                self._unsettled[connection] = None
                break
            started += 1
            self._start_next(connection)
        if connection.closed:
            return
        if connection.ended and not (connection.complete or connection.calls or connection.out):
            self.end(connection, connection.end)
            return
        reads = not (connection.ended or connection.complete) and connection.may_start()
        mask = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if connection.out else 0)
        if mask != connection.mask:
            connection.mask = mask
            self._epoll.modify(connection.fd, mask)

    def _start_next(self, connection: Connection) -> None:
        frame, descriptors = connection.next_frame()
        self._input_bytes -= len(frame) + 1
        self._partial.drop(connection)
        if connection.rest and not connection.complete:
            self._partial.start(connection, self.now_s)
        self._start(connection, frame, descriptors)

    # ---- calls

    def _start(self, connection: Connection, frame: bytes, descriptors: list[int] | None) -> None:
        """Turn a frame into a call and hand it on, or answer it with an error in its place."""
        listener = connection.listener
        limits = connection.limits
        if len(frame) > limits.frame_bytes_max:
            close_all(descriptors)
            self._condemn(connection, End.FRAME_TOO_BIG, "frame_bytes", limits.frame_bytes_max)
            return
        connection.tokens -= 1.0
        if connection.tokens < 0.0 and not connection.refill(self.now_s):
            self._over_rate(connection, descriptors)
            return
        try:
            found = decode_call(frame)
        except Malformed:
            self._malformed(connection, descriptors)
            return
        try:
            if found.upgrade:
                raise invalid_parameter("upgrade")
            method = listener.methods.get(found.method) or listener.service.find(found.method)
            parameters = method.accept(found.parameters)
            call = Call(
                connection, found.method, parameters, descriptors, more=found.more, oneway=found.oneway
            )
            if method.introspects:
                parameters = listener.service.introspect(found.method, parameters)
                _enter(connection, call)
                call.reply(parameters)
                return
        except Refused as refusal:
            self._refuse(connection, descriptors, refusal.name, refusal.parameters, oneway=found.oneway)
            return
        _enter(connection, call)
        listener.handler(call)

    def _refuse(
        self,
        connection: Connection,
        descriptors: list[int] | None,
        name: str,
        parameters: Parameters,
        *,
        oneway: bool = False,
    ) -> None:
        """Answer a frame with an error when its turn comes."""
        call = Call(connection, "", {}, descriptors, more=False, oneway=oneway)
        _enter(connection, call)
        call.error(name, parameters)

    def _malformed(self, connection: Connection, descriptors: list[int] | None) -> None:
        connection.malformed += 1
        self._refuse(connection, descriptors, INVALID_PARAMETER, _FRAME)
        if connection.malformed >= connection.limits.malformed_max:
            self._finish(connection, End.MALFORMED)

    def _over_rate(self, connection: Connection, descriptors: list[int] | None) -> None:
        """Say so once, then leave the connection unread for a while."""
        listener = connection.listener
        if listener.quota_error is None:
            close_all(descriptors)
            self.end(connection, End.TOO_MANY_CALLS)
            return
        connection.paused = True
        self._paused.start(connection, self.now_s)
        self._unsettled[connection] = None
        said = _quota("calls_per_s", listener.limits.calls_per_s_max)
        self._refuse(connection, descriptors, listener.quota_error, said)

    def _condemn(self, connection: Connection, reason: End, what: str, limit: int) -> None:
        """Close a connection that broke a limit, with a named error if its turn is now."""
        if not connection.calls:
            name = connection.listener.quota_error
            frame = (
                encode_error(name, _quota(what, limit)) if name else encode_error(INVALID_PARAMETER, _FRAME)
            )
            self._send(connection, frame, ())
        self._finish(connection, reason)

    def _finish(self, connection: Connection, reason: End) -> None:
        """Read no more; close at once, or when the last answers have left."""
        if connection.closed:
            return
        if connection.calls:
            self.end(connection, reason)
            return
        self._input_bytes -= len(connection.rest)
        self._partial.drop(connection)
        connection.forget_input()
        connection.ended = True
        connection.end = reason
        self._unsettled[connection] = None

    # ---- out

    def deliver(self, call: Call, frame: bytes, descriptors: Sequence[int], *, final: bool) -> None:
        """Send an answer, or keep it until all earlier calls have theirs."""
        connection = call.connection
        if final:
            call.close_descriptors()
        if connection.closed or call.oneway:
            close_all(descriptors)
            connection.oneway_calls -= call.oneway and final
        elif connection.calls[0] is not call:
            self._hold(connection, call, (frame, descriptors, final))
        else:
            self._send(connection, frame, descriptors)
            if final and not connection.closed:
                del connection.calls[0]
                if connection.calls:
                    self._release(connection)
        if connection.mask != select.EPOLLIN or connection.out:
            self._unsettled[connection] = None

    def _hold(self, connection: Connection, call: Call, answer: tuple[bytes, Sequence[int], bool]) -> None:
        if call.held is None:
            call.held = []
        call.held.append(answer)
        connection.held_bytes += len(answer[0])
        if connection.held_bytes > connection.limits.out_bytes_max:
            self.end(connection, End.NOT_READING)

    def _release(self, connection: Connection) -> None:
        """Send what later calls have answered before their turn."""
        while connection.calls and connection.calls[0].held:
            held, connection.calls[0].held = connection.calls[0].held, None
            for frame, descriptors, final in held or ():
                connection.held_bytes -= len(frame)
                self._send(connection, frame, descriptors)
                if connection.closed:
                    return
                if final:
                    connection.calls.pop(0)

    def _send(self, connection: Connection, frame: bytes, descriptors: Sequence[int]) -> None:
        if connection.closed:
            close_all(descriptors)
            return
        waited = bool(connection.out)
        try:
            connection.send(frame, descriptors)
        except NotReading:
            self.end(connection, End.NOT_READING)
        except OSError:
            self.end(connection, End.PEER_LEFT)
        if connection.out and not waited:
            self._stalled.start(connection, self.now_s)

    def _write(self, connection: Connection) -> None:
        try:
            moved = connection.push()
        except OSError:
            self.end(connection, End.PEER_LEFT)
            return
        if moved and connection.out:
            self._stalled.start(connection, self.now_s)
        if not connection.out:
            self._stalled.drop(connection)
            drained, connection.drained = connection.drained, []
            for callback in drained:
                callback()
        self._settle(connection)

    def call_drained(self, connection: Connection, callback: Callable[[], None]) -> None:
        """Call back when nothing waits to be read: now or later."""
        if connection.closed:
            return
        if connection.out:
            connection.drained.append(callback)
        else:
            callback()

    # ---- deadlines

    def _expire(self) -> None:
        for connection in self._paused.take_due(self.now_s):
            connection.paused = False
            self._unsettled[connection] = None
        for connection in self._stalled.take_due(self.now_s):
            self.end(connection, End.NOT_READING)
        for connection in self._partial.take_due(self.now_s):
            if connection.mask & select.EPOLLIN:
                self.end(connection, End.HALF_A_FRAME)
            else:  # it was us who did not read
                self._partial.start(connection, self.now_s)


def _enter(connection: Connection, call: Call) -> None:
    if call.oneway:
        connection.oneway_calls += 1
    else:
        connection.calls.append(call)


def _quota(what: str, limit: int) -> Parameters:
    return {"what": what, "limit": limit}
