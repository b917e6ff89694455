"""Register files: damaged, foreign or impossible ones are found; ones being written are left alone."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from energymarket.audit import register_files
from energymarket.audit.findings import Findings, Kind
from energymarket.audit.physics import check_pair, check_state
from energymarket.audit.register_files import read_all
from energymarket.core.state import State
from energymarket.home import files
from energymarket.transport.generation import GenerationFile
from energymarket.wire.state_file import HEADER_BYTES, HEADER_STEP, NO_SLOT, PAGE_BYTES, Header, Shape
from tests.simulation.small_market import SHARDS, SmallMarket


@pytest.fixture
def market(tmp_path: Path) -> SmallMarket:
    """Four slots, closed."""
    made = SmallMarket(tmp_path)
    made.play(4)
    made.close()
    return made


def test_registers_that_are_cut_while_they_are_read_are_all_read(
    market: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of homes 1 and 2 goes between listing and reading: home 1 and home 2 are read instead."""
    data_of = register_files.data_of

    def cut_first(path: Path) -> bytes | str:
        if path == path_of(market) and path.exists():
            with files.claimed(files.of_home(market.homes, 2), bytes.fromhex(market.compiled.hash)):
                pass
        return data_of(path)

    monkeypatch.setattr(register_files, "data_of", cut_first)
    findings = Findings()
    found = read_all(market.homes, findings, market.compiled.hash)
    assert [(each.first, each.state.count, each.settled) for each in found] == [
        (3, 2, False), (3, 2, True), (1, 1, False), (1, 1, True), (2, 1, False), (2, 1, True),
    ]  # fmt: skip
    assert len(findings) == 0


def path_of(market: SmallMarket) -> Path:
    return market.homes / "shard-{}-{}.state".format(*SHARDS[0])


def kinds_of(market: SmallMarket) -> set[Kind]:
    findings = Findings()
    read_all(market.homes, findings, market.compiled.hash)
    return set(findings.counts)


def test_both_generations_of_each_file_are_read_the_older_first(market: SmallMarket) -> None:
    """The last slot without its receipt, and with it: the homes were stopped after it was settled."""
    findings = Findings()
    found = read_all(market.homes, findings, market.compiled.hash)
    last = market.slot
    assert [(each.first, each.slot, each.settled) for each in found] == [
        (1, last, False), (1, last, True), (3, last, False), (3, last, True),
    ]  # fmt: skip
    assert len(findings) == 0


@pytest.mark.parametrize(
    "at", [*range(0, HEADER_BYTES, 9), HEADER_STEP + 40, PAGE_BYTES + 3, PAGE_BYTES + 60]
)
def test_a_flipped_byte_of_a_register_file_is_found(market: SmallMarket, at: int) -> None:
    """Headers carry a CRC each, states a checksum."""
    data = bytearray(path_of(market).read_bytes())
    data[at] ^= 4
    path_of(market).write_bytes(data)
    assert kinds_of(market) == {Kind.REGISTERS_DAMAGED}


def test_a_file_cut_short_is_found(market: SmallMarket) -> None:
    """Half a file is damaged, not a crash."""
    path_of(market).write_bytes(path_of(market).read_bytes()[:5000])
    assert kinds_of(market) == {Kind.REGISTERS_DAMAGED}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("thing", ["pipe", "link to /dev/zero", "link to a state", "socket", "directory"])
def test_what_is_no_file_is_found_and_neither_waited_for_nor_followed(
    market: SmallMarket, monkeypatch: pytest.MonkeyPatch, thing: str
) -> None:
    """Where the file of homes 1 and 2 was, their user has put something else: named, the others are read."""
    path = path_of(market)
    kept = path.rename(path.with_suffix(".kept"))
    with socket.socket(socket.AF_UNIX) as listener:
        match thing:
            case "pipe":
                os.mkfifo(path)
            case "link to /dev/zero":
                path.symlink_to("/dev/zero")
            case "link to a state":
                path.symlink_to(kept)
            case "socket":
                monkeypatch.chdir(path.parent)  # an address has room for a hundred characters
                listener.bind(path.name)
            case _:
                path.mkdir()
        findings = Findings()
        found = read_all(market.homes, findings, market.compiled.hash)
    assert dict(findings.counts) == {Kind.REGISTERS_DAMAGED: 1}
    assert findings.kept[0].text.startswith(f"{path.name}: it ")
    assert {each.first for each in found} == {3}


@pytest.mark.parametrize("homes", [2, 2**32 - 1])
def test_a_file_of_another_size_than_its_headers_say_is_not_read(market: SmallMarket, homes: int) -> None:
    """A hole of 8 GB after whole headers, of two homes and of too many: found at the cost of a page."""
    path = path_of(market)
    shape = Shape(1, homes, State.size_bytes(homes), bytes.fromhex(market.compiled.hash))
    with path.open("r+b") as file:
        for number in (0, 1):
            file.seek(number * HEADER_STEP)
            file.write(Header(shape, number, market.slot, 0).pack())
        file.truncate(2**33)
    tracemalloc.start()
    try:
        assert kinds_of(market) == {Kind.REGISTERS_DAMAGED}
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_generation_that_is_being_written_is_no_finding(market: SmallMarket) -> None:
    """Its header holds no slot until it is whole."""
    data = bytearray(path_of(market).read_bytes())
    header = Header.unpack(bytes(data[:HEADER_BYTES]))
    data[:HEADER_BYTES] = Header(header.shape, 0, NO_SLOT, 0).pack()
    path_of(market).write_bytes(data)
    assert kinds_of(market) == set()


def test_registers_of_another_scenario_are_found(market: SmallMarket) -> None:
    """The file carries the hash of the scenario that it belongs to."""
    findings = Findings()
    read_all(market.homes, findings, "cd" * 32)
    assert set(findings.counts) == {Kind.REGISTERS_FOREIGN}


def rewritten(market: SmallMarket, name: str, more: int) -> Findings:
    """Add to a register of home 2 in a fresh generation, checksum and all, of a file with room for any."""
    identity, path, size = bytes.fromhex(market.compiled.hash), path_of(market), State.size_bytes(2)
    kept = next(each.state for each in read_all(market.homes, Findings(), None) if each.slot == market.slot)
    path.unlink()
    with GenerationFile(path, *SHARDS[0], size, identity) as file:
        for slot, added in ((market.slot, 0), (market.slot + 1, more)):
            state = State(area := file.writable(), 2)
            state.copy_from(kept)
            state.column(name)[1] += added
            file.commit(slot, edition=1)
            file.keep(slot)
            del state, area
    findings = Findings()
    found = [each for each in read_all(market.homes, findings, market.compiled.hash) if each.first == 1]
    check_state(found[-1], market.compiled, findings)
    check_pair(found[0], found[-1], findings)
    return findings


@pytest.mark.parametrize(
    ("name", "more", "kind"),
    [
        ("import_wh", 1, Kind.PHYSICS_UNBALANCED),
        ("consumption_wh", -1, Kind.REGISTERS_BACKWARDS),
        ("losses_wh", 1, Kind.BATTERY_IMPOSSIBLE),
        ("battery_wh", 1, Kind.BATTERY_IMPOSSIBLE),
    ],
)
def test_registers_against_physics_are_found(market: SmallMarket, name: str, more: int, kind: Kind) -> None:
    """One Wh that comes from nowhere, at home 2."""
    findings = rewritten(market, name, more)
    assert kind in findings.counts
    assert {each.home for each in findings.kept} == {2}
