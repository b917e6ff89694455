"""The event bus under programs that do what they should not, and machines that have had enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ipc.bus_program import Run

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
