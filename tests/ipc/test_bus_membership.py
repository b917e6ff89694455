"""Who is on the event bus: numbering of the living, deaths told to who waits, exceptions, refusals."""

from __future__ import annotations

from tests.ipc.bus_program import Start


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
