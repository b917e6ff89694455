"""The four examples of the event bus, run as their users run them: what they show, and that they end."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from energymarket.runtime.clock import monotonic_s
from tests.ipc.processes import pass_time

EXAMPLES = ("p2p_graph", "data_replication", "synchronous_communication", "dice_game")

EDGES = {(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6), (4, 7), (6, 8)}
"""Of the graph in the issue, each once."""

Text = Callable[[], str]


class Example:
    """An example that runs, in a session and a directory of its own."""

    def __init__(self, directory: Path, name: str, words: list[str], program: str = "") -> None:
        self.directory = directory / "cwd"
        self.directory.mkdir(exist_ok=True)
        self._out = directory / "out"
        command = ["-c", program] if program else ["-m", f"event_bus.examples.{name}"]
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command, *words],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )

    def type(self, text: str) -> None:
        """Lines for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def text(self) -> str:
        """What it has shown so far."""
        return self._out.read_text()

    def await_text(self, words: str, timeout_s: float = 15.0) -> re.Match[str]:
        """Wait until it has shown that."""
        until = monotonic_s() + timeout_s
        while (found := re.search(words, self.text())) is None:
            assert monotonic_s() < until, f"{words!r} is not in {self.text()!r}"
            pass_time(0.005)
        return found

    def end(self, code: int = 0, timeout_s: float = 30.0) -> str:
        """Its input ends; wait for its end, and see that it left nothing. What it has shown."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout_s) == code, self.text()
        assert self.living() == []
        return self.text()

    def living(self) -> list[int]:
        """Processes of its session."""
        return [each for each in psutil.pids() if session(each) == self.process.pid]

    def sweep(self) -> None:
        """End what a failed test leaves."""
        for pid in self.living():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdin is not None:
            self.process.stdin.close()


def session(pid: int) -> int:
    """The session of a process that is more than a zombie."""
    try:
        return -1 if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE else os.getsid(pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return -1


Start = Callable[..., Example]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an example."""
    begun: list[Example] = []

    def begin(name: str, *words: str, program: str = "") -> Example:
        begun.append(Example(tmp_path, name, list(words), program))
        return begun[-1]

    yield begin
    for each in begun:
        each.sweep()


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A program that a shell starts in the background ignores SIGINT, and its children do: not these."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_examples_are_listed_and_explain_themselves() -> None:
    """`python -m event_bus.examples` names all four with a line each; each has --help."""
    words = [sys.executable, "-m", "event_bus.examples"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for name in EXAMPLES:
        assert re.search(rf"python -m event_bus\.examples\.{name}\n    [A-Z].+\.\n", listed)
        words = [sys.executable, "-m", f"event_bus.examples.{name}"]
        answer = subprocess.run([*words, "--help"], capture_output=True, text=True, check=True)
        assert "usage: python -m event_bus.examples" in answer.stdout
        answer = subprocess.run([*words, "--nonsense"], capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stdout) == (2, "")


# ---------------------------------------------------------------- P2P graph


def ways_on(text: str) -> set[tuple[int, int]]:
    """Every pair of nodes of which the first gave a message to the second."""
    found = re.findall(r"node (\d): message \S+ for node \d+ goes on to ([\d, ]+)", text)
    return {(int(one), int(other)) for one, others in found for other in others.split(", ")}


def test_a_message_floods_to_neighbours_only_and_arrives_once(start: Start) -> None:
    """From 0 to 8 by the only way there is, once; copies go along edges and die in the other leaves."""
    run = start("p2p_graph")
    run.type("send 0, to 8, hello, world\n")
    text = run.end()
    assert re.findall(r"(node \d): (message \S+ has arrived.*)", text) == [
        ("node 8", "message 0.1 has arrived, by 0-1-3-4-6-8: hello, world")
    ]
    assert ways_on(text) == EDGES
    assert sorted(re.findall(r"node (\d): message 0.1 dies here", text)) == ["2", "5", "7"]
    assert text.count("is over") == 1
    assert "node 0: message 0.1 is over: it has arrived" in text


def test_a_message_dies_at_the_hop_limit_and_says_so(start: Start) -> None:
    """8 is five hops from 0: with a limit of four the copy dies at 6, with five it arrives.

    The limit is ten if none is named: on a line of twelve nodes a message dies at the one ten hops away.
    """
    run = start("p2p_graph", "--hops", "4")
    run.type("send 0, to 8, hello\n")
    text = run.end()
    assert "node 6: message 0.1 dies here: it has made 4 hops, which is the limit" in text
    assert "node 0: message 0.1 is over: it died" in text
    assert "has arrived" not in text
    run = start("p2p_graph", "--hops", "5")
    run.type("0, 8, hello\n")
    assert "node 8: message 0.1 has arrived" in run.end()
    line = graph_program("{n: [m for m in (n - 1, n + 1) if 0 <= m < 12] for n in range(12)}")
    run = start("p2p_graph", program=line)
    run.type("send 0, to 11, hello\nsend 0, to 10, hello\n")
    text = run.end()
    assert "node 10: message 0.1 dies here: it has made 10 hops" in text
    assert "node 10: message 0.2 has arrived" in text


def graph_program(graph: str) -> str:
    return (
        "import sys; from event_bus.examples import p2p_graph as p;"
        f"p.GRAPH.update({graph}); sys.exit(p.run(lambda: p.main([])))"
    )


def test_a_message_that_comes_by_two_ways_arrives_once(start: Start) -> None:
    """On a ring of nine, what goes both ways round arrives once; for a node that is nowhere it dies."""
    run = start("p2p_graph", program=graph_program("{n: [(n - 1) % 9, (n + 1) % 9] for n in range(9)}"))
    run.type("send 0, to 4, hello\nsend 1, to 77, hello\nsend 1, to 3, again\n")
    text = run.end()
    assert len(re.findall(r"node 4: message 0\.1 has arrived", text)) == 1
    assert len(re.findall(r"node 4: message 0\.1 dies here: it was here before", text)) == 1
    assert "node 1: message 1.1 is over: it died" in text
    assert len(re.findall(r"node 3: message 1\.2 has arrived", text)) == 1


def test_a_bad_line_gets_one_error_and_the_prompt_again(start: Start) -> None:
    """Four bad lines, four errors, no message; an empty line none; `quit` ends before the rest is read."""
    run = start("p2p_graph")
    run.type("hello\nsend 9, to 1, x\nsend x, to 1, x\nsend 1, to x, x\n\nquit\nsend 0, to 1, x\n")
    text = run.end()
    assert len(re.findall(r"^(?:not understood|no node|not a node)", text, re.MULTILINE)) == 4
    assert text.count("send id, to id, message: ") == 6
    assert ways_on(text) == set()


def test_a_lost_node_ends_the_graph(start: Start) -> None:
    """A node that is killed is named, and the example ends with exit code 1: its graph is no more."""
    run = start("p2p_graph")
    pid = int(run.await_text(r"node 3 is pid (\d+)")[1])
    run.await_text("send id")
    os.kill(pid, signal.SIGKILL)
    run.await_text("node 3 is lost")
    run.type("send 0, to 8, hello\n")
    assert "has lost a node" in run.end(1)


# ---------------------------------------------------------------- data replication


def held(text: str) -> dict[str, str]:
    """What each replica held when it was shown last."""
    return dict(re.findall(r"(replica \d): holds (.+)", text))


def test_an_edit_is_written_where_the_datum_is_and_nowhere_else(start: Start) -> None:
    """`set` is local; `edit` by one that does not hold the datum reaches the two that do.

    It has permission of all three others, and both acknowledge. Of a datum that nobody holds it is void.
    """
    run = start("data_replication")
    run.type("set 0, x, 1\nset 2, x, 2\nset 2, y, 3\nshow\n")
    run.await_text(r"(?s)(replica \d: holds.*){4}")
    assert held(run.text()) == {
        "replica 0": "x = 1",
        "replica 1": "nothing",
        "replica 2": "x = 2, y = 3",
        "replica 3": "nothing",
    }
    run.type("edit 3, x, a value\nedit 1, z, 1\nshow\nset 4, x, 1\nset 1, , 1\ndrop 1\n")
    text = run.end()
    assert sorted(re.findall(r"(replica \d): permits the edit of x by replica 3", text)) == [
        "replica 0",
        "replica 1",
        "replica 2",
    ]
    written = re.findall(r"(replica \d): x = a value, by replica 3", text)
    assert sorted(written) == ["replica 0", "replica 2"]
    assert text.index("x = a value, by") < text.index("replica 3: edit of x to a value is done")
    assert "replica 1: edit of z to 1 is void" in text
    assert held(text)["replica 0"] == "x = a value"
    assert held(text)["replica 2"] == "x = a value, y = 3"
    assert held(text)["replica 3"] == held(text)["replica 1"] == "nothing"
    assert len(re.findall(r"^(?:no replica|not understood)", text, re.MULTILINE)) == 3


def test_concurrent_edits_end_with_all_replicas_equal(start: Start) -> None:
    """Thirty times five edits at once: all are done, and each time the holders have the same of five values.

    Two are made by one replica, one by a replica that does not hold the datum.
    """
    run = start("data_replication")
    run.type("set 0, x, 0\nset 2, x, 0\nset 3, x, 0\n")
    for turn in range(30):
        edits = [f"edit {who}, x, {turn}{letter}" for who, letter in zip("00123", "abcde", strict=True)]
        run.type("; ".join(edits) + "\nshow\n")
    text = run.end()
    shown = text.split(" | show: show\n")[1:]
    assert len(shown) == 30
    for turn, part in enumerate(shown):
        now = held(part)
        assert now["replica 1"] == "nothing"
        assert now["replica 0"] == now["replica 2"] == now["replica 3"], f"after turn {turn}: {now}"
        assert now["replica 0"] in {f"x = {turn}{letter}" for letter in "abcde"}
    assert text.count("is done") == 150
    assert "must wait" in text, "no two edits were ever concurrent: the test shows nothing"


def test_a_killed_replica_does_not_hang_the_edit(start: Start) -> None:
    """Edits wait for a replica that is stopped, and are done as soon as it is killed.

    What is ordered of the dead one is refused.
    """
    run = start("data_replication")
    run.type("set 0, x, 1\nset 1, x, 1\nset 2, x, 1\n")
    pid = int(run.await_text(r"replica 1 is pid (\d+)")[1])
    run.await_text("replica 2: x = 1")
    os.kill(pid, signal.SIGSTOP)
    run.type("edit 0, x, 5; edit 3, x, 6\n")
    run.await_text("replica 3: edit of x to 6, stamp")
    pass_time(0.2)
    assert "is done" not in run.text()
    os.kill(pid, signal.SIGKILL)
    begun = monotonic_s()
    run.await_text("edit of x to 5 is done")
    run.await_text("edit of x to 6 is done")
    assert monotonic_s() - begun < 1.0
    run.type("edit 1, x, 7\nshow\n")
    text = run.end()
    assert "that replica is gone" in text
    now = held(text)
    assert now.keys() == {"replica 0", "replica 2", "replica 3"}
    assert now["replica 0"] == now["replica 2"] != "x = 1"


DYING = """
import os, signal, sys, threading
from event_bus.examples import data_replication as d
from event_bus.communicator import Communicator

broadcast = Communicator.broadcast

def half(self, payload, **words):
    member = self._wires.member
    if isinstance(payload, d.Write) and payload.edit.replica == member.name_of(member.life) == "replica 0":
        self.send_to(payload, 1)
        threading.Event().wait(0.1)  # until it is in the kernel's hands
        os.kill(os.getpid(), signal.SIGKILL)
    broadcast(self, payload, **words)

Communicator.broadcast = half
sys.exit(d.run(lambda: d.main([])))
"""


def test_an_editor_that_dies_amid_its_values_leaves_the_replicas_equal(start: Start) -> None:
    """Replica 0 sends the value to replica 1 only and is killed: 1 hands it on, and the next edit is done."""
    run = start("data_replication", program=DYING)
    run.type("".join(f"set {who}, x, 1\n" for who in range(4)) + "edit 0, x, 2\n")
    run.await_text("replica 0 is gone")
    run.type("show\nedit 2, x, 3\n")
    text = run.end()
    assert set(held(text).values()) == {"x = 2"}
    assert held(text).keys() == {"replica 1", "replica 2", "replica 3"}
    assert "edit of x to 3 is done" in text


# ---------------------------------------------------------------- synchronous communication


def test_the_sender_is_blocked_until_the_receiver_has_received(start: Start) -> None:
    """By the times that it shows: first the sender waits for the late receiver, then the receiver for it."""
    text = start("synchronous_communication", "--late", "0.4").end()
    found = re.findall(r"^ *([\d.]+) s  (\w+) +(\w+ ?\w*)", text, re.MULTILINE)

    def time_of(who: str, what: str, meeting: int) -> float:
        return [float(at) for at, whose, words in found if whose == who and words.startswith(what)][meeting]

    assert time_of("sender", "goes on", 0) - time_of("sender", "sends", 0) >= 0.39
    assert time_of("sender", "goes on", 0) >= time_of("receiver", "receives", 0)
    assert time_of("receiver", "goes on", 1) - time_of("receiver", "receives", 1) >= 0.39
    assert time_of("receiver", "goes on", 1) >= time_of("sender", "sends", 1)
    assert "acknowledged with: thanks for the first" in text
    assert "has received: the second message" in text


# ---------------------------------------------------------------- dice game

LINE = re.compile(r"Round: (\d+) Winner: (\d+) Score: (\d+)\n")


def test_each_round_has_one_line_with_the_highest_throw(start: Start) -> None:
    """Five players, sixty rounds: the lines of the file are those shown, one a round, in order.

    In each wins the highest of the five throws shown before it, of equal ones the lowest number.
    """
    run = start("dice_game", "5", "60", "--seed", "7", "--file", "../rounds")
    text = run.end()
    assert list(run.directory.iterdir()) == []
    written = (run.directory.parent / "rounds").read_text()
    assert "".join(f"{match[0]}" for match in LINE.finditer(text)) == written
    lines = LINE.findall(written)
    assert [int(number) for number, _, _ in lines] == list(range(1, 61))
    ties = 0
    for (_, winner, score), part in zip(lines, LINE.split(text)[::4], strict=False):
        throws = {int(who): int(throw) for who, throw in re.findall(r"Process (\d) throws (\d+)", part)}
        assert throws.keys() == set(range(5))
        assert all(1 <= throw <= 100 for throw in throws.values())
        best = max(throws.values())
        assert (int(winner), int(score)) == (min(who for who in throws if throws[who] == best), best)
        ties += list(throws.values()).count(best) > 1
    assert ties, "no two were ever equal: the rule is not shown; take another seed"


def test_the_same_seed_is_the_same_game_and_the_file_is_named(start: Start) -> None:
    """Without --file the lines go to dice_game.txt, as it says; without --seed it says which it took."""
    run = start("dice_game", "3", "4")
    text = run.end()
    file = run.directory / "dice_game.txt"
    assert f"the rounds go to {file.resolve()}" in text
    first = file.read_text()
    seed = re.findall(r"Seed (\d+);", text)[0]
    start("dice_game", "3", "4", "--seed", seed).end()
    assert file.read_text() == first
    start("dice_game", "1", "2").end()
    assert len(LINE.findall(file.read_text())) == 2


@pytest.mark.parametrize("words", [("0", "1"), ("129", "1"), ("2", "0"), ("2",), ("2", "1", "--file", "/")])
def test_a_game_that_cannot_be_is_refused(start: Start, words: tuple[str, ...]) -> None:
    """With exit code 2, before any process or file is made."""
    run = start("dice_game", *words)
    assert "error: " in run.end(2)
    assert list(run.directory.iterdir()) == []


def test_a_line_that_cannot_be_written_ends_the_game(start: Start) -> None:
    """A full disk: exit code 1 and the reason, instead of players who wait for a winner's line."""
    text = start("dice_game", "3", "5", "--file", "/dev/full").end(1)
    assert re.search(r"Player-\d: .*No space left on device", text)
    assert "Traceback" not in text


def test_a_killed_player_ends_the_game(start: Start) -> None:
    """The others wait for no throw of a dead one: the game ends with exit code 1 and names it."""
    run = start("dice_game", "3", "1000000")
    run.await_text("Round: 2 ")
    for pid in run.living():
        if psutil.Process(pid).ppid() == run.process.pid and len(psutil.Process(pid).threads()) > 1:
            os.kill(pid, signal.SIGKILL)  # the keeper has one thread, a player one more for the bus
            break
    assert re.search(r"Player-\d is gone: the others cannot go on", run.end(1))


# ---------------------------------------------------------------- terminals and interruptions


@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("p2p_graph", (), "send id, to id, message: "),
        ("data_replication", (), r"set id, name, value \| edit id, name, value"),
        ("synchronous_communication", ("--late", "60"), "is blocked until"),
        ("dice_game", ("4", "1000000"), "Round: 3 "),
    ],
)
def test_an_interruption_ends_it_in_order(
    start: Start, name: str, words: tuple[str, ...], shown: str
) -> None:
    """SIGINT for its whole group, as Ctrl-C sends it: exit code 130 within 3 s, no traceback, no process."""
    run = start(name, *words)
    run.await_text(shown)
    begun = monotonic_s()
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.process.wait(10) == 130
    assert monotonic_s() - begun < 3
    assert run.living() == []
    assert "Traceback" not in run.text()


def test_on_a_terminal_it_asks_and_answers_and_is_interrupted(tmp_path: Path) -> None:
    """On a terminal: the prompt, a line, its consequences, the prompt again; Ctrl-C ends it with code 130."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "event_bus.examples.p2p_graph"])  # noqa: S606
    shown = ""

    def read_until(words: str, times: int) -> None:
        nonlocal shown
        while shown.count(words) < times:
            shown += os.read(terminal, 4096).decode()

    read_until("send id, to id, message: ", 1)
    os.write(terminal, b"send 2, to 5, through the terminal\n")
    read_until("send id, to id, message: ", 2)
    assert "has arrived, by 2-1-3-4-5: through the terminal" in shown
    assert shown.count("send 2, to 5") == 1, "the terminal has echoed it already"
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert [each for each in psutil.pids() if session(each) == pid] == []


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["p2p_graph"], b"nonsense\nnonsense\n"),  # the manager finds nobody reading
        (["p2p_graph"], b"send 0, to 8, hello\n"),  # or a node
        (["data_replication"], b"set 0, x, 1\nedit 1, x, 1\n"),
        (["dice_game", "3", "1000000"], b""),
    ],
)
def test_a_reader_that_goes_away_ends_it(tmp_path: Path, words: list[str], lines: bytes) -> None:
    """`... | head -1`: exit code 1, no traceback, no process; nobody waits for one that has ended."""
    with subprocess.Popen(
        [sys.executable, "-m", f"event_bus.examples.{words[0]}", *words[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()
        run.stdout.close()
        run.stdin.write(lines)
        run.stdin.close()
        assert run.wait(10) == 1
        assert b"Traceback" not in run.stderr.read()
    assert [each for each in psutil.pids() if session(each) == run.pid] == []


def test_without_a_standard_input_it_ends_at_once(tmp_path: Path) -> None:
    """`... <&-`: there is nothing to read."""
    command = ["sh", "-c", '"$0" -m event_bus.examples.p2p_graph <&-', sys.executable]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=20)
    assert (answer.returncode, answer.stderr) == (0, "")
