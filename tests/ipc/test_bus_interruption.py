"""Ctrl-C while a manager forks: it is neither lost, nor does a process die of it that has just begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ipc.bus_program import Run

PROGRAM = """
shots = 0
def shoot():
    global shots
    shots += 1
    if {when}:
        os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork({where}=shoot)
class P(Process):
    def process(self, box):
        say(up=self.process_id)
try:
    with ProcessManager() as manager:
        manager.add_process(2, P)
        say(started=True)
        time.sleep(0.3)
except KeyboardInterrupt:
    say(interrupted=True)
"""


@pytest.mark.parametrize("where", ["before", "after_in_parent"])
@pytest.mark.parametrize("fork", [1, 2, 3])
def test_an_interruption_amid_a_fork_is_raised(tmp_path: Path, where: str, fork: int) -> None:
    """At the fork of the keeper, of the first, or the second process: `KeyboardInterrupt`, nothing left.

    Python itself loses what is raised while it runs the functions around a fork.
    """
    run = Run(PROGRAM.format(when=f"shots == {fork}", where=where), tmp_path / "run")
    try:
        run.end()
        assert run.said() == run.said(interrupted=True), run.story()
        assert run.errors() == ""
    finally:
        run.sweep()


HELD_UP = """
set_mask = signal.pthread_sigmask
def slowly(how, mask):
    if how == signal.SIG_SETMASK:
        time.sleep(0.5)
    return set_mask(how, mask)
signal.pthread_sigmask = slowly
"""


def test_an_interruption_that_finds_all_on_the_bus_loses_none_of_them(tmp_path: Path) -> None:
    """The manager is held up between the last fork and the interruption: both processes are up by then.

    It ends what it has started, and nobody is told of a loss.
    """
    program = HELD_UP + PROGRAM.format(when="shots == 3", where="after_in_parent")
    run = Run(program, tmp_path / "run")
    try:
        run.end()
        assert {each["up"] for each in run.said() if "up" in each} == {0, 1}, run.story()
        assert run.said(interrupted=True)
        assert not run.said(started=True)
        assert run.errors() == ""
    finally:
        run.sweep()


def test_an_interruption_kills_no_process_that_begins(tmp_path: Path) -> None:
    """The signal comes in each child right after its fork: keeper and processes ignore it."""
    run = Run(PROGRAM.format(when="True", where="after_in_child"), tmp_path / "run")
    try:
        run.end()
        assert len(run.said(started=True)) == 1, run.story()
        assert {each["up"] for each in run.said() if "up" in each} == {0, 1}
        assert run.errors() == ""
    finally:
        run.sweep()
