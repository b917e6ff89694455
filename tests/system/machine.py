"""A machine of its own for tests: an overlay of a tree, the suite installed, systemd booted in it.

Nothing that happens in it is seen outside, and all of it is forgotten at the end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from energyctl import client
from energyctl.asking import full_name
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from tests.system.bases import Debian13, ThisMachine

BOOT_S_MAX: Final = 60
CONTROL: Final = "/run/energy-market/control"
UNITS: Final = ("energy-market", "energy-weather", "energy-homes", "energy-check")
HELD: Final = (
    "energy-ipc.service",
    "energy-config-check.service",
    "energy-trade.socket",
    "energy-control.socket",
)
ENVIRONMENT: Final = (
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
)
_HIERARCHIES: Final = ("", "systemd", "unified", "memory", "pids", "cpu", "cpuacct")


def pause(span_s: float) -> None:
    """Let time pass."""
    sleep_until_boottime_ns(boottime_ns() + round(span_s * 1e9))


class Machine:
    """Made, installed into and booted by `open`; `close` takes all of it away."""

    def __init__(self, name: str, base: ThisMachine | Debian13) -> None:
        self.name = name
        self.base = base
        self._stack = ExitStack()
        self.tree = Path()
        self.leader = 0
        self.look_s = 0.1
        """Between two looks of a wait: each starts a program or more, and the manager answers it."""

    def open(self) -> Machine:
        """Mount, install, boot, and do what an installation does on a running system."""
        self.lay()
        self.install()
        self.boot()
        return self

    def lay(self) -> None:
        """Mount the tree."""
        base = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="energy-machine-")))
        self.tree = base / "tree"
        for path in (base / "layer", self.tree):
            path.mkdir()
        # The layer is a file system of its own: an overlay over an overlay's upper directory is refused.
        self._mount(["-t", "tmpfs", "tmpfs", str(base / "layer")], base / "layer")
        for path in (base / "layer/upper", base / "layer/work"):
            path.mkdir()
        layers = f"lowerdir={self.base.lower},upperdir={base}/layer/upper,workdir={base}/layer/work"
        self._mount(["-t", "overlay", "overlay", "-o", layers, str(self.tree)], self.tree)
        (self.tree / "etc/machine-id").write_text("")

    @property
    def changed(self) -> Path:
        """What the machine's tree has that this one's has not, or has otherwise."""
        return self.tree.parent / "layer/upper"

    def install(self) -> None:
        """Install the suite into the tree, from outside."""
        self.base.install(self.tree)

    def boot(self) -> None:
        """Boot it; then do what an installation does on a running system."""
        self._boot()
        self.must("systemd-sysusers", "energy-market.conf")
        self.must("systemd-tmpfiles", "--create", "energy-market.conf")
        self.must("journalctl", "--update-catalog")
        self.must("systemctl", "daemon-reload")

    def _mount(self, words: Sequence[str], place: Path) -> None:
        subprocess.run(["mount", *words], check=True)
        self._stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)

    def _boot(self) -> None:
        command = [
            "systemd-nspawn", "--quiet", "-D", str(self.tree), "-M", self.name, "--private-network",
            "--register=no", "--keep-unit", "--console=pipe", "-b", "systemd.unit=basic.target",
        ]  # fmt: skip
        self._stack.callback(self._drop_cgroups)
        log = self._stack.enter_context((self.tree.parent / "console").open("wb"))
        nspawn = subprocess.Popen(
            command,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=self._own_cgroups,  # noqa: PLW1509 - no threads here, and nspawn takes the caller's groups
        )
        self._stack.callback(self._halt, nspawn)
        until_ns = boottime_ns() + BOOT_S_MAX * 10**9
        while boottime_ns() < until_ns and nspawn.poll() is None:
            found = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
            self.leader = int(found[0]) if found else 0
            if found and self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}:
                return
            pause(0.1)
        raise AssertionError((self.tree.parent / "console").read_text(errors="replace")[-3000:])

    def _own_cgroups(self) -> None:
        """Two machines in one control group would disturb each other."""
        for hierarchy in _HIERARCHIES:
            parent = Path("/sys/fs/cgroup") / hierarchy
            if (parent / "cgroup.procs").exists():
                group = parent / self.name
                try:
                    group.mkdir(exist_ok=True)
                    (group / "cgroup.procs").write_text(str(os.getpid()))
                except OSError:
                    continue

    def _drop_cgroups(self) -> None:
        """Take the control groups away, the innermost first: they are empty now."""
        for hierarchy in _HIERARCHIES:
            group = Path("/sys/fs/cgroup") / hierarchy / self.name
            for path in (*sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True), group):
                with suppress(OSError):  # there is none in this hierarchy
                    path.rmdir()

    def _halt(self, nspawn: subprocess.Popen[bytes]) -> None:
        """End its first process, never nspawn: that one tidies up behind it."""
        if self.leader:
            os.kill(self.leader, signal.SIGKILL)
        try:
            nspawn.wait(10)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()

    def close(self) -> None:
        """Take it away."""
        self._stack.close()

    # in the machine

    def run(
        self, *words: str, timeout_s: float = 120, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root or as another user."""
        who = ["runuser", "-u", user, "--"] if user else []
        command = ["nsenter", "-t", str(self.leader), "-a", *ENVIRONMENT, *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command in it as root, without waiting for its end."""
        command = ["nsenter", "-t", str(self.leader), "-a", *ENVIRONMENT, *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)

    def must(self, *words: str, timeout_s: float = 120) -> str:
        """Run a command that succeeds; what it says."""
        done = self.run(*words, timeout_s=timeout_s)
        assert done.returncode == 0, (
            f"{words}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}"
        )
        return done.stdout

    def journal(self, *words: str) -> str:
        """The last lines of its journal."""
        words = words or ("--lines=80",)
        return self.run("journalctl", "--no-pager", "--quiet", "-o", "short-precise", *words).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def pid(self, unit: str) -> int:
        """Its main process, as seen in the machine."""
        return int(self.show(unit, "MainPID"))

    def shown(self, units: Iterable[str], name: str) -> dict[str, str]:
        """One property of many units, asked for at once."""
        names = list(units)
        said = self.must("systemctl", "show", "--value", "-p", name, *names)
        return dict(zip(names, said.removesuffix("\n").split("\n\n"), strict=True))

    def lives(self) -> dict[str, str]:
        """Unit -> the name of its present life."""
        return self.shown((*UNITS, *HELD), "InvocationID")

    def status(self) -> dict[str, Any]:
        """What energyctl says."""
        said = self.run("energyctl", "status", "--json").stdout
        found: dict[str, Any] = json.loads(said) if said else {}
        return found

    def market_says(self, control: str = CONTROL) -> dict[str, Any]:
        """What the market answers on its control socket; empty where nobody does. No program is started."""
        try:
            with client.Connection(f"/proc/{self.leader}/root{control}") as connection:
                found: dict[str, Any] = connection.call(full_name("Status"))["status"]
        except client.FAILURES:
            return {}
        return found

    def kill(self, unit: str, number: signal.Signals) -> float:
        """Signal a unit's main process; seconds until another one is there and ready."""
        before, since_ns = self.pid(unit), boottime_ns()
        assert before, f"{unit} does not run\n{self.journal()}"
        self.must("kill", f"-{number.name.removeprefix('SIG')}", str(before))
        self.wait_until(
            lambda: self.pid(unit) not in {0, before} and self.show(unit, "ActiveState") == "active"
        )
        return (boottime_ns() - since_ns) / 1e9

    def wait_until(self, holds: Any, span_s: float = 30.0) -> None:
        """Wait until something holds; fail with the journal if it never does."""
        until_ns = boottime_ns() + round(span_s * 1e9)
        while not holds():
            assert boottime_ns() < until_ns, f"not within {span_s} s\n{self.journal()}"
            pause(self.look_s)

    def external_pid(self) -> int:
        """The market's child; 0 where there is none."""
        return int(self.market_says().get("market", {}).get("external_pid") or 0)

    def left(self) -> list[str]:
        """What a stopped suite has left: processes, run files, System V objects, listening sockets."""
        processes = self.run("pgrep", "-a", "-f", "energymarket").stdout.splitlines()
        # but for the empty directory of the dispatcher, which is the system's as the run directory is
        words = ("find", "/run/energy-market", "-mindepth", "1", "!", "-path", "/run/energy-market/dispatch")
        files = self.must(*words).split()
        objects = [line for line in self.must("ipcs", "-a").splitlines() if line.startswith("0x")]
        sockets = [
            line for line in self.must("cat", "/proc/net/unix").splitlines() if "energy-market" in line
        ]
        return [*processes, *files, *objects, *sockets]

    def all_serve(self) -> bool:
        """Whether every daemon is up, and all homes trade."""
        active = set(self.shown(UNITS, "ActiveState").values()) == {"active"}
        found = self.market_says() if active else {}
        return active and found.get("state") == "running" and found["homes_joined"] == found["homes"]

    def slot(self) -> int:
        """The last committed slot, as soon as there is one."""
        self.wait_until(lambda: "slot" in self.market_says().get("snapshot", {}))
        return int(self.market_says()["snapshot"]["slot"])

    def start(self) -> None:
        """Start the suite and wait until all homes trade."""
        self.must("systemctl", "reset-failed")
        self.must("energyctl", "start")
        self.wait_until(self.all_serve)
