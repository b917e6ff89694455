"""Backups that are damaged, forged or lead elsewhere: all are refused, and nothing is written anywhere."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from energymarket.archive import restoring
from energymarket.archive.manifest import BackupDamaged, Manifest
from energymarket.archive.tarball import member_of
from energymarket.exits import Exit, Failure, NoSuchObject
from energymarket.scenario import compiled
from energymarket.scenario.compiled import load
from tests.simulation.small_market import START
from tests.unit.archive.made_backup import BACKED_UP, Made, break_chain, refused, rehashed, spots


def test_a_flipped_byte_is_found_in_every_member(backup: Made) -> None:
    """Content and head of each: refused also with --force, and nothing changes."""
    whole, places = backup.file.read_bytes(), spots(backup.file)
    assert {"manifest.json", "market/ledger.db", "homes/shard-1-2.state", "scenario/scenario.json"} <= set(
        places
    )
    for name, at in places.items():
        backup.file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        failure = refused(backup, BackupDamaged, "nothing was changed", force=True)
        assert failure.code is Exit.IO_ERROR, name


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_file_that_was_cut_short_is_no_backup(backup: Made, share: float) -> None:
    """Of half a copy nothing is used, nor of one that lacks the last byte of its last member."""
    with tarfile.open(backup.file) as tar:
        last = tar.getmembers()[-1]
    backup.file.write_bytes(backup.file.read_bytes()[: int(share * (last.offset_data + last.size - 1))])
    refused(backup, BackupDamaged, "backup.tar", force=True)


def leave_out_homes(manifest: Manifest, content: Path) -> Manifest:
    (content / "homes/shard-3-2.state").unlink()
    members = tuple(each for each in manifest.members if each.name != "homes/shard-3-2.state")
    return replace(manifest, members=members, ranges=manifest.ranges[:1])


def promise_another_end(manifest: Manifest, _content: Path) -> Manifest:
    return replace(manifest, chain_hash="0" * 64)


def promise_more_homes(manifest: Manifest, _content: Path) -> Manifest:
    return replace(manifest, homes=5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (break_chain, f"market/ledger.db: .*slot {START + 1}"),
        (leave_out_homes, "no state of home 3"),
        (promise_another_end, f"ends with slot {BACKED_UP}.*not as was said"),
        (promise_more_homes, "not of the same run"),
    ],
)
def test_a_backup_that_is_hashed_well_and_wrong_is_refused(
    backup: Made, change: Callable[[Manifest, Path], Manifest], why: str
) -> None:
    """Chain, end, registers and scenario are held together, whatever the manifest says."""
    backup.forge(change)
    refused(backup, BackupDamaged, why, force=True)


def test_a_name_that_leads_elsewhere_is_refused(backup: Made) -> None:
    """A member called ../x is not unpacked."""

    def escape(manifest: Manifest, content: Path) -> Manifest:
        (content.parent / "evil").write_text("evil")
        return replace(manifest, members=(*manifest.members, member_of(content, "../evil")))

    backup.forge(escape)
    refused(backup, Failure, r"\.\./evil", force=True)


def name_another_place(manifest: Manifest, content: Path) -> Manifest:
    return replace(manifest, compiled_name=str(content.parent / "planted"))


def climb(manifest: Manifest, _content: Path) -> Manifest:
    return replace(manifest, compiled_name="../../planted")


def read_registers_elsewhere(manifest: Manifest, _content: Path) -> Manifest:
    stray = replace(manifest.ranges[0], file="../state/homes/shard-1-2.state")
    return replace(manifest, ranges=(stray, *manifest.ranges[1:]))


def take_the_ledger_for_registers(manifest: Manifest, _content: Path) -> Manifest:
    return replace(manifest, ranges=(replace(manifest.ranges[0], file="market/ledger.db"),))


def name_a_member_twice(manifest: Manifest, _content: Path) -> Manifest:
    return replace(manifest, members=(manifest.members[0], *manifest.members))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (name_another_place, "planted"),
        (climb, r"\.\./\.\./planted"),
        (read_registers_elsewhere, r"\.\./state/homes/shard-1-2\.state"),
        (take_the_ledger_for_registers, r"market/ledger\.db"),
        (name_a_member_twice, "scenario/homes"),
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(
    backup: Made, change: Callable[[Manifest, Path], Manifest], why: str
) -> None:
    """Sealed and hashed well, its names lead out of its directories: nothing is written, here or there."""
    backup.forge(change)
    failure = refused(backup, Failure, f"what is '[^']*{why}", force=True)
    assert failure.code is Exit.FAILED
    assert list(backup.directory.rglob("*planted*")) == []


def test_a_scenario_holds_its_own_arrays_and_nothing_else(backup: Made) -> None:
    """A file that its list does not name would be left in the cache; one outside would be read by root."""

    def add(manifest: Manifest, content: Path) -> Manifest:
        (content / "scenario/homes.planted.npy").write_bytes(b"planted")
        return replace(
            manifest, members=(*manifest.members, member_of(content, "scenario/homes.planted.npy"))
        )

    def lead_out(manifest: Manifest, content: Path) -> Manifest:
        (content / "scenario/homes.planted.npy").unlink()
        data = json.loads((content / "scenario/scenario.json").read_bytes())
        data["arrays"]["../../etc/planted.npy"] = data["arrays"]["homes.single.npy"]
        data["hash"] = compiled.scenario_hash(data)
        (content / "scenario/scenario.json").write_text(json.dumps(data))
        kept = tuple(each for each in manifest.members if "planted" not in each.name)
        return rehashed(replace(manifest, members=kept), content)

    backup.forge(add)
    refused(backup, BackupDamaged, "homes.planted.npy is no part of the scenario", force=True)
    shutil.rmtree(backup.directory / "content")
    backup.forge(lead_out)
    refused(backup, BackupDamaged, "etc/planted.npy is not in the backup", force=True)


def test_a_scenario_of_any_directory_gets_a_name_that_is_taken_back(backup: Made) -> None:
    """Compiled by hand, or restored beside another: the manifest names it as a start would look for it."""
    for name in ("by hand", f"{'0a' * 16}-{'1' * 12}"):
        shutil.copytree(backup.market.compiled.directory, backup.directory / name)
        (backup.directory / name / "notes.txt").write_text("no part of it")
        backup.market.compiled = load(backup.directory / name)
        backup.file.unlink()
        said = backup.back_up().compiled_name
        assert said == (backup.market.compiled.hash[:32] if name == "by hand" else "0a" * 16)
        backup.restore(backup.directory / f"restored {name}")
    assert list((backup.directory / "cache").rglob("notes.txt")) == []


def test_a_member_that_the_manifest_does_not_know_is_refused(backup: Made) -> None:
    """Also one whose name would do."""
    with tarfile.open(backup.file, "a") as tar:
        tar.add(backup.market.homes / "shard-1-2.state", "homes/home-7.state")
    refused(backup, BackupDamaged, "more than its manifest says", force=True)


def test_a_backup_may_be_packed_by_gzip(backup: Made) -> None:
    """It comes back as it was; a flipped byte in it is found."""
    packed = gzip.compress(backup.file.read_bytes())
    backup.file.write_bytes(packed[:3000] + bytes([packed[3000] ^ 1]) + packed[3001:])
    refused(backup, BackupDamaged, "backup.tar", force=True)
    backup.file.write_bytes(packed)
    assert backup.restore(backup.directory / "new").manifest.last_slot == BACKED_UP


def test_without_room_nothing_is_begun(backup: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes are known before a byte is unpacked."""
    monkeypatch.setattr(restoring, "room", lambda _directory: 10_000)
    assert refused(backup, Failure, "10000 are free", force=True).code is Exit.IO_ERROR


def test_what_is_no_backup_is_told(backup: Made) -> None:
    """A ledger is none; and where there is nothing, exit 4."""
    backup.file.write_bytes(backup.market.ledger_path.read_bytes())
    refused(backup, BackupDamaged, "no backup")
    backup.file.unlink()
    refused(backup, NoSuchObject, "no backup here")
