"""`energyctl ask` against a dispatcher and workers that say what the test wants."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from energyctl.dispatch.asking import Asking
from energyctl.exits import Exit, ProblemError
from energymarket.wire.dispatch_text import DIRECTORY, SOCKET

ROOT = Path(__file__).parents[2]
Script = Callable[[socket.socket, list[bytes]], None]


class Peer:
    """Listens, and plays one script after the other, the last one again and again."""

    def __init__(self, *scripts: Script, port: int = 0) -> None:
        self._scripts = list(scripts)
        self.heard: list[list[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.join()

    def hang_up(self) -> None:
        """Nobody listens any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def join(self) -> None:
        """Wait until it is over."""
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            lines: list[bytes] = []
            self.heard.append(lines)
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            with sock, suppress(OSError):
                sock.settimeout(30)
                script(sock, lines)


def line_of(sock: socket.socket, lines: list[bytes], count: int = 1) -> None:
    """Hear so many lines."""
    rest = b""
    while rest.count(b"\n") < count:
        rest += sock.recv(4096)
    lines += rest.split(b"\n")[:count]


def says(text: str, count: int = 1) -> Script:
    """Hear lines, say this, hang up."""

    def script(sock: socket.socket, lines: list[bytes]) -> None:
        line_of(sock, lines, count)
        sock.sendall(text.encode())

    return script


def keeps_silent(sock: socket.socket, lines: list[bytes]) -> None:
    """Take the line, say nothing, until the other end goes."""
    line_of(sock, lines)
    sock.recv(1)


RESULT = '{"progress":0.5,"doing":"half"}\n{"result":{"type":"x","n":7}}\n'


def asking(port: int, timeout_s: float = 20, told: list[str] | None = None) -> Asking:
    heard = told if told is not None else []
    return Asking(("127.0.0.1", port), timeout_s, lambda share, doing: heard.append(f"{share} {doing}"))


def problem_of(port: int, timeout_s: float = 20) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        asking(port, timeout_s).ask("report", {})
    return raised.value


def test_the_way_of_a_question(run_dir: Path) -> None:
    """Type and question to the dispatcher; its ticket and an empty line to the worker; progress, result."""
    del run_dir
    told: list[str] = []
    with Peer(says(RESULT, 2)) as worker, Peer(says(f"{worker.port} secret\n")) as desk:
        assert asking(desk.port, told=told).ask("report", {"last": "7d"}) == {"type": "x", "n": 7}
    name, _, question = desk.heard[0][0].partition(b" ")
    assert (name, json.loads(question)) == (b"report", {"last": "7d"})
    assert worker.heard == [[b"secret", b""]]
    assert "0.5 half" in told


def test_an_answer_may_come_byte_by_byte_and_by_relay() -> None:
    """However the bytes are cut; and with a dispatcher that relays, no worker is seen."""

    def slowly(sock: socket.socket, lines: list[bytes]) -> None:
        line_of(sock, lines, 2)
        for at in range(len(RESULT)):
            sock.sendall(RESULT[at : at + 1].encode())

    with Peer(slowly) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        assert asking(desk.port).ask("report", {})["n"] == 7
    with Peer(says('{"result":{"type":"x"}}\n')) as desk:
        assert asking(desk.port).ask("report", {}) == {"type": "x"}


def test_a_busy_dispatcher_is_asked_again_until_time_is_over() -> None:
    """-1 busy twice, then a port; and for ever: the reason it gave, and exit 75."""
    busy = says("-1 busy: 2 workers are at work, and 16 requests wait\n")
    with Peer(says(RESULT, 2)) as worker, Peer(busy, busy, says(f"{worker.port} t\n")) as desk:
        assert asking(desk.port).ask("report", {})["n"] == 7
        assert len(desk.heard) == 3
    with Peer(busy) as desk:
        problem = problem_of(desk.port, 1.0)
    assert problem.exit_code is Exit.TRY_AGAIN
    assert "16 requests wait" in problem.why


def test_a_worker_that_dies_over_the_question_is_replaced_twice() -> None:
    """It hangs up before the result: asked again; the third that dies is not tried on a fourth."""
    dies = says('{"progress":0.1,"doing":"reading"}\n', 2)
    with Peer(dies, dies, says(RESULT, 2)) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        assert asking(desk.port).ask("report", {})["n"] == 7
    with Peer(dies) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        problem = problem_of(desk.port)
        assert len(worker.heard) == 3
    assert problem.exit_code is Exit.TRY_AGAIN


def test_a_dispatcher_that_restarts_meanwhile_is_found_again() -> None:
    """It is gone for a moment after it was met: that is waited for, and was never there is not."""
    with Peer(says("")) as gone:
        port = gone.port
    assert problem_of(port).exit_code is Exit.NOT_RUNNING
    with ExitStack() as stack:
        worker = stack.enter_context(Peer(says(RESULT, 2)))

        def vanish(sock: socket.socket, lines: list[bytes]) -> None:
            line_of(sock, lines)
            first.hang_up()
            returning.start()

        def come_back() -> None:
            first.join()
            threading.Event().wait(0.5)  # longer than the first pause: one try finds nobody
            stack.enter_context(Peer(says(f"{worker.port} t\n"), port=first.port))

        first = Peer(vanish)
        returning = threading.Thread(target=come_back)
        with first:
            assert asking(first.port).ask("report", {})["n"] == 7
        returning.join(10)


def test_a_dispatcher_that_has_died_is_waited_for(run_dir: Path) -> None:
    """The socket that a killed one left is no reason to give up: the next one is asked."""
    directory = run_dir / DIRECTORY
    directory.mkdir(parents=True)
    path = directory / SOCKET
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))

    def come_back(port: int) -> None:
        threading.Event().wait(0.5)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as again:
            again.bind(str(path))
            again.listen()
            with again.accept()[0] as asks:
                asks.recv(4096)
                asks.sendall(
                    json.dumps({"parameters": {"address": "127.0.0.1", "port": port}}).encode() + b"\0"
                )

    with answering({"type": "report", "slots": 3, "words": ["one"]}) as port:
        returning = threading.Thread(target=come_back, args=(port,), daemon=True)
        returning.start()
        found = ctl(run_dir, "report")
        returning.join(10)
    assert (found.returncode, found.stdout, found.stderr) == (0, "one\n", "")


def test_what_is_wrong_is_told_apart() -> None:
    """Refused, unknown, nonsense, silence: each with its exit code, and none hangs."""
    refusal = '{"error":{"what":"the period","why":"has no slot","do":"turn it round"}}\n'
    with Peer(says(refusal, 2)) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        problem = problem_of(desk.port)
    assert (problem.exit_code, problem.message, problem.why, problem.hint) == (
        Exit.FAILED,
        "the period",
        "has no slot",
        "turn it round",
    )
    for answer, code in (
        ('-1 unknown request type "report": say one of requetetype1\n', Exit.NO_SUCH_OBJECT),
        ("SSH-2.0-OpenSSH_9.2\n", Exit.UNREACHABLE),
        ('{"result":7}\n', Exit.UNREACHABLE),
        ("[]\n", Exit.UNREACHABLE),
        ("70000 t\n", Exit.UNREACHABLE),
    ):
        with Peer(says(answer)) as desk:
            assert problem_of(desk.port).exit_code is code, answer
    with Peer(keeps_silent) as desk:
        assert problem_of(desk.port, 0.5).exit_code is Exit.WAIT_TIMED_OUT
    with Peer(keeps_silent) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        assert problem_of(desk.port, 0.5).exit_code is Exit.WAIT_TIMED_OUT


# ---- the verb as a process


def ctl(run_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    environ["PYTHONPATH"] = f"{ROOT / 'daemons'}:{ROOT / 'ctl'}"
    command = [sys.executable, "-m", "energyctl", "--run", str(run_dir), "ask", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def answering(result: object) -> Iterator[int]:
    said = json.dumps({"result": result})
    with Peer(says(f"{said}\n", 2)) as worker, Peer(says(f"{worker.port} t\n")) as desk:
        yield desk.port


def test_a_report_is_words_for_people_and_figures_for_programs(run_dir: Path) -> None:
    """The worker's words are printed without what would steer a terminal; --json has all but the words."""
    with answering({"type": "report", "slots": 3, "words": ["one", "\x1b[2Jtwo"]}) as port:
        people = ctl(run_dir, "report", "--dispatcher", f"127.0.0.1:{port}")
        programs = ctl(run_dir, "report", "--json", "--dispatcher", str(port))
    assert (people.returncode, people.stdout, people.stderr) == (0, "one\n�[2Jtwo\n", "")
    assert json.loads(programs.stdout) == {"type": "report", "slots": 3}


def test_a_forecast_is_drawn(run_dir: Path) -> None:
    """Two bands with their axes, a table, and the notes; on no terminal, no line of progress."""
    times = [f"2025-06-16T{hour:02}:{minute:02}:00+02:00" for hour in range(24) for minute in (0, 15, 30, 45)]
    prices = [200_000 + 1_000 * at for at in range(96)]
    band = {"p10": [p - 20_000 for p in prices], "p50": prices, "p90": [p + 20_000 for p in prices]}
    found = {
        "type": "forecast",
        "time": times,
        "timezone": "Europe/Berlin",
        "slot_s": 900,
        "homes": 40,
        "samples": 100,
        "price_ueur_per_kwh": band,
        "net_wh": {name: [(each - 250_000) // 10 for each in row] for name, row in band.items()},
        "notes": ["homes sleep"],
    }
    with answering(found) as port:
        shown = ctl(run_dir, "forecast", "--dispatcher", f"127.0.0.1:{port}")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    drawn = [line.partition("│")[2] for line in lines if "│" in line]
    assert len(drawn) == 18
    assert drawn[0].strip(" ░") == ""  # the median of a rising price is not at the top of the band
    assert drawn[8].startswith("░")
    places = [line.index("●") for line in drawn[:9] if "●" in line]
    assert places == sorted(places, reverse=True)
    assert "2025-06-16 12:00  " in shown.stdout
    assert "0.2480" in shown.stdout  # slot 48: 12:00
    assert lines[-1] == "note: homes sleep"


def test_without_a_dispatcher_the_command_says_what_to_do(run_dir: Path) -> None:
    """Exit 3, and a hint; wrong words are exit 2, before anybody is asked."""
    down = ctl(run_dir, "report")
    assert down.returncode == Exit.NOT_RUNNING
    assert "the dispatcher is not running" in down.stderr
    assert "[dispatch]" in down.stderr
    assert ctl(run_dir, "report", "--dispatcher", "nowhere").returncode == Exit.USAGE
    assert ctl(run_dir, "forecast", "--samples", "3").returncode == Exit.USAGE
    assert ctl(run_dir, "forecast", "--timeout", "nan", "--dispatcher", "1").returncode == Exit.USAGE
