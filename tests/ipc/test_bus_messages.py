"""Messages between real processes of the event bus: once, in order, numbered, held back, picked."""

from __future__ import annotations

import hashlib

from tests.ipc.bus_program import Start


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
