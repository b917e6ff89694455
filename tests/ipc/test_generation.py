"""The state in two generations: SIGKILL at any instant leaves one whole."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket.exits import Exit
from energymarket.transport import area_file
from energymarket.transport.area_file import AreaFile, room
from energymarket.transport.generation import (
    GenerationError,
    GenerationFault,
    GenerationFile,
    shape_of,
)
from energymarket.wire.state_file import HEADER_BYTES, HEADER_STEP, LAYOUT, PAGE_BYTES, checksum
from tests.ipc.processes import killed_again_and_again

PAYLOAD = 100_000
HERE = (1, 1000)


def opened(path: Path, **changes: int | bytes) -> GenerationFile:
    shape: dict[str, Any] = {"first": 1, "count": 1000, "payload_bytes": PAYLOAD, **changes}
    return GenerationFile(path, **shape)


def state_of(slot: int) -> bytes:
    """A state in which every byte follows from the slot."""
    return slot.to_bytes(8, "little") * (PAYLOAD // 8)


def lived(file: GenerationFile, slot: int) -> None:
    file.writable()[:] = state_of(slot)
    file.commit(slot)
    file.keep(slot)


def fault_of(path: Path, **changes: int | bytes) -> GenerationFault:
    with pytest.raises(GenerationError) as refused:
        opened(path, **changes)
    return refused.value.fault


def test_what_was_committed_is_loaded(tmp_path: Path) -> None:
    """The last two slots are there after closing and opening again; older ones and others are missing."""
    path = tmp_path / "shard.state"
    with opened(path) as file:
        assert file.slots() == ()
        for slot in range(10, 15):
            lived(file, slot)
    with opened(path) as file:
        assert file.slots() == (14, 13)
        assert bytes(file.load(13)[0]) == state_of(13)
        assert bytes(file.load(14)[0]) == state_of(14)
        for slot in (12, 15, 16):
            with pytest.raises(GenerationError, match="no state of slot") as missing:
                file.load(slot)
            assert missing.value.fault is GenerationFault.MISSING
    assert path.stat().st_size == PAGE_BYTES + 2 * 102_400  # 25 pages each
    assert list(tmp_path.iterdir()) == [path]


def test_the_kept_state_is_never_overwritten(tmp_path: Path) -> None:
    """Many slots written after the kept one leave it whole; the newest of them is there beside it."""
    path = tmp_path / "f"
    with opened(path) as file:
        lived(file, 5)
        for slot in (6, 7, 8, 9):
            file.writable()[:] = state_of(slot)
            file.commit(slot)
            assert file.slots() == (slot, 5)
            assert file.holds(5)
        assert bytes(file.load(5)[0]) == state_of(5)
        with pytest.raises(TypeError):
            file.load(5)[0][0] = 1
        with pytest.raises(ValueError, match="no state of slot 7"):
            file.keep(7)
        with pytest.raises(ValueError, match="nothing is being written"):
            file.commit(10)


def test_the_later_edition_of_a_slot_is_loaded(tmp_path: Path) -> None:
    """A slot written twice, without and with its receipt, loads as the second says."""
    with opened(tmp_path / "f") as file:
        file.writable()[:] = state_of(1)
        file.commit(3, edition=0)
        file.keep(3)
        file.writable()[:] = state_of(2)
        file.commit(3, edition=1)
        view, edition = file.load(3)
        assert (bytes(view), edition) == (state_of(2), 1)


def test_kill_minus_nine_keeps_a_whole_generation(tmp_path: Path) -> None:
    """Forty writers killed at random instants: the newest committed slot or the one before it is whole."""
    path = tmp_path / "f"
    imports = f"sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})\n"
    imports += "from tests.ipc.test_generation import opened, state_of\n"
    body = """
file = opened(Path(sys.argv[1]))
slot = file.slots()[0] if file.slots() else 0
file.load(slot) if slot else None
ready()
while True:
    slot += 1
    view = file.writable()
    data = state_of(slot)
    for at in range(0, len(data), 8192):
        view[at : at + 8192] = data[at : at + 8192]
    file.commit(slot)
    file.keep(slot)
"""
    newest = 0
    half_written = 0
    with killed_again_and_again(imports, body, path) as kill_a_writer:
        for nth in range(40):
            kill_a_writer(0.0013 * nth)
            with opened(path) as file:
                held = file.slots()
                for slot in held:
                    assert bytes(file.load(slot)[0]) == state_of(slot)
                assert not held or held[0] >= newest - 1
                half_written += len(held) == 1
                newest = max(newest, *held, 0)
    assert newest > 40
    assert half_written, "no writer was killed in the middle: the test shows nothing"


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """Any damaged byte of a payload: CORRUPT; the other generation still loads."""
    path = tmp_path / "f"
    with opened(path) as file:
        lived(file, 4)
        lived(file, 5)
    for at in (0, 5_000, PAYLOAD - 1):
        damaged = bytearray(path.read_bytes())
        damaged[PAGE_BYTES + 102_400 + at] ^= 0x40
        path.write_bytes(damaged)
        with opened(path) as file:
            with pytest.raises(GenerationError) as refused:
                file.load(5)
            assert refused.value.fault is GenerationFault.CORRUPT
            assert bytes(file.load(4)[0]) == state_of(4)
        damaged[PAGE_BYTES + 102_400 + at] ^= 0x40
        path.write_bytes(damaged)


def test_a_torn_header_costs_one_generation(tmp_path: Path) -> None:
    """A damaged header hides its own generation only; with both gone the file is refused."""
    path = tmp_path / "f"
    with opened(path) as file:
        lived(file, 4)
        lived(file, 5)
    damaged = bytearray(path.read_bytes())
    damaged[2_048 + 40] ^= 1
    path.write_bytes(damaged)
    with opened(path) as file:
        assert file.slots() == (4,)
    damaged[40] ^= 1
    path.write_bytes(damaged)
    assert fault_of(path) is GenerationFault.CORRUPT


def test_a_file_of_others_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Other homes, another layout, another ledger: each has its name, and exit 78."""
    path = tmp_path / "f"
    opened(path, identity=b"a" * 32).close()
    assert fault_of(path, identity=b"b" * 32) is GenerationFault.FOREIGN
    assert fault_of(path, identity=b"a" * 32, first=2) is GenerationFault.SHAPE
    assert fault_of(path, identity=b"a" * 32, payload_bytes=PAYLOAD * 2) is GenerationFault.SHAPE
    with pytest.raises(GenerationError) as refused:
        opened(path)
    assert refused.value.code is Exit.CONFIGURATION


def test_a_second_instance_is_refused(tmp_path: Path) -> None:
    """While one process has the file, another is told so: exit 73."""
    with opened(tmp_path / "f"):
        with pytest.raises(GenerationError) as refused:
            opened(tmp_path / "f")
        assert refused.value.fault is GenerationFault.LOCKED
        assert refused.value.code is Exit.SECOND_INSTANCE
    opened(tmp_path / "f").close()


def test_every_block_is_there_from_the_start(tmp_path: Path) -> None:
    """The file has no holes: a disk that fills up later cannot become a SIGBUS in the mapping."""
    opened(tmp_path / "f").close()
    found = (tmp_path / "f").stat()
    assert found.st_blocks * 512 >= found.st_size


def put(file: AreaFile, slot: int, edition: int = 0) -> None:
    """Make a state durable."""
    area = room(file.shape.area_bytes)
    area[:PAYLOAD] = state_of(slot)
    file.put(area, slot, edition, checksum(area))
    file.flush()


def loaded(file: AreaFile, slot: int) -> bytes:
    area = room(file.shape.area_bytes)
    file.load_into(area, slot)
    return bytes(area[:PAYLOAD])


@pytest.mark.parametrize("direct_from", [1, 1 << 30])
def test_an_area_that_is_put_is_what_a_mapping_would_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct_from: int
) -> None:
    """Past the system's cache or through it: same bytes, same checksum, and both ways of reading see them."""
    monkeypatch.setattr(area_file, "DIRECT_BYTES_MIN", direct_from)
    with opened(tmp_path / "mapped") as mapped, AreaFile(tmp_path / "put", *HERE, PAYLOAD) as file:
        for slot in range(1, 6):
            lived(mapped, slot)
            put(file, slot)
            assert loaded(file, slot) == bytes(file.load(slot)[0]) == state_of(slot)
            assert (tmp_path / "put").read_bytes() == (tmp_path / "mapped").read_bytes()


def test_a_state_that_is_needed_is_never_put_over(tmp_path: Path) -> None:
    """The kept one, or, if none is, the newest."""
    with AreaFile(tmp_path / "f", *HERE, PAYLOAD) as file:
        for slot in (1, 2, 3):
            put(file, slot)
        assert file.slots() == (3, 2)
        file.keep(2)
        for slot in (4, 5):
            put(file, slot)
            assert file.slots() == (slot, 2)
        assert loaded(file, 2) == state_of(2)
        assert loaded(file, 5) == state_of(5)  # and it is kept
        put(file, 6)
        assert file.slots() == (6, 5)


def test_what_was_put_half_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an area is written its header names no slot; what is damaged or cut short is told."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with AreaFile(tmp_path / "f", *HERE, PAYLOAD) as file:
        put(file, 1)
        file.keep(1)
        put(file, 2)
        with monkeypatch.context() as disk:
            disk.setattr(os, "pwrite", refusing(full))
            with pytest.raises(OSError, match="No space"):
                put(file, 3)
        assert file.slots() == (1,)
        file.put(room(file.shape.area_bytes), 3, 0, 1)
        with pytest.raises(GenerationError) as caught:
            loaded(file, 3)
        assert caught.value.fault is GenerationFault.CORRUPT
        assert loaded(file, 1) == state_of(1)
        os.truncate(tmp_path / "f", file.shape.area_at(0) + 10)
        with pytest.raises(GenerationError, match="cut short"):
            loaded(file, 1)


def refusing(error: OSError) -> Callable[..., int]:
    """A call that the disk refuses."""

    def refuse(*_: object) -> int:
        raise error

    return refuse


STEPS = ("posix_fallocate", "pwrite", "fsync", "replace")


def widened(payload: memoryview) -> bytes:
    """Every byte twice."""
    return np.repeat(np.frombuffer(payload, np.uint8), 2).tobytes()


def killed_while_reshaping(path: Path, step: str, at: int) -> bool:
    """Whether a process that reshapes the file died at the so-manieth call of a step."""
    child = os.fork()
    if child == 0:
        left = [at]
        real = getattr(os, step) if step != "replace" else Path.replace

        def dying(*words: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os._exit(9)
            return real(*words)

        setattr(Path if step == "replace" else os, step, dying)
        with AreaFile(path, *HERE, PAYLOAD) as file:
            file.load(11)
            file.reshape(2 * PAYLOAD, widened)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("step", STEPS)
def test_a_file_that_is_killed_while_it_gets_another_layout_has_one_of_both(
    tmp_path: Path, step: str
) -> None:
    """Whatever call it dies at, both states are whole: as they were, or as they were to be."""
    path, at, shapes = tmp_path / "shard.state", 0, set()
    with opened(path) as file:
        for slot in (10, 11):
            lived(file, slot)
    before = path.read_bytes()
    killed = True
    while killed:
        path.write_bytes(before)
        at += 1
        killed = killed_while_reshaping(path, step, at)
        shape = shape_of(path)
        found = 0 if shape is None else shape.payload_bytes
        shapes.add(found)
        with opened(path, payload_bytes=found) as file:
            for slot in (10, 11):
                whole = state_of(slot) if found == PAYLOAD else widened(memoryview(state_of(slot)))
                assert bytes(file.load(slot)[0]) == whole
    assert at > 1
    assert shapes == {PAYLOAD, 2 * PAYLOAD}


def test_what_a_killed_process_left_beside_a_file_is_gone_when_it_is_opened(tmp_path: Path) -> None:
    """Drafts of this file, of whatever process; those of others stay."""
    path = tmp_path / "shard.state"
    other = tmp_path / "shard.state.other.1.new"
    for name in ("shard.state.7.new", "shard.state.12345.new", other.name):
        (tmp_path / name).write_bytes(bytes(100))
    opened(path).close()
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_a_layout_that_nobody_here_reads_is_named(tmp_path: Path) -> None:
    """Version 4, its seal in order: it is not called torn."""
    path = tmp_path / "shard.state"
    opened(path).close()
    raw = bytearray(path.read_bytes())
    for at in (0, HEADER_STEP):
        head = raw[at : at + LAYOUT.size]
        head[8:12] = (4).to_bytes(4, "little")
        raw[at : at + HEADER_BYTES] = head + zlib.crc32(head).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(GenerationError, match=r"layout 4.*another energy-market") as refused:
        opened(path)
    assert refused.value.fault is GenerationFault.SHAPE
