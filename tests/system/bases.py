"""What a test machine is made from: this machine's own tree, or a Debian 13 that is made for the occasion."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ("packaging", "systemd", "daemons", "ctl", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
"""Of the sources, what an installation needs."""
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
RELEASE: Final = "trixie"
PACKAGES: Final = (
    "ca-certificates,dbus,iproute2,libpam-systemd,man-db,polkitd,procps,python3,python3-venv,systemd,"
    "systemd-sysv,util-linux"
)
NOT_FOR_INSTALL: Final = frozenset({"ENERGY_TOOLS", "PYTHON", "PYTHONPATH", "VIRTUAL_ENV"})


def tools_of(wheels: Path) -> dict[str, str]:
    """What lets packaging/install use the environment that has built these wheels."""
    return {"ENERGY_TOOLS": str(wheels.with_name("tools"))}


class InstallFailed(Exception):
    """packaging/install ended with an error; its words."""


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The tree of the machine that runs the tests: Debian 12 with systemd 252, or whatever it is."""

    name: str = "here"
    lower: Path = Path("/")
    wheels: Path | None = None
    """Of this version, for the system's Python; without, the installation builds them."""

    def install(self, tree: Path, *words: str) -> None:
        """Install the suite into a tree by DESTDIR, as a packager would."""
        environment = {k: v for k, v in os.environ.items() if k not in NOT_FOR_INSTALL}
        given: tuple[str, ...] = ()
        if self.wheels is not None:
            given, environment = ("--wheels", str(self.wheels)), environment | tools_of(self.wheels)
        _run([str(ROOT / "packaging/install"), *given, *words], environment | {"DESTDIR": str(tree)})


@dataclass(frozen=True, slots=True)
class Debian13:
    """A tree of Debian 13: systemd 257, Python 3.13."""

    lower: Path
    name: str = "debian13"

    def install(self, tree: Path, *words: str) -> None:
        """Install the suite from inside the tree, as its administrator would: with the tree's own Python."""
        for name in ("/etc/resolv.conf", "/etc/hosts", str(CERTIFICATES)):
            if Path(name).exists():
                shutil.copyfile(name, tree / name.removeprefix("/"))
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", "-D", str(tree),
            f"--bind-ro={ROOT}:/usr/src/energy-market", "--setenv=HOME=/root",
            f"--setenv=PIP_CERT={CERTIFICATES}", "--setenv=PYTHON=/usr/bin/python3",
            "/usr/src/energy-market/packaging/install", *words,
        ]  # fmt: skip
        _run(command, dict(os.environ))


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InstallFailed(f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")


@contextmanager
def debian13() -> Iterator[Debian13]:
    """Make the tree (about 20 s, by Debian's mirror); it goes with the end of the tests."""
    with TemporaryDirectory(prefix="energy-debian13-") as directory:
        tree = Path(directory) / "tree"
        _run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(tree)],
            dict(os.environ),
        )
        yield Debian13(tree)
