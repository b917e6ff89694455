"""A Ray cluster on this machine for tests: nodes as `ray start` starts them, killed and ended by process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from tests.ports import free_port

RAY = Path(sys.executable).with_name("ray")
START_S_MAX = 60


def wait_until(condition: object, what: str, seconds: float = START_S_MAX) -> None:
    """Wait for a callable to answer true."""
    assert callable(condition)
    end_ns = boottime_ns() + int(seconds * 1e9)
    while not condition():
        assert boottime_ns() < end_ns, f"in {seconds} s: {what}"
        sleep_until_boottime_ns(boottime_ns() + 50_000_000)


class Node:
    """One `ray start --block`, in a session of its own."""

    def __init__(self, *words: str, directory: Path, environment: Mapping[str, str]) -> None:
        self._log = directory / f"{secrets.token_hex(4)}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [RAY, "start", *words, "--num-cpus", "2", "--object-store-memory", str(100 << 20), "--block"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._serves, f"a node that serves; its log:\n{self._log}")

    def _serves(self) -> bool:
        text = self._log.read_text(errors="replace")
        assert self.process.poll() is None, text
        return "Ray runtime started" in text

    def kill(self) -> None:
        """What a power cut does: the raylet, its agents and its workers at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class LocalCluster:
    """A head and, on demand, more nodes; everything below one directory, and ended with it."""

    def __init__(self, *head_words: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="et-", dir="/tmp"))
        self.token = secrets.token_hex(32)
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.directory),
        }
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[Node] = []
        port = self.address.rpartition(":")[2]
        self._start("--head", "--port", port, "--include-dashboard", "false", *head_words)

    def _start(self, *words: str) -> Node:
        node = Node(*words, directory=self.directory, environment=self.environment)
        self.nodes.append(node)
        return node

    def join(self) -> Node:
        """One node more."""
        return self._start("--address", self.address)

    def forget(self, node: Node) -> None:
        """A node that has been killed."""
        self.nodes.remove(node)

    def processes(self) -> set[int]:
        """Everything that runs in this cluster, whatever it calls itself."""
        mark = f"RAY_TMPDIR={self.directory}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        return found - {os.getpid()}

    def close(self) -> None:
        """End all nodes, the head last; nothing may be left of them."""
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.process.terminate()
                node.process.wait(30)
        try:
            wait_until(lambda: not self.processes(), f"all processes of {self.directory} end", 15)
        finally:
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.directory, ignore_errors=True)
