"""A place where `energyctl` runs as a real process, with stand-ins in the daemons' place."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energyctl import client
from energymarket.runtime import clock

ROOT = Path(__file__).parents[2]
PROGRAMS = {"marketd": "market", "weatherd": "weather", "homesd": "homes", "homed": "home"}


@dataclass
class Suite:
    """Run directory, state and environment of one test."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.path / "run"

    def ctl(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run energyctl to its end."""
        return subprocess.run(self.command(*words), env=self.environ, capture_output=True, text=True, timeout=timeout_s, check=False)  # fmt: skip  # noqa: E501

    def command(self, *words: str) -> list[str]:
        """The words that run energyctl in this place."""
        return [sys.executable, "-m", "energyctl", "--run", str(self.run), *words]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin `energyctl up`."""
        return subprocess.Popen(
            self.command("up", "classic", "--state", str(self.path / "state"), *words),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A market that is ready; whatever the test does with it, it is gone after it."""
        process = self.start("--json", *words)
        # Nobody reads on: a full pipe would hold up the run, and with it whoever it watches.
        reader = threading.Thread(target=lambda: deque(process.stdout or (), maxlen=0), daemon=True)
        try:
            wait_for(process, "ready")
            reader.start()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
                if reader.ident is not None:
                    reader.join(10)
                for stream in (process.stdout, process.stderr):
                    if stream is not None:
                        stream.close()

    def processes(self) -> list[int]:
        """Every process that carries this test's mark in its environment."""
        mark = f"SUITE_MARK={self.path}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def units(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each unit, by its name under systemd."""
        with client.Connection(self.run / "supervisor", 30.0) as connection:
            answer = connection.call("io.energymarket.Supervisor.Units")
        return {row["unit"]: row for row in answer["units"]}

    def wait_for_unit(self, unit: str, state: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Watch until a unit is in that state; the row says how."""
        with client.Connection(self.run / "supervisor", timeout_s) as connection:
            for said in connection.watch("io.energymarket.Supervisor.Watch", timeout_s=timeout_s):
                row: dict[str, Any] = next(each for each in said["units"] if each["unit"] == unit)
                if row["state"] == state:
                    return row
        raise AssertionError(f"{unit} was never {state}")

    def child(self, name: str) -> int:
        """The process id of a daemon of the run."""
        return int(self.units()[f"energy-{name}.service"]["pid"])

    def wait_until_alone(self) -> None:
        """Wait until no process of this test is left, at most ten seconds."""
        deadline_s = clock.monotonic_s() + 10
        while self.processes() and clock.monotonic_s() < deadline_s:
            select.select([], [], [], 0.01)

    def left(self) -> list[str]:
        """What is left of a run: nothing, after an orderly end."""
        files = sorted(entry.name for entry in self.run.iterdir()) if self.run.exists() else []
        return [*files, *(f"process {pid}" for pid in self.processes())]


def suite_at(path: Path) -> Suite:
    """The place, with the stand-ins' package in front of the real one."""
    package = path / "standins" / "energymarket"
    (package / "scenario").mkdir(parents=True)
    real = ROOT / "daemons" / "energymarket"
    (package / "__init__.py").write_text(f"__version__ = '0'\n__path__.append({str(real)!r})\n")
    (package / "scenario" / "__init__.py").write_text(f"__path__.append({str(real / 'scenario')!r})\n")
    (package / "scenario" / "shipped").symlink_to(real / "scenario" / "shipped")
    for module, role in PROGRAMS.items():
        (package / f"{module}.py").write_text(f"import standin\nstandin.main({role!r})\n")
    (package / "anchor.py").write_text("import standin\nstandin.anchor()\n")
    (package / "scenario" / "__main__.py").write_text("import standin\nstandin.compile_scenario()\n")
    places = [path / "standins", ROOT / "tests" / "ipc", ROOT / "ctl"]
    environ = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
        "PYTHONPATH": ":".join(map(str, places)),
        "STANDIN_COMPILED": str(path / "compiled"),
        "SUITE_MARK": str(path),
    }
    return Suite(path, environ)


def real_at(path: Path) -> Suite:
    """The place, with the real daemons."""
    environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    path_entries = f"{ROOT / 'daemons'}:{ROOT / 'ctl'}"
    return Suite(path, {**environ, "PYTHONPATH": path_entries, "SUITE_MARK": str(path)})


def wait_for(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    """Read the JSON lines of `up --json` until one of that type comes."""
    assert process.stdout is not None
    for line in process.stdout:
        document: dict[str, Any] = json.loads(line)
        if document["type"] == kind:
            return document
    raise AssertionError(f"{kind} never came: {process.communicate()}")
