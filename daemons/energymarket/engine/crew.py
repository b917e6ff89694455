"""The worker processes of a run: forked before there are threads, told what to do over a pipe each.

A worker that dies closes its pipe, and the run ends with an error (its last checkpoint stands). A run
that dies closes all of them, and the workers end.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any, Final, Protocol

from energymarket.exits import Exit, Failure
from energymarket.runtime import memory
from energymarket.runtime.child import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

END: Final = None
"""What a worker is told at the end."""


class Desk(Protocol):
    """Where a worker does what it is told."""

    def serve(self, task: Any, /) -> Any:  # noqa: ANN401 - of a kind that the desk knows
        """Do a task; what it answers goes to who gave it."""


class Worker:
    """One worker as the run sees it."""

    def __init__(self, number: int, pid: int, pipe: Connection) -> None:
        self.number = number
        self.pid = pid
        self.pipe = pipe

    def tell(self, task: object) -> None:
        """Give it a task. Failure if it has died."""
        try:
            self.pipe.send(task)
        except OSError as error:
            raise self._died() from error

    def answer(self) -> Any:  # noqa: ANN401 - whatever the task answers
        """Its answer, in order of the tasks. Failure if it has died or failed."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if kind == "failed":
            raise RuntimeError(f"worker {self.number}: {value}")
        return value

    def _died(self) -> Failure:
        return Failure(f"worker {self.number} (process {self.pid}) has died", "--resume goes on", Exit.FAILED)


def hire(desks: Sequence[Desk]) -> list[Worker]:
    """Fork one worker for each desk. Call it before there are threads."""
    workers: list[Worker] = []
    run = os.pidfd_open(os.getpid())
    for number, desk in enumerate(desks):
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            if not die_with_parent(run, signal.SIGKILL):  # in the middle of a task, too
                os._exit(Exit.FAILED)
            ours.close()
            for other in workers:
                other.pipe.close()  # else they would not hear that the run has died
            _work(desk.serve, theirs)
        theirs.close()
        workers.append(Worker(number, pid, ours))
    os.close(run)
    return workers


def _work(serve: Callable[[Any], Any], pipe: Connection) -> None:
    """The life of a worker; it never returns."""
    code = Exit.OK
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group
            signal.signal(number, signal.SIG_IGN)  # the run says when to stop; a worker ends with its pipe
        memory.keep_freed_memory()
        gc.freeze()  # what the run had made is looked through for garbage by the run alone
        while (task := pipe.recv()) is not END:
            pipe.send(("done", serve(task)))
    except (EOFError, ConnectionError):
        code = Exit.FAILED  # the run is gone; with answers unread the pipe is reset, not just closed
    except BaseException:  # noqa: BLE001 the one broad except of a worker's life: the run tells
        code = Exit.FAILED
        pipe.send(("failed", traceback.format_exc()))
    finally:
        os._exit(code)  # in any case: what lies above on the stack is the run's


def dismiss(workers: Sequence[Worker]) -> None:
    """End all workers and wait for them."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)  # its state is shared memory: nothing of it is to be saved
        os.waitpid(worker.pid, 0)
