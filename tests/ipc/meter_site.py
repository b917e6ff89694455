"""Meters and PV services of one test on a real broker, with TLS beside plain AMQP."""

from __future__ import annotations

import csv
import json
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pika
import pytest

from energymarket.runtime.clock import boottime_ns, monotonic_s, sleep_until_boottime_ns
from tests.ipc.broker import Broker
from tests.ipc.processes import environment

PATIENCE_S: Final = 60.0
USER, PASSWORD = "meter", "s3cret of the test"
COLUMNS: Final = ["meter_id", "time_s", "meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w"]
SERIES: Final = "5c0f" * 8


def until(true: Callable[[], object], what: str) -> None:
    """Look often, for a while."""
    deadline_s = monotonic_s() + PATIENCE_S
    while not true():
        assert monotonic_s() < deadline_s, f"not within {PATIENCE_S:.0f} s: {what}"
        sleep_until_boottime_ns(boottime_ns() + 20_000_000)


def openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker with a user of our own, and TLS beside plain AMQP. Its directory has a short path."""
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        openssl(
            directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key.pem",
            "-out", "ca.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        )  # fmt: skip
        made = Broker(
            directory,
            [
                f"default_user = {USER}",
                f"default_pass = {PASSWORD}",
                "listeners.ssl.local = 127.0.0.1:{tls_port}",
                f"ssl_options.certfile = {directory}/ca.pem",
                f"ssl_options.keyfile = {directory}/key.pem",
            ],
        )
        made.start()
        try:
            yield made
        finally:
            made.close()


class Site:
    """Meters and PV services of one test, with names of their own on the shared broker."""

    def __init__(self, broker: Broker, directory: Path, stack: ExitStack) -> None:
        self.broker = broker
        self.directory = directory
        self.state = directory / "state"
        self.files = directory / "files"
        self._stack = stack
        (directory / "password").write_text(f"{PASSWORD}\n")
        self.ini = self.configured("broker.ini", port=broker.port)

    def configured(self, name: str, **keys: object) -> Path:
        """A configuration file."""
        path = self.directory / name
        keys = {"user": USER, "password_file": self.directory / "password", **keys}
        path.write_text("[broker]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        return path

    def run(self, program: str, *words: str, ini: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a service; its words are in a file of its name. It is killed at the end."""
        log = (self.directory / f"{program}.log").open("ab")
        with log:
            command = [sys.executable, "-m", f"energymarket.{program}", "-conf", str(ini or self.ini), *words]
            process = subprocess.Popen(command, stderr=log, env={**environment(), "TZ": "Europe/Berlin"})
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def meters(self, *words: str, ini: Path | None = None) -> subprocess.Popen[bytes]:
        """A meter service."""
        return self.run("meterd", "--state", str(self.state), *words, ini=ini)

    def pv(self, *words: str, ini: Path | None = None) -> subprocess.Popen[bytes]:
        """A PV service."""
        return self.run("pvd", "--directory", str(self.files), *words, ini=ini)

    def said(self, program: str) -> str:
        """What a program's processes have logged."""
        path = self.directory / f"{program}.log"
        return path.read_text() if path.exists() else ""

    def rows(self) -> list[dict[str, str]]:
        """All rows of all files; every file has the header, whole lines and the meter of its name."""
        found = []
        for path in sorted(self.files.glob("*.csv")):
            text = path.read_text()
            assert text.endswith("\n"), path
            reader = csv.DictReader(text.splitlines())
            assert reader.fieldnames == COLUMNS
            rows = list(reader)
            assert {row["meter_id"] for row in rows} == {path.name.split("-")[0]}
            assert all(None not in row and None not in row.values() for row in rows)
            found += rows
        return found

    def spooled(self) -> Counter[tuple[str, float, float]]:
        """What the meters read, (id, time, W), from the bytes of the spool alone."""
        found: Counter[tuple[str, float, float]] = Counter()
        for path in self.state.glob("*.spool"):
            content, at = path.read_bytes(), 32
            while at < len(content):
                _, length, _, time_ms, _, count = struct.unpack_from("<IIQqii", content, at)
                powers = struct.unpack_from(f"<{count}i", content, at + 32)
                found.update((f"Meter_{n}", time_ms / 1000, mw / 1000) for n, mw in enumerate(powers))
                at += length
        return found

    def written(self) -> Counter[tuple[str, float, float]]:
        """What stands in the files."""
        return Counter(
            (row["meter_id"], float(row["time_s"]), float(row["meter_power_value_w"])) for row in self.rows()
        )

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of the test's own."""
        parameters = pika.ConnectionParameters(
            "127.0.0.1", self.broker.port, credentials=pika.PlainCredentials(USER, PASSWORD)
        )
        with pika.BlockingConnection(parameters) as connection:
            yield connection.channel()

    def depth(self, queue: str) -> int | None:
        """Messages of a queue that are ready; None if it is not there."""
        try:
            with self.channel() as channel:
                return int(channel.queue_declare(queue, passive=True).method.message_count)
        except pika.exceptions.ChannelClosedByBroker:
            return None

    def unsettled(self, queue: str) -> int:
        """Messages of a queue, those too that somebody has and has not acknowledged yet."""
        said = self.broker.control("list_queues", "--quiet", "--no-table-headers", "name", "messages")
        return int(dict(line.split("\t") for line in said.splitlines())[queue])

    def publish(self, *bodies: bytes) -> None:
        """Say something under the name of the first meter."""
        with self.channel() as channel:
            for body in bodies:
                channel.basic_publish("energy.meters", "Meter_0", body)


@pytest.fixture
def site(broker: Broker, tmp_path: Path) -> Iterator[Site]:
    """Empty queues, no dead letters."""
    with ExitStack() as stack:
        made = Site(broker, tmp_path, stack)
        with made.channel() as channel:
            for name in [*(f"meter.Meter_{n}" for n in range(12)), "energy.meters.refused"]:
                channel.queue_delete(name)
        yield made


def ended(process: subprocess.Popen[bytes], number: signal.Signals | None = None) -> int:
    """Wait for a service, after a signal if one is named."""
    if number is not None:
        process.send_signal(number)
    return process.wait(PATIENCE_S)


def message(*samples: Sequence[object], meter: str = "Meter_0") -> bytes:
    return json.dumps({"meter_id": meter, "series": SERIES, "samples": samples}).encode()


def count(site: Site) -> int:
    """Whole lines of the files, headers left out, while somebody may be writing."""
    return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in site.files.glob("*.csv"))
