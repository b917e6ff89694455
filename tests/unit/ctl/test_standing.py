"""What `status` knows and how fast: real sockets and processes, and a stand-in for systemctl."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from energyctl import asking, client, keeper, standing, systemd
from energyctl.exits import Exit, ProblemError
from energyctl.render import Answer, text_lines
from energyctl.session import Session
from energyctl.verbs import metrics, status
from energymarket.runtime.clock import monotonic_s
from tests.unit.ctl.talker import Talker

MARKET = "energy-market.service"
SERVES = {"parameters": {"status": {"state": "running", "homes": 2, "homes_joined": 2, "snapshot": {}}}}


class Machine:
    """A run directory that is the service's, and what its systemctl says."""

    def __init__(self, run: Path, bin_dir: Path) -> None:
        self.run = run
        self.here = Session(as_json=False, run=str(run))
        self._bin = bin_dir

    def manager_says(self, *units: Mapping[str, object], after_s: float = 0.0, code: int = 0) -> None:
        """Each unit's properties as `systemctl show` prints them."""
        told = self._bin / "told"
        blocks = [{"LoadState": "loaded", **unit} for unit in units]
        told.write_text("\n".join("".join(f"{n}={v}\n" for n, v in block.items()) for block in blocks))
        script = self._bin / "systemctl"
        script.write_text(f"#!/bin/sh\n[ {after_s} = 0.0 ] || sleep {after_s}\ncat {told}\nexit {code}\n")
        script.chmod(0o755)

    def look(self) -> tuple[standing.Standing, float]:
        """What is found, and in how many seconds."""
        began_s = monotonic_s()
        return standing.look(self.here), monotonic_s() - began_s

    def status(self) -> tuple[Answer, str]:
        """The verb's answer, and its text."""
        answer = status.status(self)  # type: ignore[arg-type]
        return answer, "\n".join(text_lines(answer.text, colour=False))

    @property
    def obj(self) -> Session:
        """As typer's context has it."""
        return self.here


@pytest.fixture
def machine(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A manager "runs" here, and this run directory is the service's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "is_booted", lambda: True)
    monkeypatch.setattr(keeper, "SYSTEM_RUN", run_dir)
    return Machine(run_dir, tmp_path)


@pytest.fixture
def mute(run_dir: Path) -> Iterator[None]:
    """A market that takes connections and questions, and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "control"))
        listener.listen(8)
        yield


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's main process."""
    with subprocess.Popen(["sleep", "100"]) as made:
        yield made
        made.send_signal(signal.SIGCONT)
        made.kill()


def stamp_us(ago_s: float) -> int:
    return int((monotonic_s() - ago_s) * 1e6)


def active(name: str, **properties: object) -> dict[str, object]:
    return {"Id": name, "ActiveState": "active", "SubState": "running", **properties}


@pytest.mark.usefixtures("mute")
def test_a_stopped_market_is_known_without_waiting(
    machine: Machine, process: subprocess.Popen[bytes]
) -> None:
    """SIGSTOP: its state in /proc says so before any time-out; the manager's last words are shown."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    machine.manager_says(active(MARKET, MainPID=process.pid, StatusText="slot 7 trade, 0.200000"))
    found, took_s = machine.look()
    assert took_s < 0.5 < standing.ANSWER_S_MAX
    assert found.problem is not None
    assert found.problem.why == f"process {process.pid} is stopped by a signal or a debugger"
    answer, text = machine.status()
    assert answer.exit_code is Exit.UNREACHABLE
    assert "last words  slot 7 trade, 0.200000" in text


@pytest.mark.usefixtures("mute")
def test_a_silent_watchdog_tells_of_a_deadlock(machine: Machine, process: subprocess.Popen[bytes]) -> None:
    """The process runs, but its last sign of life is ten seconds old."""
    machine.manager_says(active(MARKET, MainPID=process.pid, WatchdogTimestampMonotonic=stamp_us(ago_s=10)))
    found, took_s = machine.look()
    assert took_s < 0.5
    assert found.problem is not None
    assert "no sign of life for 10." in found.problem.why


@pytest.mark.usefixtures("mute")
def test_a_market_that_gives_signs_of_life_is_waited_for_but_not_long(
    machine: Machine, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh signs: it may be at work, so the bound of an answer holds, and then exit code 69."""
    monkeypatch.setattr(standing, "ANSWER_S_MAX", 0.6)
    machine.manager_says(active(MARKET, MainPID=process.pid, WatchdogTimestampMonotonic=stamp_us(ago_s=0.1)))
    found, took_s = machine.look()
    assert 0.6 <= took_s < 2
    assert found.problem is not None
    assert found.problem.exit_code is Exit.UNREACHABLE


def test_an_old_sign_of_life_does_not_contradict_an_answer(
    machine: Machine, process: subprocess.Popen[bytes]
) -> None:
    """A market that answers serves, whatever the manager's stamp says."""
    machine.manager_says(active(MARKET, MainPID=process.pid, WatchdogTimestampMonotonic=stamp_us(ago_s=10)))
    with Talker(machine.run, [SERVES]) as talker:
        found, _ = machine.look()
    assert talker.asked[0]["method"] == "io.energymarket.Control.Status"
    assert found.status is not None


def test_manager_and_market_are_asked_at_the_same_time(machine: Machine) -> None:
    """Half a second each is half a second, not one."""
    machine.manager_says(active(MARKET), after_s=0.5)
    with Talker(machine.run, [0.5, SERVES]):
        found, took_s = machine.look()
    assert found.status is not None
    assert took_s < 0.9


def test_a_market_that_is_down_has_its_units_reasons(machine: Machine) -> None:
    """Exit 78 in the unit: the configuration, and the command that tells more; exit code 3."""
    machine.manager_says(
        active("energy-ipc.service", SubState="exited", StateChangeTimestampMonotonic=stamp_us(7_300)),
        {
            "Id": MARKET, "ActiveState": "failed", "SubState": "failed", "Result": "exit-code",
            "ExecMainStatus": 78, "NRestarts": 4,
        },
    )  # fmt: skip
    answer, text = machine.status()
    assert answer.exit_code is Exit.NOT_RUNNING
    assert "hint:  energyctl config check /etc/energy-market/energy-market.toml" in text
    document: dict[str, Any] = answer.data  # type: ignore[assignment]
    ipc, market = document["units"]
    assert ipc["age_s"] == pytest.approx(7_300, abs=5)
    assert "2 h 1 min" in text
    assert (market["state"], market["restarts"], market["pid"]) == ("failed", 4, 0)
    assert market["why"].startswith("exit 78: the configuration")
    assert {each["socket"]: each["present"] for each in document["sockets"]} == {
        "trade": False,
        "control": False,
    }


def test_a_manager_that_answers_nothing_is_no_obstacle(machine: Machine) -> None:
    """Without units the market's own words are shown, and without both the problem is raised."""
    machine.manager_says(code=1)
    with Talker(machine.run, [SERVES]):
        found, _ = machine.look()
    assert (found.status or {})["state"] == "running"
    assert found.units == []


def test_a_unit_that_is_down_makes_the_status_degraded(machine: Machine) -> None:
    """The market serves, the homes' unit has failed: exit code 5, with unit and reason."""
    machine.manager_says(
        active(MARKET),
        {"Id": "energy-homes.service", "ActiveState": "failed", "SubState": "failed", "Result": "signal"},
    )
    with Talker(machine.run, [SERVES]):
        answer, text = machine.status()
    assert answer.exit_code is Exit.DEGRADED
    assert "! energy-homes.service is failed: signal" in text


def test_orders_to_a_manager_that_cannot_be_reached_say_so(machine: Machine) -> None:
    """That is no missing installation: the words are systemctl's, and the exit code is 69."""
    script = machine._bin / "systemctl"
    script.write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(ProblemError) as caught:
        systemd.tell(["start", systemd.TARGET], user=True)
    assert caught.value.exit_code is Exit.UNREACHABLE
    assert caught.value.why == "Failed to connect to bus: No medium found"
    assert "enable-linger" in caught.value.hint


def test_who_may_not_open_the_services_socket_is_told_of_the_group(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 77 with the units beside it; metrics do not call a market down that they may not ask."""
    monkeypatch.setattr(asking, "SYSTEM_RUN", machine.run)
    machine.manager_says(active(MARKET, StatusText="slot 7"))

    def closed(self: client.Connection) -> client.Connection:
        raise client.Refused(self.path)

    monkeypatch.setattr(client.Connection, "open", closed)
    answer, text = machine.status()
    assert answer.exit_code is Exit.PERMISSION
    assert "hint:  sudo usermod -aG energy-ctl " in text
    assert MARKET in text
    with pytest.raises(ProblemError) as caught:
        metrics.metrics(machine)  # type: ignore[arg-type]
    assert caught.value.exit_code is Exit.PERMISSION
