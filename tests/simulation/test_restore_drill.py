"""The restore drill with real processes: backed up while it runs, restored, started again, and checked."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.market_place import Place, soon
from tests.simulation.town import HOMES, SCENE

pytestmark = pytest.mark.timeout(300)

SPEED = 4500
"""Slots of 0.2 s: a backup of so small a ledger takes longer, so that the homes live on under its hands."""
BACKUPS, BACKUPS_LONG = 3, 10


@pytest.fixture
def town(place: Place) -> Place:
    """Two shards and two single homes under `energyctl up`; the compiled scenario lies in the cache."""
    scenario = place.path / "town.toml"
    scenario.write_text(SCENE)
    place.compile(str(scenario))
    return place


def up(town: Place, state: Path, slots: int | None = None) -> None:
    """Run on a state: for so many slots, or in the background."""
    lasting = ["--detach"] if slots is None else ["--for", str(slots)]
    words = ("up", str(town.path / "town.toml"), "--state", str(state), "--speed", str(SPEED), *lasting)
    done = town.ctl(*words, timeout_s=120)
    assert done.returncode == 0, done.stderr


def back_up(town: Place, name: str = "backup.tar") -> dict[str, Any]:
    """Back up the market that runs; what energyctl says of it."""
    done = town.ctl("ledger", "backup", "-o", str(town.path / name), "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def restore(town: Place, state: Path, *more: str) -> dict[str, Any]:
    """Restore the backup; what energyctl says of it."""
    words = ("ledger", "restore", str(town.path / "backup.tar"), "--state", str(state), "--json", *more)
    done = town.ctl(*words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def checked(town: Place, state: Path) -> dict[str, Any]:
    """What the independent checker says of a state."""
    words = ("--state", str(state), "--compiled", str(town.compiled), "--json")
    done = town.program("energymarket.checkd", *words)
    return dict(json.loads(done.stdout))


def content(state: Path) -> dict[str, bytes]:
    """Every byte of a state."""
    return {str(path): path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file()}


def test_backed_up_while_it_runs_it_goes_on_from_there(town: Place) -> None:
    """Run, back up, run on, stop; refused without --force; restored, it goes on from the backup's slot."""
    up(town, town.state)
    soon(lambda: town.committed() > 0, 20, "a slot")
    made = back_up(town)
    soon(lambda: town.committed() >= made["last_slot"] + 4, 20, "four slots more")
    refused = town.ctl(
        "ledger", "restore", str(town.path / "backup.tar"), "--state", str(town.state), "--force"
    )
    assert refused.returncode == 73, refused.stderr
    assert "energyctl stop" in refused.stderr
    assert town.ctl("stop").returncode == 0

    before = content(town.state)
    refused = town.ctl("ledger", "restore", str(town.path / "backup.tar"), "--state", str(town.state))
    assert refused.returncode == 1
    assert "settled slots would be lost" in refused.stderr
    assert "--force" in refused.stderr
    again = town.ctl("ledger", "restore", str(town.path / "backup.tar"), "--state", str(town.state), "--json")
    told = json.loads(again.stderr)
    assert (told["type"], told["code"], "--force" in told["hint"]) == ("error", 1, True)
    assert content(town.state) == before

    done = restore(town, town.state, "--force")
    assert done["last_slot"] == made["last_slot"]
    aside = Path(done["aside"])
    kept = {path: data for path, data in before.items() if not path.endswith("energy-market-state")}
    assert {path.replace(str(aside), str(town.state)): data for path, data in content(aside).items()} == {
        path: data for path, data in kept.items() if "/weather/" not in path
    }
    up(town, town.state, slots=5)
    found = checked(town, town.state)
    assert (found["findings"], found["last_slot"]) == ([], made["last_slot"] + 5)
    assert (found["homes_compared"], found["homes_uncompared"]) == (HOMES, 0)


def test_on_a_new_machine_everything_is_there(town: Place) -> None:
    """An empty state and an empty cache: the backup alone is enough to go on."""
    up(town, town.state)
    soon(lambda: town.committed() > 0, 20, "a slot")
    made = back_up(town)
    assert town.ctl("stop").returncode == 0
    new = town.path / "new" / "state"
    town.cache = town.path / "new" / "cache"
    assert restore(town, new)["aside"] is None
    town.compiled = next((town.cache / "energy-market/compiled").iterdir())
    up(town, new, slots=5)
    found = checked(town, new)
    assert (found["findings"], found["last_slot"]) == ([], made["last_slot"] + 5)


def test_every_backup_of_a_market_that_runs_is_one_moment(town: Place, *, is_long: bool) -> None:
    """One backup after the other, at whatever moment: restored, the checker is content with each."""
    up(town, town.state)
    soon(lambda: town.committed() > 0, 20, "a slot")
    made = [back_up(town, f"backup-{number}.tar") for number in range(BACKUPS_LONG if is_long else BACKUPS)]
    assert town.ctl("stop").returncode == 0
    for number, each in enumerate(made):
        (town.path / f"backup-{number}.tar").rename(town.path / "backup.tar")
        state = town.path / f"state-{number}"
        restore(town, state)
        found = checked(town, state)
        assert (found["findings"], found["last_slot"], found["hash"]) == ([], each["last_slot"], each["hash"])
        assert found["homes_uncompared"] == 0


def test_what_a_killed_market_left_can_be_backed_up_and_comes_back(town: Place) -> None:
    """After SIGKILL of everything the write-ahead log holds the last slots: the backup has them."""
    up(town, town.state)
    soon(lambda: town.committed() > 0, 20, "a slot")
    for pid in town.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    soon(lambda: not town.processes(), 10, "all dead")
    log = town.state / "market/ledger.db-wal"
    assert log.stat().st_size > 0
    done = town.ctl(
        "ledger", "backup", "-o", str(town.path / "backup.tar"), "--state", str(town.state), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert town.ctl("ipc", "clean").returncode == 0
    assert restore(town, town.state)["last_slot"] == json.loads(done.stdout)["last_slot"]
    up(town, town.state, slots=2)
    assert checked(town, town.state)["findings"] == []
