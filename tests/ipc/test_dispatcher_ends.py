"""How dispatcher and workers end, and what keeps them from beginning."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from energymarket.exits import Exit
from tests.ipc.dispatch_place import (
    Line,
    Place,
    begun,
    eventually,
    exchange,
    place,
    served,
    where,
)
from tests.ipc.processes import environment


def test_after_its_exchanges_workers_and_dispatcher_end_and_nothing_is_left(tmp_path: Path) -> None:
    """The third exchange is the last: workers leave first, then the dispatcher; both with code 0."""
    with place(tmp_path / "three", 2, "--exchanges", "3") as made:
        with Line(made.port) as client:
            for _ in range(3):
                port, ticket = where(client.ask("echo"))
                assert exchange(port, ticket) == [{"result": {}}]
            assert client.ask("echo") in {"-1 the dispatcher stops after 3 exchanges", ""}
        eventually(lambda: len(made.ended) == 3, "all have ended")
        assert list(made.ended)[-1] == "dispatcher"
        assert set(made.ended.values()) == {0}
        assert not made.directory.exists()
        with pytest.raises(ConnectionRefusedError):
            Line(made.port)


def test_a_stop_leaves_nothing_and_says_so_to_whoever_waits(tmp_path: Path) -> None:
    """Pipes, segment, socket and port are gone; a client in the queue is told, one at a worker too."""
    with place(tmp_path / "stop", 1) as made:
        worker, _ = begun(made, '{"s": 60}')
        waiting = Line(made.port)
        waiting.send(b"echo\n")
        eventually(lambda: made.ask("Status")["waiting"] == 1, "it waits")
    assert json.loads(worker.rest()[-1])["error"]["why"] == "the worker stops"
    assert waiting.line().startswith("-1 the dispatcher stops")
    worker.close()
    waiting.close()
    assert not made.directory.exists()
    with pytest.raises(ConnectionRefusedError):
        Line(made.port)


def test_what_cannot_begin_says_why_in_one_line_and_ends_with_its_code(tmp_path: Path) -> None:
    """A port in use, a file in a pipe's place, no directory, a second of its kind, wrong numbers."""
    fresh = ("dispatcherd", "--port", "0", "--workers")
    with place(tmp_path / "first", 1) as made:
        other = Place(tmp_path / "other")
        taken = ("dispatcherd", "--port", str(made.port), "--workers", "1")
        cases: list[tuple[Place, tuple[str, ...], Exit, str]] = [
            (other, taken, Exit.SECOND_INSTANCE, "in use"),
            (made, (*fresh, "1"), Exit.SECOND_INSTANCE, "another process"),
            (made, ("workerd", "1"), Exit.SECOND_INSTANCE, "another worker of this number"),
            (made, ("workerd", "2"), Exit.CONFIGURATION, "the dispatcher has workers 1 to 1"),
            (other, (*fresh, "0"), Exit.CONFIGURATION, "needs 1 to 64"),
            (other, (*fresh, "1", "--address", "host"), Exit.CONFIGURATION, "'host'"),
        ]
        daemons: tuple[tuple[str, ...], ...] = ((*fresh, "1"), ("workerd", "1"))
        for words in daemons:
            nowhere = Place(tmp_path / f"nowhere-{words[0]}")
            nowhere.path.mkdir()
            nowhere.run.write_text("no directory")
            cases.append((nowhere, words, Exit.IO_ERROR, str(nowhere.directory)))
            for name in ("dwtube1", "wdtube1"):
                blocked = Place(tmp_path / f"{name[0]}-{words[0][0]}")  # short: a socket's path has 107 bytes
                blocked.directory.mkdir(parents=True)
                (blocked.directory / name).write_text("a plain file")
                cases.append((blocked, words, Exit.CONFIGURATION, f"{name}: is there and is no pipe"))
        with ThreadPoolExecutor(4) as crowd:
            found = list(crowd.map(lambda case: case[0].once(*case[1]), cases))
        served(made)
        tubes = sorted(path.name for path in made.directory.glob("*tube*"))
        assert tubes == ["dwtube1", "wdtube1"]  # neither taken from the one who has them, nor others made
    for (_, words, code, said), done in zip(cases, found, strict=True):
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), (words, done.stderr)
        assert said in done.stderr
    assert {path.read_text() for path in tmp_path.glob("?-?/run/dispatch/*tube1") if path.is_file()} == {
        "a plain file"
    }


@pytest.mark.needs("root", "unshare")
def test_a_directory_that_is_read_only_is_told_by_both(tmp_path: Path) -> None:
    """Neither pipe nor socket can be made on a file system that is read-only: one line with the path."""
    blocked = Place(tmp_path / "closed")
    blocked.directory.mkdir(parents=True)
    script = f'mount -t tmpfs -o ro none {blocked.directory} && exec "$@"'
    for module, words in (("dispatcherd", ("--port", "0", "--workers", "1")), ("workerd", ("1",))):
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *blocked.command(module, *words)]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (Exit.IO_ERROR, 1), done.stderr
        assert f"{blocked.directory}/" in done.stderr
        assert "Read-only file system" in done.stderr
