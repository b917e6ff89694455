"""Making a backup: one moment of ledger and registers, whole or not there at all."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from energymarket.archive import making, moment
from energymarket.archive.making import DRAFTS
from energymarket.archive.moment import Standing, UnfitError
from energymarket.archive.tarball import Tarball
from energymarket.backup import forget_old, target_of
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.transport.store import LedgerStore
from tests.simulation.small_market import START, SmallMarket, compile_small
from tests.unit.archive.made_backup import Made, check, made


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A market in the middle of its run, ledger and registers in use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = Made(tmp_path, SmallMarket(tmp_path / "state"))
    found.market.play(5)
    return found


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name not in {"state", "cache"})


def test_of_a_market_that_plays_on_it_holds_the_moment(playing: Made) -> None:
    """Backed up between two slots and restored elsewhere: the checker is content, and the slots are those."""
    manifest = playing.back_up()
    playing.market.play(3)
    playing.restore(playing.directory / "new")
    result = check(playing.directory / "new", playing.market.compiled)
    assert result.findings == []
    assert (result.first_slot, result.last_slot) == (START, START + 4)
    assert (result.homes_compared, result.homes_uncompared) == (4, 0)
    assert manifest.chain_hash == result.hash


def test_homes_that_were_late_come_with_the_slot_that_the_ledger_has_of_them(playing: Made) -> None:
    """A shard missed the last gate: its state in the backup is of the slot before, the other's is not."""
    playing.market.play(1, late=(1,))
    manifest = playing.back_up()
    assert {each.file: each.slot for each in manifest.ranges} == {
        "homes/shard-1-2.state": START + 5,
        "homes/shard-3-2.state": START + 4,
    }
    playing.restore(playing.directory / "new")
    result = check(playing.directory / "new", playing.market.compiled)
    assert (result.findings, result.homes_compared) == ([], 4)


def test_who_is_too_slow_for_the_homes_takes_another_moment(
    playing: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots pass between ledger and registers: that pair is let go, and the next one fits."""
    standing_of, seen = moment.standing_of, []

    def slow(store: LedgerStore) -> Standing:
        found = standing_of(store)
        seen.append(found.last_slot)
        if len(seen) == 1:
            playing.market.play(2)
        return found

    monkeypatch.setattr(moment, "standing_of", slow)
    manifest = playing.back_up()
    assert seen == [START + 4, START + 6]
    assert (manifest.last_slot, {each.slot for each in manifest.ranges}) == (START + 6, {START + 6})


def test_registers_that_fit_no_moment_are_named(playing: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file of homes 3 and 4 there is no backup, and nothing of one is left."""
    monkeypatch.setattr(moment, "TRIES_MAX", 2)
    (playing.market.homes / "shard-3-2.state").unlink()
    with pytest.raises(UnfitError, match=rf"home 3 at the end of slot {START + 4}.*2 homes") as caught:
        playing.back_up()
    assert caught.value.code is Exit.DEGRADED
    assert left(playing.directory) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "link to an endless file", "huge"])
def test_what_is_no_state_file_neither_blocks_nor_fills_a_backup(playing: Made, kind: str) -> None:
    """The homes' user may plant a pipe, a link, a sparse file: passed over by backup and restore."""
    planted = playing.market.homes / "home-4.state"
    if kind == "pipe":
        os.mkfifo(planted)
    elif kind == "huge":
        with planted.open("wb") as file:
            file.truncate(1 << 43)
    else:
        planted.symlink_to("/dev/zero")
    manifest = playing.back_up()
    assert {each.file for each in manifest.ranges} == {"homes/shard-1-2.state", "homes/shard-3-2.state"}
    playing.market.close()
    (playing.state / "energy-market-state").touch()
    done = playing.restore(playing.state)
    assert done.aside is not None
    assert os.path.lexists(done.aside / "homes" / planted.name)
    assert not os.path.lexists(planted)


def test_a_file_that_is_there_is_never_overwritten(playing: Made) -> None:
    """Neither at the start, nor if it came meanwhile."""
    playing.file.write_text("mine")
    with pytest.raises(Failure, match="is there already"):
        playing.back_up()
    draft = playing.directory / "draft"
    draft.write_text("another")
    with pytest.raises(Failure, match="is there already"):
        making._give_name(draft, playing.file)
    assert playing.file.read_text() == "mine"


def test_a_ledger_that_does_not_hold_is_not_backed_up(tmp_path: Path) -> None:
    """A hash that was changed before the last checkpoint, where no start would look, is found."""
    found = made(tmp_path)
    found.file.unlink()
    with closing(sqlite3.connect(found.market.ledger_path, isolation_level=None)) as db:
        assert db.execute("UPDATE slots SET hash = zeroblob(32) WHERE slot = ?", (START,)).rowcount == 1
    with pytest.raises(Failure, match=f"does not hold.*slot {START}") as caught:
        found.back_up()
    assert caught.value.code is Exit.DEGRADED
    assert left(tmp_path) == []


def test_it_is_for_its_owner_only_and_leaves_no_draft(playing: Made) -> None:
    """Mode 0600, and nothing beside it."""
    playing.back_up()
    assert playing.file.stat().st_mode & 0o777 == 0o600
    assert left(playing.directory) == ["backup.tar"]


def test_drafts_of_the_killed_go_and_those_of_the_living_stay(playing: Made) -> None:
    """A draft without its maker's lock is cleared away by the next backup."""
    dead, alive = (playing.directory / f"{DRAFTS}{number}" for number in (1, 2))
    for draft in (dead, alive):
        draft.mkdir()
        (draft / "ledger.db").write_text("half")
    descriptor = os.open(alive, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        playing.back_up()
    finally:
        os.close(descriptor)
    assert left(playing.directory) == [alive.name, "backup.tar"]


def test_the_draft_of_another_user_stops_nobody(
    playing: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One of a killed root, a link, a file: each is told and left as it is."""
    others, link, file = (playing.directory / f"{DRAFTS}{name}" for name in ("1", "link", "file"))
    others.mkdir()
    link.symlink_to(playing.state)
    file.touch()
    mine, uid = Path.lstat, os.geteuid()

    def of_root(path: Path) -> os.stat_result:
        found = list(mine(path))
        found[4] = uid + 1 if path == others else found[4]
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", of_root)
    playing.back_up()
    monkeypatch.undo()
    assert left(playing.directory) == [others.name, file.name, link.name, "backup.tar"]
    assert [name in caplog.text for name in (others.name, link.name, file.name)] == [True] * 3
    assert playing.market.ledger_path.exists()


def test_a_draft_that_another_backup_has_cleared_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its lock a draft looks abandoned: who finds it cleared away makes it anew."""
    flock = fcntl.flock
    stolen: list[Path] = []

    def late(descriptor: int, operation: int) -> None:
        if not stolen:
            stolen.extend(tmp_path.iterdir())
            for each in stolen:
                each.rmdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with making.drafting(tmp_path) as draft:
        assert stolen == [draft]
        assert draft.is_dir()
        with making.drafting(tmp_path.parent) as _:
            making._clear_abandoned(draft)
        assert draft.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_same_moment_gives_the_same_bytes(playing: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members, order, times and owners depend on nothing but what is backed up."""
    monkeypatch.setattr(making, "wall_ns", lambda: 1_700_000_000_000_000_000)
    other = playing.directory / "other.tar"
    playing.back_up()
    playing.back_up(other)
    assert playing.file.read_bytes() == other.read_bytes()
    assert Tarball(other).open().manifest.made == "2023-11-14T22:13:20Z"


def test_without_room_nothing_is_begun(playing: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told before it is full."""
    monkeypatch.setattr(making, "room", lambda _directory: 1_000)
    with pytest.raises(Failure, match="1000 are free") as caught:
        playing.back_up()
    assert caught.value.code is Exit.IO_ERROR
    assert left(playing.directory) == []


def test_before_the_first_slot_has_ended_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    """Exit 75: the same command will do in a moment."""
    found = Made(tmp_path, SmallMarket(tmp_path / "state"))
    with pytest.raises(Failure, match="first slot") as caught:
        found.back_up()
    assert caught.value.code is Exit.TRY_AGAIN


def test_the_scenario_of_another_ledger_is_no_part_of_it(playing: Made) -> None:
    """Exit 78: what was named as its scenario has another hash."""
    playing.market.compiled = compile_small(playing.directory / "elsewhere", slots=9)
    with pytest.raises(ConfigError, match="is not the scenario of this ledger"):
        playing.back_up()


def test_a_directory_gets_a_file_named_by_the_moment_and_keeps_the_newest(tmp_path: Path) -> None:
    """Of five days' backups four are kept, and what is no backup of ours is left alone."""
    for day in range(1, 6):
        target_of(tmp_path, 86_400 * 10**9 * day).touch()
    others = ["energy-market-0-before.tar", "energy-market-19700101T000000Z.tar.gz", "notes.txt"]
    for name in others:
        (tmp_path / name).touch()
    forget_old(tmp_path, 4)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == sorted([*others, *(f"energy-market-1970010{day}T000000Z.tar" for day in range(3, 7))])
    assert target_of(tmp_path / "mine.tar", 0) == tmp_path / "mine.tar"
    with pytest.raises(NoSuchObject):
        target_of(tmp_path / "nowhere" / "mine.tar", 0)


def test_twenty_backups_of_one_day_do_not_wash_out_a_fortnight(tmp_path: Path) -> None:
    """A day's last one stays, for fourteen days; of today's the newest three."""
    minute_ns = 60 * 10**9
    for day in range(1, 16):
        for at in (0, 600):
            target_of(tmp_path, (1440 * day + at) * minute_ns).touch()
    for at in range(20):
        target_of(tmp_path, (1440 * 16 + at) * minute_ns).touch()
    forget_old(tmp_path, 14)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"energy-market-197001{day:02}T100000Z.tar" for day in range(4, 17)),
        *(f"energy-market-19700117T00{minute}00Z.tar" for minute in (17, 18, 19)),
    ]
