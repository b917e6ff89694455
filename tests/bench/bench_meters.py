"""Meters and PV over RabbitMQ: samples a second through one PV service, beside a consumer that does nothing.

    python tests/bench/bench_meters.py [--meters 100] [--samples 100000] [--pairs 3]

A broker of its own is started and ended. Queues are filled first, then emptied:

    one     a sample a message, as live
    packed  128 samples a message, as what has waited is sent
    bare    the same messages as `one`, taken by pika and acknowledged in batches, and thrown away: what the
            broker and the library give one consumer here

All are of one run, in turn. Then a simulated day of ten meters, start to end, meters and PV together.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import pika

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.meters import topology
from energymarket.meters.limits import SAMPLES_PER_MESSAGE_MAX
from energymarket.meters.message import Message, Sample, encode
from energymarket.runtime.clock import monotonic_s
from tests.ipc.broker import Broker

SERIES = "5c0f" * 8
BEGIN_S = 1_782_856_800  # 2026-07-01 in Berlin
COMMIT_EVERY = 1_000


@contextmanager
def channel_of(broker: Broker) -> Iterator[Any]:
    """A channel."""
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port)) as connection:
        yield connection.channel()


def fill(broker: Broker, meters: Sequence[str], samples: int, packed: int, first: int) -> None:
    """Put samples into the queues of all meters, `packed` to a message; sequences begin at `first`."""
    properties = pika.BasicProperties(delivery_mode=2)
    with channel_of(broker) as channel:
        channel.exchange_declare("energy.meters", exchange_type="direct", durable=True)
        for meter in meters:
            channel.queue_declare(topology.queue(meter), durable=True)
            channel.queue_bind(topology.queue(meter), "energy.meters", meter)
        for at in range(first, first + samples, packed):
            last = min(at + packed, first + samples)
            rows = [Sample(n, BEGIN_S + 2 * (n % 43_000), 7200, 431.25) for n in range(at, last)]
            for meter in meters:
                body = encode(Message(meter, SERIES, rows))
                channel.basic_publish("energy.meters", meter, body, properties)


def cpu_s() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def served(ini: Path, directory: Path, meters: Sequence[str]) -> tuple[float, float]:
    """Seconds, and CPU seconds, in which one PV service empties the queues."""
    command = [sys.executable, "-m", "energymarket.pvd", "-conf", str(ini), "--directory", str(directory)]
    command += ["--idle-exit", "1", "-ids", *meters]
    before, begun_s = cpu_s(), monotonic_s()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "ENERGY_LOG": "ERROR"})
    return monotonic_s() - begun_s - 1.0, cpu_s() - before


def bare(broker: Broker, meters: Sequence[str], messages: int) -> tuple[float, float]:
    """Seconds, and CPU seconds, in which a consumer that does nothing takes so many messages."""
    with channel_of(broker) as channel:
        channel.basic_qos(prefetch_count=2 * COMMIT_EVERY)
        taken = 0

        def take(chan: Any, method: Any, _properties: Any, _body: bytes) -> None:
            nonlocal taken
            taken += 1
            if taken % COMMIT_EVERY == 0 or taken == messages:
                chan.basic_ack(method.delivery_tag, multiple=True)
            if taken == messages:
                chan.stop_consuming()

        before, begun_s = process_time(), monotonic_s()
        for meter in meters:
            channel.basic_consume(topology.queue(meter), take)
        channel.start_consuming()
        return monotonic_s() - begun_s, process_time() - before


def day(ini: Path, directory: Path) -> float:
    """Seconds of a simulated day of ten meters, meters and PV started together."""
    ids = [topology.meter_id(number) for number in range(10)]
    base = [sys.executable, "-m"]
    begun_s = monotonic_s()
    with (
        subprocess.Popen(
            [*base, "energymarket.pvd", "-conf", str(ini), "--directory", str(directory / "day"),
             "--idle-exit", "1", "-ids", *ids], stderr=subprocess.DEVNULL,
        ) as pv,
        subprocess.Popen(
            [*base, "energymarket.meterd", "-conf", str(ini), "--state", str(directory / "spool"),
             "-nb", "10", "--start", "2026-07-01", "--for", "1d", "--speed", "0"], stderr=subprocess.DEVNULL,
        ) as meters,
    ):  # fmt: skip
        assert meters.wait(300) == 0
        assert pv.wait(300) == 0
    rows = sum(path.read_bytes().count(b"\n") - 1 for path in (directory / "day").glob("*.csv"))
    assert rows == 10 * 43_200, rows
    return monotonic_s() - begun_s - 1.0


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meters", type=int, default=100)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    meters = [topology.meter_id(number) for number in range(given.meters)]
    each = given.samples // given.meters
    whole = each * given.meters
    rates: dict[str, list[float]] = {"one": [], "packed": [], "bare": []}
    cpu_us: dict[str, list[float]] = {"one": [], "packed": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp", ignore_cleanup_errors=True) as name:
        broker = Broker(Path(name))
        broker.start()
        try:
            ini = Path(name) / "broker.ini"
            ini.write_text(f"[broker]\nhost = 127.0.0.1\nport = {broker.port}\n")
            first = 1
            for pair in range(given.pairs):
                for kind, packed in (("one", 1), ("packed", SAMPLES_PER_MESSAGE_MAX)):
                    fill(broker, meters, each, packed, first)
                    spent_s, used_s = served(ini, Path(name) / f"{kind}-{pair}", meters)
                    rates[kind].append(whole / spent_s)
                    cpu_us[kind].append(used_s / whole * 1e6)
                    first += each
                fill(broker, meters, each, 1, first)
                spent_s, used_s = bare(broker, meters, whole)
                rates["bare"].append(whole / spent_s)
                cpu_us["bare"].append(used_s / whole * 1e6)
            print(f"{given.meters} meters, {whole} samples, {given.pairs} pairs; medians")
            for kind, found in rates.items():
                used = f"{median(cpu_us[kind]):.1f} µs of CPU of the consumer each"
                print(f"  {kind:7} {median(found):10,.0f} samples/s, {used}")
            ratio = median(a / b for a, b in zip(rates["one"], rates["bare"], strict=True))
            print(f"  one / bare: {ratio:.2f} of its rate")
            print(f"a simulated day of ten meters at 2 s: {day(ini, Path(name)):.1f} s")
        finally:
            broker.close()


if __name__ == "__main__":
    main()
