"""packaging/install and uninstall on a machine that runs: upgrade under trade, failures on the way, purge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from energymarket import __version__
from tests.simulation.market_place import read_ledger
from tests.system.bases import PARTS, ROOT, ThisMachine
from tests.system.machine import HELD, UNITS, Machine

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("installing"),
    pytest.mark.needs("systemd-nspawn"),
]

SOURCE: Final = "/usr/src/energy-market"
WHEELS: Final = "/usr/src/wheels"
CONFIGURATION: Final = "etc/energy-market/energy-market.toml"
OLD, NEW = __version__, "99.0.0"
TRADER: Final = 2
"""The home for which the test buys; its own process is stopped."""

SCENE: Final = """
schema = 1
title = "A neighbourhood that is upgraded"
seed = 5
[time]
start = 2025-06-16
timezone = "UTC"
slots = 5000
[weather]
source = "constant"
[place]
latitude = 49.49
longitude = 8.47
[tariff]
energy = 0.15
[price]
half_life_h = 2
floor = 0.05
cap = 0.32
[[price.factor]]
name = "base"
alpha = 0.18
[service]
shards = 2
[[home]]
name = "Alone"
policy = "give_then_sell"
process = "single"
production_w = [900, 0]
consumption_w = 300
[[home]]
name = "Trader"
policy = "sell"
process = "single"
consumption_w = 1
[[homes]]
name = "givers"
count = 20
policy = "give"
production_w = 800
[homes.load]
kind = "constant"
power_w = 250
"""

FULL: Final = "/usr/src/full"
"""A directory of programs, among which `ln` finds the disk full: nothing fails before the exchange."""

EDITED: Final = SCENE.replace("cap = 0.32", "cap = 0.31  # the administrator's")

KNOCKING: Final = """
import signal, socket, sys, time
asked, refused, go_on = 0, [], True
def stop(*_):
    global go_on
    go_on = False
signal.signal(signal.SIGTERM, stop)
while go_on:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect("/run/energy-market/trade")
        asked += 1
    except OSError as error:
        refused.append(str(error))
    time.sleep(0.01)
print("knocked", asked, len(refused), refused[:3])
"""


@pytest.fixture(scope="module")
def machine(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the suite of this tree trading, and a newer version of it waiting in /usr/src."""
    made = Machine(f"energy-install-{os.getpid()}", ThisMachine(wheels=wheels))
    try:
        made.lay()
        _newer(made.tree, tmp_path_factory.mktemp("newer"), wheels)
        config = made.tree / CONFIGURATION
        config.parent.mkdir()
        config.write_text(SCENE)
        made.install()
        made.boot()
        made.must("energyctl", "start")
        made.must("systemctl", "stop", f"energy-home@{TRADER}")
        yield made
    finally:
        made.close()


def _newer(tree: Path, place: Path, wheels: Path) -> None:
    """The sources of a newer version, and its wheels: its own, and what both versions need."""
    source = place / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        leave_out = shutil.ignore_patterns("__pycache__")
        _ = (
            shutil.copytree(path, source / part, ignore=leave_out)
            if path.is_dir()
            else shutil.copy(path, source)
        )
    for file in (source / "pyproject.toml", source / "daemons/energymarket/__init__.py"):
        file.write_text(file.read_text().replace(f'"{OLD}"', f'"{NEW}"', 1))
    shutil.copytree(source, tree / SOURCE[1:])
    shutil.copytree(wheels, tree / WHEELS[1:], ignore=shutil.ignore_patterns("energy_market-*"))
    build = ("hatchling", "build", "-t", "wheel", "-d", str(tree / WHEELS[1:]))
    subprocess.run([sys.executable, "-m", *build], cwd=source, check=True, capture_output=True)
    shutil.copy(ROOT / "tests/simulation/trader.py", tree / "usr/src/trader.py")
    (tree / "usr/src/knock.py").write_text(KNOCKING)
    full = tree / FULL[1:] / "ln"
    full.parent.mkdir()
    full.write_text("#!/bin/sh\necho 'ln: No space left on device' >&2\nexit 1\n")
    full.chmod(0o755)


def install(machine: Machine, *words: str, under: str = "") -> subprocess.CompletedProcess[str]:
    """packaging/install of the newer version, on the running machine."""
    command = f"{under} exec {SOURCE}/packaging/install --wheels {WHEELS} {' '.join(words)}"
    return machine.run("sh", "-c", command, timeout_s=300)


def versions(machine: Machine) -> tuple[str, str]:
    """What the installed command and the market that runs say of themselves."""
    found = json.loads(machine.must("energyctl", "version", "--json"))
    return found["energyctl"], found["market"]


def slot_of(machine: Machine) -> int:
    """The last slot that is settled, or the first that is open."""
    snapshot = machine.status()["snapshot"]
    return int(snapshot.get("slot", snapshot.get("open_slot")))


def trees(machine: Machine) -> list[str]:
    """The versions that are on the disk, in place or not."""
    return machine.must("sh", "-c", "ls -d /usr/lib/energy-market-*").split()


def in_use(machine: Machine) -> str:
    """Where the compiled scenario lies that a daemon reads at its start."""
    return machine.must("readlink", "--canonicalize-existing", "/var/cache/energy-market/scenario")


def remains(machine: Machine) -> list[str]:
    """Whatever of the product is on the machine's disk beside its users and their state."""
    found = [path for path in machine.changed.rglob("*energy*") if not path.is_char_device()]
    places = sorted(f"/{path.relative_to(machine.changed)}" for path in found)
    apart = ("/usr/src/", "/var/log/", "/run/", "/proc/")
    return [place for place in places if not place.startswith(apart)]


def test_enabled_it_boots_without_a_circle(machine: Machine) -> None:
    """With the target enabled the transaction of a boot has no cycle that systemd would have to break."""
    machine.must("systemctl", "enable", "energy-market.target")
    done = machine.run("systemd-analyze", "verify", "--man=no", "multi-user.target")
    machine.must("systemctl", "disable", "energy-market.target")
    assert [line for line in done.stderr.splitlines() if "cycle" in line or "energy" in line] == []


@pytest.mark.parametrize(
    ("under", "code", "says"),
    [
        (
            "ulimit -f 1000;",
            None,
            "nothing was changed",
        ),  # as on a full disk: no file longer than 512,000 bytes
        ("PYTHON=/bin/false", 1, "no Python 3.11"),
        (f"echo 'sede = 1' >>/{CONFIGURATION};", 78, "refuses the configuration"),
        (f"PATH={FULL}:$PATH", 1, "nothing was changed"),
    ],
    ids=["disk full", "no python", "configuration refused", "disk full at the last moment"],
)
def test_an_upgrade_that_fails_changes_nothing(
    machine: Machine, under: str, code: int | None, says: str
) -> None:
    """What was installed serves on, also after a crash, and no half of another one is left."""
    before, lives, scenario = trees(machine), machine.lives(), in_use(machine)
    done = install(machine, under=under)
    (machine.tree / CONFIGURATION).write_text(SCENE)
    assert done.returncode != 0 if code is None else done.returncode == code, done.stderr
    assert says in done.stderr
    assert trees(machine) == before
    assert versions(machine) == (OLD, OLD)
    assert machine.lives() == lives
    assert [path for path in remains(machine) if "energy-new" in path] == []
    assert machine.must("find", "/tmp", "-maxdepth", "1", "-name", "energy-market.*") == ""
    assert in_use(machine) == scenario
    machine.kill("energy-market", signal.SIGKILL)


def test_an_upgrade_that_is_killed_changes_nothing_and_can_be_begun_again(machine: Machine) -> None:
    """SIGKILL while it builds leaves the old version in place; what it left is gone after the next run."""
    lives = machine.lives()
    command = f"{SOURCE}/packaging/install --wheels {WHEELS}"
    machine.must("systemd-run", "--unit=installing", "sh", "-c", command)
    machine.wait_until(lambda: len(trees(machine)) == 1 + 1)
    machine.must("systemctl", "kill", "--signal=KILL", "installing")
    machine.wait_until(lambda: machine.show("installing", "ActiveState") != "active")
    assert len(trees(machine)) == 1 + 1
    assert (versions(machine), machine.lives()) == ((OLD, OLD), lives)
    machine.wait_until(lambda: machine.status().get("state") == "running")


def test_an_upgrade_under_trade_loses_nothing_and_nobody_is_refused(machine: Machine) -> None:
    """Every daemon is exchanged, the sockets stay; each acknowledged order is in the ledger exactly once."""
    config = machine.tree / CONFIGURATION
    config.write_text(EDITED)
    python = "/usr/lib/energy-market/bin/python3"
    trader = f"{python} /usr/src/trader.py /run/energy-market {TRADER} /usr/src/acknowledged 4"
    machine.must("systemd-run", "--unit=trader", "sh", "-c", f"exec {trader}")
    machine.must("systemd-run", "--unit=knock", "/usr/bin/python3", "/usr/src/knock.py")
    bought = machine.tree / "usr/src/acknowledged"
    machine.wait_until(lambda: bought.exists() and bought.stat().st_size > 0)
    lives, known = machine.lives(), bought.stat().st_size
    done = install(machine)
    assert done.returncode == 0, done.stderr + machine.journal()
    after, known = machine.lives(), bought.stat().st_size
    machine.wait_until(lambda: bought.stat().st_size > known)
    machine.wait_until(machine.all_serve)
    machine.must("systemctl", "stop", "trader", "knock")
    assert machine.show("trader", "Result") == "success"
    knocked = machine.must("journalctl", "-u", "knock", "-o", "cat", "-g", "^knocked").split()
    assert knocked[2] == "0", knocked
    assert {unit for unit in lives if lives[unit] != after[unit]} == set(UNITS)
    assert {unit for unit in lives if lives[unit] == after[unit]} == set(HELD)
    assert (versions(machine), config.read_text()) == ((NEW, NEW), EDITED)
    # The trader was started from the old version, which therefore stays whole on the disk.
    assert [name.split("-")[2] for name in trees(machine)] == [OLD, NEW]
    _booked(machine)


def _booked(machine: Machine) -> None:
    """The ledger of the stopped market against the orders that were acknowledged."""
    machine.must("energyctl", "stop")
    acknowledged: Counter[tuple[int, int]] = Counter()
    for line in (machine.tree / "usr/src/acknowledged").read_text().splitlines():
        order = json.loads(line)
        acknowledged[order["receipt"]["slot"], order["energy_wh"]] += 1
    ledger = read_ledger(machine.tree / "var/lib/energy-market/market/ledger.db")
    booked = Counter(
        (slot, -energy_wh)
        for slot, each in ledger.items()
        for home, energy_wh, _ in each.orders
        if home == TRADER
    )
    assert acknowledged
    assert booked == acknowledged
    assert sorted(ledger) == list(range(min(ledger), max(ledger) + 1))


def test_without_a_restart_the_old_version_stays_whole(machine: Machine) -> None:
    """--no-restart: daemons, and the children that they start later, keep to the version they come from."""
    machine.must("systemctl", "start", "energy-market.target", f"energy-home@{TRADER}")
    machine.start()
    lives = machine.lives()
    shard = machine.must("pgrep", "-P", str(machine.pid("energy-homes"))).split()[0]
    done = install(machine, "--no-restart")
    assert done.returncode == 0, done.stderr
    assert machine.lives() == lives
    old, new = sorted(trees(machine))  # and that of the trader, which has ended, is gone
    machine.must("kill", "-KILL", shard)
    machine.wait_until(lambda: shard not in machine.run("pgrep", "-f", "homesd --shard").stdout.split())
    machine.wait_until(machine.all_serve)
    for process in machine.must("pgrep", "-f", "energymarket").split():
        mapped = machine.must("cat", f"/proc/{process}/maps")
        assert (f"{old}/" in mapped, f"{new}/" in mapped) == (True, False), process
    machine.must("energyctl", "restart")
    machine.wait_until(machine.all_serve)


def test_an_uninstalled_suite_leaves_ledger_registers_and_configuration(machine: Machine) -> None:
    """Nothing runs, no file of the programs is left; installed again, the ledger goes on."""
    slot = slot_of(machine)
    (machine.tree / CONFIGURATION).write_text(EDITED)
    machine.must(f"{SOURCE}/packaging/uninstall")
    assert machine.run("pgrep", "-f", "energymarket").stdout == ""
    kept = ("/etc/energy-market", "/var/cache/energy-market", "/var/lib/energy-market")
    assert [path for path in remains(machine) if not path.startswith(kept)] == []
    machine.must("test", "-s", "/var/lib/energy-market/market/ledger.db")
    assert machine.must("ls", "/var/lib/energy-market/homes") != ""
    assert (machine.tree / CONFIGURATION).read_text() == EDITED
    # Nothing here compiles: what the ledger needs was kept in the cache.
    assert install(machine).returncode == 0
    machine.start()
    assert slot_of(machine) > slot
    # Another scenario is compiled by user energy-market, as the first start of it would.
    compiled = "/var/cache/energy-market/compiled"
    assert set(machine.must("find", compiled, "-printf", "%u\n").split()) == {"energy-market"}


def test_a_purge_leaves_nothing_but_users(machine: Machine) -> None:
    """After --purge of a running suite the disk has no file of it; the users are there."""
    machine.must(f"{SOURCE}/packaging/uninstall", "--purge")
    assert remains(machine) == []
    assert machine.run("pgrep", "-f", "energymarket").stdout == ""
    assert "energy" not in machine.must(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "energy*"
    )
    assert machine.must("ipcs", "-a").count("0x") == 0
    machine.must("id", "energy-market")
    machine.must(f"{SOURCE}/packaging/uninstall", "--purge")
