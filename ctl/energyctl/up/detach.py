"""`energyctl up --detach`: the supervisor as a daemon; it returns when all is ready, or with the error."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from energyctl.exits import Exit, ProblemError
from energyctl.render import Alert, Answer
from energyctl.up import core, record
from energyctl.up.life import State
from energyctl.up.lines import Silence
from energyctl.up.process import Child
from energyctl.up.run import Order, supervise


class Herald(Silence):
    """Tells the waiting caller over a pipe: our process id, ready, or what went wrong."""

    def __init__(self, pipe_fd: int) -> None:
        self._fd = pipe_fd
        self._suite = core.Suite({})
        self._said: dict[str, str] = {}

    def tell(self, **members: object) -> None:
        """One line of JSON; a caller that has gone is no error."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, json.dumps(members).encode() + b"\n")
        except OSError:
            self.close()

    def ready(self) -> None:
        """All daemons are ready that have to be: the caller may go, and hears who else is not."""
        self.tell(ready=True, without=list(self._without()))

    def last_words(self, text: str, lines: list[str]) -> None:
        """Why it will not get ready."""
        self.tell(message=text, lines=lines)

    def note(self, text: str) -> None:
        """What the supervisor says."""
        self.tell(message=text, lines=[])

    def close(self) -> None:
        """Nobody listens any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:  # noqa: ARG002
        """Only the end of the start counts: then it is looked at."""
        self._suite = suite

    def said(self, name: str, line: str) -> None:
        """A daemon's own words: the last ones count."""
        self._said[name] = line

    def _without(self) -> Iterator[str]:
        for each in self._suite.daemons.values():
            if each.state is State.READY:
                continue
            said = f": {self._said[each.name]}" if each.name in self._said else ""
            goes_on = "the others serve on" if each.state is State.FAILED else "it is tried again"
            yield f"{each.name} {each.why}{said}; {goes_on}"


def detached(order: Order) -> Answer | Exit:
    """Fork. The caller gets an answer once all is ready; the daemon its exit code at the end of the run."""
    import daemon  # noqa: F401  # its absence must be noticed while there is somebody to tell

    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        return _live(order, writer)
    os.close(writer)
    order.hold.handed_over = True
    return _await(order, reader, pid)


def _live(order: Order, pipe_fd: int) -> Exit:
    import daemon

    log_path = order.plan.run / record.LOG
    with log_path.open("a", encoding="utf-8") as log:
        # Never under systemd: python-daemon closes what systemd handed over. Here nothing was.
        context = daemon.DaemonContext(
            detach_process=True,
            umask=0o027,
            working_directory="/",
            prevent_core=False,
            files_preserve=[order.hold.fd, order.state_fd, pipe_fd, log.fileno()],
            stdout=log,
            stderr=log,
            signal_map={},  # the supervisor's own handlers; python-daemon's SIGTERM would exit 1
        )
        context.open()
        herald = Herald(pipe_fd)
        herald.tell(pid=os.getpid())
        try:
            suite = supervise(order, herald)
        except ProblemError as problem:
            herald.tell(message=problem.message, lines=problem.lines(), code=int(problem.exit_code))
            return problem.exit_code
        if not suite.was_ready:
            herald.tell(code=int(suite.exit_code))
    # The pipe ends with this process: a caller that waits for a failed start finds nothing running after it.
    return suite.exit_code


def _await(order: Order, reader: int, first_pid: int) -> Answer:
    """Wait for the daemon's word. Its first forks end at once and are reaped here."""
    heard: list[dict[str, Any]] = []
    pid = 0
    try:
        with open(reader, encoding="utf-8") as pipe:
            for line in pipe:
                message: dict[str, Any] = json.loads(line)
                pid = int(message.get("pid", pid))
                heard.append(message)
                if message.get("ready"):
                    break
    except KeyboardInterrupt:
        if pid:
            os.kill(pid, signal.SIGTERM)
        raise
    finally:
        os.waitpid(first_pid, 0)
    if not any(message.get("ready") for message in heard):
        raise _not_started(order, heard)
    plan = order.plan
    data = {
        "type": "up",
        "pid": pid,
        "scenario": order.scenario,
        "run": str(plan.run),
        "state": str(plan.state),
        "homes": plan.homes_count,
    }
    text = f"running as process {pid}: {order.title}"
    without: list[str] = heard[-1].get("without", [])
    if without:
        data["without"] = without
    return Answer(data, (text, *map(Alert, without), "energyctl status shows it, energyctl stop ends it"))


def _not_started(order: Order, heard: list[dict[str, Any]]) -> ProblemError:
    words = [message for message in heard if "message" in message]
    # The run's own code comes last: the words of a daemon carry none.
    code = next((Exit(message["code"]) for message in reversed(heard) if "code" in message), Exit.FAILED)
    said = str(words[0]["message"]) if words else "the supervisor ended without a word"
    lines = [f"  {line}" for message in words for line in message.get("lines", ())]
    why = "\n".join(["its last lines:", *lines]) if lines else ""
    return ProblemError(code, "not_started", said, why, f"all of it: {order.plan.run / record.LOG}")
