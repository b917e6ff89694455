"""A disk without power: what was told is there, whatever had not reached the disk is not missed.

The state lies on a file system of its own, in a file. `FS_IOC_SHUTDOWN` stops it in the middle as a power
cut does: what the kernel had in its cache only is gone, its journal not written out, and whoever writes on
is refused. Mounted again it is what a machine finds that starts after the cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest

from energymarket.core.chance import Purpose, draw_u64
from energymarket.runtime.clock import monotonic_s
from energymarket.scenario import toml
from tests.ipc.suite_fixture import Suite, real_at

pytestmark = [pytest.mark.needs("root", "mkfs.ext4", "mount"), pytest.mark.timeout(400)]

_SHUTDOWN: Final = 0x8004587D  # FS_IOC_SHUTDOWN, of linux/fs.h
_NO_LOG_FLUSH: Final = struct.pack("I", 2)


class Disk:
    """A file system that can lose its power."""

    def __init__(self, place: Path, size_bytes: int) -> None:
        self._image = place / "disk.img"
        self.mounted = place / "disk"
        self.mounted.mkdir()
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        environ = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        subprocess.run(["mkfs.ext4", "-q", self._image], env=environ, check=True)

    def mount(self) -> None:
        """As after a start: the file system's journal is looked through, no more."""
        subprocess.run(["mount", "-o", "loop", self._image, self.mounted], check=True)

    def cut(self) -> None:
        """From here on nothing reaches it."""
        directory = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(directory)

    def unmount(self) -> None:
        """As soon as the last of those that were killed has let go of its files."""
        deadline_s = monotonic_s() + 10
        while subprocess.run(["umount", self.mounted], check=False, capture_output=True).returncode:
            assert monotonic_s() < deadline_s, f"{self.mounted} is busy"
            select.select([], [], [], 0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path, 1 << 30)
    made.mount()
    yield made
    subprocess.run(["umount", "--lazy", made.mounted], check=False, capture_output=True)


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    made = real_at(tmp_path)
    yield made
    end(made)


def end(suite: Suite) -> None:
    """With the power the processes go."""
    for pid in suite.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    suite.wait_until_alone()


def scenario(place: Path, disk_max: str) -> Path:
    """The default neighbourhood at noon, when most gifts flow, on a disk that soon has no room for detail."""
    text = (Path(toml.__file__).parent / "shipped" / "default.toml").read_text()
    for old, new in (("start = 2025-06-16\n", "start = 2025-06-16T11:00:00\n"), ('"2GiB"', f'"{disk_max}"')):
        assert old in text
        text = text.replace(old, new)
    path = place / "noon.toml"
    path.write_text(text)
    return path


class Run:
    """A market on the disk, until its power is cut."""

    def __init__(self, suite: Suite, disk: Disk, words: list[str]) -> None:
        self.told: dict[int, str] = {}  # slot -> hash
        self._suite, self._disk = suite, disk
        self._complaints = suite.path / "stderr"
        with self._complaints.open("a") as stderr:
            self._process = subprocess.Popen(
                suite.command("--json", "up", *words, "--state", str(disk.mounted / "state")),
                env=suite.environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._suite)
        with self._process:
            pass

    def hear(self, slots: int) -> None:
        """Listen until so many slots have been told."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(json.loads(line))
            if len(self.told) == slots:
                return
        raise AssertionError(f"it ended after slots {sorted(self.told)}: {self._complaints.read_text()}")

    def _note(self, said: dict[str, Any]) -> None:
        if said["type"] == "slot":
            self.told[said["slot"]] = said["hash"]

    def lose_power(self) -> None:
        """Cut it, end all processes, and start the disk again. What was told until then counts as told."""
        self._disk.cut()
        end(self._suite)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # cut off with its writer
                self._note(json.loads(line))
        self._disk.unmount()
        self._disk.mount()

    def finish(self) -> None:
        """Let it come to its end by itself."""
        self._process.communicate(timeout=120)
        assert self._process.returncode == 0


def hashes(disk: Disk) -> dict[int, str]:
    """Of all slots that the ledger has."""
    ledger = disk.mounted / "state" / "market" / "ledger.db"
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        return {slot: data.hex() for slot, data in db.execute("SELECT slot, hash FROM slots")}


@pytest.mark.parametrize(
    ("homes", "speed", "disk_max", "cuts", "slots"),
    [
        pytest.param(2_000, 9_000, "8MiB", 4, 70, id="2,000 homes, a row per slot"),
        pytest.param(100_000, 1_800, "100MiB", 3, 14, id="100,000 homes, a file per slot"),
    ],
)
def test_what_was_told_survives_a_power_cut(
    suite: Suite,
    disk: Disk,
    is_long: bool,
    homes: int,
    speed: int,
    disk_max: str,
    cuts: int,
    slots: int,
) -> None:
    """Each slot that was told is in the ledger under its hash; homes go on from it, and registers agree.

    Checkpoints and compaction are under way meanwhile. Catches a commit, a body, a state of homes or the name
    of a file that is not made durable in time: the kernel's cache hides that from who only kills.
    """
    words = [str(scenario(suite.path, disk_max)), "--homes", str(homes), "--speed", str(speed)]
    told: dict[int, str] = {}
    for cut in range(8 * cuts if is_long else cuts):
        with Run(suite, disk, words) as run:
            run.hear(2 + draw_u64(homes, Purpose.RING, cut) % slots)
            run.lose_power()
        told |= run.told
        kept = hashes(disk)
        assert {slot: kept.get(slot) for slot in told} == told
        verified = suite.ctl("--json", "ledger", "verify", "--state", str(disk.mounted / "state"))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    with Run(suite, disk, [*words, "--for", "3"]) as run:
        run.finish()
    checked = suite.ctl("--json", "ledger", "check", "--state", str(disk.mounted / "state"), timeout_s=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)["homes_compared"] == homes
