"""A small market with its homes, backed up while it plays, and everything a test of its way back needs."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from energymarket.archive import tarball
from energymarket.archive.making import Origin, back_up
from energymarket.archive.manifest import Manifest
from energymarket.archive.progress import quiet
from energymarket.archive.restoring import Order, Restored, restore
from energymarket.archive.tarball import Tarball, member_of
from energymarket.audit.checker import Result
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from energymarket.exits import Failure
from energymarket.restore import owners_of
from energymarket.runtime.service import StopFlag
from energymarket.scenario.compiled import Compiled
from tests.simulation.small_market import START, SmallMarket

STAMP = "20260101T000000Z"

BACKED_UP = START + 4
PLAYED = START + 7


@dataclass
class Made:
    """A market that played on after its backup was made."""

    directory: Path
    market: SmallMarket

    @property
    def file(self) -> Path:
        """The backup."""
        return self.directory / "backup.tar"

    @property
    def state(self) -> Path:
        """The state of the market."""
        return self.market.directory

    def back_up(self, target: Path | None = None) -> Manifest:
        """Make a backup of the market as it is now, running or not."""
        origin = Origin(self.state, self.market.compiled.directory, None)
        stop = StopFlag()
        try:
            return back_up(origin, target or self.file, quiet, stop)
        finally:
            stop.close()

    def restore(
        self,
        state: Path,
        *,
        force: bool = False,
        step: Callable[[str], None] = lambda _step: None,
    ) -> Restored:
        """Put the backup in the place of a state."""
        order = Order(self.file, state, force, STAMP, owners_of(state))
        return restore(order, quiet, step)

    def forge(self, change: Callable[[Manifest, Path], Manifest]) -> None:
        """Make the backup anew from its content and manifest after a change: sealed, hashed, and wrong."""
        ball, content = Tarball(self.file).open(), self.directory / "content"
        content.mkdir()
        ball.unpack(content, quiet)
        changed = change(ball.manifest, content)
        self.file.unlink()
        tarball.write(self.file, changed, content, 0, quiet)


def made(directory: Path, before: int = 5, after: int = 3) -> Made:
    """`before` slots, a backup, `after` slots more, and the end of the run."""
    found = Made(directory, SmallMarket(directory / "state"))
    # A state of `energyctl up` has its mark; the scenario lies elsewhere.
    (found.state / "energy-market-state").write_text("state of energy-market\n")
    found.market.play(before)
    found.back_up()
    found.market.play(after)
    found.market.close()
    return found


def check(state: Path, compiled: Compiled) -> Result:
    """What the independent checker says of ledger, registers and physics together."""
    path = state / "market" / "ledger.db"
    ledger = LedgerFile(path, path)
    ledger.open()
    try:
        return Check(ledger, state / "homes", compiled).run().result()
    finally:
        ledger.close()


def tree(root: Path, *parts: str) -> dict[str, bytes]:
    """Every file below, by its path; of some directories only, if they are named."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    names = ((str(path.relative_to(root)), path) for path in files)
    return {name: path.read_bytes() for name, path in names if not parts or name.startswith(parts)}


def spots(path: Path) -> dict[str, int]:
    """Of each member of a backup, a byte in the middle of its content; and of each head, one of its name."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    found = {each.name: each.offset_data + each.size // 2 for each in members}
    return found | {f"head of {each.name}": each.offset + 3 for each in members}


def refused(backup: Made, kind: type[Failure], match: str, *, force: bool = False) -> Failure:
    """A restore onto the later state is refused; not a byte of the state has changed."""
    before = tree(backup.state)
    with pytest.raises(kind, match=match) as caught:
        backup.restore(backup.state, force=force)
    assert tree(backup.state) == before
    return caught.value


def break_chain(manifest: Manifest, content: Path) -> Manifest:
    """A seal in the middle of the ledger that is not the chain's, hashed well."""
    with closing(sqlite3.connect(content / "market/ledger.db", isolation_level=None)) as db:
        assert db.execute("UPDATE slots SET seal = zeroblob(32) WHERE slot = ?", (START + 1,)).rowcount == 1
    return rehashed(manifest, content)


def rehashed(manifest: Manifest, content: Path) -> Manifest:
    """The manifest with the hashes of the content as it is now."""
    return replace(manifest, members=tuple(member_of(content, each.name) for each in manifest.members))
