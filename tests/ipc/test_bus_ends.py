"""How processes of the event bus end: stops of whoever is blocked, orphans, no descriptor, no CPU."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.ipc.bus_program import Run, Start
from tests.ipc.processes import pass_time

BLOCKED = {
    "sends": "c.send_to_sync('x', 1)",
    "receives": "c.receive_from_sync('x', 1)",
    "enters": "c.request_critical_section()",
    "synchronizes": "c.synchronize()",
    "keeps all": "c.barrier('b', keep_all=True).wait()",
    "picks": "c.mailbox.pick(type='never')",
    "broadcasts": "c.broadcast_sync('x', 0)",
    "has no room": "[c.send_to(bytes(1 << 20), 1) for _ in range(100)]",
    "waits for messages": "pass",
}
OTHER = "c.request_critical_section(); say(ready=1); time.sleep(3600)"


def _blocked(start: Start, call: str) -> Run:
    run = start(f"""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 1:
                    {OTHER}
                time.sleep(0.2)
                say(ready=0)
                {call}
        manager = ProcessManager()
        manager.add_process(2, P)
        while not os.path.exists("../stop"): time.sleep(0.01)
        begun = time.monotonic()
        manager.stop_process()
        say(stopped_s=time.monotonic() - begun)
    """)
    run.wait_said(ready=0)
    run.wait_said(ready=1)
    return run


@pytest.mark.parametrize("what", BLOCKED)
def test_a_stop_ends_whoever_is_blocked(start: Start, what: str) -> None:
    """`stop_process()` returns within three seconds, leaves no process and no file, and reports no error."""
    run = _blocked(start, BLOCKED[what])
    pass_time(0.2)
    (run.directory.parent / "stop").touch()
    run.end()
    assert next(each["stopped_s"] for each in run.said() if "stopped_s" in each) < 3
    assert "Traceback" not in run.errors(), run.story()


@pytest.mark.parametrize(
    "call",
    [
        "while True: pass",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(3600)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "threading.Thread(target=time.sleep, args=(3600,)).start()",
    ],
)
def test_a_stop_ends_whoever_does_not_listen(start: Start, call: str) -> None:
    """Also one that loops, blocks its signals, is stopped, or has a thread that never ends."""
    run = _blocked(start, call)
    (run.directory.parent / "stop").touch()
    run.end()
    assert next(each["stopped_s"] for each in run.said() if "stopped_s" in each) < 3


@pytest.mark.parametrize("what", ["the manager", "the keeper"])
def test_nothing_outlives_manager_or_keeper(start: Start, what: str) -> None:
    """Killed by SIGKILL, it takes the whole bus with it within three seconds; whoever is left is told."""
    run = start("""
        class P(Process):
            def process(self, box):
                if self.process_id == 0:
                    try: self.communicator.synchronize()
                    except BusStopped as error: say(told=str(error))
                elif self.process_id == 1:
                    while True: pass
        manager = ProcessManager()
        manager.add_process(3, P)
        say(keeper=manager._keeper.pid)
        while True:
            try: manager.add_process(1, P) if not manager.process_list else time.sleep(0.01)
            except BusStopped as error:
                say(manager=str(error))
                break
        manager.stop_process()
    """)
    keeper = run.wait_said()[0]["keeper"]
    pass_time(0.2)
    os.kill(run.process.pid if what == "the manager" else keeper, signal.SIGKILL)
    run.process.wait(10)
    run.left_nothing(within_s=3.0)
    assert [each for each in run.said() if "told" in each], run.story()
    assert [each for each in run.said() if "manager" in each] or what == "the manager"


@pytest.mark.alone
def test_blocked_processes_use_no_cpu(start: Start) -> None:
    """Over five seconds, processes that are blocked in every way, and the keeper, hardly wake."""
    runs = [_blocked(start, call) for call in BLOCKED.values()]
    pass_time(1)
    pids = [pid for run in runs for pid in run.living()]
    before = {pid: (_wakings(pid), _cpu_s(pid)) for pid in pids}
    pass_time(5)
    wakings = {pid: _wakings(pid) - woken for pid, (woken, _) in before.items()}
    used_s = {pid: _cpu_s(pid) - cpu_s for pid, (_, cpu_s) in before.items()}
    for run in runs:
        (run.directory.parent / "stop").touch()
    for run in runs:
        run.end()
    # Two heartbeats a second, two or three switches each; who looks twenty times a second has a hundred, and
    # who spins sleeps never. Ticks of the clock alone tell little of a busy machine.
    assert max(wakings.values()) < 100, wakings
    assert max(used_s.values()) < 0.5, used_s


def _wakings(pid: int) -> int:
    """How often threads of the process have gone to sleep so far."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(re.findall(r"^voluntary_ctxt_switches:\s(\d+)", text, re.MULTILINE)[0]) for text in texts)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def test_replacing_gains_no_descriptors(start: Start) -> None:
    """After thirty replacements keeper, manager and an old process have as many descriptors as after one."""
    run = start("""
        class P(Process):
            def process(self, box):
                self.communicator.barrier("b", keep_all=False).wait()
        def counts():
            time.sleep(0.2)
            return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), manager._keeper.pid, old.pid)]
        def replace():
            manager.process_list[1].kill()
            while not (lost := manager.losses()): time.sleep(0.001)
            manager.replace(lost[0])
        with ProcessManager() as manager:
            old = manager.add_process(3, P)[0]
            replace()
            first = counts()
            for _ in range(30): replace()
            say(first=first, last=counts())
    """).end()
    said = run.said()[0]
    assert said["first"] == said["last"], run.story()
