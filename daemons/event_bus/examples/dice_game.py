"""Dice game: all throw, the highest enters the critical section and writes that it has won, all go on.

In each round a process throws 1 to 100, sends its throw to all others and waits for theirs. Now each knows
who has won: the highest throw; of equal ones the process with the lowest number. The winner asks for the
critical section and appends the line of the round to the file; `synchronize()` ends the round, so no throw of
the next can come before.
"""

from __future__ import annotations

import argparse
import random  # noqa: TID251 - the bus stands alone: its students know this module
import sys
from collections.abc import Sequence
from pathlib import Path

from event_bus import Message, Process, ProcessManager
from event_bus.examples.console import await_end, run, show
from event_bus.limits import PROCESSES_MAX


class Player(Process):
    """One who throws."""

    def __init__(self, process_id: int, bus_size: int, rounds: int, seed: int, file: Path) -> None:
        super().__init__(process_id, bus_size)
        self.rounds = rounds
        self.file = file
        self.dice = random.Random(f"{seed}/{process_id}")  # noqa: S311 - it is a game

    def process(self, message_box: list[Message]) -> None:
        """The whole game: the throws of others are picked from the mailbox while it lasts."""
        for number in range(1, self.rounds + 1):
            try:
                self.play(number)
            except OSError as error:
                sys.exit(f"{self.name}: {error}")  # as a lost one: the manager ends the game
        self.stop()

    def play(self, number: int) -> None:
        """One round."""
        mine = self.dice.randint(1, 100)
        show(f"Process {self.process_id} throws {mine}")
        self.communicator.broadcast(mine, type="throw")
        throws = {self.process_id: mine}
        while len(throws) < self.bus_size:
            message = self.communicator.mailbox.pick(type="throw")
            throws[message.sender] = message.payload
        winner = max(throws, key=lambda player: (throws[player], -player))
        if winner == self.process_id:
            with self.communicator.critical_section():
                self.write(f"Round: {number} Winner: {winner} Score: {mine}")
        self.communicator.synchronize()

    def write(self, line: str) -> None:
        """Into the file, and for those who watch."""
        with self.file.open("a") as file:
            file.write(f"{line}\n")
        show(line)


def main(words: Sequence[str]) -> int:
    """Play; the answer is an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m event_bus.examples.dice_game",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("processes", type=int, help=f"how many play: 1 to {PROCESSES_MAX}")
    parser.add_argument("rounds", type=int, help="how many rounds: 1 or more")
    parser.add_argument(
        "--seed", type=int, help="the same seed, the same throws; default: chance, and printed"
    )
    parser.add_argument("--file", type=Path, default=Path("dice_game.txt"), help="default: %(default)s here")
    said = parser.parse_args(words)
    if not 1 <= said.processes <= PROCESSES_MAX or said.rounds < 1:
        parser.error(f"{said.processes} processes, {said.rounds} rounds: see --help")
    seed = random.SystemRandom().randrange(1 << 32) if said.seed is None else said.seed
    file = said.file.resolve()
    try:
        file.write_text("")
    except OSError as error:
        parser.error(f"--file: {error}")
    show(f"Seed {seed}; the rounds go to {file}")
    with ProcessManager() as manager:
        handles = manager.add_process(said.processes, Player, rounds=said.rounds, seed=seed, file=file)
        return await_end(handles, manager)


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:])))
