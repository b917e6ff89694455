"""The event bus under programs that do what they should not, and machines that have had enough."""

from __future__ import annotations

from tests.ipc.bus_program import Start


def test_a_program_that_sends_in_a_loop_is_not_taken_for_frozen(start: Start) -> None:
    """Four processes send without pause for 2 s, longer than silence is borne: all live, and all came."""
    run = start("""
        class P(Process):
            sent, came = 0, 0
            def process(self, box):
                if not box:
                    until = time.monotonic() + 2
                    while time.monotonic() < until:
                        self.communicator.broadcast(0)
                        self.sent += 1
                    self.communicator.broadcast(self.sent, type="sent")
                    self.ends = []
                self.came += sum(each.type != "sent" for each in box)
                self.ends += [each.payload for each in box if each.type == "sent"]
                if len(self.ends) == 3:
                    say(came=self.came == sum(self.ends))
                    self.stop()
        with ProcessManager(silence_s=1.2) as manager:
            manager.add_process(4, P)
            manager.join(25)
    """).end(40)
    assert len(run.said(came=True)) == 4, run.story()
    assert run.errors() == ""


def test_every_process_is_called_once_even_if_the_bus_stops_at_once(start: Start) -> None:
    """As the quick start does: five are started, and stopped with nothing between; each is called."""
    run = start("""
        class P(Process):
            def process(self, box):
                say(called=len(box))
        manager = ProcessManager()
        manager.add_process(5, P)
        manager.stop_process()
    """).end()
    assert run.said() == run.said(called=0), run.story()
    assert len(run.said()) == 5


def test_a_log_that_nobody_reads_does_not_stop_the_keeper(start: Start) -> None:
    """Standard error is a pipe that is full: a loss is noticed all the same, and the end comes soon."""
    run = start("""
        _, end = os.pipe()
        os.set_blocking(end, False)
        for size in (65536, 1):
            try:
                while True: os.write(end, bytes(size))
            except BlockingIOError: pass
        os.set_blocking(end, True)
        os.dup2(end, 2)
        class P(Process):
            def process(self, box):
                if self.process_id == 2: os.kill(os.getpid(), signal.SIGKILL)
                self.communicator.synchronize(timeout=5)
                say(out=self.process_id)
        manager = ProcessManager()
        manager.add_process(3, P)
        time.sleep(0.5)
        begun = time.monotonic()
        manager.stop_process()
        say(soon=time.monotonic() - begun < 1.5)
    """).end()
    assert len(run.said(out=0)) == len(run.said(out=1)) == len(run.said(soon=True)) == 1, run.story()


def test_a_loss_is_in_the_program_s_log_file_and_nowhere_else(start: Start) -> None:
    """The keeper lets go of what it inherited, but for the log: its words never go down a process's line."""
    run = start("""
        import logging, tempfile
        log = tempfile.TemporaryFile("w+")
        logging.basicConfig(stream=log)
        kept = open(os.devnull)
        class P(Process):
            def process(self, box):
                if self.process_id == 2: os.kill(os.getpid(), signal.SIGKILL)
        with ProcessManager() as manager:
            manager.add_process(3, P)
            until = time.monotonic() + 5
            while not manager.losses(): assert time.monotonic() < until; time.sleep(0.01)
            open_ = [os.readlink(f"/proc/{manager._keeper.pid}/fd/{each.fileno()}") for each in (log, kept)]
            time.sleep(0.3)
            say(alive=len(manager.process_list), log=open_[0] != os.devnull, null=open_[1] == os.devnull)
        log.seek(0)
        say(words="P-2 is lost: it has died" in log.read())
        kept.close(); log.close()
    """).end()
    assert run.said(alive=2, log=True, null=True), run.story()
    assert run.said(words=True), run.story()
    assert run.errors() == ""


def test_a_constructor_that_talks_is_told_that_it_is_too_early(start: Start) -> None:
    """It would wait for ever, or talk to nobody: NotOnBus comes out of `add_process`, at once."""
    run = start("""
        CALLS = {
            "synchronize": lambda c: c.synchronize(), "broadcast": lambda c: c.broadcast(1),
            "enter": lambda c: c.request_critical_section(), "pick": lambda c: c.mailbox.pick(),
        }
        class P(Process):
            def __init__(self, process_id, bus_size, call):
                super().__init__(process_id, bus_size)
                CALLS[call](self.communicator)
        with ProcessManager(start_s=2) as manager:
            for call in CALLS:
                try: manager.add_process(1, P, call=call)
                except StartFailed as error: say(call=call, told="NotOnBus" in str(error))
    """).end()
    assert len(run.said(told=True)) == 4, run.story()


def test_a_reason_of_many_bytes_comes_whole_at_its_end(start: Start) -> None:
    """A constructor's error of 20,000 characters of four bytes each is cut to what one packet holds."""
    run = start("""
        class P(Process):
            def __init__(self, process_id, bus_size): raise ValueError("\\U0001f600" * 20_000 + "because")
        with ProcessManager() as manager:
            try: manager.add_process(1, P)
            except StartFailed as error: say(told="because" in str(error))
    """).end()
    assert run.said(told=True), run.story()


def test_what_was_said_before_leaving_comes(start: Start) -> None:
    """Sixty messages of 100,000 bytes to each of two, then `sys.exit()`: all come, and nothing is `lost`."""
    run = start("""
        class P(Process):
            came = 0
            def process(self, box):
                if not box and self.process_id == 0:
                    for _ in range(60): self.communicator.broadcast(bytes(100_000))
                    sys.exit()
                self.came += len(box)
                if self.came == 60:
                    say(all=self.name)
                    self.stop()
        with ProcessManager() as manager:
            manager.add_process(3, P)
            manager.join(10)
    """).end()
    assert {each["all"] for each in run.said()} == {"P-1", "P-2"}, run.story()
    assert run.errors() == ""


def test_what_timed_out_is_not_received_later(start: Start) -> None:
    """The first offer was given up before the receiver came: it receives the second, and answers that."""
    run = start("""
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 0:
                    try: c.send_to_sync("first", 1, timeout=0.1)
                    except BusTimeout: c.send_to("come", 1)
                    say(answer=c.send_to_sync("second", 1, timeout=3))
                elif box:
                    say(got=c.receive_from_sync("answer", 0, timeout=3).payload)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(0.8)
    """).end()
    assert [each["got"] for each in run.said() if "got" in each] == ["second"], run.story()
    assert run.said(answer="answer"), run.story()


def test_timeouts_of_every_kind(start: Start) -> None:
    """Negative is over at once, endless waits, and what is no number is refused: no call hangs or leaves."""
    run = start("""
        CALLS = {
            "pick": lambda c, t: c.mailbox.pick(timeout=t), "meet": lambda c, t: c.synchronize(timeout=t),
            "send": lambda c, t: c.send_to_sync(0, 1, timeout=t),
            "enter": lambda c, t: c.request_critical_section(timeout=t),
        }
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 1:
                    c.request_critical_section()
                    time.sleep(3600)
                time.sleep(0.2)
                for name, call in CALLS.items():
                    for timeout in (-1, float("nan")):
                        try: call(c, timeout)
                        except Exception as error: say(call=name, raised=type(error).__name__)
                    def wait(call=call):
                        try: call(c, float("inf"))
                        except BusStopped: say(stopped=1)
                    threading.Thread(target=wait).start()
                    time.sleep(0.05)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(1)
    """).end()
    for call in ("pick", "meet", "send", "enter"):
        assert [each["raised"] for each in run.said(call=call)] == ["BusTimeout", "ValueError"], run.story()
    assert len(run.said(stopped=1)) == 4, run.story()


def test_a_call_that_a_signal_breaks_off_asks_for_nothing_more(start: Start) -> None:
    """A handler's exception ends a wait for the critical section or at a barrier: it asks for neither."""
    run = start("""
        class Alarm(Exception): pass
        def ring(*_): raise Alarm
        class P(Process):
            def process(self, box):
                c = self.communicator
                if self.process_id == 0:
                    with c.critical_section(): time.sleep(0.4)
                    time.sleep(0.2)
                    with c.critical_section(timeout=2): say(entered=1)
                    try: c.synchronize(timeout=0.2)
                    except BusTimeout: say(closed=1)
                else:
                    time.sleep(0.1)
                    signal.signal(signal.SIGALRM, ring)
                    for call in (c.request_critical_section, c.synchronize):
                        signal.setitimer(signal.ITIMER_REAL, 0.1)
                        try: call()
                        except Alarm: say(broken=1)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(1.3)
    """).end()
    assert run.said(entered=1), run.story()
    assert run.said(closed=1), run.story()
    assert len(run.said(broken=1)) == 2, run.story()


def test_threads_take_turns_and_one_waits_at_a_barrier(start: Start) -> None:
    """Of three threads that enter again and again each enters often; a second one at a barrier is refused."""
    run = start("""
        class P(Process):
            def process(self, box):
                c, entries, until = self.communicator, [0, 0, 0], time.monotonic() + 1
                def enter(which):
                    while time.monotonic() < until:
                        with c.critical_section(timeout=5):
                            entries[which] += 1
                            time.sleep(0.002)
                            if which == 0 and entries[0] == 9:
                                def release():
                                    try: c.release_critical_section()
                                    except BusError: say(refused="release")
                                other = threading.Thread(target=release); other.start(); other.join()
                threads = [threading.Thread(target=enter, args=(which,)) for which in range(3)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                say(fair=min(entries) * 2 > max(entries))
                if self.process_id == 0:
                    threading.Thread(target=lambda: (c.synchronize(timeout=5), say(met=1))).start()
                    time.sleep(0.1)
                    try: c.synchronize(timeout=0.1)
                    except BusTimeout: say(wrong=1)
                    except BusError: say(refused="barrier")
                else:
                    time.sleep(0.3)
                    c.synchronize(timeout=5)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(1.9)
    """).end()
    assert len(run.said(fair=True)) == 2, run.story()
    assert len(run.said(refused="release")) == 2, run.story()
    assert run.said(refused="barrier"), run.story()
    assert run.said(met=1), run.story()


def test_a_fork_that_a_program_makes_is_not_on_the_bus(start: Start) -> None:
    """It returns from `process()`, as the parent does: it ends, and its calls are refused."""
    run = start("""
        class P(Process):
            def process(self, box):
                if not box and self.process_id == 0:
                    me = os.getpid()
                    if os.fork() == 0:
                        try: self.communicator.broadcast("child")
                        except NotOnBus: say(refused=self.alive)
                        return
                    os.wait()
                    self.communicator.broadcast("parent")
                for message in box: say(got=message.payload)
        import warnings
        warnings.simplefilter("ignore")  # of a fork among threads
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(0.6)
    """).end()
    assert run.said(refused=False), run.story()
    assert [each["got"] for each in run.said() if "got" in each] == ["parent"], run.story()


def test_a_program_that_ends_without_a_stop_is_stopped(start: Start) -> None:
    """With one process frozen, too: the program's end is the bus's, within three seconds."""
    run = start("""
        class P(Process):
            def process(self, box):
                say(up=1)
        handles = ProcessManager().add_process(2, P)
        os.kill(handles[1].pid, signal.SIGSTOP)
        sys.stdout.close()
    """)
    run.end(6)
    assert run.said(up=1), run.story()


def test_a_handle_asks_nobody_when_the_bus_has_stopped(start: Start) -> None:
    """`stop()` on a process of a stopped bus starts nothing; standard output may be closed meanwhile."""
    run = start("""
        class P(Process):
            def process(self, box): pass
        manager = ProcessManager()
        first, second = manager.add_process(2, P)
        manager.stop_process()
        first.stop()
        sys.stdout.close()
        try: os.waitpid(-1, os.WNOHANG)
        except ChildProcessError: say(children=0)
        manager.add_process(1, P)
        manager.stop_process()
    """).end()
    assert run.said(children=0), run.story()
    assert run.errors() == ""


def test_who_reads_a_message_may_talk_on_the_bus(start: Start) -> None:
    """A payload whose reading sends a message: it is read outside the lock of the bus, which goes on."""
    run = start("""
        class Echo:
            def __reduce__(self): return answer, ()
        def answer():
            this.communicator.send_to("read", 0)
            return "echo"
        class P(Process):
            def process(self, box):
                global this
                this = self
                if not box and self.process_id == 0: self.communicator.send_to(Echo(), 1)
                for message in box: say(at=self.process_id, got=message.payload)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(0.6)
    """).end()
    assert run.said(at=0, got="read"), run.story()
    assert run.said(at=1, got="echo"), run.story()


def test_no_message_is_lost_when_the_kernel_has_no_memory_for_it(start: Start) -> None:
    """One send in ten fails with ENOBUFS: the connection is made anew, and all come in order."""
    run = start("""
        import errno, socket
        class Poor:
            calls = 0
            def __init__(self, end): self.end = end
            def __getattr__(self, name): return getattr(self.end, name)
            def send(self, data):
                Poor.calls += 1
                if Poor.calls % 10 == 0: raise OSError(errno.ENOBUFS, "no memory")
                return self.end.send(data)
        class P(Process):
            next = 0
            def process(self, box):
                if not box and self.process_id == 0:
                    for stream in self._wires._streams.values(): stream._end = Poor(stream._end)
                    for number in range(100):
                        self.communicator.send_to(number, 1)
                for message in box:
                    assert message.payload == self.next
                    self.next += 1
                if self.next == 100: say(all=1)
        with ProcessManager() as manager:
            manager.add_process(2, P)
            time.sleep(0.6)
    """).end()
    assert run.said(all=1), run.story()
    assert run.errors() == ""


def test_a_process_that_computes_in_one_call_is_not_frozen(start: Start) -> None:
    """One holds its interpreter's lock for longer than a frozen one would live: it lives on."""
    run = start("""
        class P(Process):
            def process(self, box):
                if not box and self.process_id == 0:
                    begun = time.monotonic()
                    sum(range(5_000_000))
                    often = 2.5 / (time.monotonic() - begun)
                    begun = time.monotonic()
                    sum(range(int(5_000_000 * often)))
                    say(computed_s=time.monotonic() - begun)
                    self.communicator.send_to("done", 1)
                for message in box:
                    say(heard=message.payload)
        with ProcessManager(silence_s=0.8) as manager:
            manager.add_process(2, P)
            until = time.monotonic() + 60
            while not os.path.exists("../heard") and time.monotonic() < until:
                time.sleep(0.05)
    """)
    run.wait_said(heard="done", timeout_s=60)
    (run.directory.parent / "heard").touch()
    run.end()
    assert next(each["computed_s"] for each in run.said() if "computed_s" in each) > 1.0
    assert "is lost" not in run.errors()
