"""The event bus between real processes: what is promised of messages, the token, barriers and ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from energymarket.runtime.clock import monotonic_s
from tests.ipc.bus_program import Run
from tests.ipc.processes import pass_time

Start = Callable[[str], Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program."""
    runs: list[Run] = []

    def begin(program: str) -> Run:
        runs.append(Run(program, tmp_path / f"run{len(runs)}"))
        return runs[-1]

    yield begin
    for run in runs:
        run.sweep()


# ---------------------------------------------------------------- messages


def test_ten_thousand_messages_per_pair_come_once_and_in_order(start: Start) -> None:
    """Each of four processes sends each other one 10,000 numbers: they come consecutive, none twice."""
    run = start("""
        class P(Process):
            def __init__(self, process_id, bus_size):
                super().__init__(process_id, bus_size)
                self.next = [0] * bus_size
            def process(self, box):
                if not box:
                    for number in range(10_000):
                        for other in range(self.bus_size):
                            if other != self.process_id:
                                self.communicator.send_to(number, other)
                for message in box:
                    if message.payload != self.next[message.sender]:
                        say(wrong=[message.sender, message.payload, self.next[message.sender]])
                    self.next[message.sender] += 1
                if sum(self.next) == 30_000:
                    say(all=self.name)
                    self.stop()
        with ProcessManager() as manager:
            manager.add_process(4, P)
            manager.join(60)
    """).end(60)
    assert len(run.said()) == 4, run.story()
    assert {each["all"] for each in run.said()} == {"P-0", "P-1", "P-2", "P-3"}


def test_a_broadcast_reaches_all_others_and_the_numbering_is_consecutive(start: Start) -> None:
    """Five processes have the numbers 0 to 4; what one broadcasts comes to the other four, not to itself."""
    run = start("""
        class P(Process):
            def __init__(self, process_id, bus_size, param1, param2):
                super().__init__(process_id, bus_size)
                self.words = param1 + param2
            def process(self, message_box):
                if not message_box:
                    say(number=self.process_id, size=self.bus_size, words=self.words)
                    if self.process_id == 2:
                        self.communicator.broadcast("here")
                for message in message_box:
                    say(at=self.process_id, got=message.payload, sender=message.sender, type=message.type)
        manager = ProcessManager()
        manager.add_process(5, P, param1="foo", param2="bar")
        say(numbers=[each.process_id for each in manager.process_list])
        time.sleep(0.3)
        manager.stop_process()
    """).end()
    assert sorted(each["number"] for each in run.said(size=5, words="foobar")) == [0, 1, 2, 3, 4]
    assert sorted(each["at"] for each in run.said(got="here", sender=2, type="broadcast")) == [0, 1, 3, 4]
    assert len(run.said(got="here")) == 4
    assert run.said(numbers=[0, 1, 2, 3, 4])


def test_no_message_is_lost_when_connections_break(start: Start) -> None:
    """Connections are shut down again and again under traffic: 20,000 numbers come once and in order."""
    run = start("""
        import socket
        class P(Process):
            def process(self, box):
                wires, next_ = self._wires, getattr(self, "next", 0)
                if not box and self.process_id == 0:
                    for number in range(20_000):
                        self.communicator.send_to(number, 1)
                        if number % 1_000 == 999:
                            with wires.step():
                                for stream in wires._streams.values():
                                    stream._end.shutdown(socket.SHUT_RDWR)
                for message in box:
                    if message.payload != next_:
                        say(wrong=message.payload, expected=next_)
                    next_ += 1
                self.next = next_
                if next_ == 20_000:
                    say(all=True)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(4)
    """).end()
    assert run.said() == run.said(all=True), run.story()
    assert len(run.said()) == 1


def test_the_lamport_clock_follows_messages_and_nothing_else(start: Start) -> None:
    """Messages move it, by hand: 3, sent at 4, received at 5, answered at 6, received at 7; nothing else.

    Neither a barrier, nor the token, nor two seconds of heartbeats.
    """
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if not box:
                    if self.process_id == 0:
                        for _ in range(3):
                            c.inc_clock()
                        answer = c.send_to_sync("question", 1)
                        say(after_answer=c.clock, answer=answer)
                    else:
                        message = c.receive_from_sync("the answer", 0)
                        say(stamp=message.stamp, after=c.clock)
                    before = c.clock
                    c.synchronize()
                    with c.critical_section():
                        pass
                    c.synchronize()
                    time.sleep(2)
                    say(moved=c.clock - before)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(2.5)
    """).end()
    assert run.said(after_answer=7, answer="the answer")
    assert run.said(stamp=4, after=6)
    assert len(run.said(moved=0)) == 2


def test_a_sender_is_held_until_the_receiver_has_received(start: Start) -> None:
    """`send_to_sync` returns after, and not before, the receiver calls `receive_from_sync`."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 0:
                    c.send_to_sync("x", 1)
                    say(sent=True)
                else:
                    time.sleep(0.5)
                    say(receiving=True)
                    c.receive_from_sync(None, 0)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(1)
    """).end()
    assert run.said(sent=True)[0]["t"] >= run.said(receiving=True)[0]["t"]


def test_a_synchronous_broadcast_holds_the_sender_until_all_have_it(start: Start) -> None:
    """The sender goes on after the slowest of three receivers, and gets the payload of each."""
    run = start("""
        class P(Process):
            def process(self, box):
                if self.process_id != 1:
                    time.sleep(0.2 * self.process_id)
                    say(receiving=self.process_id)
                answer = self.communicator.broadcast_sync(f"of {self.process_id}", 1)
                if self.process_id == 1:
                    say(answers=answer)
                else:
                    say(got=answer.payload, sender=answer.sender)
        with ProcessManager() as manager:
            manager.add_process(4, P)
            time.sleep(1)
    """).end()
    answers = run.said(answers={"0": "of 0", "2": "of 2", "3": "of 3"})
    assert len(answers) == 1, run.story()
    assert answers[0]["t"] >= max(each["t"] for each in run.said() if "receiving" in each)
    assert len(run.said(got="of 1", sender=1)) == 3


def test_the_mailbox_is_picked_from_by_type_and_sender(start: Start) -> None:
    """What is picked, `process()` does not get; the rest comes in its order."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if not box and self.process_id < 2:
                    c.send_to("vote", 2, type="ballot")
                    c.send_to("gossip", 2)
                    c.synchronize()
                elif not box:
                    c.synchronize()
                    ballots = [c.mailbox.pick(type="ballot", sender=sender, timeout=5) for sender in (1, 0)]
                    say(picked=[[m.payload, m.sender, m.type] for m in ballots])
                    say(none=c.mailbox.peek(type="ballot"))
                elif box:
                    say(rest=sorted([m.payload, m.sender, m.type] for m in box))
        with ProcessManager() as manager:
            manager.add_process(3, P)
            time.sleep(0.5)
    """).end()
    assert run.said(picked=[["vote", 1, "ballot"], ["vote", 0, "ballot"]]), run.story()
    assert run.said(none=None)
    rest = [message for each in run.said() for message in each.get("rest", [])]
    assert sorted(rest) == [["gossip", 0, "message"], ["gossip", 1, "message"]]


def test_a_large_message_comes_whole_and_a_full_receiver_holds_its_sender(start: Start) -> None:
    """70 MB come as they were sent; the next message waits until the first is taken, and times out before."""
    run = start("""
        import hashlib
        class P(Process):
            def process(self, box):
                c = self.communicator
                if not box and self.process_id == 0:
                    c.send_to(b"0123456789" * 7_000_000, 1)
                    try:
                        c.send_to("small", 1, timeout=0.3)
                    except BusTimeout as error:
                        say(full=str(error))
                    c.send_to("small", 1, timeout=20)
                    say(through=True)
                elif not box:
                    time.sleep(1)
                for message in box:
                    if message.payload == "small":
                        say(small=True)
                    else:
                        say(digest=hashlib.sha256(message.payload).hexdigest(), taken=True)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(3)
    """).end()
    assert run.said(digest=hashlib.sha256(b"0123456789" * 7_000_000).hexdigest())
    assert "process 1" in run.said()[0]["full"]
    assert run.said(through=True)[0]["t"] > run.said()[0]["t"]
    assert len(run.said(small=True)) == 1


# ---------------------------------------------------------------- the critical section


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


# ---------------------------------------------------------------- barriers


def test_a_barrier_goes_on_without_one_killed_and_one_frozen(start: Start) -> None:
    """A hundred rounds of six processes, one killed in round 20, one stopped for good in round 50.

    Nobody leaves a round before all have come that live, the four others make all rounds, and nobody waits
    longer than the stated silence for the frozen one.
    """
    run = start("""
        class P(Process):
            def process(self, box):
                for round in range(100):
                    say(come=round, name=self.name)
                    if round == 20 and self.name == "P-1": os.kill(os.getpid(), signal.SIGKILL)
                    if round == 50 and self.name == "P-4": os.kill(os.getpid(), signal.SIGSTOP)
                    self.communicator.synchronize(timeout=20)
                    say(gone=round, name=self.name)
                self.stop()
        with ProcessManager(silence_s=1.5) as manager:
            manager.add_process(6, P)
            manager.join(30)
    """).end()
    for turn in range(100):
        come, gone = run.said(come=turn), run.said(gone=turn)
        expected = 6 if turn <= 20 else 5 if turn <= 50 else 4
        assert len(come) == expected, run.story()
        survivors = [each for each in come if {"P-1": 20, "P-4": 50}.get(each["name"], 100) > turn]
        assert len(gone) == len(survivors)
        # A process's word that it has come may be written before its arrival counts; never after it has gone.
        assert min(each["t"] for each in gone) >= max(each["t"] for each in survivors)
        if turn == 50:
            assert max(each["t"] for each in gone) - max(each["t"] for each in come) < 1.5 + 1.0
    assert "P-4 is lost: it was silent" in run.errors()


def test_a_barrier_that_keeps_everyone_tells_a_loss_and_opens_for_the_replaced(start: Start) -> None:
    """One of three dies before round 5: the two others get MemberLost once each, with its name.

    Round 5 opens when the replaced one is there, which has the number of the lost one.
    """
    run = start("""
        class P(Process):
            def __init__(self, process_id, bus_size, first=0):
                super().__init__(process_id, bus_size)
                self.round = first
            def process(self, box):
                gate = self.communicator.barrier("phase", keep_all=True)
                while self.round < 10:
                    if self.round == 5 and self.name == "b" and not os.path.exists("../died"):
                        open("../died", "w").close()
                        os.kill(os.getpid(), signal.SIGKILL)
                    try:
                        gate.wait(timeout=10)
                    except MemberLost as lost:
                        say(told=list(lost.names), name=self.name, round=self.round)
                    else:
                        say(passed=self.round, name=self.name, number=self.process_id)
                        self.round += 1
                self.stop()
        with ProcessManager() as manager:
            manager.add_process(3, P, seat_names=["a", "b", "c"])
            while not (lost := manager.losses()): time.sleep(0.01)
            say(lost=lost)
            manager.replace("b", first=5)
            manager.join(20)
    """).end()
    assert run.said(lost=["b"])
    assert [each["name"] for each in sorted(run.said(told=["b"], round=5), key=lambda e: e["name"])] == [
        "a",
        "c",
    ]
    assert len([each for each in run.said() if "told" in each]) == 2
    for turn in range(10):
        passed = {each["name"]: each["number"] for each in run.said(passed=turn)}
        if turn == 4:  # b may be dead before c has said so, and numbers close up
            passed["c"] = 2
        assert passed == {"a": 0, "b": 1, "c": 2}, run.story()


def test_a_barrier_waited_at_too_long_says_so_and_is_not_half_open(start: Start) -> None:
    """One that gives up gets BusTimeout, and the others wait on until it comes again."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 0:
                    try: c.synchronize(timeout=0.2)
                    except BusTimeout as error: say(late=str(error))
                    time.sleep(0.3)
                    say(again=True)
                elif self.process_id == 1:
                    time.sleep(0.3)
                c.synchronize(timeout=5)
                say(through=self.process_id)
        with ProcessManager() as manager:
            manager.add_process(3, P)
            time.sleep(1.2)
    """).end()
    assert "0.2 s" in run.said()[0]["late"]
    through = [each for each in run.said() if "through" in each]
    assert len(through) == 3, run.story()
    assert min(each["t"] for each in through) >= run.said(again=True)[0]["t"]


# ---------------------------------------------------------------- membership


def test_the_numbering_of_the_living_closes_up(start: Start) -> None:
    """Of five, number 1 is killed and number 3 leaves: the rest are 0, 1, 2 in their order."""
    run = start("""
        class P(Process):
            def process(self, box):
                if not box and self.name == "P-3":
                    self.stop()
                for message in box:
                    say(name=self.name, number=self.process_id, size=self.bus_size, got=message.payload)
                    if message.payload == "ask":
                        self.communicator.send_to("told", 2)
        with ProcessManager() as manager:
            handles = manager.add_process(5, P)
            handles[1].kill()
            while len(manager.process_list) > 3: time.sleep(0.01)
            time.sleep(0.3)
            say(list=[[each.name, each.process_id] for each in manager.process_list])
            class Q(Process):
                def process(self, box):
                    if not box:
                        say(late=self.process_id, size=self.bus_size)
                        self.communicator.send_to("ask", 0)
            manager.add_process(1, Q)
            time.sleep(0.5)
    """).end()
    assert run.said(list=[["P-0", 0], ["P-2", 1], ["P-4", 2]]), run.story()
    assert run.said(late=3, size=4)
    assert run.said(got="ask", name="P-0", number=0, size=4)
    assert run.said(got="told", name="P-4", number=2)


def test_a_call_that_waits_for_a_dead_process_is_told(start: Start) -> None:
    """`send_to_sync` and `receive_from_sync` raise ProcessLost when the other is killed meanwhile."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                try:
                    if self.process_id == 0: c.send_to_sync("x", 2)
                    if self.process_id == 1: c.receive_from_sync("x", 2)
                    if self.process_id == 2: time.sleep(60)
                except ProcessLost as error:
                    say(lost=str(error))
        with ProcessManager() as manager:
            handles = manager.add_process(3, P)
            time.sleep(0.3)
            handles[2].kill()
            time.sleep(0.5)
    """).end()
    assert len([each for each in run.said() if "process 2" in each["lost"]]) == 2, run.story()


def test_an_exception_is_reported_and_the_process_lives_on(start: Start) -> None:
    """What `process()` raises stands on the standard error with its traceback; the next message is heard.

    The critical section that it left open is free again.
    """
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if not box and self.process_id == 0:
                    c.request_critical_section()
                    raise ValueError("the reason")
                if not box:
                    with c.critical_section(timeout=5):
                        c.send_to("go on", 0)
                for message in box:
                    say(heard=message.payload)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(0.5)
    """).end()
    assert run.said(heard="go on"), run.story()
    assert "Traceback (most recent call last)" in run.errors()
    assert "ValueError: the reason" in run.errors()
    assert "P-0 (process 0" in run.errors()


def test_a_constructor_that_raises_is_told_to_who_starts_it(start: Start) -> None:
    """StartFailed has the traceback; the bus is as it was, and takes another batch."""
    run = start("""
        class P(Process):
            def __init__(self, process_id, bus_size, bad):
                super().__init__(process_id, bus_size)
                if bad and process_id == 2: raise RuntimeError("no such meter")
            def process(self, box):
                say(size=self.bus_size, number=self.process_id)
        class Forgetful(Process):
            def __init__(self, process_id, bus_size): pass
        with ProcessManager() as manager:
            manager.add_process(1, P, bad=False)
            for cls, words in ((P, {"bad": True}), (Forgetful, {})):
                try: manager.add_process(3, cls, **words)
                except StartFailed as error: say(failed=str(error))
            manager.add_process(1, P, bad=False)
            time.sleep(0.3)
    """).end()
    failed = [each["failed"] for each in run.said() if "failed" in each]
    assert "RuntimeError: no such meter" in failed[0]
    assert "does not call super().__init__" in failed[1]
    assert len(run.said(size=1)) == 1
    assert run.said(size=2, number=1)


# ---------------------------------------------------------------- ends

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
