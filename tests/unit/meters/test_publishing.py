"""What was published leaves the spool when it, and all before it, is confirmed; a refusal begins anew."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from energymarket.meters.household import Household
from energymarket.meters.message import Message, decode
from energymarket.meters.publishing import Publishing
from energymarket.meters.spool import Spool
from energymarket.meters.timetable import Timetable


class Channel:
    """Takes what is published, as the broker would; `is_open` as long as nobody drops the link."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.dropped = 0

    def basic_publish(
        self, exchange: str, key: str, body: bytes, properties: Any, *, mandatory: bool
    ) -> None:
        """One message."""
        assert (exchange, key, mandatory) == ("energy.meters", "Meter_0", True)
        assert properties.delivery_mode == 2
        self.bodies.append(body)

    def ready(self) -> None:
        """As a link."""

    def drop(self, _reason: str) -> None:
        """As a link."""
        self.dropped += 1


def settled(tag: int, name: str = "Basic.Ack", *, multiple: bool = False) -> Any:
    return SimpleNamespace(method=SimpleNamespace(NAME=name, delivery_tag=tag, multiple=multiple))


def test_a_confirm_frees_what_it_and_all_before_it_have_confirmed(tmp_path: Path) -> None:
    """Three messages of 300 samples: the second alone frees nothing, with the first both; then the rest."""
    spool = Spool(tmp_path)
    spool.open()
    timetable = Timetable(2_000, 1_782_856_800_000, 1_782_856_800_000 + 600_000, live=False)
    houses = [Household(1, 0, ZoneInfo("UTC"))]
    publishing = Publishing(["Meter_0"], houses, spool, timetable, lambda: 1e17, lambda _: 0, 0.0)
    channel = Channel()
    publishing._ready(channel)
    messages = [decode(body, "Meter_0") for body in channel.bodies]
    sequences = [
        [sample.sequence for sample in each.samples] for each in messages if isinstance(each, Message)
    ]
    assert [(each[0], each[-1]) for each in sequences] == [(1, 128), (129, 256), (257, 300)]
    publishing._settled(settled(2))
    assert spool.confirmed == 0
    publishing._settled(settled(1))
    assert (spool.confirmed, publishing.is_done) == (256, False)
    publishing._settled(settled(3, multiple=True))
    assert (spool.confirmed, publishing.is_done) == (300, True)


def test_a_refusal_makes_the_connection_anew_and_says_all_of_it_again(tmp_path: Path) -> None:
    """Nothing is confirmed by it; the next channel gets the same messages."""
    spool = Spool(tmp_path)
    spool.open()
    timetable = Timetable(2_000, 1_782_856_800_000, 1_782_856_800_000 + 20_000, live=False)
    houses = [Household(1, 0, ZoneInfo("UTC"))]
    publishing = Publishing(["Meter_0"], houses, spool, timetable, lambda: 1e17, lambda _: 0, 0.0)
    first, second = Channel(), Channel()
    publishing._link = first  # type: ignore[assignment]
    publishing._ready(first)
    publishing._settled(settled(1, "Basic.Nack"))
    assert (first.dropped, spool.confirmed) == (1, 0)
    publishing._ready(second)
    assert second.bodies == first.bodies
