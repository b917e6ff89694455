"""The log of a run: bounded, never without a file, and a disk that refuses costs lines only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from energyctl.up.log import Log, before

BYTES_MAX = 1_000


def test_a_log_has_two_bounded_files_with_all_lines_up_to_the_last(tmp_path: Path) -> None:
    """What is dropped is the oldest; in the rest no line is missing, and none is cut."""
    path = tmp_path / "up.log"
    with Log(path, BYTES_MAX) as log:
        for number in range(1_000):
            log.line(f"line {number}")
            assert path.stat().st_size <= BYTES_MAX
        assert log.lost == 0
    assert sorted(tmp_path.iterdir()) == [path, before(path)]
    assert BYTES_MAX / 2 < before(path).stat().st_size <= BYTES_MAX
    lines = (before(path).read_text() + path.read_text()).splitlines()
    assert lines == [f"line {number}" for number in range(1_000 - len(lines), 1_000)]


def test_who_follows_it_by_name_hears_every_line(tmp_path: Path) -> None:
    """`energyctl logs -f` is `tail --follow=name`, which gives up a name that is gone for a moment."""
    path = tmp_path / "up.log"
    with Log(path, BYTES_MAX) as log:
        command = ["tail", "--lines=+1", "--follow=name", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
            assert tail.stdout is not None
            try:
                for number in range(300):
                    log.line(f"line {number}")
                    assert tail.stdout.readline() == f"line {number}\n"
            finally:
                tail.kill()


def test_what_a_detached_supervisor_says_itself_is_in_the_new_file(tmp_path: Path) -> None:
    """Its standard streams are the log: a traceback must not go into a file that is about to be dropped."""
    text = """
import os, sys
from pathlib import Path
from energyctl.up.log import Log
path = Path(sys.argv[1])
with path.open("a") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    with Log(path, 1000) as log:
        for number in range(500):
            log.line(f"line {number}")
        sys.stderr.write("a traceback")
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    path = tmp_path / "up.log"
    subprocess.run([sys.executable, "-c", text, str(path)], env=environ, check=True)
    assert path.read_text().endswith("line 499\na traceback")


def test_a_file_that_cannot_be_begun_anew_is_gone_on_with(tmp_path: Path) -> None:
    """Lines that are lost meanwhile are counted, and the count is told with the next one."""
    path = tmp_path / "up.log"
    before(path).mkdir()
    with Log(path, BYTES_MAX) as log:
        for number in range(200):
            log.line(f"line {number}")
    lines = path.read_text().splitlines()
    told = lines.count("energyctl: 1 lines could not be written")
    assert told > 0
    assert len(lines) == 200  # each line that is missing is told in its place
    assert sorted(each.name for each in tmp_path.iterdir()) == ["up.log", "up.log.1"]
