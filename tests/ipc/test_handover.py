"""A home of the pool is started by itself: it leaves a running pool, and neither energy nor money jumps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from energymarket.core.chance import Purpose, draw_u64
from tests.simulation.market_place import LedgerSlot, Place, let_pass, soon

pytestmark = pytest.mark.timeout(240)

HOMES = 40
NEEDS_WH = 153  # of home 7, in a slot: 612 W for a quarter of an hour; all gifts together are 100 Wh
SEED = int(os.environ.get("ENERGY_SEED", "1"))
STORM = int(os.environ.get("ENERGY_HANDOVERS", "5"))

SCENE = """
schema = 1
title = "Forty homes, all of them in the pool"
seed = 5
[time]
start = 2025-06-16
timezone = "UTC"
slots = 5000
[weather]
source = "constant"
temperature_c = 20
[place]
latitude = 49.49
longitude = 8.47
[tariff]
energy = 0.15
grid_fee = 0.1
tax = 0.05
export = 0.05
[price]
form = "raw"
initial = 0.2
gamma = 0.5
floor = 0.05
cap = 0.5
[[price.factor]]
name = "base"
alpha = 0.1
[service]
shards = 2
start_wait_s = 20
[[homes]]
name = "takers"
count = 20
policy = "sell"
[homes.load]
kind = "constant"
power_w = 612
[[homes]]
name = "givers"
count = 20
policy = "give_then_sell"
production_w = 340
[homes.battery]
kwh = 5
kw = 0.02
[homes.load]
kind = "constant"
power_w = 300
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene is compiled once for each way it is played."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, run_dir: Path, cache: Path, no_ipc_left: None) -> Iterator[Place]:
    """The scene, compiled; nothing runs yet. Slots of 0.6 s."""
    del no_ipc_left
    made = Place(tmp_path, run_dir / "run", cache, speed=900 / 0.6)
    compile_scene(made, SCENE)
    yield made
    made.end()


def compile_scene(place: Place, text: str) -> None:
    file = place.path / "scene.toml"
    file.write_text(text)
    place.compile(str(file))


def begin(place: Place) -> None:
    """Market, weather and pool run, and all homes trade."""
    for name in ("market", "weather", "homes"):
        place.start(name)
    all_trade(place, "begin", 30)


def all_trade(place: Place, when: str, within_s: float = 30) -> None:
    """Wait until two more slots are committed and every home has joined."""
    beyond = place.committed() + 1

    def trading() -> bool:
        status = place.status()
        return status.get("homes_joined") == HOMES and status["snapshot"].get("slot", -1) > beyond

    soon(trading, within_s, when, place.log.read_text)


def shards(place: Place) -> dict[str, int]:
    """Range -> process."""
    found = {}
    for pid in place.processes("--shard "):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found[words[words.index("--shard") + 1]] = pid
    return found


def content(place: Place) -> None:
    """The checker has nothing to say about the whole run, and has held every home against its registers."""
    checked = place.check()
    assert checked.returncode == 0, checked.stdout
    assert f"own registers of {HOMES} homes held against the ledger" in checked.stdout


def readings_go_on(ledger: dict[int, LedgerSlot], home: int) -> None:
    """The home's meter has run on: what a slot misses, the next reading in time has, with all before."""
    rows = {number: slot.homes[home] for number, slot in ledger.items() if home in slot.homes}
    last = max(number for number in rows if not ledger[number].notes["late_batches"])
    read_wh = sum(row["consumed_wh"] for number, row in rows.items() if number <= last)
    assert read_wh == NEEDS_WH * (last - min(ledger) + 1)
    assert last > max(ledger) - 15, "it was away at the end"


def test_a_home_of_the_pool_is_started_by_itself_and_trades(place: Place) -> None:
    """Its shard alone is cut; it buys by its own orders, its registers go on, the checker is content."""
    begin(place)
    before, master = shards(place), place.daemons["homes"]
    assert set(before) == {"1:20", "21:20"}
    place.start("home-7")
    soon(lambda: "joined (home 7)" in place.log.read_text(), 20, "home 7 joins", place.log.read_text)
    left = place.committed()
    all_trade(place, "after home 7 has left")
    after = shards(place)
    assert set(after) == {"1:6", "8:13", "21:20"}
    assert after["21:20"] == before["21:20"]
    assert master.poll() is None
    (row,) = place.control("Homes", first=7, count=1)["homes"]
    assert (row["home"], row["joined"], place.committed() > left) == (7, True, True)
    place.stop()
    assert sorted(path.name for path in (place.state / "homes").iterdir()) == [
        "apart", "home-7.state", "shard-1-6.state", "shard-21-20.state", "shard-8-13.state",
    ]  # fmt: skip
    ledger = place.ledger()
    alone = [slot for slot in ledger.values() if any(home == 7 for home, _, _ in slot.orders)]
    assert len(alone) >= 2
    assert {home for slot in ledger.values() for home, _, _ in slot.orders} == {7}
    assert all(slot.homes[7]["bought_wh"] + slot.homes[7]["received_wh"] == NEEDS_WH for slot in alone[1:])
    readings_go_on(ledger, 7)
    content(place)


def test_it_stays_away_when_it_is_stopped_and_the_pool_starts_without_it(place: Place) -> None:
    """With another number of shards too: state and ranges are those of the first cut, home 7 left out."""
    begin(place)
    place.start("home-7")
    all_trade(place, "home 7")
    place.daemons["home-7"].terminate()
    assert place.daemons.pop("home-7").wait(10) == 0
    soon(lambda: place.status().get("homes_joined") == HOMES - 1, 20, "home 7 away", place.log.read_text)
    place.stop()
    compile_scene(place, SCENE)
    for name in ("market", "weather"):
        place.start(name)
    words = (
        "--compiled",
        str(place.compiled),
        "--run",
        str(place.run),
        "--state",
        str(place.state / "homes"),
    )
    del words
    place.start("homes")
    soon(lambda: place.status().get("homes_joined") == HOMES - 1, 20, "the pool", place.log.read_text)
    assert set(shards(place)) == {"1:6", "8:13", "21:20"}
    place.start("home-7")
    all_trade(place, "home 7 again")
    place.stop()
    ledger = place.ledger()
    readings_go_on(ledger, 7)
    content(place)


def test_a_slot_that_was_handed_in_before_is_not_handed_in_again(place: Place) -> None:
    """Home 7 leaves after its shard's batch: nobody misses a slot, and its orders begin with the next one."""
    compile_scene(place, SCENE.replace("shards = 2", "shards = 2\nexchange_until = 0.1\ngate_at = 0.95"))
    place.speed = 900 / 9
    begin(place)
    slot = place.committed() + 1
    soon(lambda: place.status()["snapshot"]["phase"] == "trade", 20, "trade", place.log.read_text)
    place.start("home-7")
    soon(lambda: set(shards(place)) == {"1:6", "8:13", "21:20"}, 8, "the cut", place.log.read_text)
    soon(lambda: place.status()["homes_joined"] == HOMES, 8, "all have joined", place.log.read_text)
    assert place.committed() == slot - 1, "the gate was faster: the test shows nothing"
    all_trade(place, "after it", 30)
    place.stop()
    ledger = place.ledger()
    assert all(len(each.homes) == HOMES for each in ledger.values())
    assert sum(each.totals["short_wh"] + each.totals["long_wh"] for each in ledger.values()) == 0
    assert not ledger[slot].orders
    assert "does not end: killed" not in place.log.read_text()
    assert all(ledger[each].orders for each in ledger if each > slot + 1)
    content(place)


def test_killed_around_the_handover_nothing_is_lost(place: Place) -> None:
    """SIGKILL of pool or home while homes leave, at random moments: all trade on, the checker is content."""
    begin(place)
    for number in range(STORM):
        home = 3 + 4 * number
        place.start(f"home-{home}")
        let_pass(0.2 + draw_u64(SEED, Purpose.HOME, number) % 1_500 / 1000)
        for target in (("homes",), (f"home-{home}",), ("homes", f"home-{home}"))[number % 3]:
            place.daemons[target].send_signal(signal.SIGKILL)
            place.daemons[target].wait(10)
        place.revive()
        all_trade(place, f"home {home}", 30)
    place.stop()
    ledger = place.ledger()
    slots = sorted(ledger)
    assert all(after == before + 1 for before, after in pairwise(slots))
    refusals = {each["reason"] for slot in ledger.values() for each in slot.notes["refusals"]}
    assert refusals <= {"GateClosed"}
    alone = range(3, min(3 + 4 * STORM, 20), 4)
    for home in alone:
        readings_go_on(ledger, home)
    assert any(order[0] in alone for slot in ledger.values() for order in slot.orders)
    content(place)


def test_under_up_a_home_started_by_hand_leaves_the_pool_and_is_started_with_the_next_run(
    place: Place,
) -> None:
    """`energyctl up` keeps its pool; the next one on the same state starts home 7 by itself."""
    words = ("up", str(place.path / "scene.toml"), "--speed", f"{place.speed:g}", "--state", str(place.state))
    assert place.ctl(*words, "--detach").returncode == 0
    place.start("home-7")
    all_trade(place, "home 7")
    assert place.ctl("stop").returncode == 0
    place.daemons["home-7"].terminate()
    assert place.daemons.pop("home-7").wait(10) == 0
    assert place.ctl(*words, "--detach").returncode == 0
    all_trade(place, "the next run")
    assert len(place.processes("energymarket.homed")) == 1
    assert place.ctl("stop").returncode == 0
    ledger = place.ledger()
    readings_go_on(ledger, 7)
    content(place)
