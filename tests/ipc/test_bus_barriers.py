"""Barriers of the event bus between real processes: deaths, freezes, replacements, time-outs."""

from __future__ import annotations

from tests.ipc.bus_program import Start


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
