"""The critical section of the event bus between real processes: exclusion, deaths of the holder, misuse."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from typing import Any

import psutil

from energymarket.runtime.clock import monotonic_s
from tests.ipc.bus_program import Run, Start
from tests.ipc.processes import pass_time


def test_the_critical_section_under_kill_9_of_its_holder(start: Start) -> None:
    """Eight processes enter 50 times each; ten times the one inside is killed, and its seat filled anew.

    Nobody is inside beside another: neither beside one that left, nor beside one before it was dead. All
    that are not killed come to their end.
    """
    run = start("""
        class P(Process):
            def process(self, box):
                if box:
                    return
                for entry in range(50):
                    with self.communicator.critical_section(timeout=20):
                        say(enter=os.getpid(), entry=entry)
                        time.sleep(0.002)
                        say(leave=os.getpid())
                say(complete=self.name, pid=os.getpid())
        manager = ProcessManager()
        manager.add_process(8, P)
        while not os.path.exists("../enough"):
            for name in manager.losses():
                manager.replace(name)
            time.sleep(0.002)
        manager.stop_process()
    """)
    killed: dict[int, float] = {}
    seen = 0
    until = monotonic_s() + 60
    while len(killed) < 10:
        assert monotonic_s() < until, run.story()
        passages = _passages(run)
        if len(passages) < seen + 25 or "enter" not in passages[-1]:
            continue
        victim = passages[-1]["enter"]
        os.kill(victim, signal.SIGSTOP)  # so that it is inside still when it dies
        while psutil.Process(victim).status() != psutil.STATUS_STOPPED:
            pass_time(0.0005)
        if _passages(run)[-1].get("enter") == victim:
            killed[victim] = monotonic_s()
            os.kill(victim, signal.SIGKILL)
            seen = len(passages)
        else:
            os.kill(victim, signal.SIGCONT)
    until = monotonic_s() + 60
    while len([each for each in run.said() if "complete" in each]) < 8:
        assert monotonic_s() < until, run.story()
        pass_time(0.05)
    (run.directory.parent / "enough").touch()
    run.end()
    _disjoint(run, killed)


def _passages(run: Run) -> list[dict[str, Any]]:
    """Who entered and who left, in order of time."""
    return sorted((each for each in run.said() if "enter" in each or "leave" in each), key=lambda e: e["t"])


def _disjoint(run: Run, killed: dict[int, float]) -> None:
    """No two were inside at one time; a killed one is inside until it was killed."""
    inside: int | None = None
    entries: dict[int, int] = defaultdict(int)
    for each in _passages(run):
        if "enter" in each:
            if inside is not None:
                assert inside in killed, f"{each['enter']} entered while {inside} was inside"
                assert each["t"] > killed[inside], "it entered before the one inside was killed"
            inside = each["enter"]
            entries[each["enter"]] += 1
        else:
            assert each["leave"] == inside
            inside = None
    complete = {each["pid"] for each in run.said() if "complete" in each}
    assert len(complete) == 8
    assert all(entries[pid] == 50 for pid in complete)
    assert not complete & set(killed)


def test_threads_of_one_process_exclude_each_other_too(start: Start) -> None:
    """Three threads in each of three processes add to one file under the token: nothing is lost."""
    run = start("""
        class P(Process):
            def process(self, box):
                def add():
                    for _ in range(20):
                        with self.communicator.critical_section(timeout=20):
                            number = int(open("../sum").read())
                            time.sleep(0.0005)
                            open("../sum", "w").write(str(number + 1))
                threads = [threading.Thread(target=add) for _ in range(3)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                self.stop()
        open("../sum", "w").write("0")
        with ProcessManager() as manager:
            manager.add_process(3, P)
            manager.join(30)
    """).end()
    assert (run.directory.parent / "sum").read_text() == "180"


def test_misuse_of_the_critical_section_is_told(start: Start) -> None:
    """Requesting it twice, releasing what one has not, waiting too long: an error each, and all goes on."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 0:
                    c.request_critical_section()
                    try: c.request_critical_section()
                    except BusError as error: say(twice=type(error).__name__)
                    c.synchronize()
                    c.synchronize()
                    c.release_critical_section()
                else:
                    try: c.release_critical_section()
                    except BusError as error: say(not_mine=type(error).__name__)
                    c.synchronize()
                    try: c.request_critical_section(timeout=0.2)
                    except BusTimeout as error: say(waited=str(error))
                    c.synchronize()
                    c.request_critical_section(timeout=5)
                    say(inside=True)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(1)
    """).end()
    assert run.said(twice="BusError")
    assert run.said(not_mine="BusError")
    assert "0.2 s" in next(each["waited"] for each in run.said() if "waited" in each)
    assert run.said(inside=True), run.story()
