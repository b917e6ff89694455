"""A manager that is waited for among other descriptors: a loss is never waited for in vain."""

from __future__ import annotations

from pathlib import Path

from tests.ipc.bus_program import Run

PROGRAM = """
import select
class P(Process):
    def process(self, box):
        if self.process_id == 0:
            os.kill(os.getpid(), signal.SIGKILL)
def readable(seconds):
    return select.select([manager], [], [], seconds)[0] == [manager]
with ProcessManager() as manager:
    first, second = manager.add_process(2, P, seat_names=["ann", "ben"])
    while first in manager.process_list:  # each look hears the keeper, and what it says of the loss
        time.sleep(0.01)
    say(heard=True, readable=readable(10), still=readable(10))
    say(losses=manager.losses(), readable=readable(0))
    manager.replace("ann")
    say(again=readable(20), losses=manager.losses())
"""


def test_a_loss_that_was_heard_on_the_way_is_news_until_it_is_told(tmp_path: Path) -> None:
    """Whoever waits after `add_process` or `process_list` is woken, and once it has asked, not again."""
    run = Run(PROGRAM, tmp_path / "run")
    try:
        run.end()
        said = [{key: value for key, value in each.items() if key != "t"} for each in run.said()]
        assert said == [
            {"heard": True, "readable": True, "still": True},
            {"losses": ["ann"], "readable": False},
            {"again": True, "losses": ["ann"]},
        ]
    finally:
        run.sweep()
