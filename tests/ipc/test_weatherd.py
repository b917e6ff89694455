"""The weather daemon as a real process: posts ahead, beats, stops, refuses; live weather young and old."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.records import Phase
from energymarket.core.weather import sample_of
from energymarket.runtime import clock
from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compiled import Compiled, load
from energymarket.transport import resources
from energymarket.transport.page import BoardReader, BoardWriter, ClockWriter
from energymarket.transport.resources import Ipc
from energymarket.weatherd import Poster, Tables
from energymarket.wire import weather_file
from energymarket.wire.clock_page import ClockPage, Flag
from energymarket.wire.weather_file import Observation
from tests.ipc.processes import environment

pytestmark = pytest.mark.usefixtures("no_ipc_left")

SCENARIO = """
schema = 1
title = "weather by hand"
[time]
start = 2025-01-06
timezone = "UTC"
slots = 4
[weather]
temperature_c = [1, 2, 3, 4]
wind_m_per_s = 3
source = "{source}"
silent_slots = [{silent}]
[price]
half_life_h = 6
[[price.factor]]
name = "base"
alpha = 0.2
[[home]]
name = "h"
consumption_w = 100
"""


def compiled_of(directory: Path, source: str = "constant", silent: str = "") -> Compiled:
    """Four slots of 1, 2, 3, 4 °C."""
    directory.mkdir(exist_ok=True)
    scenario, problems = toml.parse(
        SCENARIO.format(source="constant", silent=silent), str(directory / "w.toml")
    )
    assert scenario is not None, toml.render_problems(problems)
    if source == "live":
        text = SCENARIO.format(source="live", silent=silent).replace("[1, 2, 3, 4]", "10")
        scenario, problems = toml.parse(text, str(directory / "w.toml"))
        assert scenario is not None, toml.render_problems(problems)
    compile_into(directory, scenario)
    return load(directory)


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    """The run's objects."""
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[socket.socket]:
    """The supervisor's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(20)
        yield bound


@contextmanager
def weatherd(
    run_dir: Path, compiled: Path, notices: socket.socket, *more: str
) -> Iterator[subprocess.Popen[str]]:
    """The daemon; killed and reaped at the end."""
    command = [
        sys.executable,
        "-m",
        "energymarket.weatherd",
        "--compiled",
        str(compiled),
        "--run",
        str(run_dir),
        *more,
    ]
    env = {**environment(), "NOTIFY_SOCKET": notices.getsockname()}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def told(notices: socket.socket, words: str) -> str:
    """The first notice with these words."""
    while True:
        text = notices.recv(4096).decode()
        if words in text:
            return text


def soon(holds: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it comes to hold in time."""
    end_ns = clock.boottime_ns() + int(seconds * 1e9)
    while not holds():
        if clock.boottime_ns() > end_ns:
            return False
        clock.sleep_until_boottime_ns(clock.boottime_ns() + 5_000_000)
    return True


def page_of(slot: int, slot_ns: int = 1_000_000_000) -> ClockPage:
    """The market's clock in a slot that has just begun."""
    now = clock.boottime_ns()
    return ClockPage(
        slot=slot, epoch=0, phase=Phase.EXCHANGE, flags=int(Flag.LIVE), open_ns=now,
        exchange_ns=now + slot_ns // 2, gate_ns=now + slot_ns * 8 // 10, next_open_ns=now + slot_ns,
        price=1, import_=2, export_=0, fee=0,
        slot_s=900, slot_ns=slot_ns, market_pid=os.getpid(),
    )  # fmt: skip


def temperature_mc(board: BoardReader, slot: int) -> int | None:
    """What the board has for exactly this slot."""
    reading = board.sample(slot, clock.boottime_ns())
    if reading.sample is None or int(reading.sample["slot"]) != slot:
        return None
    return int(reading.sample["temperature_mc"])


def test_before_a_market_the_first_slot_is_there(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """READY comes when the first sample lies on the board, and STATUS names it; SIGTERM ends it with 0."""
    compiled = compiled_of(tmp_path / "c")
    first = compiled.period.first_slot
    with weatherd(run_dir, compiled.directory, notices) as running, BoardReader(ipc) as board:
        ready = told(notices, "READY=1")
        assert f"STATUS=slot {first} posted" in ready
        assert temperature_mc(board, first) == 1_000
        assert temperature_mc(board, first + 1) is None
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    told(notices, "STOPPING=1")


def test_a_page_that_is_torn_for_a_moment_brings_no_old_weather_back(ipc: Ipc, tmp_path: Path) -> None:
    """The board is a ring: the first slot has the place of the one 128 later, which lies there already."""
    compiled = compiled_of(tmp_path / "c")
    first = compiled.period.first_slot
    with BoardWriter(ipc) as writer, BoardReader(ipc) as board:
        poster = Poster(writer, Tables(compiled), first)
        for page in (None, page_of(first + 127), None):
            for slot in poster.due(page):
                poster.post(slot)
        assert temperature_mc(board, first + 128) == 1_000  # of the table's row 128 mod 4


def test_it_stays_one_slot_ahead_of_the_market(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """With the clock at slot 2 the samples of 2 and 3 are there; beyond the period the table repeats."""
    compiled = compiled_of(tmp_path / "c")
    first = compiled.period.first_slot
    with ClockWriter(ipc) as market, BoardReader(ipc) as board:
        market.write(page_of(first + 2))
        with weatherd(run_dir, compiled.directory, notices):
            told(notices, "READY=1")
            assert soon(lambda: temperature_mc(board, first + 3) == 4_000)
            assert temperature_mc(board, first + 2) == 3_000
            market.write(page_of(first + 3))
            assert soon(lambda: temperature_mc(board, first + 4) == 1_000)


def test_it_follows_a_fast_market(run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path) -> None:
    """At twenty slots a second every slot has its weather before the market gets there."""
    compiled = compiled_of(tmp_path / "c")
    first, slot_ns = compiled.period.first_slot, 50_000_000
    with ClockWriter(ipc) as market, BoardReader(ipc) as board:
        market.write(page_of(first, slot_ns))
        with weatherd(run_dir, compiled.directory, notices):
            told(notices, "READY=1")
            assert soon(lambda: temperature_mc(board, first + 1) is not None)
            late = []
            # A busy machine holds it up now and then; who cannot keep up is late in each stretch.
            for begin in range(first + 1, first + 201, 40):
                late.append(0)
                for slot in range(begin, begin + 40):
                    page = page_of(slot, slot_ns)
                    late[-1] += temperature_mc(board, slot) is None
                    market.write(page)
                    clock.sleep_until_boottime_ns(page.next_open_ns)
                if late[-1] <= 2:
                    break
            assert min(late) <= 2, late


def test_it_beats_at_least_once_a_second(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """Over three seconds the heartbeat is never older than one, so that no reader calls the board stale."""
    compiled = compiled_of(tmp_path / "c")
    with weatherd(run_dir, compiled.directory, notices), BoardReader(ipc) as board:
        told(notices, "READY=1")
        end_ns = clock.boottime_ns() + 3_000_000_000
        oldest = 0
        while clock.boottime_ns() < end_ns:
            oldest = max(oldest, board.age_ns(clock.boottime_ns()))
            clock.sleep_until_boottime_ns(clock.boottime_ns() + 50_000_000)
        assert oldest < 1_000_000_000


def test_it_idles_without_work(run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path) -> None:
    """Two seconds with a market that stands still cost less than a twentieth of a second of the processor."""
    compiled = compiled_of(tmp_path / "c")
    with ClockWriter(ipc) as market, weatherd(run_dir, compiled.directory, notices) as running:
        market.write(page_of(compiled.period.first_slot, 3_600_000_000_000))
        told(notices, "READY=1")

        def used_ticks() -> int:
            fields = Path(f"/proc/{running.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        before = used_ticks()
        clock.sleep_until_boottime_ns(clock.boottime_ns() + 2_000_000_000)
        assert used_ticks() - before <= os.sysconf("SC_CLK_TCK") // 20


def test_in_a_silent_slot_nothing_is_posted(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """The scenario keeps slot 1 silent: slots 0 and 2 are there, 1 is read as the last one, stale."""
    compiled = compiled_of(tmp_path / "c", silent="1")
    first = compiled.period.first_slot
    with (
        ClockWriter(ipc) as market,
        BoardReader(ipc) as board,
        weatherd(run_dir, compiled.directory, notices),
    ):
        told(notices, "READY=1")
        assert temperature_mc(board, first) == 1_000
        market.write(page_of(first + 1))
        assert soon(lambda: temperature_mc(board, first + 2) == 3_000)
        reading = board.sample(first + 1, clock.boottime_ns())
        assert reading.stale
        assert reading.sample is not None
        assert int(reading.sample["slot"]) == first


def test_killed_and_started_again_it_goes_on(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """After SIGKILL the board keeps what it has, goes stale by the heartbeat; the next start revives it."""
    compiled = compiled_of(tmp_path / "c")
    first = compiled.period.first_slot
    with ClockWriter(ipc) as market, BoardReader(ipc) as board:
        market.write(page_of(first))
        with weatherd(run_dir, compiled.directory, notices) as running:
            told(notices, "READY=1")
            running.kill()
            running.wait()
        assert temperature_mc(board, first) == 1_000
        assert soon(lambda: board.sample(first, clock.boottime_ns()).stale)
        with weatherd(run_dir, compiled.directory, notices):
            told(notices, "READY=1")
            assert soon(lambda: not board.sample(first, clock.boottime_ns()).stale)


def test_a_broken_scenario_is_refused_with_78(run_dir: Path, notices: socket.socket, tmp_path: Path) -> None:
    """No directory, or a changed one: exit 78 and words that name it and what to do."""
    with weatherd(run_dir, tmp_path / "nowhere", notices) as running:
        _, words = running.communicate(timeout=20)
    assert running.returncode == 78
    assert "nowhere" in words
    assert "compile" in words
    compiled = compiled_of(tmp_path / "c")
    path = compiled.directory / "scenario.json"
    path.write_text(path.read_text(encoding="utf-8").replace("weather by hand", "another"), encoding="utf-8")
    with weatherd(run_dir, compiled.directory, notices) as running:
        _, words = running.communicate(timeout=20)
    assert running.returncode == 78
    assert "hash" in words


def leave(state: Path, age_s: float, temperature: int) -> None:
    """What a fetcher leaves, atomically."""
    observed = int(clock.wall_ns() / 1e9 - age_s)
    sample = sample_of({"temperature_mc": temperature}, 0)
    (state / "draft").write_bytes(weather_file.pack(Observation(observed, "test", sample)))
    (state / "draft").replace(state / weather_file.NAME)


def test_live_weather_is_posted_while_it_is_young(
    run_dir: Path, ipc: Ipc, notices: socket.socket, tmp_path: Path
) -> None:
    """First the model, then what was fetched; once that is old nothing more, and STATUS says so."""
    compiled = compiled_of(tmp_path / "c", source="live")
    first = compiled.period.first_slot
    state = tmp_path / "state"
    state.mkdir()
    daemon = weatherd(run_dir, compiled.directory, notices, "--state", str(state))
    with ClockWriter(ipc) as market, BoardReader(ipc) as board, daemon:
        assert "no live weather yet" in told(notices, "READY=1")
        assert temperature_mc(board, first) is not None
        leave(state, age_s=10, temperature=-7_000)
        market.write(page_of(first + 10))
        assert soon(lambda: temperature_mc(board, first + 11) == -7_000)
        leave(state, age_s=100_000, temperature=5_000)
        market.write(page_of(first + 20))
        told(notices, "older than 3600 s")
        assert board.sample(first + 20, clock.boottime_ns()).stale
        (state / weather_file.NAME).write_text("rubbish", encoding="utf-8")
        market.write(page_of(first + 30))
        told(notices, "cannot be used")
        assert board.sample(first + 30, clock.boottime_ns()).stale


def test_live_weather_without_a_state_directory_is_refused(
    run_dir: Path, notices: socket.socket, tmp_path: Path
) -> None:
    """The file has to come from somewhere: exit 78, and the option is named."""
    compiled = compiled_of(tmp_path / "c", source="live")
    with weatherd(run_dir, compiled.directory, notices) as running:
        _, words = running.communicate(timeout=20)
    assert running.returncode == 78
    assert "--state" in words


def test_the_daemon_imports_no_library_of_the_field() -> None:
    """Neither pandas nor pvlib: it starts fast and stays small."""
    code = (
        "import sys, energymarket.weatherd, energymarket.weather_fetch;"
        "print(sorted({'pandas', 'pvlib', 'scipy', 'demandlib', 'windpowerlib', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_settings_of_live_weather_hold_no_key(tmp_path: Path) -> None:
    """The compiled scenario names the file with the key and never its content."""
    (tmp_path / "my.key").write_text("s3cret", encoding="utf-8")
    text = SCENARIO.format(source="live", silent="").replace("[1, 2, 3, 4]", "10")
    text = text.replace("silent_slots", 'key_file = "my.key"\nsilent_slots')
    scenario, problems = toml.parse(text, str(tmp_path / "w.toml"))
    assert scenario is not None, toml.render_problems(problems)
    place = tmp_path / "c"
    place.mkdir()
    compile_into(place, replace(scenario, seed=2))
    whole = (place / "scenario.json").read_text(encoding="utf-8")
    assert "s3cret" not in whole
    assert json.loads(whole)["settings"]["weather"]["key_file"] == str(tmp_path / "my.key")
    assert np.all(load(place).weather["slot"] > 0)
