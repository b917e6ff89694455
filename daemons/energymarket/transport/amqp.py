"""A link to an AMQP broker: one connection that is made again with back-off and jitter, on pika's own loop.

The link decides nothing about what is said over it. Whoever owns it is told when it is up and when it is
down, opens channels in between, and shares the loop with its own descriptors and deadlines. pika is imported
when a link is made: no other daemon pays for it.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from energymarket.exits import ConfigError
from energymarket.runtime import clock

if TYPE_CHECKING:
    from pathlib import Path

    from pika.adapters.select_connection import IOLoop, SelectConnection
    from pika.channel import Channel

log = logging.getLogger(__name__)

PORT: Final = 5672
TLS_PORT: Final = 5671
_FORCED: Final = 320
"""AMQP's CONNECTION_FORCED: a broker that stops, or an operator. Every other code is an error of ours."""
_REFUSED: Final = {
    "ProbableAuthenticationError": "it does not let this user in with this password",
    "ProbableAccessDeniedError": "it does not let this user into this vhost",
    "IncompatibleProtocolError": "it speaks something else, or expects TLS",
}
"""What pika takes a broker to mean that closes a connection while it is made."""


@dataclass(frozen=True, slots=True)
class Address:
    """Which broker, and who we are to it. The password is in no text of it."""

    host: str = "localhost"
    port: int = PORT
    user: str = "guest"
    password: str = "guest"  # noqa: S105 RabbitMQ's own for connections from the same machine
    vhost: str = "/"
    tls: bool = False
    ca_file: Path | None = None

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{self.user}@{self.host}:{self.port}/{self.vhost.removeprefix('/')}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a link that failed is tried again, and what is waited for, in seconds."""

    first_s: float
    most_s: float
    connect_s: float
    heartbeat_s: int

    def delay_s(self, failures: int, drawn: float) -> float:
        """Before the next attempt, after one failure or more: doubled each time, in the upper half of it."""
        whole = min(self.most_s, self.first_s * float(1 << min(failures - 1, 32)))
        return whole * (0.5 + 0.5 * drawn)


def new_loop() -> IOLoop:
    """A loop of pika's, to be closed by whoever asked. ConfigError where pika is not installed."""
    try:
        from pika.adapters import select_connection  # noqa: PLC0415 see above
    except ImportError as problem:
        raise ConfigError(
            "pika is not installed, and it speaks to the broker", "pip install 'energy-market[meters]'"
        ) from problem
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # we say it ourselves, in a line
    return select_connection.IOLoop()


class Owner(Protocol):
    """Who uses a link."""

    def link_up(self, link: Link) -> None:
        """The connection is open: channels can be. Who can work with it then says so: `Link.ready`."""

    def link_down(self, reason: str) -> None:
        """The connection is gone, with all of its channels; or it could not be made."""


class Link:
    """One connection at a time to one broker."""

    def __init__(
        self, loop: IOLoop, address: Address, pace: Pace, name: str, owner: Owner, draw: Callable[[], float]
    ) -> None:
        """`draw` answers chance in 0..1, for jitter."""
        self.loop = loop
        self._address = address
        self._pace = pace
        self._name = name
        self._owner = owner
        self._draw = draw
        self._connection: SelectConnection | None = None
        self._failures = 0
        self._ready_s: float | None = None  # since when this connection serves its owner
        self._dropped = False  # by us, or by a broker that found an error in what we said
        self._why = ""
        self._hung_up: Callable[[], None] | None = None  # once closed for good: what happens then
        self._retry: Any = None

    @property
    def is_up(self) -> bool:
        """Whether channels can be opened."""
        return self._connection is not None and self._connection.is_open

    def connect(self) -> None:
        """Try once; a failure is tried again later, until `close`. ConfigError if TLS cannot be set up."""
        from pika.adapters.select_connection import SelectConnection  # noqa: PLC0415 see above

        self._retry = None
        self._connection = SelectConnection(
            self._parameters(), self._opened, self._not_opened, self._closed, custom_ioloop=self.loop
        )

    def _parameters(self) -> Any:  # noqa: ANN401 pika's
        import pika  # noqa: PLC0415 see above

        address = self._address
        return pika.ConnectionParameters(
            host=address.host,
            port=address.port,
            virtual_host=address.vhost,
            credentials=pika.PlainCredentials(address.user, address.password),
            heartbeat=self._pace.heartbeat_s,
            connection_attempts=1,
            socket_timeout=self._pace.connect_s,
            stack_timeout=self._pace.connect_s,
            client_properties={"connection_name": self._name},
            ssl_options=self._ssl(pika) if address.tls else None,
        )

    def _ssl(self, pika: Any) -> Any:  # noqa: ANN401 pika's
        """The broker's certificate is checked against the named authority, or the machine's own."""
        try:
            context = ssl.create_default_context(cafile=self._address.ca_file)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(f"{self._address.ca_file} cannot be used: {problem}") from problem
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return pika.SSLOptions(context, self._address.host)

    def delay_s(self, failures: int, first_s: float) -> float:
        """How long somebody on this link waits who has failed so often, beginning with so much."""
        return replace(self._pace, first_s=first_s).delay_s(failures, self._draw())

    def ready(self) -> None:
        """This connection serves: what goes wrong from now on is a first failure.

        A broker that lets us in and then refuses what we need is a failure like one that is not there. The
        owner that gives a connection up again soon after it said so is not believed that it did.
        """
        if self._ready_s is None:
            self._ready_s = clock.monotonic_s()

    def _has_served(self) -> bool:
        if self._ready_s is None:
            return False
        return not self._dropped or clock.monotonic_s() - self._ready_s >= self._pace.most_s

    def _opened(self, connection: SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._blocked)
        if self._hung_up is not None:
            self.close(self._hung_up)
            return
        self._owner.link_up(self)

    def _blocked(self, _connection: SelectConnection, frame: Any) -> None:  # noqa: ANN401 pika's
        log.warning("the broker takes no messages for now: %s", frame.method.reason)

    def _not_opened(self, _connection: SelectConnection, problem: BaseException) -> None:
        self._gone(_words(problem))

    def _closed(self, _connection: SelectConnection, problem: BaseException) -> None:
        self._dropped |= getattr(problem, "reply_code", _FORCED) != _FORCED
        self._gone(_words(problem))

    def _gone(self, reason: str) -> None:
        self._connection = None
        if self._hung_up is not None:
            self._hung_up()
            return
        self._failures = 1 if self._has_served() else self._failures + 1
        self._ready_s, self._dropped = None, False
        self._retry = self.loop.call_later(self._pace.delay_s(self._failures, self._draw()), self.connect)
        self._owner.link_down(f"{self._address}: {reason}")

    def channel(self, opened: Callable[[Channel], None]) -> None:
        """Open a channel; nothing happens if the connection goes meanwhile."""
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=opened)

    def drop(self, reason: str) -> None:
        """Give the connection up and make another one: what is unsettled on it comes again."""
        if self._connection is not None and self._connection.is_open:
            if reason != self._why or self._has_served():
                log.warning("the connection to %s is made anew: %s", self._address, reason)
            self._why = reason
            self._dropped = True
            self._connection.close()

    def close(self, closed: Callable[[], None]) -> None:
        """Close for good; `closed` is called when the broker has said goodbye."""
        self._hung_up = closed
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        elif self._connection is None:
            if self._retry is not None:
                self.loop.remove_timeout(self._retry)
            closed()


def _words(problem: BaseException) -> str:
    """One line of why a connection failed, out of pika's nested exceptions."""
    inner: Any = problem
    while True:
        nested = getattr(inner, "exceptions", None) or getattr(inner, "exception", None)
        if isinstance(nested, tuple | list) and nested:
            nested = nested[-1]
        if nested is None and inner.args and isinstance(inner.args[0], BaseException):
            nested = inner.args[0]
        if not isinstance(nested, BaseException) or nested is inner:
            break
        inner = nested
    text = " ".join(str(getattr(inner, "reply_text", "") or inner).split())
    if "Timeout while setting up" in text:
        return "it does not answer"
    refused = _REFUSED.get(type(inner).__name__)
    if refused is not None:
        return f"{refused}: {text}"
    return text if text and text != "None" else type(inner).__name__
