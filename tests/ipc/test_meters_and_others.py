"""Meters and PV on a broker that others use, too: who declares first, what is in the way, what is refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pika
import pytest

from energymarket.runtime.clock import monotonic_s
from tests.ipc import meter_site
from tests.ipc.meter_site import Site, count, ended, message, until

pytestmark = [pytest.mark.needs("rabbitmqctl", "openssl"), pytest.mark.xdist_group("broker")]

broker = meter_site.broker
site = meter_site.site

NOON_S: Final = 1_782_900_000  # 2026-07-01T10:00Z
NIGHT_S: Final = 1_782_943_200  # 2026-07-01T22:00Z: midnight in Berlin, where the services of a test are
REFUSED: Final = "energy.meters.refused"


def declared(site: Site) -> None:
    """Declare what the specification says, as anybody would; the broker refuses what is otherwise."""
    with site.channel() as channel:
        channel.exchange_declare("energy.meters", exchange_type="direct", durable=True)
        channel.queue_declare("meter.Meter_0", durable=True)
        channel.queue_bind("meter.Meter_0", "energy.meters", "Meter_0")


def test_whoever_declares_first_the_other_may_too(site: Site) -> None:
    """An outsider before us, and again while we are there; what it says by the plain names is written."""
    declared(site)
    site.publish(message([1, NOON_S, 7200, 1.0]))
    pv = site.pv("-ids", "Meter_0")
    until(lambda: count(site) == 1, "the outsider's queue is served")
    declared(site)
    meter = site.meters("--interval", "0.05")
    until(lambda: count(site) > 3, "a meter is heard as well")
    declared(site)
    assert ended(meter, signal.SIGTERM) == 0
    assert ended(pv, signal.SIGTERM) == 0
    assert "is there with another" not in site.said("pvd") + site.said("meterd")


def test_a_meter_of_somebody_else_s_says_plain_objects(site: Site) -> None:
    """One sample each, counted from 0, without series and clock: in the file of its zone's day, once."""

    def said(sequence: int, power_w: float) -> bytes:
        plain = {
            "meter_id": "Meter_0",
            "sequence": sequence,
            "time_s": NIGHT_S + sequence,
            "power_w": power_w,
        }
        return json.dumps(plain).encode()

    declared(site)
    site.publish(said(0, 1.5), said(1, 2.5), said(0, 1.5), said(2, 1e12))
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5")) == 0
    site.publish(said(1, 2.5), said(0, 1.5), said(3, 3.5))
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5", "--timezone", "America/New_York")) == 0
    found = {
        path.name: [row.split(",")[1:3] for row in path.read_text().splitlines()[1:]]
        for path in site.files.glob("*.csv")
    }
    assert found == {
        "Meter_0-2026-7-2.csv": [[str(NIGHT_S), "1.5"], [str(NIGHT_S + 1), "2.5"]],
        "Meter_0-2026-7-1.csv": [[str(NIGHT_S + 3), "3.5"]],
    }
    sun_kw = {row["time_s"]: float(row["pv_power_value_kw"]) for row in site.rows()}
    assert sun_kw[str(NIGHT_S)] == 0
    assert abs(sun_kw[str(NIGHT_S + 3)] - 1.91) < 0.05  # 18:00 in New York, by the table
    assert site.depth(REFUSED) == 1


def test_a_queue_with_arguments_of_an_earlier_release_is_used_as_it_is(site: Site) -> None:
    """What waits in it is written, meters publish into it, and both sides say so once."""
    with site.channel() as channel:
        channel.exchange_declare("energy.meters", exchange_type="direct", durable=True)
        channel.queue_declare(
            "meter.Meter_0", durable=True, arguments={"x-dead-letter-exchange": "energy.meters.refused"}
        )
        channel.queue_bind("meter.Meter_0", "energy.meters", "Meter_0")
    site.publish(message([1, NOON_S, 7200, 1.0]))
    assert ended(site.meters("--start", "2026-07-02", "--for", "4s", "--speed", "0")) == 0
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5")) == 0
    assert count(site) == 3
    for program in ("meterd", "pvd"):
        assert site.said(program).count("'x-dead-letter-exchange'") == 1
        assert "used as it is" in site.said(program)


@contextmanager
def in_the_way(site: Site, kind: str) -> Iterator[None]:
    """The exchange with another type, until the end."""
    with site.channel() as channel:
        channel.exchange_delete("energy.meters")
        channel.exchange_declare("energy.meters", exchange_type=kind, durable=True)
    try:
        yield
    finally:
        with site.channel() as channel:
            channel.exchange_delete("energy.meters")


def test_an_exchange_of_another_type_is_said_once_and_asked_for_ever_more_rarely(site: Site) -> None:
    """One error each, no hurry although the broker lets us in each time; when it is gone all goes on."""

    def refusals() -> int:
        return (site.broker.directory / "log").read_text(errors="replace").count("inequivalent arg 'type'")

    before = refusals()
    with in_the_way(site, "fanout"):
        begun_s = monotonic_s()
        meter = site.meters("--interval", "0.1")
        until(lambda: refusals() == before + 5, "it is tried again and again")
        # Half of 0.2, 0.4, 0.8 and 1.6 s is waited between five attempts at the least.
        assert monotonic_s() - begun_s >= 1.5
        pv = site.pv("-ids", "Meter_0", "Meter_1")
        until(lambda: "'energy.meters' is there with another 'type'" in site.said("pvd"), "PV says so, too")
    until(lambda: site.files.exists() and count(site) > 3, "with the exchange gone samples flow")
    assert ended(meter, signal.SIGTERM) == 0
    assert ended(pv, signal.SIGTERM) == 0
    for program in ("meterd", "pvd"):
        assert site.said(program).count("is there with another 'type'") == 1


def test_a_queue_that_a_restart_would_empty_is_not_used(site: Site) -> None:
    """Not durable is said, by name; deleted, it is made anew, and nothing is lost."""
    with site.channel() as channel:
        channel.queue_declare("meter.Meter_0", durable=False)
    meter = site.meters("--start", "2026-07-02", "--for", "4s", "--speed", "0")
    until(lambda: "'meter.Meter_0' is there with another 'durable'" in site.said("meterd"), "it says so")
    with site.channel() as channel:
        channel.queue_delete("meter.Meter_0")
    assert ended(meter) == 0
    assert site.depth("meter.Meter_0") == 1  # both samples, packed


def test_what_is_put_aside_says_why(site: Site) -> None:
    """Headers have reason, meter and time; a queue that was deleted meanwhile is made again."""
    pv = site.pv("-ids", "Meter_0")
    until(lambda: site.depth("meter.Meter_0") == 0, "the PV side declares the queue")
    sender = {"message_id": "42", "content_type": "text/plain", "headers": {"batch": 7}}
    with site.channel() as channel:
        said = pika.BasicProperties(expiration="600000", **sender)
        channel.basic_publish("energy.meters", "Meter_0", b"{not json", said)
    until(lambda: site.depth(REFUSED) == 1, "it is put aside")
    with site.channel() as channel:
        method, properties, body = channel.basic_get(REFUSED, auto_ack=True)
        assert method is not None
        channel.queue_delete(REFUSED)
    told = properties.headers
    assert (body, told["x-refusal"], told["x-meter"]) == (b"{not json", "malformed", "Meter_0")
    assert told["x-queue"] == "meter.Meter_0"
    assert properties.delivery_mode == 2
    # Whoever sent it knows it again, and it does not end by itself.
    assert (properties.message_id, properties.content_type, told["batch"]) == ("42", "text/plain", 7)
    assert properties.expiration is None
    assert 0 <= told["x-time"] - int(site.ini.stat().st_mtime) <= 120
    site.publish(message([1, NOON_S, 7200, 1e12]))
    until(lambda: site.depth(REFUSED) == 1, "it is put aside although the queue was gone")
    assert ended(pv, signal.SIGTERM) == 0
    assert site.depth("meter.Meter_0") == 0
    assert not list(site.files.glob("*.csv"))


def test_a_broker_short_of_memory_takes_acknowledgements_although_something_is_put_aside(site: Site) -> None:
    """While publishing is blocked, what a meter has said drains; the refused message follows in the end."""
    assert ended(site.meters("--start", "2026-07-02", "--for", "4s", "--speed", "0")) == 0
    site.publish(b"{not json", *(message([9 + n, NOON_S + n, 7200, 1.0]) for n in range(3_000)))
    site.broker.control("set_vm_memory_high_watermark", "0.000001")
    try:
        pv = site.pv("-ids", "Meter_0")
        until(lambda: site.files.exists() and count(site) == 3_002, "what is valid is written")
        until(lambda: site.depth(REFUSED) in {None, 0}, "nothing can be put aside now")
        until(lambda: site.unsettled("meter.Meter_0") == 1, "all but what was refused is settled")
        pv.kill()
        pv.wait()
    finally:
        site.broker.control("set_vm_memory_high_watermark", "0.4")
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5")) == 0
    assert (site.depth("meter.Meter_0"), count(site)) == (0, 3_002)
    assert site.depth(REFUSED) in {1, 2}  # twice, if the broker found the dead service's word after all
