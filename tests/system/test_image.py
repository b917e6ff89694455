"""packaging/install into a tree (DESTDIR), as for an image: what it takes over from the version before."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from energymarket.exits import Exit
from tests.system.bases import NOT_FOR_INSTALL, PARTS, ROOT, tools_of

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("installing"),
    pytest.mark.needs("systemd-nspawn"),
]

NAME: Final = "0123456789abcdef" * 2
"""As of a compiled scenario."""
SCENE: Final = """
schema = 1
title = "One home"
[time]
start = 2025-06-16
timezone = "UTC"
slots = 96
[weather]
source = "constant"
[price]
half_life_h = 2
[[price.factor]]
name = "base"
alpha = 0.1
[[home]]
name = "Alone"
policy = "sell"
consumption_w = 300
"""
FULL: Final = "#!/bin/sh\necho 'ln: No space left on device' >&2\nexit 1\n"


class Image:
    """A tree and what is installed into it."""

    def __init__(self, place: Path, wheels: Path) -> None:
        self.place = place
        self.wheels = wheels
        self.tree = place / "tree"
        self.library = self.tree / "usr/lib/energy-market"

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A script of packaging, with some variables set otherwise."""
        environment = {k: v for k, v in os.environ.items() if k not in NOT_FOR_INSTALL}
        environment |= {"DESTDIR": str(self.tree)} | more
        command = [str(ROOT / "packaging" / words[0]), *words[1:]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def install(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Install this version, from its wheels."""
        return self.run("install", "--wheels", str(self.wheels), **tools_of(self.wheels), **more)

    def link(self, words: str) -> Path:
        """Where the installed version carries what is compiled, once a link in the cache leads there."""
        (package,) = self.library.resolve().glob("lib/python*/site-packages/energymarket")
        carried = package / "scenario/precompiled"
        link = self.tree / "var/cache/energy-market/scenario"
        for directory in (carried, link.parent):
            directory.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"/{carried.relative_to(self.tree)}/{words}")
        return carried


@pytest.fixture(scope="module")
def image(wheels: Path) -> Iterator[Image]:
    """A tree with this version installed, and what that has compiled in the cache: upgrades take it."""
    with TemporaryDirectory(prefix="energy-image-") as directory:
        made = Image(Path(directory), wheels)
        full = made.place / "full/ln"
        full.parent.mkdir()
        full.write_text(FULL)
        full.chmod(0o755)
        config = made.tree / "etc/energy-market/energy-market.toml"
        config.parent.mkdir(parents=True)
        config.write_text(SCENE)
        done = made.install()
        assert done.returncode == 0, done.stderr
        (package,) = made.library.resolve().glob("lib/python*/site-packages/energymarket")
        shutil.copytree(package / "scenario/precompiled", made.tree / "var/cache/energy-market/compiled")
        yield made


def test_an_upgrade_carries_the_scenario_in_use_and_nothing_beside_it(image: Image) -> None:
    """The new version has the arrays that the ledger needs: plain files of known names, for all to read."""
    used = image.link(NAME) / NAME
    used.mkdir()
    for name in ("scenario.json", "scenario.toml", "weather.npy", "energy.sh"):
        (used / name).write_text(name)
    (used / "homes.npy").symlink_to("/etc/shadow")
    assert image.install().returncode == 0
    (new,) = image.library.resolve().glob(f"lib/python*/site-packages/**/{NAME}")
    assert new != used
    found = {path.name: path.lstat().st_mode & 0o777 for path in new.iterdir()}
    assert found == dict.fromkeys(("scenario.json", "scenario.toml", "weather.npy"), 0o644)


def test_an_upgrade_follows_no_link_out_of_an_installation(image: Image) -> None:
    """User energy-market writes the link: it cannot make root copy a directory to where all may read."""
    upwards = "/".join([".."] * 9)
    image.link(f"{upwards}/secret")
    secret = image.tree / "secret"
    secret.mkdir(mode=0o700)
    (secret / "scenario.json").write_text("secret")
    assert image.install().returncode == 0
    assert [path for path in image.tree.rglob("secret") if path != secret] == []
    assert secret.stat().st_mode & 0o777 == 0o700


def test_a_version_that_is_no_link_yet_survives_a_failure(image: Image) -> None:
    """An installation of the first layout, a directory, has its name back when its successor fails."""
    library = image.library
    tree = library.resolve()
    library.unlink()
    tree.rename(library)
    (library / ".energy-market").unlink()
    assert image.install(PATH=f"{image.place}/full:{os.environ['PATH']}").returncode == 1
    assert list(library.parent.glob("energy-market-before*")) == []
    assert not library.is_symlink()
    assert (library / "installed.files").exists()
    assert not (library / ".energy-market").exists()
    assert image.install().returncode == 0
    assert library.is_symlink()


def test_without_a_compiler_the_first_start_says_what_to_install(image: Image, tmp_path: Path) -> None:
    """Where the compiler cannot be fetched, an installation ends all the same and says what is left."""
    source = tmp_path / "source"
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / part, source / part)
    lock = source / "packaging/lock/run.txt"
    lock.write_text("numpy==2.4.6 --hash=sha256:" + "0" * 64)
    config = tmp_path / "tree/etc/energy-market/energy-market.toml"
    config.parent.mkdir(parents=True)
    config.write_text(SCENE.replace('"constant"', '"synthetic"'))
    done = image.run(str(source / "packaging/install"), DESTDIR=str(tmp_path / "tree"))
    assert done.returncode == 0, done.stderr
    assert "fetching the compiler, for this installation only" in done.stderr
    assert "the compiler could not be had" in done.stderr
    assert "compiled at the first start: that needs packaging/install --compiler" in done.stderr
    python = tmp_path / "tree/usr/lib/energy-market/bin/python3"
    words = ("--config", str(config), "--out", str(tmp_path))
    started = subprocess.run(
        [str(python), "-I", "-m", "energymarket.prepare", *words],
        env={"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == Exit.CONFIGURATION
    assert "packaging/install --compiler" in started.stderr
