"""The engine over Ray: the same ledger from actors, also when they, or a node, are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energymarket.engine import api
from energymarket.engine.joining import raylet_owners
from energymarket.exits import Exit
from energymarket.scenario import toml
from energymarket.scenario.cache import cache_directory
from tests.ports import free_port
from tests.simulation import ray_driver
from tests.simulation.market_place import ROOT
from tests.simulation.ray_cluster import LocalCluster, wait_until

pytest.importorskip("ray", reason="Ray is not installed: pip install 'energy-market[ray]'")
pytestmark = pytest.mark.xdist_group("ray")  # one cluster for all of this file

SCENES = ("pencil-late", "pencil-rule-mid-market")
PENCILS = [name for name in toml.shipped() if name.startswith("pencil-") and name != "pencil-stale-weather"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head that plays, too; nothing of it may be left in the end."""
    found = LocalCluster()
    try:
        yield found
    finally:
        found.close()


def environment(cluster: LocalCluster, **more: str) -> dict[str, str]:
    """A program of ours that may join."""
    return {**cluster.environment, "PYTHONPATH": f"{ROOT / 'daemons'}:{ROOT / 'ctl'}:{ROOT}", **more}


def driven(cluster: LocalCluster, *jobs: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """What comes out of these jobs."""
    words = json.dumps({"address": cluster.address, "jobs": jobs, **more})
    done = subprocess.run(
        [sys.executable, ray_driver.__file__, words],
        env=environment(cluster),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)  # nothing of Ray's is in it
    return found


@pytest.mark.parametrize("actors", [2, 4])
def test_actors_make_the_ledger_that_one_process_makes(
    cluster: LocalCluster, is_long: bool, actors: int
) -> None:
    """The default scenario, the six homes of the assignment, and pencil scenes: hash by hash.

    Every actor is a process that starts Ray and NumPy, so all scenes are played in the long form only;
    tests/simulation/test_troupe.py plays them all without Ray.
    """
    jobs = [
        {"scenario": "default", "homes": 40, "duration": 150, "shards": actors},
        {"scenario": "classic", "duration": 40, "shards": actors},
        *({"scenario": name, "shards": actors} for name in (PENCILS if is_long else SCENES)),
    ]
    for job, found in zip(jobs, driven(cluster, *jobs), strict=True):
        assert found["ledger_hash"] == found["embedded_hash"], job
        assert found["complete"]
        told = found["ray"]
        assert len(told["actors"]) == min(actors, found["homes"]), job
        assert sum(each["homes"] for each in told["actors"]) == found["homes"]
        assert told["replacements"] == []


def test_a_killed_or_frozen_actor_is_replaced_and_told(cluster: LocalCluster) -> None:
    """SIGKILL, and SIGSTOP with a deadline of two seconds: the same hash; the result says what happened."""
    jobs = [
        {
            "scenario": "default",
            "homes": 40,
            "duration": 500,
            "shards": 2,
            "blow": {"at": 190, "signal": int(number), "actor": actor},
        }
        for number, actor in ((signal.SIGKILL, 0), (signal.SIGSTOP, 1))
    ]
    killed, frozen = driven(cluster, *jobs, answer_s_max=2.0)
    first = killed["first_slot"]
    for found, reason in ((killed, "its process has died"), (frozen, "no answer for 2 s")):
        assert found["ledger_hash"] == found["embedded_hash"]
        (told,) = found["ray"]["replacements"]
        assert told["reason"] == reason
        assert first + 190 <= told["slot"] < first + 500
        assert found["struck"] not in {each["pid"] for each in found["ray"]["actors"]}


def test_a_node_is_killed_in_the_middle(cluster: LocalCluster, tmp_path: Path) -> None:
    """Two nodes, actors on both, one node without power: the same hash, and the result says what happened."""
    node = cluster.join()
    words = ["simulate", "--homes", "60", "--for", "1200", "--engine", "ray", "--address", cluster.address]
    words += ["--shards", "4", "--out", str(tmp_path), "--json"]
    run = subprocess.Popen(
        [sys.executable, "-m", "energyctl", *words],
        env=environment(cluster),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoints = tmp_path / "unfinished"
    wait_until(lambda: list(checkpoints.glob("checkpoint-*[0-9]")), "a first checkpoint")
    node.kill()
    said, complaints = run.communicate(timeout=100)
    assert run.returncode == 0, complaints
    assert complaints == ""
    found = json.loads(said)
    expected = api.simulate("default", homes=60, duration=1200, engine="embedded").ledger_hash
    assert found["ledger_hash"] == expected
    told = found["ray"]["replacements"]
    assert sorted(each["shard"] for each in told) in ([1, 3], [2, 4])  # every second actor was on it
    assert {each["reason"] for each in told} <= {"its node does not answer", "its node has died"}
    (left,) = {each["left_node"] for each in told}
    (alive,) = {each["node"] for each in found["ray"]["actors"]}
    assert {each["id"] for each in found["ray"]["nodes"]} == {left, alive}
    cluster.forget(node)


def test_what_was_begun_over_ray_goes_on_elsewhere_and_back(cluster: LocalCluster, tmp_path: Path) -> None:
    """Interrupted over Ray, resumed over Ray, then in one process: the hash is that of an unbroken run."""
    base = ["default", "--homes", "60", "--out", str(tmp_path), "--json"]
    ray = ["--engine", "ray", "--shards", "2", "--address", cluster.address]
    slots, document = 0, dict[str, Any]()
    for _ in range(2):
        run = subprocess.Popen(
            [sys.executable, "-m", "energymarket.fastforward", *base, *ray, "--for", "30d", "--resume"],
            env=environment(cluster),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        seen = slots

        def later(seen: int = seen) -> bool:
            found = [int(path.name[11:]) for path in (tmp_path / "unfinished").glob("checkpoint-*[0-9]")]
            return bool(found) and max(found) > seen

        wait_until(later, "a later checkpoint")
        os.killpg(run.pid, signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
        assert run.returncode == Exit.INTERRUPTED
        document = json.loads(said)
        slots = document["first_slot"] + document["slots"] - 1
    played = document["slots"] + 100
    done = subprocess.run(
        [sys.executable, "-m", "energymarket.fastforward", *base, "--for", str(played), "--resume"],
        env=environment(cluster),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = api.simulate("default", homes=60, duration=played, engine="embedded").ledger_hash
    assert json.loads(done.stdout)["ledger_hash"] == expected


def test_without_a_cluster_one_is_started_here_and_ends(tmp_path: Path, run_dir: Path) -> None:
    """No address: actors on this machine; people read who played; no process and no file is left."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "daemons"), "TMPDIR": str(run_dir)}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache_directory().parent)}
    mark = {"ENERGY_TEST_MARK": str(tmp_path)}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "energymarket.fastforward", "default", "--homes", "40", "--for", "50"),
            *("--engine", "ray", "--shards", "2", "--out", str(tmp_path / "out")),
        ],
        env=environ | mark,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "engine ray" in done.stdout
    assert "2 actors" in done.stdout
    assert done.stderr.splitlines() == ["energy-fastforward: 2 actors on 1 node"]
    wait_until(lambda: not marked(f"ENERGY_TEST_MARK={tmp_path}"), "all of Ray's processes end", 15)
    assert not list(run_dir.iterdir())
    assert not (tmp_path / ".ray").exists()  # the token was in memory only


def marked(variable: str) -> list[int]:
    """Processes with this in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_lost_head_ends_the_run_with_a_word_and_it_goes_on_without(tmp_path: Path) -> None:
    """Ray ends our process when the head is gone: one line says so, and the run can go on elsewhere."""
    cluster = LocalCluster()
    words = ["default", "--homes", "60", "--for", "60d", "--out", str(tmp_path)]
    try:
        run = subprocess.Popen(
            [
                *(sys.executable, "-m", "energymarket.fastforward", *words, "--json"),
                *("--engine", "ray", "--shards", "2", "--address", cluster.address),
            ],
            env=environment(cluster, RAY_gcs_rpc_server_reconnect_timeout_s="2"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        unfinished = tmp_path / "unfinished"
        wait_until(lambda: list(unfinished.glob("checkpoint-*[0-9]")), "a first checkpoint")
        cluster.nodes.pop().kill()
        said, complaints = run.communicate(timeout=60)
    finally:
        cluster.close()
    assert (run.returncode, said) == (Exit.FAILED, "")
    assert "head, is gone" in complaints, complaints
    assert json.loads(complaints)["code"] == Exit.FAILED
    seen = max(int(path.name[11:]) for path in unfinished.glob("checkpoint-*[0-9]"))
    slots = seen - api.compiled_of("default", 60, None).period.first_slot + 50
    resumed = [*words[:3], "--for", str(slots), *words[5:], "--resume", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "energymarket.fastforward", *resumed],
        env=environment(cluster),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = api.simulate("default", homes=60, duration=slots, engine="embedded").ledger_hash
    assert json.loads(done.stdout)["ledger_hash"] == expected


def test_whose_node_it_is_stands_in_the_process_table(tmp_path: Path) -> None:
    """A run of another user would be aborted by Ray: raylets are told from what only mentions one."""
    for pid, words in {
        "7": "/x/ray/core/src/ray/raylet/raylet\0--a",
        "8": "vi\0/raylet/raylet",
        "9": "",
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text(words)
    (tmp_path / "version").write_text("no process")
    os.chown(tmp_path / "7", 4711 if os.geteuid() == 0 else -1, -1)
    assert raylet_owners(tmp_path) == {4711 if os.geteuid() == 0 else os.geteuid()}


REFUSED = [
    pytest.param({"address": "127.0.0.1:{free}"}, Exit.UNREACHABLE, "no Ray cluster answers", id="nobody"),
    pytest.param(
        {"address": "ray://127.0.0.1:10001"}, Exit.USAGE, "no address of a Ray cluster", id="client"
    ),
    pytest.param({"token": "0" * 64}, Exit.PERMISSION, "another token", id="token"),
    pytest.param({"token": ""}, Exit.PERMISSION, "token is not known here", id="no-token"),
    pytest.param({"version": "2.50.1"}, Exit.CONFIGURATION, "this program Ray 2.50.1", id="version"),
    pytest.param({"hidden": True}, Exit.CONFIGURATION, "energy-market[ray]", id="not-installed"),
]


@pytest.mark.parametrize(("how", "code", "said"), REFUSED)
def test_what_cannot_be_joined_is_one_clear_error(
    cluster: LocalCluster, tmp_path: Path, how: dict[str, Any], code: Exit, said: str
) -> None:
    """No cluster, no Ray, another Ray, another token: one line, its exit code, within seconds, no result."""
    address = how.get("address", cluster.address).format(free=free_port())
    # a home without a token, but with what was compiled before
    environ = environment(cluster, HOME=str(tmp_path), XDG_CACHE_HOME=str(cache_directory().parent))
    environ["RAY_AUTH_TOKEN"] = how.get("token", cluster.token)
    (tmp_path / "before.py").write_text(BEFORE.format(**{"version": None, "hidden": False} | how))
    out = tmp_path / "out"
    words = ["default", "--homes", "40", "--for", "10", "--out", str(out), "--engine", "ray"]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "before.py"), *words, "--address", address],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert not out.exists() or not list(out.glob("result.json"))


BEFORE = """
import sys
from energymarket import fastforward
if {hidden!r}:
    sys.modules["ray"] = None
    sys.meta_path.insert(0, type("Hidden", (), {{"find_spec": staticmethod(
        lambda name, path=None, target=None: None)}}))
if {version!r}:
    import ray
    ray.__version__ = {version!r}
sys.exit(fastforward.main())
"""
