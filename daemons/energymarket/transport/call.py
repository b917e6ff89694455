"""One call of a peer, as the handler gets it; its answer may come later and from any thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energymarket.transport.passing import close_all, in_group
from energymarket.wire.varlink import Parameters, encode_error, encode_reply

if TYPE_CHECKING:
    from energymarket.transport.connection import Connection


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected: numbered from 1 for the server's life, credentials as they were at connect."""

    id: int
    pid: int
    uid: int
    gid: int
    socket: str  # name of the socket: "trade", "control"


class Call:
    """One call of a peer. Each call must be ended once by `reply` or `error`, from any thread.

    Answers leave in the order of the calls. After the peer is gone they are dropped without a word:
    `gone` tells. Descriptors given to an answer belong to the server from then on.
    """

    __slots__ = (
        "_answered",
        "_descriptors",
        "connection",
        "held",
        "method",
        "more",
        "oneway",
        "parameters",
    )

    def __init__(
        self,
        connection: Connection,
        method: str,
        parameters: Parameters,
        descriptors: list[int] | None,
        *,
        more: bool,
        oneway: bool,
    ) -> None:
        self.method = method
        self.parameters = parameters
        self.more = more
        self.oneway = oneway
        self.held: list[tuple[bytes, Sequence[int], bool]] | None = None  # answers before its turn
        self.connection = connection
        self._descriptors = dict(enumerate(descriptors)) if descriptors else None
        self._answered = False

    @property
    def peer(self) -> Peer:
        """Who calls."""
        return self.connection.peer

    def by_member_of(self, gid: int) -> bool:
        """Whether the caller is a member of this group."""
        return in_group(self.connection.sock, gid)

    @property
    def gone(self) -> bool:
        """Whether the connection is closed; a stream that sees it may end."""
        return self.connection.closed

    @property
    def backlog_bytes(self) -> int:
        """Answers of the connection that the peer has not read yet."""
        return self.connection.out_bytes

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The received descriptors that nobody took yet; they are closed when the call ends."""
        return tuple((self._descriptors or {}).values())

    def take_descriptor(self, place: int) -> int | None:
        """Hand over the descriptor at this place of the message; the caller closes it. None: no such."""
        return self._descriptors.pop(place, None) if self._descriptors else None

    def reply(
        self,
        parameters: Mapping[str, Any] | None = None,
        descriptors: Sequence[int] = (),
        *,
        continues: bool = False,
    ) -> None:
        """Answer; with `continues` more answers follow (only for calls with `more`)."""
        if continues and not self.more:
            raise self._unasked()
        self._end(encode_reply(parameters, continues=continues), descriptors, final=not continues)

    def reply_frame(self, frame: bytes, descriptors: Sequence[int] = (), *, continues: bool = False) -> None:
        """Answer with a frame of `encode_reply`: one encoding serves all watchers."""
        if continues and not self.more:
            raise self._unasked()
        self._end(frame, descriptors, final=not continues)

    def _unasked(self) -> ValueError:
        return ValueError(f"{self.method}: the caller did not ask for more")

    def error(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Answer with a named error."""
        self._end(encode_error(name, parameters), (), final=True)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once, in the loop's thread, when the peer has taken everything sent so far.

        Never called if the peer leaves before. A stream longer than a few answers goes from drain to
        drain, or it ends as a peer that does not read.
        """
        self.connection.loop.when_drained(self.connection, callback)

    def _end(self, frame: bytes, descriptors: Sequence[int], *, final: bool) -> None:
        if self._answered:
            close_all(descriptors)
            message = f"{self.method}: answered twice"
            raise RuntimeError(message)
        self._answered = final
        self.connection.loop.deliver(self, frame, descriptors, final=final)

    def close_descriptors(self) -> None:
        """Close what nobody took. Popping is atomic, so a taker in another thread never shares one."""
        while self._descriptors:
            try:
                _, descriptor = self._descriptors.popitem()
            except KeyError:  # the taker was faster
                return
            os.close(descriptor)
