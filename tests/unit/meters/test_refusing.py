"""What is put aside is settled when the broker has it, and sent again until then, while somebody waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from energymarket.meters.declaring import Closed, Declaring
from energymarket.meters.message import Refusal
from energymarket.meters.refusing import Letter, Refusing


class Broker:
    """A channel and its link, as far as they are used."""

    is_open = is_up = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.connects = 0

    def connect(self) -> None:
        """As a link."""
        self.connects += 1

    def ready(self) -> None:
        """As a link."""

    def basic_publish(
        self, exchange: str, _key: str, body: bytes, _properties: Any, *, mandatory: bool
    ) -> None:
        """As a channel."""
        assert (exchange, mandatory) == ("energy.meters.refused", True)
        self.bodies.append(body)


def acked(tag: int) -> Any:
    return SimpleNamespace(method=SimpleNamespace(NAME="Basic.Ack", delivery_tag=tag, multiple=False))


def test_a_letter_is_settled_by_its_confirm_and_sent_again_without_one() -> None:
    """The connection goes between two confirms: what is unconfirmed is sent again, unless it comes again."""
    refusing, broker = Refusing(Declaring()), Broker()
    refusing.use(broker)  # type: ignore[arg-type]
    settled: list[bytes] = []
    gone: set[bytes] = set()
    for body in (b"1", b"2", b"3"):
        wanted, settle = (lambda body=body: body not in gone), (lambda body=body: settled.append(body))
        refusing.put(Letter(body, Refusal.MALFORMED, "Meter_0", "meter.Meter_0", 0, wanted, settle))
    assert (broker.connects, broker.bodies) == (1, [])
    refusing._ready(broker)
    refusing._settled(acked(1))
    assert (broker.bodies, settled, refusing.pending) == ([b"1", b"2", b"3"], [b"1"], 2)
    gone.add(b"3")
    refusing.link_down("killed")
    again = Broker()
    refusing._ready(again)
    refusing._settled(acked(1))
    assert (again.bodies, settled, refusing.pending) == ([b"2"], [b"1", b"2"], 0)


def test_what_is_there_otherwise_is_judged_by_the_broker_s_words() -> None:
    """Texts of RabbitMQ 3.10: arguments are taken as they are once; another type, or not durable, never."""

    def said(text: str) -> Any:
        return SimpleNamespace(reply_code=406, reply_text=f"PRECONDITION_FAILED - {text}")

    declaring = Declaring()
    queue = "for queue 'meter.a' in vhost '/': received none but current is the value 'x' of type 'longstr'"
    arguments = said(f"inequivalent arg 'x-dead-letter-exchange' {queue}")
    assert declaring.closed(arguments) is Closed.AGAIN
    durable = said(
        "inequivalent arg 'durable' for queue 'b' in vhost 'v': received 'true' but current is 'false'"
    )
    assert declaring.closed(durable) is Closed.IN_THE_WAY
    kind = said(
        "inequivalent arg 'type' for exchange 'e' in vhost '/': received 'direct' but current is 'topic'"
    )
    assert declaring.closed(kind) is Closed.IN_THE_WAY
    gone = SimpleNamespace(reply_code=404, reply_text="NOT_FOUND - no queue 'meter.a' in vhost '/'")
    assert declaring.closed(gone) is Closed.AGAIN  # type: ignore[arg-type]
    assert declaring.closed(gone) is Closed.OTHER  # type: ignore[arg-type]
    assert declaring.closed(said("no word")) is Closed.OTHER
