"""Dispatcher and workers killed, frozen, fed with garbage and robbed: who asks has an answer or an end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from energymarket.dispatch.limits import (
    QUEUE_WAIT_S,
    TAKE_UP_S,
)
from energymarket.exits import Exit
from energymarket.runtime import clock
from tests.ipc.dispatch_place import (
    WATCHDOG_S,
    Line,
    Place,
    begun,
    eventually,
    place,
    served,
    where,
)
from tests.ipc.processes import environment


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two workers."""
    with place(tmp_path_factory.mktemp("two"), 2, "--ticket-s", "5", "--deadline-s", "60") as made:
        yield made


@pytest.fixture
def two(both: Place) -> Place:
    """Two workers that a test may hurt: they have nothing to do, and nobody was found frozen."""
    eventually(both.all_idle, "both are there")
    both.frozen.clear()
    return both


def restarts(made: Place) -> int:
    return sum(row["restarts"] for row in made.workers().values())


def test_a_worker_that_is_killed_or_frozen_is_replaced_and_its_client_hears_the_end(two: Place) -> None:
    """SIGKILL, SIGSTOP, an endless loop within a request: its client hears the end, others are served."""
    before = restarts(two)
    for number, (fault, question) in enumerate(
        (
            (signal.SIGKILL, '{"s": 60}'),
            (signal.SIGSTOP, '{"s": 60}'),
            (None, '{"s": 60, "silent": true}'),  # works on without a sign of progress
        )
    ):
        worker, at = begun(two, question)
        name = f"worker-{at}"
        hit = two.pid(name) if fault is None else two.signal(name, fault)
        served(two)  # by the other one, at once
        assert all("result" not in json.loads(line) for line in worker.rest())
        worker.close()
        two.replaced(name, hit)
        eventually(two.all_idle, "both are there again")
        assert restarts(two) == before + number + 1
    assert len(two.frozen) == 2


def test_an_idle_worker_that_is_frozen_costs_a_request_two_seconds(two: Place) -> None:
    """A task that nobody takes up goes to the other worker; the client never learns of it."""
    hit, frozen = two.signal("worker-1", signal.SIGSTOP), two.kept["worker-1"]
    frozen.ready = False  # its keeper does not look at it: the dispatcher is alone with it
    begun_s = clock.monotonic_s()
    served(two)  # the first idle worker is asked first, and this is the first
    assert TAKE_UP_S - 0.2 < clock.monotonic_s() - begun_s < QUEUE_WAIT_S
    assert two.pid("worker-1") == hit
    frozen.ready = True
    two.replaced("worker-1", hit)
    eventually(two.all_idle, "both are there again")
    assert two.frozen == ["worker-1"]


def test_a_long_request_that_reports_progress_outlives_the_watchdog(two: Place) -> None:
    """Three times as long as the watchdog allows silence, and it is answered by the process that began."""
    worker, number = begun(two, f'{{"s": {3 * WATCHDOG_S}}}')
    pid = two.pid(f"worker-{number}")
    lines = [json.loads(line) for line in worker.rest()]
    worker.close()
    assert lines[-1] == {"result": {"slept_s": 3 * WATCHDOG_S, "pid": pid}}
    shares = [line["progress"] for line in lines[:-1]]
    assert shares == sorted(shares)
    assert len(shares) > 10
    assert two.frozen == []


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dispatcher_that_goes_takes_no_worker_with_it(two: Place, fault: signal.Signals) -> None:
    """Who waits at the dispatcher hears the end; who is at a worker is served; the next one finds both."""
    worker, number = begun(two, '{"s": 6}')
    pids = {name: two.pid(name) for name in ("worker-1", "worker-2")}
    with Line(two.port) as client:
        where(client.ask("echo"))  # the other worker waits for somebody who does not come
        client.send(b"echo\n")  # and this one waits in the queue
        hit = two.signal("dispatcher", fault)
        assert client.line() == ""
    two.replaced("dispatcher", hit)
    eventually(lambda: two.workers()[number]["state"] == "serving", "it serves on, for a dispatcher before")
    assert json.loads(worker.rest()[-1])["result"]["pid"] == pids[f"worker-{number}"]
    worker.close()
    eventually(two.all_idle, "both are adopted")
    served(two)
    assert {name: two.pid(name) for name in pids} == pids


def test_garbage_and_torn_tokens_in_the_pipes_do_no_harm(two: Place) -> None:
    """Random bytes, half a token and a doubled one in all four pipes: requests are served as before."""
    pids = {name: two.pid(name) for name in two.kept}
    for path in two.directory.glob("*tube*"):
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(pipe, b"\xe9\x7a\x02" + os.urandom(1000) + b"\xe9")
        os.close(pipe)
    for _ in range(10):
        served(two)
    eventually(two.all_idle, "nobody is lost")
    assert ({name: two.pid(name) for name in two.kept}, two.frozen) == (pids, [])


@pytest.mark.parametrize("name", ["segment", "control", ""])
def test_what_somebody_removes_is_made_again(two: Place, name: str) -> None:
    """Segment, socket, or all of the directory: soon there is a dispatcher with the workers of before."""
    pids = {worker: two.pid(worker) for worker in ("worker-1", "worker-2")}
    hit = two.pid("dispatcher")
    if name:
        (two.directory / name).unlink()
    else:
        shutil.rmtree(two.directory)
    two.replaced("dispatcher", hit)
    eventually(two.all_idle, "it has found both")
    served(two)
    assert {worker: two.pid(worker) for worker in pids} == pids
    assert two.frozen == []


def test_energyctl_shows_who_is_there_and_who_is_served(two: Place) -> None:
    """States, processes, exchanges, who is served; a missing worker is degraded, no dispatcher has a hint."""
    worker, number = begun(two, '{"s": 60}')
    shown = energyctl(two, "workers")
    assert shown.returncode == Exit.OK, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if "127.0.0.1: nap" in line]
    assert line.split()[:3] == [str(number), "serving", str(two.pid(f"worker-{number}"))]
    assert "napping" in line
    found = json.loads(energyctl(two, "--json", "workers").stdout)
    assert found["dispatcher"]["pid"] == two.pid("dispatcher")
    assert {row["number"]: row["state"] for row in found["workers"]} == {
        number: "serving",
        3 - number: "idle",
    }
    worker.close()
    eventually(two.all_idle, "who has left is noticed")
    argv = two.kept["worker-2"].argv
    two.kept["worker-2"].argv = [sys.executable, "-c", "raise SystemExit(1)"]  # it dies at its start
    two.signal("worker-2", signal.SIGKILL)
    eventually(lambda: two.workers()[2]["state"] == "absent", "it is missing")
    degraded = energyctl(two, "workers")
    assert degraded.returncode == Exit.DEGRADED
    assert "not at work: worker 2" in degraded.stdout
    served(two)  # the others serve on
    two.kept["worker-2"].argv = argv
    eventually(two.all_idle, "it is there again")
    nobody = energyctl(Place(two.path / "nowhere"), "workers")
    assert (nobody.returncode, "no dispatcher is running" in nobody.stderr) == (Exit.NOT_RUNNING, True)


def energyctl(there: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the control program on a place."""
    command = [sys.executable, "-m", "energyctl", "--run", str(there.run), *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
