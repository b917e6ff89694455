"""Meters and PV over a real broker: every sample once in the files, whoever dies, is late, or babbles."""

from __future__ import annotations

import csv
import itertools
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from energymarket.runtime.clock import monotonic_s
from tests.ipc import meter_site
from tests.ipc.meter_site import COLUMNS, PASSWORD, PATIENCE_S, Site, count, ended, message, until
from tests.ipc.processes import environment

pytestmark = [pytest.mark.needs("rabbitmqctl", "openssl"), pytest.mark.xdist_group("broker")]

broker = meter_site.broker
site = meter_site.site


# ---------------------------------------------------------------- by hand


def test_the_two_commands_by_hand(site: Site) -> None:
    """Three meters, one without a PV service until later: names, header, columns, sums, clean ends."""
    meters = site.meters("-nb", "3", "--start", "2026-03-07T23:59:30", "--for", "1min", "--speed", "60")
    pv = site.pv("-ids", "Meter_0", "Meter_2")
    assert ended(meters) == 0
    assert "Meter created: ['Meter_0', 'Meter_1', 'Meter_2']" in site.said("meterd")
    until(lambda: count(site) == 60, "two meters' samples are written")
    assert ended(pv, signal.SIGINT) == 0
    days = ("2026-3-7", "2026-3-8")
    names = {f"{meter}-{day}.csv" for meter in ("Meter_0", "Meter_2") for day in days}
    assert {path.name for path in site.files.glob("*.csv")} == names
    # The third meter's PV service comes when the meter is long gone: the broker has kept all of it.
    late = site.pv("--meter-ids", "Meter_1", "--idle-exit", "0.5")
    assert ended(late) == 0
    assert site.written() == site.spooled()
    for row in site.rows():
        meter_w, pv_kw, both_w = (float(row[name]) for name in COLUMNS[2:])
        assert both_w == pytest.approx(meter_w + 1000 * pv_kw, abs=1e-6)
        assert 0 <= meter_w <= 9_000
        assert pv_kw == 0  # it is midnight
    times = [float(row["time_s"]) for row in site.rows() if row["meter_id"] == "Meter_1"]
    assert times == [1_772_924_370 + 2 * at for at in range(30)]  # 2026-03-07T22:59:30Z


@pytest.mark.parametrize(
    ("module", "words", "code", "told"),
    [
        ("meterd", ["-nb", "x"], 2, "-nb/--nb-meter"),
        ("pvd", ["-ids"], 2, "-ids/--meter-ids"),
        ("pvd", [], 78, "no meter is named"),
        ("meterd", ["-conf", "/nowhere.ini"], 78, "/nowhere.ini"),
        ("meterd", ["--start", "1999-12-31"], 2, "2000-01-01 to 2099-12-31"),
        ("meterd", ["--start", "2000-01-01T00:00+02:00"], 2, "2000-01-01 to 2099-12-31"),
        ("meterd", ["--start", "2099-12-31T00:00Z", "--for", "2d"], 2, "2000-01-01 to 2099-12-31"),
        ("meterd", ["-h"], 0, "--configuration-file"),
        ("pvd", ["--help"], 0, "--configuration-file"),
    ],
)
def test_wrong_words_end_with_a_line_and_a_code(
    module: str, words: list[str], code: int, told: str, tmp_path: Path
) -> None:
    """Nothing is connected to, and no traceback is shown."""
    done = subprocess.run(
        [sys.executable, "-m", f"energymarket.{module}", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(), timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_tls_and_a_password_are_checked(site: Site) -> None:
    """With the broker's authority it goes through; without it, or with a wrong password, nothing is sent."""
    day = ("--start", "2026-07-01T12:00", "--for", "10s", "--speed", "0")
    stranger = site.configured("stranger.ini", host="localhost", port=site.broker.tls_port, tls="yes")
    refused = site.meters(*day, ini=stranger)
    until(lambda: "certificate verify failed" in site.said("meterd"), "a certificate of nobody's is refused")
    assert ended(refused, signal.SIGTERM) == 0
    wrong = site.configured("wrong.ini", port=site.broker.port, password_file=site.ini)
    denied = site.meters(*day, ini=wrong)
    until(lambda: "ACCESS_REFUSED" in site.said("meterd"), "a wrong password is refused")
    assert ended(denied, signal.SIGTERM) == 0
    line = next(each for each in site.said("meterd").splitlines() if "ACCESS_REFUSED" in each)
    assert "user" in line
    assert "password" in line
    assert f":{site.broker.port}/" in line  # where it is, as one who has two brokers needs to know
    assert line.count("ACCESS_REFUSED") == 1
    trusted = site.configured(
        "tls.ini",
        host="localhost",
        port=site.broker.tls_port,
        tls="yes",
        ca_file=site.broker.directory / "ca.pem",
    )
    assert ended(site.meters(*day, ini=trusted)) == 0
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5", ini=trusted)) == 0
    assert len(site.rows()) == 5
    assert PASSWORD not in site.said("meterd") + site.said("pvd")


# ---------------------------------------------------------------- nonsense


def test_nonsense_is_put_aside_and_stops_nothing(site: Site) -> None:
    """Counted, a dead letter as it came, never written; duplicates are dropped, late samples are written."""
    pv = site.pv("-ids", "Meter_0")
    until(lambda: site.depth("meter.Meter_0") == 0, "the PV side declares the queue")
    noon_s = 1_782_900_000  # 2026-07-01T10:00Z
    nonsense = [
        b"{not json",
        b'{"meter_id": "Meter_0"}',
        message([1, noon_s, 7200, 5.0], meter="Meter_9"),
        message(["1", noon_s, 7200, "5"]),
        message([1, noon_s, 7200, 1e12]),
        message([1, noon_s, 7200, float("nan")]),
    ]
    site.publish(
        message([2, noon_s + 2, 7200, 2.0]),
        *nonsense,
        message([4, noon_s + 6, 7200, 4.0]),
        message([2, noon_s + 2, 7200, 2.0]),  # a duplicate
        message([4, noon_s + 6, 7200, 4.0], [5, noon_s + 8, 7200, 5.0]),  # half of it is one
        message([1, noon_s - 86_400, 7200, 1.0]),  # late by a day
    )
    until(lambda: count(site) == 4, "what is valid is written")
    assert ended(pv, signal.SIGTERM) == 0
    found = {
        path.name: [
            float(row["meter_power_value_w"]) for row in csv.DictReader(path.read_text().splitlines())
        ]
        for path in site.files.glob("*.csv")
    }
    assert found == {"Meter_0-2026-6-30.csv": [1.0], "Meter_0-2026-7-1.csv": [2.0, 4.0, 5.0]}
    assert site.depth("meter.Meter_0") == 0
    assert site.depth("energy.meters.refused") == len(nonsense)
    with site.channel() as channel:
        letters = [channel.basic_get("energy.meters.refused", auto_ack=True)[2] for _ in nonsense]
    assert sorted(letters) == sorted(nonsense)
    assert re.search(r"4 samples written, 2 dropped as duplicates, 6 put aside", site.said("pvd"))
    assert "6 put aside: absurd 1, alien 1, malformed 4" in site.said("pvd")
    # A restart remembers: the same again is nothing new.
    site.publish(message([1, noon_s, 7200, 1.0], [5, noon_s, 7200, 5.0]))
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5")) == 0
    assert len(site.rows()) == 4


def test_a_meter_has_one_consumer(site: Site) -> None:
    """A second service in another directory waits, says so, and takes over when the first one dies."""
    meters = site.meters("--interval", "0.05")
    first = site.pv("-ids", "Meter_0")
    until(lambda: len(list(site.files.glob("*.csv"))) > 0, "the first writes")
    other = site.directory / "other"
    second = site.run("pvd", "--directory", str(other), "-ids", "Meter_0")
    told = "its queue is not ours: another service consumes it, and is waited for"
    until(lambda: told in site.said("pvd"), "the second is refused")
    assert not list(other.glob("*.csv"))
    same = site.pv("-ids", "Meter_0")
    assert ended(same) == 73  # the files are the first's
    first.kill()
    until(lambda: list(other.glob("*.csv")), "the second takes over")
    assert ended(meters, signal.SIGTERM) == 0
    assert ended(second, signal.SIGTERM) == 0


# ---------------------------------------------------------------- full disks


def test_a_full_disk_acknowledges_nothing_that_is_not_on_it(site: Site) -> None:
    """A file may not grow: the broker keeps the rest, the service says so; with room all is there."""
    assert ended(site.meters("--start", "2026-07-01", "--for", "6h", "--speed", "0")) == 0
    samples = 6 * 1800
    pv = site.pv("-ids", "Meter_0")
    resource.prlimit(pv.pid, resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))
    until(lambda: "samples cannot be written" in site.said("pvd"), "the service says that the disk is full")
    assert 0 < count(site) < samples
    pv.kill()  # with a batch half written
    pv.wait()
    again = site.pv("-ids", "Meter_0")
    resource.prlimit(again.pid, resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))
    until(lambda: site.said("pvd").count("samples cannot be written") == 2, "it is still full")
    resource.prlimit(again.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: count(site) == samples, "with room all is written")
    assert "samples can be written again" in site.said("pvd")
    assert ended(again, signal.SIGTERM) == 0
    assert set(site.written().values()) == {1}
    assert {time for _, time, _ in site.written()} == {1_782_856_800.0 + 2 * at for at in range(samples)}


def test_a_spool_that_is_full_says_so_and_goes_on(site: Site) -> None:
    """The broker is away: what finds no room is not invented later, what was kept arrives in the end."""
    nobody = site.configured("nobody.ini", port=site.broker.spare_port)
    words = ("--interval", "0.001", "--spool-bytes", "65536")
    meters = site.meters(*words, ini=nobody)
    until(lambda: "the spool is full" in site.said("meterd"), "it says that it is full")
    assert "the broker is away" in site.said("meterd")
    assert ended(meters, signal.SIGTERM) == 0
    kept = site.spooled()
    assert 1_500 < len(kept) < 2_000  # 36 bytes each
    back = site.meters("--start", "2026-07-01", "--for", "2s", "--speed", "0")
    assert ended(back) == 0
    assert ended(site.pv("-ids", "Meter_0", "--idle-exit", "0.5")) == 0
    assert site.written() >= kept
    assert len(site.rows()) == len(kept) + 1


# ---------------------------------------------------------------- death


class Trio:
    """Broker, three meters and their PV service, each of which may be ended and started."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.running = {"meters": self._meters(), "pv": self._pv()}

    def _meters(self) -> subprocess.Popen[bytes]:
        return self._site.meters("-nb", "3", "--interval", "0.01")

    def _pv(self) -> subprocess.Popen[bytes]:
        return self._site.pv("-ids", "Meter_0", "Meter_1", "Meter_2")

    def end(self, part: str, number: signal.Signals) -> None:
        """End one."""
        if part != "broker":
            ended(self.running[part], number)
        elif number == signal.SIGKILL:
            self._site.broker.kill()
        else:
            self._site.broker.stop()

    def start(self, part: str) -> None:
        """Start one."""
        if part == "broker":
            self._site.broker.start()
        else:
            self.running[part] = self._meters() if part == "meters" else self._pv()

    def all_at_once(self, down: Sequence[str], up: Sequence[str], number: signal.Signals) -> None:
        """All are down before any is up."""
        for part in down:
            self.end(part, number)
        for part in up:
            self.start(part)

    def one_by_one(self, down: Sequence[str], number: signal.Signals) -> None:
        """The others go on, and all is well again before the next one ends.

        A broker is frozen before it is killed, so that what is under way to it dies with it.
        """
        for part in down:
            if part == "broker" and number == signal.SIGKILL:
                self._site.broker.freeze()
                least = self._site.spooled().total() + 60
                until(lambda least=least: self._site.spooled().total() > least, "the meters go on")  # type: ignore[misc]
            self.end(part, number)
            self.start(part)
            flowed(self._site, count(self._site) + 30)


@pytest.mark.timeout(1800)  # twenty rounds
def test_every_sample_is_written_once_whoever_is_killed_in_whatever_order(site: Site, is_long: bool) -> None:
    """Three meters at 100 samples a second; broker, meters and PV killed and started in every order.

    What the spool says was read is what the files say, each once. `--long` kills twenty times.
    """
    trio = Trio(site)
    orders = list(itertools.permutations(("broker", "meters", "pv")))
    rounds = [(down, up) for down in orders for up in orders]
    # Every order of dying is there; orders of coming back are dealt to them.
    chosen = [rounds[at * 7 % 36] for at in range(20)] if is_long else [rounds[at * 7] for at in range(6)]
    assert {down for down, _ in chosen} == set(orders)
    for at, (down, up) in enumerate(chosen):
        number = signal.SIGTERM if at % 4 == 3 else signal.SIGKILL
        flowed(site, count(site) + 60)
        if at % 2:
            trio.one_by_one(down, number)
        else:
            trio.all_at_once(down, up, number)
    flowed(site, count(site) + 30)
    assert ended(trio.running["meters"], signal.SIGTERM) == 0
    # What was not confirmed when the meters stopped leaves with the next start.
    assert ended(site.meters("-nb", "3", "--start", "2026-07-01", "--for", "2s", "--speed", "0")) == 0
    until(lambda: count(site) >= site.spooled().total(), "all samples are written")
    assert ended(trio.running["pv"], signal.SIGTERM) == 0
    spooled = site.spooled()
    assert spooled.total() > 30 * len(chosen)
    assert site.written() == spooled
    assert set(spooled.values()) == {1}
    for log in ("meterd", "pvd"):
        assert "Traceback" not in site.said(log)


def flowed(site: Site, least: int) -> None:
    """Wait until so many samples are written."""
    until(lambda: site.files.exists() and count(site) > least, "samples flow")


def test_a_simulated_day_of_ten_meters_takes_seconds(site: Site) -> None:
    """A day at 2 s of ten meters, 432,000 samples, in under a minute, although it is killed on its way."""
    words = ("-nb", "10", "--start", "2026-06-21", "--for", "1d", "--speed", "0")
    begun_s = monotonic_s()
    pv = site.pv("-ids", *(f"Meter_{n}" for n in range(10)), "--idle-exit", "5")
    meters = site.meters(*words)
    until(lambda: site.files.exists() and count(site) > 20_000, "it is on its way")
    meters.kill()
    meters.wait()
    assert ended(site.meters(*words)) == 0
    assert ended(pv) == 0
    assert monotonic_s() - begun_s < 60
    rows = site.rows()
    assert len(rows) == 10 * 43_200
    assert len({(row["meter_id"], row["time_s"]) for row in rows}) == len(rows)
    energy_kwh = sum(float(row["pv_power_value_kw"]) for row in rows) / 10 / 1800
    assert energy_kwh == pytest.approx(26.6, rel=0.03)
    assert "it goes on from there" in site.said("meterd")
    assert ended(site.meters(*words)) == 0  # the same words once more: nothing is doubled, and that is said
    assert "nothing is read a second time" in site.said("meterd")
